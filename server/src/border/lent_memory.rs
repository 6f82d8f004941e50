//! Text and bytes across the border.

use wsh::abi::{self, Bytes, Pair, Status, Str};

/// `text` as the ABI lends it: valid while `text` is.
pub(crate) fn lend(text: &str) -> Str {
    lend_bytes(text.as_bytes())
}

/// `bytes` as the ABI lends them: valid while `bytes` are.
pub(crate) fn lend_bytes(bytes: &[u8]) -> Bytes {
    Str {
        ptr: bytes.as_ptr(),
        len: bytes.len(),
    }
}

/// The bytes that a plugin lends for the length of a call. INVALID for NULL with a length, TOO_BIG for
/// a length that no memory has; nothing is read.
///
/// # Safety
///
/// `ptr` points to `len` readable bytes that stay unchanged for `'a`, or is NULL, or `len` is 0 or
/// more than any memory has.
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
    // SAFETY: the caller's promise; with a length, the pointer is to that many bytes.
    Ok(unsafe { std::slice::from_raw_parts(ptr, len) })
}

/// As [`borrow`], for some bytes, but fewer than `end`; none where [`borrow`] must say what they are.
///
/// # Safety
///
/// As [`borrow`].
#[inline]
pub(crate) unsafe fn borrow_below<'a>(end: usize, ptr: *const u8, len: usize) -> Option<&'a [u8]> {
    // One comparison. The caller copies the bytes, and a length that is not 0 saves it a second one.
    let is_short = len.wrapping_sub(1) < end - 1;
    // SAFETY: the caller's promise; the pointer is not NULL and the length one of memory.
    (!ptr.is_null() && is_short).then(|| unsafe { std::slice::from_raw_parts(ptr, len) })
}

/// As [`borrow`], for what may have `max` bytes at most: TOO_BIG where it has more.
///
/// # Safety
///
/// As [`borrow`].
pub(crate) unsafe fn borrow_at_most<'a>(bytes: Bytes, max: usize) -> Result<&'a [u8], Status> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { borrow(bytes.ptr, bytes.len) }?;
    if bytes.len() > max {
        return Err(abi::TOO_BIG);
    }
    Ok(bytes)
}

/// The text that a plugin lends for the length of a call: INVALID if it is not UTF-8, TOO_BIG if it
/// has more than `max` bytes, which are not read then.
///
/// # Safety
///
/// As [`borrow`].
pub(crate) unsafe fn borrow_str<'a>(text: Str, max: usize) -> Result<&'a str, Status> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { borrow_at_most(text, max) }?;
    std::str::from_utf8(bytes).map_err(|_| abi::INVALID)
}

/// The pairs that a plugin lends for the length of a call; INVALID where there are more than `max`.
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
    // SAFETY: the caller's promise.
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
            // SAFETY: `here` is to one byte, and every other length is one of the exceptions.
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
            // SAFETY: as above.
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
        // SAFETY: the text is four bytes that live as long as the program.
        unsafe {
            assert_eq!(borrow_str(long, 4), Ok("chat"));
            assert_eq!(borrow_str(long, 3), Err(abi::TOO_BIG));
        }
    }
}
