//! The server's own HTTP answers: what an opening handshake becomes when no session comes of it.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsh::rules;

use crate::config::{DecidedBy, Origins};
use crate::connection::stopping::Stopping;
use crate::http::head::first_bytes::NotARequest;

/// Why a request gets no 101, or what else it gets.
#[derive(Debug)]
pub(crate) enum Reply {
    /// No handler and no file answers at this path.
    NoRoute,
    /// The path has a handler and the request asks for no upgrade.
    UpgradeRequired,
    /// `Sec-WebSocket-Version` is not 13.
    WrongVersion,
    /// A rule of RFC 6455 §4.2.1 or of HTTP is broken.
    Malformed(&'static str),
    /// What came is no request.
    NotARequest(NotARequest),
    /// The head is larger than the limits.
    HeadTooLarge,
    /// The request line alone is.
    TargetTooLong,
    /// The head did not come in time.
    TooSlow,
    /// The page's origin may not connect.
    OriginRefused(Box<OriginRefusal>),
    /// The server answers for no such host.
    HostRefused(Box<str>),
    /// There is no place for one more.
    Full(FullOf),
    /// The handler panicked too often.
    Quarantined { after: Duration },
    /// The handler gave no answer in time.
    NoAnswer,
    /// The server stops, and the handler has not answered yet.
    Stopping,
    /// The handler closed the session before it was open; with this code.
    ClosedEarly { code: u16 },
    /// The handler refuses.
    Refused {
        status: u16,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    },
    /// The handler failed or panicked.
    HandlerFailed,
    /// A document of the server's own.
    Json(String),
    /// A script of the server's own.
    Script(&'static str),
    /// A document of the server's own is only read.
    MethodNotAllowed { allowed: &'static [&'static str] },
}

/// A page that may not connect, and what its handler allows.
#[derive(Debug)]
pub(crate) struct OriginRefusal {
    pub(crate) handler: Arc<str>,
    pub(crate) origin: String,
    pub(crate) host: String,
    pub(crate) origins: Origins,
    /// Where that is decided.
    pub(crate) by: DecidedBy,
}

/// What there is no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FullOf {
    Connections,
    Handshakes,
    /// The handler's sessions.
    Handler,
    /// Files that are sent at a time.
    Files,
}

