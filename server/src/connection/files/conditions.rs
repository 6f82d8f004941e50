//! What a request wants of a file: all of it, a part, or only to learn that it has not changed
//! (RFC 9110 §13 and §14).

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::precompressed::Coding;
use crate::http::head::{Head, elements};

/// One version of a file, and what tells it from others.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) length: u64,
    pub(super) etag: String,
    /// In whole seconds, since dates of HTTP have no more.
    pub(super) modified: SystemTime,
}

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// 200.
    Whole,
    /// 206.
    Part(Range<u64>),
    /// 304.
    Nothing,
    /// 412: the file is not the version that the request is about.
    OtherVersion,
    /// 416: no byte of the file is in the range.
    NoSuchPart,
}

impl Version {
    /// A file of this length, or its compressed form.
    pub(super) fn new(length: u64, modified: SystemTime, coding: Option<Coding>) -> Version {
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, nanos) = (since.as_secs(), since.subsec_nanos());
        Version {
            length,
            etag: match coding {
                None => format!("\"{seconds:x}-{nanos:x}-{length:x}\""),
                Some(coding) => format!("\"{seconds:x}-{nanos:x}-{length:x}-{}\"", coding.name()),
            },
            modified: UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    /// What `head`, of a GET or a HEAD, wants of this version. Conditions are checked in the order of
    /// RFC 9110 §13.2.2.
    pub(super) fn wanted(&self, head: &Head) -> Wanted {
        if head.values("if-match").next().is_some() {
            // Compared strongly, so a weak tag matches nothing.
            if !head
                .elements("if-match")
                .any(|tag| tag == b"*" || self.is(tag))
            {
                return Wanted::OtherVersion;
            }
        } else if let Some(since) = date(head, "if-unmodified-since")
            && self.modified > since
        {
            return Wanted::OtherVersion;
        }
        if head.values("if-none-match").next().is_some() {
            let mut tags = head.elements("if-none-match");
            if tags.any(|tag| tag == b"*" || self.is(tag.strip_prefix(b"W/").unwrap_or(tag))) {
                return Wanted::Nothing;
            }
        } else if let Some(since) = date(head, "if-modified-since")
            && self.modified <= since
        {
            return Wanted::Nothing;
        }
        match head.value("range") {
            // Only a GET has ranges (RFC 9110 §14.2).
            Ok(Some(range)) if head.method() == b"GET" && self.is_current(head) => self.part(range),
            // Several lines are no list, and a server may ignore the field.
            _ => Wanted::Whole,
        }
    }

    /// Whether `If-Range` names this version or is not there. Only then a part may be sent.
    fn is_current(&self, head: &Head) -> bool {
        match head.value("if-range") {
            Ok(None) => true,
            Ok(Some(tag)) if tag.starts_with(b"\"") => self.is(tag),
            // A date must be equal. A weak tag is no date, so it never is.
            Ok(Some(_)) => date(head, "if-range") == Some(self.modified),
            Err(_) => false,
        }
    }

    fn is(&self, tag: &[u8]) -> bool {
        tag == self.etag.as_bytes()
    }

    /// What a `Range` leads to. Another unit than bytes, a wrong form and several ranges lead to the
    /// whole file, since a server may ignore the field (RFC 9110 §14.2).
    fn part(&self, range: &[u8]) -> Wanted {
        let ranges = match range.split_at_checked(6) {
            Some((unit, ranges)) if unit.eq_ignore_ascii_case(b"bytes=") => ranges,
            _ => return Wanted::Whole,
        };
        let mut ranges = elements(ranges);
        let (Some(one), None) = (ranges.next(), ranges.next()) else {
            return Wanted::Whole;
        };
        let Some(dash) = one.iter().position(|byte| *byte == b'-') else {
            return Wanted::Whole;
        };
        let (first, last) = (&one[..dash], &one[dash + 1..]);
        match (number(first), number(last)) {
            (Some(first), _) if last.is_empty() => self.bytes(first, u64::MAX),
            (Some(first), Some(last)) if first <= last => self.bytes(first, last),
            // So many bytes at the end. The end of an empty file is its whole.
            (None, Some(0)) if first.is_empty() => Wanted::NoSuchPart,
            (None, Some(_)) if first.is_empty() && self.length == 0 => Wanted::Whole,
            (None, Some(most)) if first.is_empty() => {
                Wanted::Part(self.length.saturating_sub(most)..self.length)
            }
            _ => Wanted::Whole,
        }
    }

    fn bytes(&self, first: u64, last: u64) -> Wanted {
        if first >= self.length {
            return Wanted::NoSuchPart;
        }
        Wanted::Part(first..last.saturating_add(1).min(self.length))
    }
}

/// A number of digits only. One that is too large becomes the largest.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    Some(text.parse().unwrap_or(u64::MAX))
}

