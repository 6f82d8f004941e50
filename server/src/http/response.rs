//! Writes the head of an HTTP response (RFC 9112 §4).

use std::io::Write;
use std::time::SystemTime;

/// A response head, from its status line to the last line that was written.
pub(crate) struct ResponseHead(Vec<u8>);

impl ResponseHead {
    /// A head with this status line.
    pub(crate) fn new(status: u16) -> ResponseHead {
        let reason = reason_phrase(status).unwrap_or("Refused");
        ResponseHead(format!("HTTP/1.1 {status} {reason}\r\n").into_bytes())
    }

    /// Adds a header line.
    pub(crate) fn line(&mut self, name: &str, value: impl AsRef<[u8]>) {
        for part in [name.as_bytes(), b": ", value.as_ref(), b"\r\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// Adds the time of the answer, which every answer but a 1xx and a 5xx must have (RFC 9110 §6.6.1).
    pub(crate) fn date(&mut self) {
        self.line("Date", httpdate::fmt_http_date(SystemTime::now()));
    }

    /// Adds a header line with a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        // Writing to a vector cannot fail.
        let _ = write!(self.0, "{name}: {value}\r\n");
    }

    /// The whole head, with the empty line at its end.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }
}

/// The header line by which a browser takes an answer for nothing but what its `Content-Type` says.
pub(crate) const NO_SNIFFING: (&str, &str) = ("X-Content-Type-Options", "nosniff");

/// The reason phrase of a registered status.
pub(crate) fn reason_phrase(status: u16) -> Option<&'static str> {
    http::StatusCode::from_u16(status).ok()?.canonical_reason()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_its_lines_in_order_and_an_empty_line_at_its_end() {
        let mut head = ResponseHead::new(404);
        head.line("Connection", "close");
        head.number("Content-Length", 12);
        let text = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(head.into_bytes(), text.as_bytes());

        let unregistered = ResponseHead::new(599).into_bytes();
        assert_eq!(unregistered, b"HTTP/1.1 599 Refused\r\n\r\n");
    }
}
