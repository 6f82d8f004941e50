//! Reads tables, texts and lists that come from the other side: bounded by `size`, with NULL allowed for length 0.

use std::{fmt, marker::PhantomData, mem::MaybeUninit, ptr, slice};

use crate::abi;

/// A table of the ABI. It begins with a `u32`, which is its size, and may be all zeros.
///
/// # Safety
/// The type is `repr(C)`, its first field is `size: u32`, and zero bytes are a valid value of it.
pub(crate) unsafe trait AbiTable: Sized {}

// SAFETY: `repr(C)`, `size` first; integers, raw pointers and `Option<fn>` may all be zero.
unsafe impl AbiTable for abi::Host {}
// SAFETY: as above.
unsafe impl AbiTable for abi::Init {}
// SAFETY: as above.
unsafe impl AbiTable for abi::Request {}
// SAFETY: as above.
unsafe impl AbiTable for abi::Conn {}
// SAFETY: as above.
unsafe impl AbiTable for abi::Sink {}
// SAFETY: as above.
unsafe impl AbiTable for abi::answer::Answer {}
// SAFETY: as above.
unsafe impl AbiTable for abi::answer::PresenceChange {}
// SAFETY: as above.
unsafe impl AbiTable for abi::Vtable {}
// SAFETY: as above.
unsafe impl AbiTable for abi::raw::Raw {}

/// A copy of a table. Fields that `from` does not have are NULL or 0.
///
/// # Safety
/// `from` points to a table of this kind, of which as many bytes may be read as its `size` says.
pub(crate) unsafe fn copy<T: AbiTable>(from: *const T) -> T {
    let mut own = MaybeUninit::<T>::zeroed();
    // SAFETY: every table begins with its size.
    let size = unsafe { from.cast::<u32>().read() } as usize;
    // SAFETY: the caller vouches for `size` bytes, and not more than `T` has are written.
    unsafe {
        ptr::copy_nonoverlapping(
            from.cast::<u8>(),
            own.as_mut_ptr().cast::<u8>(),
            size.min(size_of::<T>()),
        );
    }
    // SAFETY: all zeros is a `T`, and so is a prefix of a `T` followed by zeros, since fields are
    // only ever appended whole.
    unsafe { own.assume_init() }
}

/// The bytes behind a pointer and a length.
///
/// # Safety
/// With `len` above 0 they can be read for `'a`.
pub(crate) unsafe fn bytes<'a>(ptr: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(ptr, len) }
}

/// The bytes that a plugin lends to a host. [`abi::INVALID`]: the pointer is NULL and the length is not 0.
/// [`abi::TOO_BIG`]: no memory has this length.
///
/// # Safety
/// Where neither error applies, the bytes can be read for `'a`.
pub(crate) unsafe fn lent<'a>(ptr: *const u8, len: usize) -> Result<&'a [u8], abi::Status> {
    if len > 0 && ptr.is_null() {
        return Err(abi::INVALID);
    }
    if isize::try_from(len).is_err() {
        return Err(abi::TOO_BIG);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { bytes(ptr, len) })
}

/// The text behind a [`abi::Str`].
///
/// # Safety
/// The bytes are UTF-8, and with a length above 0 they can be read for `'a`.
pub(crate) unsafe fn text<'a>(from: abi::Str) -> &'a str {
    // SAFETY: the caller's promise.
    unsafe { str::from_utf8_unchecked(bytes(from.ptr, from.len)) }
}

/// The `len` entries at `ptr`.
///
/// # Safety
/// With `len` above 0 the entries can be read for `'a`, and each is a `T`.
pub(crate) unsafe fn list<'a, T>(ptr: *const T, len: usize) -> &'a [T] {
    if len == 0 || ptr.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(ptr, len) }
}

/// A text or bytes of this side, in the form of the ABI.
pub(crate) fn lend(text: &[u8]) -> abi::Str {
    abi::Str {
        ptr: text.as_ptr(),
        len: text.len(),
    }
}

/// A [`abi::Pair`] whose strings can be read for `'a`; its name is UTF-8.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct PairRef<'a>(abi::Pair, PhantomData<&'a [u8]>);

// SAFETY: it is two shared slices.
unsafe impl Send for PairRef<'_> {}
// SAFETY: as above.
unsafe impl Sync for PairRef<'_> {}

impl<'a> PairRef<'a> {
    pub(crate) fn new(name: &'a str, value: &'a [u8]) -> Self {
        let pair = abi::Pair {
            name: lend(name.as_bytes()),
            value: lend(value),
        };
        PairRef(pair, PhantomData)
    }

    pub(crate) fn name(&self) -> &'a str {
        // SAFETY: what the type says.
        unsafe { text(self.0.name) }
    }

    pub(crate) fn value(&self) -> &'a [u8] {
        // SAFETY: what the type says.
        unsafe { bytes(self.0.value.ptr, self.0.value.len) }
    }
}

impl fmt::Debug for PairRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.value().escape_ascii())
    }
}

/// A [`abi::Str`] that can be read for `'a` and is UTF-8.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct TextRef<'a>(abi::Str, PhantomData<&'a str>);

// SAFETY: it is a shared string slice.
unsafe impl Send for TextRef<'_> {}
// SAFETY: as above.
unsafe impl Sync for TextRef<'_> {}

impl<'a> TextRef<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        TextRef(lend(text.as_bytes()), PhantomData)
    }

    pub(crate) fn get(&self) -> &'a str {
        // SAFETY: what the type says.
        unsafe { text(self.0) }
    }
}

impl fmt::Debug for TextRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
