//! The head of an HTTP request: request line and header lines (RFC 9112).

pub(crate) mod first_bytes;

use std::mem::MaybeUninit;
use std::ops::Range;

use self::first_bytes::NotARequest;

/// A parsed request head. It keeps the peer's bytes and knows where the parts lie in them.
#[derive(Debug)]
pub(crate) struct Head {
    bytes: Box<[u8]>,
    method: Span,
    target: Span,
    is_http_1_1: bool,
    lines: Vec<(Span, Span)>,
}

/// Where a part lies in a head, which is shorter than 4 GiB.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Why bytes are no request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadFault {
    /// 400.
    #[error("the request is malformed")]
    Malformed,
    /// The bytes are something else than a request.
    #[error(transparent)]
    NotARequest(#[from] NotARequest),
    /// 431.
    #[error("the request has too many header lines")]
    TooManyLines,
}

impl HeadFault {
    /// The fault of bytes that end like a whole head and are none.
    fn of(bytes: &[u8]) -> HeadFault {
        first_bytes::fault(bytes).map_or(HeadFault::Malformed, HeadFault::NotARequest)
    }
}

impl Head {
    /// The length of the head at the start of `bytes`, or `None` until it is whole. The first `from` bytes
    /// were searched by an earlier call.
    pub(crate) fn end(bytes: &[u8], from: usize) -> Option<usize> {
        // `at` is where the blank line may end. It may have begun in what was searched before.
        let mut at = from.saturating_sub(3) + 3;
        while let Some(byte) = bytes.get(at) {
            at += match byte {
                b'\n' if bytes[..=at].ends_with(b"\r\n\r\n") => return Some(at + 1),
                b'\r' | b'\n' => 1,
                // The byte is no part of a blank line, so the next one ends four bytes further on at the
                // earliest.
                _ => 4,
            };
        }
        None
    }

    /// Parses a whole head, its blank line included.
    pub(crate) fn parse(bytes: Box<[u8]>, lines_max: usize) -> Result<Head, HeadFault> {
        // Usual heads have a dozen lines. Room that is not used costs nothing.
        let mut few = [const { MaybeUninit::uninit() }; LINES_ON_THE_STACK];
        let mut many = Vec::new();
        let headers = match few.get_mut(..lines_max) {
            Some(headers) => headers,
            None => {
                many.resize_with(lines_max, MaybeUninit::uninit);
                &mut many[..]
            }
        };
        if u32::try_from(bytes.len()).is_err() {
            return Err(HeadFault::Malformed);
        }
        if first_bytes::has_bare_line_feed(&bytes) {
            return Err(HeadFault::of(&bytes));
        }
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(&bytes, headers) {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(HeadFault::TooManyLines),
            Ok(httparse::Status::Partial) | Err(_) => return Err(HeadFault::of(&bytes)),
        }
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadFault::Malformed);
        };
        let span = |part: &[u8]| {
            let start = (part.as_ptr().addr() - bytes.as_ptr().addr()) as u32;
            let end = start + part.len() as u32;
            Span { start, end }
        };
        let lines = request.headers.iter();
        let lines = lines
            .map(|line| (span(line.name.as_bytes()), span(line.value)))
            .collect();
        let (method, target) = (span(method.as_bytes()), span(target.as_bytes()));
        Ok(Head {
            method,
            target,
            is_http_1_1: version == 1,
            lines,
            bytes,
        })
    }

    /// The bytes of the peer.
    #[cfg(fuzzing)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn method(&self) -> &[u8] {
        &self.bytes[self.method.range()]
    }

    /// The request target, as the peer sent it.
    pub(crate) fn target(&self) -> &[u8] {
        &self.bytes[self.target.range()]
    }

    pub(crate) fn is_http_1_1(&self) -> bool {
        self.is_http_1_1
    }

    /// The name and the value of each header line, in order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let line =
            |(name, value): &(Span, Span)| (&self.bytes[name.range()], &self.bytes[value.range()]);
        self.lines.iter().map(line)
    }

    /// The values of every line with this name, in order.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.lines();
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, v)| v)
    }

    /// The value of the one line with this name; `Err` if there are several.
    pub(crate) fn value<'a>(&'a self, name: &'a str) -> Result<Option<&'a [u8]>, HeadFault> {
        let mut values = self.values(name);
        let first = values.next();
        if values.next().is_some() {
            return Err(HeadFault::Malformed);
        }
        Ok(first)
    }

    /// The comma-separated elements of every line with this name, trimmed, empty ones left out
    /// (RFC 9110 §5.6.1).
    pub(crate) fn elements<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name).flat_map(elements)
    }
}

