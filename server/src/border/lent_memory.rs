//! Memory that one side of the border lends to the other for the length of a call: text, bytes and pairs.
//!
//! The rule is *lent memory* of abi.rs.

use wsh::abi::{self, Bytes, Pair, Status, Str};

/// `text` in the ABI's form. The result is valid as long as `text` is.
pub(crate) fn lend(text: &str) -> Str {
    lend_bytes(text.as_bytes())
}

/// `bytes` in the ABI's form. The result is valid as long as `bytes` are.
pub(crate) fn lend_bytes(bytes: &[u8]) -> Bytes {
    Str {
        ptr: bytes.as_ptr(),
        len: bytes.len(),
    }
}

/// The bytes that a plugin lends for the length of a call. INVALID for NULL with a length, TOO_BIG for a length above
/// `isize::MAX`. Nothing is read here.
///
/// # Safety
///
/// `ptr` points to `len` readable bytes that stay unchanged for `'a`, or is NULL, or `len` is 0 or above `isize::MAX`.
#[inline]
pub(crate) unsafe fn borrow<'a>(ptr: *const u8, len: usize) -> Result<&'a [u8], Status> {
    // One comparison for the two lengths that are rare: none, and more than an address can count.
    if len.wrapping_sub(1) >= isize::MAX as usize {
        return match len {
            0 => Ok(&[]),
            _ if ptr.is_null() => Err(abi::INVALID),
            _ => Err(abi::TOO_BIG),
        };
    }
    if ptr.is_null() {
        return Err(abi::INVALID);
    }
    // SAFETY: the caller promises `len` readable bytes behind a pointer that is not NULL.
    Ok(unsafe { std::slice::from_raw_parts(ptr, len) })
}

/// Like [`borrow`], for 1 to `end - 1` bytes. `None` for any other length and for NULL; [`borrow`] says what those are.
///
/// # Safety
///
/// The promise of [`borrow`].
#[inline]
pub(crate) unsafe fn borrow_below<'a>(end: usize, ptr: *const u8, len: usize) -> Option<&'a [u8]> {
    // One comparison. The caller copies the bytes, and a length that is not 0 saves it a second one.
    let is_short = len.wrapping_sub(1) < end - 1;
    // SAFETY: the caller promises `len` readable bytes behind a pointer that is not NULL.
    (!ptr.is_null() && is_short).then(|| unsafe { std::slice::from_raw_parts(ptr, len) })
}

/// Like [`borrow`]. More than `max` bytes are TOO_BIG.
///
/// # Safety
///
/// The promise of [`borrow`].
pub(crate) unsafe fn borrow_at_most<'a>(bytes: Bytes, max: usize) -> Result<&'a [u8], Status> {
    // SAFETY: the caller makes the promise of `borrow`.
    let bytes = unsafe { borrow(bytes.ptr, bytes.len) }?;
    if bytes.len() > max {
        return Err(abi::TOO_BIG);
    }
    Ok(bytes)
}

/// The text that a plugin lends for the length of a call. INVALID if it is not UTF-8. TOO_BIG if it has more than `max`
/// bytes; these are not read.
///
/// # Safety
///
/// The promise of [`borrow`].
pub(crate) unsafe fn borrow_str<'a>(text: Str, max: usize) -> Result<&'a str, Status> {
    // SAFETY: the caller makes the promise of `borrow`.
    let bytes = unsafe { borrow_at_most(text, max) }?;
    std::str::from_utf8(bytes).map_err(|_| abi::INVALID)
}

/// The pairs that a plugin lends for the length of a call. INVALID for more than `max`, and for NULL with a length.
///
/// # Safety
///
/// `ptr` points to `len` pairs that stay unchanged for `'a`, or is NULL, or `len` is 0 or above `max`.
pub(crate) unsafe fn borrow_pairs<'a>(
    ptr: *const Pair,
    len: usize,
    max: usize,
) -> Result<&'a [Pair], Status> {
    if len == 0 {
        return Ok(&[]);
    }
    if ptr.is_null() || len > max {
        return Err(abi::INVALID);
    }
    // SAFETY: the caller promises `len` pairs behind a pointer that is not NULL, for a `len` of at most `max`.
    Ok(unsafe { std::slice::from_raw_parts(ptr, len) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_cannot_be_meant_are_refused_and_nothing_is_read() {
        let byte = 7_u8;
        let here = &raw const byte;
        let nowhere = std::ptr::null();
        for (ptr, len, borrowed) in [
            (here, 1, Ok(&[7][..])),
            (here, 0, Ok(&[][..])),
            (nowhere, 0, Ok(&[][..])),
            (nowhere, 1, Err(abi::INVALID)),
            (nowhere, usize::MAX, Err(abi::INVALID)),
            (here, usize::MAX, Err(abi::TOO_BIG)),
            (here, isize::MAX as usize + 1, Err(abi::TOO_BIG)),
        ] {
            // SAFETY: `here` points to one byte, and every other length is one of the exceptions.
            assert_eq!(unsafe { borrow(ptr, len) }, borrowed, "{ptr:?}, {len}");
        }
        let name = Str { ptr: here, len: 1 };
        let pair = Pair { name, value: name };
        for (ptr, len, found) in [
            (&raw const pair, 1, Ok(1)),
            (&raw const pair, 0, Ok(0)),
            (std::ptr::null(), 0, Ok(0)),
            (std::ptr::null(), 1, Err(abi::INVALID)),
            (&raw const pair, 3, Err(abi::INVALID)),
            (&raw const pair, usize::MAX, Err(abi::INVALID)),
        ] {
            // SAFETY: the pointer is to one pair, and every other length is one of the exceptions.
            let borrowed = unsafe { borrow_pairs(ptr, len, 2) };
            assert_eq!(borrowed.map(<[Pair]>::len), found, "{len}");
        }
    }

    #[test]
    fn what_is_longer_than_it_may_be_is_too_big() {
        let long = Str {
            ptr: b"chat".as_ptr(),
            len: 4,
        };
        // SAFETY: the text is four bytes of a constant.
        unsafe {
            assert_eq!(borrow_str(long, 4), Ok("chat"));
            assert_eq!(borrow_str(long, 3), Err(abi::TOO_BIG));
        }
    }
}