impl Reply {
    /// Each failure's status: the one place where it is decided.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Reply::Json(_) | Reply::Script(_) => 200,
            Reply::Malformed(_) => 400,
            Reply::NotARequest(what) => what.status(),
            Reply::OriginRefused(_) => 403,
            Reply::NoRoute => 404,
            Reply::MethodNotAllowed { .. } => 405,
            Reply::TooSlow => 408,
            Reply::TargetTooLong => 414,
            Reply::HostRefused(_) => 421,
            Reply::UpgradeRequired | Reply::WrongVersion => 426,
            Reply::HeadTooLarge => 431,
            Reply::HandlerFailed => 500,
            Reply::Full(_) | Reply::Quarantined { .. } | Reply::NoAnswer | Reply::Stopping => 503,
            Reply::ClosedEarly { code } => rules::status_of_close((*code).into()),
            Reply::Refused { status, .. } => *status,
        }
    }

    /// Answers once and closes: what the peer sent behind its request is never taken for another
    /// request (RFC 9931).
    ///
    /// The answer to a HEAD request has no body (RFC 9110 §9.3.2).
    pub(super) async fn send(
        self,
        socket: &mut TcpStream,
        is_head_request: bool,
        stopping: &Stopping,
    ) {
        let (mut bytes, body) = self.into_head_and_body();
        if !is_head_request {
            bytes.extend_from_slice(&body);
        }
        let all = async {
            socket.write_all(&bytes).await?;
            socket.shutdown().await?;
            linger(socket, stopping).await
        };
        // A peer that does not take its refusal does not get it.
        let _ = timeout(SEND_TIMEOUT, all).await;
    }

    fn into_head_and_body(self) -> (Vec<u8>, Vec<u8>) {
        let status = self.status();
        let reason = http::StatusCode::from_u16(status).ok();
        let reason = reason
            .and_then(|s| s.canonical_reason())
            .unwrap_or("Refused");
        let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
        let mut content_type = "text/plain; charset=utf-8";
        let mut line = |name: &str, value: &str| {
            let _ = write!(head, "{name}: {value}\r\n");
        };
        match &self {
            Reply::UpgradeRequired => line("Upgrade", "websocket"),
            Reply::MethodNotAllowed { allowed } => line("Allow", &allowed.join(", ")),
            Reply::WrongVersion => {
                line("Upgrade", "websocket");
                line("Sec-WebSocket-Version", "13");
            }
            Reply::Full(_) | Reply::NoAnswer | Reply::Stopping => line("Retry-After", "5"),
            Reply::Quarantined { after } => {
                // Whole seconds, and not too early.
                let seconds = after.as_millis().div_ceil(1_000).max(1);
                line("Retry-After", &seconds.to_string());
            }
            Reply::ClosedEarly { .. } if status == 503 => line("Retry-After", "5"),
            Reply::Json(_) => {
                content_type = "application/json";
                line("Cache-Control", "no-store");
            }
            Reply::Script(_) => {
                content_type = "text/javascript; charset=utf-8";
                line("Cache-Control", "no-store");
            }
            _ => {}
        }
        let (headers, body) = match self {
            Reply::Refused { headers, body, .. } => (headers, body),
            Reply::Json(document) => (Vec::new(), document.into_bytes()),
            Reply::Script(script) => (Vec::new(), script.as_bytes().to_vec()),
            other => (Vec::new(), format!("{}\n", other.text()).into_bytes()),
        };
        let has_body = rules::has_body(status);
        let body = if has_body { body } else { Vec::new() };
        // Of an answer that has no body they would speak of another one (RFC 9110 §8.6).
        if has_body {
            line("Content-Length", &body.len().to_string());
        }
        if has_body
            && !headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            line("Content-Type", content_type);
        }
        line(
            "Connection",
            if status == 426 {
                "close, Upgrade"
            } else {
                "close"
            },
        );
        let mut bytes = head.into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(&value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        (bytes, body)
    }

    /// Why, for the log: what the peer is told, and the key that decides it.
    pub(crate) fn reason(&self) -> Cow<'static, str> {
        let reason = match self {
            Reply::NotARequest(what) => return what.to_string().into(),
            Reply::HeadTooLarge => {
                "larger than `header_bytes_max`, or more lines than `header_lines_max`"
            }
            Reply::TargetTooLong => "a request line longer than `header_bytes_max`",
            Reply::TooSlow => "no whole request within `handshake_timeout_ms`",
            Reply::OriginRefused(_) => "the page's origin is not in `origins`",
            Reply::HostRefused(_) => "the request's host is not in `hosts`",
            Reply::Full(FullOf::Connections) => {
                "`connections_max`, or the limit of open files, is reached"
            }
            Reply::Full(FullOf::Handshakes) => "`pending_handshakes_max` is reached",
            Reply::Full(FullOf::Handler) => "the handler's `blocking_sessions_max` is reached",
            Reply::Full(FullOf::Files) => "the limit of open files is reached",
            Reply::NoAnswer => "the handler gave no answer within `handshake_timeout_ms`",
            Reply::Refused { .. } => "the handler refuses",
            other => other.text(),
        };
        reason.into()
    }

    fn text(&self) -> &'static str {
        match self {
            Reply::NoRoute => "nothing answers at this path",
            Reply::UpgradeRequired => "a WebSocket handler answers here; ask for an upgrade",
            Reply::WrongVersion => "this server speaks version 13 of the WebSocket protocol",
            Reply::Malformed(what) => what,
            Reply::NotARequest(_) => "this is no request of HTTP/1.1",
            Reply::HeadTooLarge => "the request's headers are larger than the limit",
            Reply::TargetTooLong => "the request's target is longer than the limit",
            Reply::TooSlow => "the request took too long",
            Reply::OriginRefused(_) => "pages of this origin may not connect",
            Reply::HostRefused(_) => "this server does not answer for this host",
            Reply::Full(_) => "no place for one more connection now",
            Reply::Quarantined { .. } => "the handler is out of service",
            Reply::NoAnswer => "the handler gave no answer in time",
            Reply::Stopping => "the server stops",
            Reply::ClosedEarly { .. } => "the handler closed this connection before it was open",
            Reply::HandlerFailed => "the handler failed",
            Reply::MethodNotAllowed { .. } => "this is only read",
            Reply::Refused { .. } | Reply::Json(_) | Reply::Script(_) => "",
        }
    }
}

/// Reads and drops until the peer closes: closing over unread bytes would reset the connection and
/// may take the answer with it. A server that stops waits no longer: the peer has its whole answer, and
/// what has come from it is read.
pub(crate) async fn linger(socket: &TcpStream, stopping: &Stopping) -> std::io::Result<()> {
    let dropped = drop_bytes(socket, LINGER_BYTES_MAX);
    stopping.unless_begun(dropped).await.unwrap_or(Ok(()))
}

/// Reads and drops so many bytes, or what comes until the peer closes.
pub(crate) async fn drop_bytes(socket: &TcpStream, mut bytes: usize) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    while bytes > 0 {
        socket.readable().await?;
        match socket.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => bytes = bytes.saturating_sub(length),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// From the first byte of an answer to the peer's end of the connection.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
