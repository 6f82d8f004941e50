//! The client's opening handshake (RFC 6455 §4.1): the request, and what a server's answer means.

use std::fmt::Write;

use data_encoding::BASE64;

use super::compression::{Agreed, OFFER, agree};
use crate::config::ConnectOptions;
use crate::logging::value;

/// A request, and what has to be known of it to judge the answer.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) request: String,
    accept: String,
    subprotocols: Vec<String>,
    offers_compression: bool,
}

/// What a 101 agrees to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) subprotocol: Option<String>,
    pub(super) compression: Option<Agreed>,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    reason: String,
    headers: Vec<(String, String)>,
    /// The bytes of the head.
    pub(super) length: usize,
}

/// Why an answer opens no WebSocket.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("it answered {status} {reason}{}", shown_body(.body))]
    Refused {
        status: u16,
        reason: String,
        body: String,
    },
    #[error("it answered {status} {reason}: it leads to `{location}`")]
    Redirected {
        status: u16,
        reason: String,
        location: String,
    },
    #[error("it speaks TLS there: `wss://` is HTTP over TLS")]
    Tls,
    #[error("it does not speak HTTP: its answer begins with `{beginning}`")]
    NotHttp { beginning: String },
    #[error("it is no WebSocket: `{name}` of its 101 is `{found}`, wants `{wanted}`")]
    NotWebSocket {
        name: &'static str,
        found: String,
        wanted: String,
    },
    #[error("it chose the subprotocol `{found}`, which was not offered")]
    Subprotocol { found: String },
    #[error("it agreed to the extensions `{found}`, which were not offered so")]
    Extensions { found: String },
    #[error("the head of its answer has more than {HEAD_BYTES_MAX} bytes")]
    TooLong,
}

impl Opening {
    /// Makes the request for `target` at `host`.
    pub(super) fn new(target: &str, host: &str, options: &ConnectOptions) -> Opening {
        let mut nonce = [0; 16];
        super::fill_random(&mut nonce);
        Opening::with_key(&BASE64.encode(&nonce), target, host, options)
    }

    fn with_key(key: &str, target: &str, host: &str, options: &ConnectOptions) -> Opening {
        let mut request = format!("GET {target} HTTP/1.1\r\n");
        let mut line = |name: &str, value: &str| {
            // Writing into memory does not fail.
            let _ = write!(request, "{name}: {value}\r\n");
        };
        let own_host = options.header("host");
        line("Host", own_host.unwrap_or(host));
        line("Upgrade", "websocket");
        line("Connection", "Upgrade");
        line("Sec-WebSocket-Key", key);
        line("Sec-WebSocket-Version", "13");
        if !options.subprotocols.is_empty() {
            line("Sec-WebSocket-Protocol", &options.subprotocols.join(", "));
        }
        if options.compresses {
            line("Sec-WebSocket-Extensions", OFFER);
        }
        if let Some(origin) = &options.origin {
            line("Origin", origin);
        }
        for (name, value) in &options.headers {
            if !name.eq_ignore_ascii_case("host") {
                line(name, value);
            }
        }
        request += "\r\n";
        Opening {
            request,
            accept: accept(key),
            subprotocols: options.subprotocols.clone(),
            offers_compression: options.compresses,
        }
    }

    /// Judges a 101.
    pub(super) fn judge(&self, answer: &Answer) -> Result<Opened, AnswerError> {
        let wants = |name: &'static str, wanted: &str, is_right: fn(&str, &str) -> bool| {
            let found = answer.header(name).unwrap_or_default();
            match is_right(&found, wanted) {
                true => Ok(()),
                false => Err(AnswerError::NotWebSocket {
                    name,
                    found,
                    wanted: wanted.to_owned(),
                }),
            }
        };
        let is_listed = |found: &str, wanted: &str| {
            let mut listed = found.split(',');
            listed.any(|it| it.trim().eq_ignore_ascii_case(wanted))
        };
        wants("Upgrade", "websocket", str::eq_ignore_ascii_case)?;
        wants("Connection", "Upgrade", is_listed)?;
        wants("Sec-WebSocket-Accept", &self.accept, |found, wanted| {
            found == wanted
        })?;
        let subprotocol = answer.header("Sec-WebSocket-Protocol");
        if let Some(found) = &subprotocol
            && !self.subprotocols.contains(found)
        {
            let found = found.clone();
            return Err(AnswerError::Subprotocol { found });
        }
        let compression = match answer.header("Sec-WebSocket-Extensions") {
            None => None,
            Some(found) => match agree(&found).filter(|_| self.offers_compression) {
                None => return Err(AnswerError::Extensions { found }),
                agreed => agreed,
            },
        };
        Ok(Opened {
            subprotocol,
            compression,
        })
    }
}