/// The comma-separated elements of one value, trimmed, empty ones left out.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let elements = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty())
}

/// Header lines that cost no allocation. The default of `header_lines_max` is below.
const LINES_ON_THE_STACK: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, HeadFault> {
        Head::parse(text.as_bytes().into(), 4)
    }

    #[test]
    fn repeated_lines_and_lists_read_as_one_list() {
        let head = parse("GET /a HTTP/1.1\r\nX: a, b\r\nY: 1\r\nx:,c ,\r\n\r\n").unwrap();
        let elements: Vec<&[u8]> = head.elements("x").collect();
        assert_eq!(elements, [b"a", b"b", b"c"]);
        assert_eq!(head.value("x"), Err(HeadFault::Malformed));
        assert_eq!(head.value("y"), Ok(Some(&b"1"[..])));
    }

    #[test]
    fn one_line_too_many_is_told_apart_from_a_malformed_head() {
        let many = "GET / HTTP/1.1\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\n\r\n";
        assert_eq!(parse(many).unwrap_err(), HeadFault::TooManyLines);
        let no_version = HeadFault::NotARequest(NotARequest::NoVersion);
        assert_eq!(parse("GET /\r\n\r\n").unwrap_err(), no_version);
        let malformed = "GET / HTTP/1.1\r\nA B: 1\r\n\r\n";
        assert_eq!(parse(malformed).unwrap_err(), HeadFault::Malformed);
    }

    #[test]
    fn a_line_that_ends_with_lf_alone_makes_no_head() {
        let bare = HeadFault::NotARequest(NotARequest::BareLineFeed);
        for head in [
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\nA: 1\r\n\r\n",
        ] {
            assert_eq!(parse(head).unwrap_err(), bare, "{head:?}");
        }
        assert!(parse("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").is_ok());
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_were_split() {
        let bytes = b"GET / HTTP/1.1\r\n\r\nrest";
        for from in 0..18 {
            assert_eq!(Head::end(bytes, from), Some(18));
        }
        assert_eq!(Head::end(b"GET / HTTP/1.1\r\n\r", 0), None);
        for other in ["\n\n", "\r\n\n", "\r\r\n\r", "\r\n\rx\r\n"] {
            for padding in 0..8 {
                let bytes = format!("{}{other}", "a".repeat(padding));
                assert_eq!(Head::end(bytes.as_bytes(), 0), None, "{bytes:?}");
                let bytes = format!("{bytes}\r\n\r\nrest");
                let expected = bytes
                    .as_bytes()
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n");
                let expected = expected.map(|at| at + 4);
                assert_eq!(Head::end(bytes.as_bytes(), 0), expected, "{bytes:?}");
            }
        }
    }

    #[test]
    fn more_lines_than_usual_are_read_where_the_limit_allows_them() {
        let many = LINES_ON_THE_STACK + 1;
        let text = format!("GET / HTTP/1.1\r\n{}\r\n", "A: 1\r\n".repeat(many));
        let head = Head::parse(text.as_bytes().into(), many).unwrap();
        assert_eq!(head.values("a").count(), many);
        let fault = Head::parse(text.as_bytes().into(), many - 1).unwrap_err();
        assert_eq!(fault, HeadFault::TooManyLines);
    }
}