/// The date of the one line with this name; `None` for any other value.
fn date(head: &Head, name: &str) -> Option<SystemTime> {
    let value = head.value(name).ok()??;
    httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of ten bytes, changed on Sun, 06 Nov 1994 08:49:37 GMT and a half.
    fn version(length: u64) -> Version {
        Version::new(
            length,
            UNIX_EPOCH + Duration::from_millis(784_111_777_500),
            None,
        )
    }

    fn wanted(method: &str, lines: &str, length: u64) -> Wanted {
        let lines = lines.replace("TAG", &version(length).etag);
        let text = format!("{method} / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        let head = Head::parse(text.into_bytes().into(), 10).expect("a head");
        version(length).wanted(&head)
    }

    #[test]
    fn one_range_of_bytes_is_a_part_and_everything_else_is_ignored() {
        for (range, answer) in [
            ("bytes=0-", Wanted::Part(0..10)),
            ("bytes=2-4", Wanted::Part(2..5)),
            ("BYTES=2-4", Wanted::Part(2..5)),
            ("bytes=2-99999999999999999999999", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes= 2-4 ,", Wanted::Part(2..5)),
            ("bytes=10-", Wanted::NoSuchPart),
            ("bytes=99999999999999999999999-", Wanted::NoSuchPart),
            ("bytes=-0", Wanted::NoSuchPart),
            ("bytes=0-1,4-5", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("bytes=4-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes 0-1", Wanted::Whole),
            ("bytes", Wanted::Whole),
        ] {
            let line = format!("Range: {range}\r\n");
            assert_eq!(wanted("GET", &line, 10), answer, "{range}");
            assert_eq!(wanted("HEAD", &line, 10), Wanted::Whole, "{range}");
        }
        let twice = "Range: bytes=0-1\r\nRange: bytes=2-3\r\n";
        assert_eq!(wanted("GET", twice, 10), Wanted::Whole);
        // No byte of an empty file is in a range, but its end is all of it.
        let empty = |range| wanted("GET", &format!("Range: bytes={range}\r\n"), 0);
        assert_eq!(empty("0-"), Wanted::NoSuchPart);
        assert_eq!(empty("-5"), Wanted::Whole);
    }

    #[test]
    fn a_part_of_another_version_is_the_whole_of_this_one() {
        for (if_range, answer) in [
            ("TAG", Wanted::Part(0..1)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Wanted::Part(0..1)),
            ("W/TAG", Wanted::Whole),
            ("\"other\"", Wanted::Whole),
            ("Sun, 06 Nov 1994 08:49:38 GMT", Wanted::Whole),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Wanted::Whole),
            ("nonsense", Wanted::Whole),
        ] {
            let lines = format!("Range: bytes=0-0\r\nIf-Range: {if_range}\r\n");
            assert_eq!(wanted("GET", &lines, 10), answer, "{if_range}");
        }
    }

    #[test]
    fn conditions_are_looked_at_in_their_order() {
        let at = "Sun, 06 Nov 1994 08:49:37 GMT";
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        for (lines, answer) in [
            (format!("If-Modified-Since: {at}\r\n"), Wanted::Nothing),
            (format!("If-Modified-Since: {before}\r\n"), Wanted::Whole),
            ("If-Modified-Since: yesterday\r\n".into(), Wanted::Whole),
            ("If-None-Match: TAG\r\n".into(), Wanted::Nothing),
            ("If-None-Match: \"a\", W/TAG\r\n".into(), Wanted::Nothing),
            ("If-None-Match: *\r\n".into(), Wanted::Nothing),
            (
                format!("If-None-Match: \"a\"\r\nIf-Modified-Since: {at}\r\n"),
                Wanted::Whole,
            ),
            ("If-Match: TAG\r\n".into(), Wanted::Whole),
            ("If-Match: *\r\n".into(), Wanted::Whole),
            ("If-Match: W/TAG\r\n".into(), Wanted::OtherVersion),
            ("If-Match: \"a\"\r\n".into(), Wanted::OtherVersion),
            (
                format!("If-Unmodified-Since: {before}\r\n"),
                Wanted::OtherVersion,
            ),
            (format!("If-Unmodified-Since: {at}\r\n"), Wanted::Whole),
            (
                format!("If-Match: TAG\r\nIf-Unmodified-Since: {before}\r\n"),
                Wanted::Whole,
            ),
            (
                "If-None-Match: TAG\r\nRange: bytes=0-0\r\n".into(),
                Wanted::Nothing,
            ),
        ] {
            for method in ["GET", "HEAD"] {
                assert_eq!(wanted(method, &lines, 10), answer, "{method} {lines}");
            }
        }
    }
}