impl Answer {
    /// Reads the head of an answer; `None` while it has not come whole.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Answer>, AnswerError> {
        let mut headers = [httparse::EMPTY_HEADER; HEADER_LINES_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => Ok(Some(Answer {
                status: response.code.unwrap_or_default(),
                reason: visible(response.reason.unwrap_or_default()),
                headers: response.headers.iter().map(header).collect(),
                length,
            })),
            Ok(httparse::Status::Partial) if bytes.len() > HEAD_BYTES_MAX => {
                Err(AnswerError::TooLong)
            }
            Ok(httparse::Status::Partial) => Ok(None),
            // An alert or a handshake record of TLS.
            Err(_) if matches!(bytes, [0x15 | 0x16, 3, ..]) => Err(AnswerError::Tls),
            Err(_) => {
                let beginning = &bytes[..bytes.len().min(BEGINNING_BYTES)];
                let beginning = visible(&String::from_utf8_lossy(beginning));
                Err(AnswerError::NotHttp { beginning })
            }
        }
    }

    /// The value of a header. Several lines of one name are one list (RFC 9110 §5.3).
    fn header(&self, name: &str) -> Option<String> {
        let lines = self.headers.iter();
        let lines = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let values: Vec<&str> = lines.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Whether another answer follows (RFC 9110 §15.2).
    pub(super) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// How many bytes of a body are worth waiting for.
    pub(super) fn body_bytes(&self) -> usize {
        let length = self.header("Content-Length");
        let length = length.and_then(|length| length.trim().parse().ok());
        length.unwrap_or(usize::MAX).min(BODY_BYTES_SHOWN)
    }

    /// The error of an answer that is no 101.
    pub(super) fn refusal(self, body: &[u8]) -> AnswerError {
        let location = self.header("Location");
        let (status, reason) = (self.status, self.reason);
        match location {
            Some(location) if (300..400).contains(&status) => AnswerError::Redirected {
                status,
                reason,
                location,
            },
            _ => AnswerError::Refused {
                status,
                reason,
                body: String::from_utf8_lossy(body).into_owned(),
            },
        }
    }
}

/// The body behind the status: on its line if it is one line, else below it.
fn shown_body(body: &str) -> String {
    let body = body.trim();
    let lines: Vec<String> = body.lines().map(visible).collect();
    match &lines[..] {
        [] => String::new(),
        [line] => format!(": {line}"),
        lines => format!(":\n  {}", lines.join("\n  ")),
    }
}

fn header(of: &httparse::Header<'_>) -> (String, String) {
    let value = String::from_utf8_lossy(of.value);
    (of.name.to_owned(), visible(value.trim()))
}

/// The text without anything that could steer a terminal.
fn visible(text: &str) -> String {
    let mut shown = String::new();
    value::push_message(&mut shown, text);
    shown
}

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455 §4.2.2).
fn accept(key: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::from(key);
    sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(&sha1.digest().bytes())
}

pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADER_LINES_MAX: usize = 128;
/// How much of a refusal's body is shown.
const BODY_BYTES_SHOWN: usize = 4 * 1024;
/// How much is shown of an answer that is no HTTP.
const BEGINNING_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn opening(options: &ConnectOptions) -> Opening {
        Opening::with_key(KEY, "/echo?a", "localhost:9998", options)
    }

    fn judged(opening: &Opening, more: &str) -> Result<Opened, String> {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\n{more}\r\n");
        let answer = Answer::parse(head.as_bytes()).unwrap().unwrap();
        opening.judge(&answer).map_err(|error| error.to_string())
    }

    const RIGHT: &str = "Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    #[test]
    fn the_request_is_that_of_the_rfc_with_what_was_asked_for() {
        let options = ConnectOptions {
            subprotocols: vec!["a".to_owned(), "b".to_owned()],
            origin: Some("http://a.example".to_owned()),
            headers: vec![
                ("Cookie".to_owned(), "c=1".to_owned()),
                ("Host".to_owned(), "b.example".to_owned()),
            ],
            compresses: true,
            ..ConnectOptions::default()
        };
        assert_eq!(
            opening(&options).request,
            format!(
                "GET /echo?a HTTP/1.1\r\nHost: b.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
                 Origin: http://a.example\r\nCookie: c=1\r\n\r\n"
            )
        );
    }

    #[test]
    fn a_101_opens_only_what_was_asked_for() {
        let plain = opening(&ConnectOptions::default());
        assert!(judged(&plain, RIGHT).is_ok());
        for (more, error) in [
            (
                "Upgrade: websocket\r\nConnection: close\r\n".to_owned(),
                "it is no WebSocket: `Connection` of its 101 is `close`, wants `Upgrade`",
            ),
            (
                RIGHT.replace("s3pP", "S3pP"),
                "it is no WebSocket: `Sec-WebSocket-Accept` of its 101 is `S3pPLMBiTxaQ9kYGzzhZRbK+xOo=`, \
                 wants `s3pPLMBiTxaQ9kYGzzhZRbK+xOo=`",
            ),
            (
                format!("{RIGHT}Sec-WebSocket-Protocol: a\r\n"),
                "it chose the subprotocol `a`, which was not offered",
            ),
            (
                format!("{RIGHT}Sec-WebSocket-Extensions: permessage-deflate\r\n"),
                "it agreed to the extensions `permessage-deflate`, which were not offered so",
            ),
        ] {
            assert_eq!(judged(&plain, &more).unwrap_err(), error);
        }
    }

    #[test]
    fn an_answer_that_opens_nothing_is_a_sentence() {
        let refused = |answer: &str, body: &str| {
            let answer = Answer::parse(answer.as_bytes()).unwrap().unwrap();
            answer.refusal(body.as_bytes()).to_string()
        };
        let head = "HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\n";
        assert_eq!(refused(head, ""), "it answered 403 Forbidden");
        assert_eq!(
            refused(head, "no\u{1b}[31m\n"),
            "it answered 403 Forbidden: no\\u{1b}[31m"
        );
        assert_eq!(
            refused(head, "a\nb\n"),
            "it answered 403 Forbidden:\n  a\n  b"
        );
        let head = "HTTP/1.1 301 Moved\r\nLocation: /there\r\n\r\n";
        assert_eq!(
            refused(head, ""),
            "it answered 301 Moved: it leads to `/there`"
        );
        for (bytes, error) in [
            (
                &b"\x15\x03\x01\x00\x02\x02\x0a"[..],
                "it speaks TLS there: `wss://` is HTTP over TLS",
            ),
            (
                b"SSH-2.0-x\r\n",
                "it does not speak HTTP: its answer begins with `SSH-2.0-x\\r\\n`",
            ),
        ] {
            assert_eq!(Answer::parse(bytes).unwrap_err().to_string(), error);
        }
    }
}
