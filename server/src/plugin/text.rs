//! Text and bytes across the border.

use wsh::abi::{Bytes, Pair, Str};

/// `text` as the ABI lends it: valid while `text` is.
pub(super) fn lend(text: &str) -> Str {
    lend_bytes(text.as_bytes())
}

/// `bytes` as the ABI lends them: valid while `bytes` are.
pub(super) fn lend_bytes(bytes: &[u8]) -> Bytes {
    Str {
        ptr: bytes.as_ptr(),
        len: bytes.len(),
    }
}

/// The bytes that a plugin lends for the length of a call.
///
/// # Safety
///
/// `ptr` points to `len` readable bytes that stay unchanged for `'a`, or `len` is 0.
pub(super) unsafe fn borrow<'a>(ptr: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise; with a length, the pointer is to that many bytes.
    unsafe { std::slice::from_raw_parts(ptr, len) }
}

/// The text that a plugin lends for the length of a call; `None` if it is not UTF-8.
///
/// # Safety
///
/// As [`borrow`].
pub(super) unsafe fn borrow_str<'a>(text: Str) -> Option<&'a str> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { borrow(text.ptr, text.len) };
    std::str::from_utf8(bytes).ok()
}

/// The pairs that a plugin lends for the length of a call.
///
/// # Safety
///
/// `ptr` points to `len` pairs that stay unchanged for `'a`, or `len` is 0.
pub(super) unsafe fn borrow_pairs<'a>(ptr: *const Pair, len: usize) -> &'a [Pair] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(ptr, len) }
}
