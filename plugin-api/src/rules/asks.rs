//! The checks of what a handler asks of the state that servers share; see [`abi::answer`].

use crate::abi::answer::{ANY_VERSION, KEY_BYTES_MAX, POSITION_BYTES_MAX};
use crate::abi::{self, Status};

/// The most items of one page.
pub const PAGE_ITEMS_MAX: usize = 1024;
/// A page of several items has at most so many bytes of values, names and positions.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Checks the key of a kept value.
///
/// # Errors
/// [`abi::TOO_BIG`]: above [`KEY_BYTES_MAX`]. [`abi::INVALID`]: empty, or with a NUL.
pub fn key(key: &str) -> Result<&str, Status> {
    match key_prefix(key)? {
        "" => Err(abi::INVALID),
        key => Ok(key),
    }
}

/// Checks the beginning of keys, which may be empty.
///
/// # Errors
/// [`abi::TOO_BIG`]: above [`KEY_BYTES_MAX`]. [`abi::INVALID`]: with a NUL.
pub fn key_prefix(prefix: &str) -> Result<&str, Status> {
    if prefix.len() > KEY_BYTES_MAX {
        return Err(abi::TOO_BIG);
    }
    if prefix.contains('\0') {
        return Err(abi::INVALID);
    }
    Ok(prefix)
}

/// Checks a value, of which the configuration allows `bytes_max` bytes.
///
/// # Errors
/// [`abi::TOO_BIG`]: above `bytes_max`.
pub fn value(value: &[u8], bytes_max: usize) -> Result<&[u8], Status> {
    if value.len() > bytes_max {
        return Err(abi::TOO_BIG);
    }
    Ok(value)
}

/// Checks the length of a position; `None` stands for no position. Bytes that no server has given may pass.
///
/// # Errors
/// [`abi::INVALID`]: above [`POSITION_BYTES_MAX`].
pub fn position(position: &[u8]) -> Result<Option<&[u8]>, Status> {
    if position.len() > POSITION_BYTES_MAX {
        return Err(abi::INVALID);
    }
    Ok((!position.is_empty()).then_some(position))
}

/// How many items a page has at most that is to have `limit`.
///
/// # Errors
/// [`abi::INVALID`]: 0.
pub fn page_items(limit: u64) -> Result<usize, Status> {
    match usize::try_from(limit) {
        Ok(0) => Err(abi::INVALID),
        Ok(limit) => Ok(limit.min(PAGE_ITEMS_MAX)),
        Err(_) => Ok(PAGE_ITEMS_MAX),
    }
}

/// The version that a value must have for a change; `None` where any will do.
#[must_use]
pub fn version(version: u64) -> Option<u64> {
    (version != ANY_VERSION).then_some(version)
}

/// The `next` of a page of members whose last one is the session `id`.
#[must_use]
pub fn next_after_member(id: u64) -> [u8; 8] {
    id.to_be_bytes()
}

/// The last member of the page before; `None` for the first page.
///
/// # Errors
/// [`abi::INVALID`]: the bytes are not what [`next_after_member`] gives.
pub fn after_member(after: &[u8]) -> Result<Option<u64>, Status> {
    if after.is_empty() {
        return Ok(None);
    }
    let id = after.try_into().map_err(|_| abi::INVALID)?;
    Ok(Some(u64::from_be_bytes(id)))
}

/// The last key of the page before, which is also the `next` of that page; `None` for the first page.
///
/// # Errors
/// [`abi::INVALID`]: the bytes are no key.
pub fn after_key(after: &[u8]) -> Result<Option<&str>, Status> {
    if after.is_empty() {
        return Ok(None);
    }
    // Before the bytes are read: a length that is too large may be a mistake.
    if after.len() > KEY_BYTES_MAX {
        return Err(abi::INVALID);
    }
    let after = std::str::from_utf8(after).map_err(|_| abi::INVALID)?;
    key(after).map(Some).map_err(|_| abi::INVALID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_255_bytes_and_its_beginning_may_have_none() {
        let longest = "k".repeat(KEY_BYTES_MAX);
        let too_long = "k".repeat(KEY_BYTES_MAX + 1);
        for (text, as_key, as_prefix) in [
            ("", Err(abi::INVALID), Ok("")),
            ("a/b c*", Ok("a/b c*"), Ok("a/b c*")),
            (&*longest, Ok(&*longest), Ok(&*longest)),
            (&*too_long, Err(abi::TOO_BIG), Err(abi::TOO_BIG)),
            ("a\0b", Err(abi::INVALID), Err(abi::INVALID)),
        ] {
            assert_eq!((key(text), key_prefix(text)), (as_key, as_prefix), "{text}");
        }
    }

    #[test]
    fn a_position_has_at_most_64_bytes_and_none_is_no_position() {
        let bytes = [7; POSITION_BYTES_MAX + 1];
        assert_eq!(position(&[]), Ok(None));
        assert_eq!(position(&bytes[1..]), Ok(Some(&bytes[1..])));
        assert_eq!(position(&bytes), Err(abi::INVALID));
    }

    #[test]
    fn a_page_has_at_least_one_item_and_no_more_than_pages_have() {
        for (limit, items) in [
            (0, Err(abi::INVALID)),
            (1, Ok(1)),
            (1_024, Ok(PAGE_ITEMS_MAX)),
            (1_025, Ok(PAGE_ITEMS_MAX)),
            (u64::MAX, Ok(PAGE_ITEMS_MAX)),
        ] {
            assert_eq!(page_items(limit), items, "{limit}");
        }
    }

    #[test]
    fn what_a_page_says_is_next_is_where_the_next_one_begins() {
        let next = next_after_member(1 << 44 | 7);
        assert_eq!(after_member(&next), Ok(Some(1 << 44 | 7)));
        assert_eq!(after_member(&[]), Ok(None));
        assert_eq!(after_member(&next[1..]), Err(abi::INVALID));
        assert_eq!(after_key(b"a/b"), Ok(Some("a/b")));
        assert_eq!(after_key(b""), Ok(None));
        for none in [&b"a\0"[..], b"\xff", &[b'k'; KEY_BYTES_MAX + 1]] {
            assert_eq!(after_key(none), Err(abi::INVALID), "{none:?}");
        }
    }

    #[test]
    fn a_value_has_the_bytes_that_are_allowed_and_a_version_may_be_any() {
        assert_eq!(value(b"abc", 3), Ok(&b"abc"[..]));
        assert_eq!(value(b"abcd", 3), Err(abi::TOO_BIG));
        assert_eq!(version(0), Some(0));
        assert_eq!(version(ANY_VERSION), None);
    }
}
