//! The server's own HTTP answers, most of which say why a request gets no session.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use wsh::rules;

use super::metrics_page;
use crate::auth::network::Network;
use crate::config::{AddressRefusal, DecidedBy, Origins};
use crate::connection::built_in_pages::PageAnswer;
use crate::connection::cross_origin::Preflight;
use crate::connection::health::HealthAnswer;
use crate::connection::retry_after::retry_after;
use crate::connection::stopping::Stopping;
use crate::generation::SessionsLimit;
use crate::http::head::first_bytes::NotARequest;
use crate::http::response::{NO_SNIFFING, ResponseHead};
use crate::transport::Transport;

/// An answer other than a 101 and a file.
#[derive(Debug)]
pub(crate) enum Reply {
    /// No handler and no file answers at this path.
    NoRoute,
    /// The target names another host or port than WebSockets are to name.
    InvalidTarget,
    /// The file of the handler at this path is refused, and it has no older generation.
    NotLoaded,
    /// The path has a handler and the request asks for no upgrade.
    UpgradeRequired,
    /// `Sec-WebSocket-Version` is not 13.
    WrongVersion,
    /// A rule of RFC 6455 §4.2.1 or of HTTP is broken.
    Malformed(&'static str),
    /// The bytes received are no request.
    NotARequest(NotARequest),
    /// The head has more bytes or lines than the limits allow.
    HeadTooLarge,
    /// The request line alone has more bytes than the limit of the head.
    TargetTooLong,
    /// The head did not come in time.
    TooSlow,
    /// The page's origin may not connect.
    OriginRefused(Box<OriginRefusal>),
    /// Nothing that the peer says of itself lets it in.
    Unauthorized(Challenge, Denial),
    /// The user, or the bearer of the token of this name, is not one of those who may enter here.
    UserRefused(Box<str>),
    /// Too many passwords from the peer's address were wrong, or wait to be compared.
    TooManyGuesses { after: Duration },
    /// The peer's address begins more connections in a second than it may.
    TooManyHandshakes,
    /// The peer's address may not have what lies there.
    AddressRefused(Box<AddressRefusal>),
    /// The server does not answer for this host.
    HostRefused(Box<str>),
    /// A limit is reached.
    Full(FullOf),
    /// The handler panicked too often, its callbacks hold the workers, or the operator wants no session of it.
    Quarantined { after: Duration, by_operator: bool },
    /// The handler gave no answer in time.
    NoAnswer,
    /// The server stops, and the handler has not answered yet.
    Stopping,
    /// The handler closed the session with this code before it was open.
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
    /// A page of metrics.
    Metrics(String),
    /// A script of the server's own.
    Script(&'static str),
    /// A page that is part of the program.
    Page(PageAnswer),
    /// What a load balancer asks.
    Health(HealthAnswer),
    /// The methods of what lies at the path.
    Options { allowed: &'static [&'static str] },
    /// A page from elsewhere may have its browser send the request that it is about to send.
    Preflight(Preflight),
    /// The request's method is not one that a document of the server's own takes.
    MethodNotAllowed { allowed: &'static [&'static str] },
}

/// A page that may not connect, and the origins that its handler allows.
#[derive(Debug)]
pub(crate) struct OriginRefusal {
    pub(crate) handler: Arc<str>,
    pub(crate) origin: String,
    pub(crate) host: String,
    pub(crate) origins: Origins,
    /// Where the configuration decides that.
    pub(crate) by: DecidedBy,
}

/// What a peer may say of itself to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// A user and a password (RFC 7617).
    pub(crate) basic: bool,
    /// A token (RFC 6750).
    pub(crate) bearer: bool,
}

/// Why a peer is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// It says nothing of itself that can let it in.
    Nothing,
    Password,
    Token,
}

/// What the server has as many of as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FullOf {
    Connections,
    /// Connections of the peer's address.
    Address {
        network: Network,
        max: usize,
    },
    Handshakes,
    /// Opening handshakes that begin within a second.
    HandshakeRate,
    /// The handler's sessions.
    Handler(SessionsLimit),
    /// Memory of the process.
    Memory,
    /// Files that are being sent.
    Files,
    /// Passwords that are being compared.
    Comparisons,
}

impl Reply {
    /// The status of the answer.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Reply::Json(_) | Reply::Metrics(_) | Reply::Script(_) | Reply::Options { .. } => 200,
            Reply::Preflight(_) => 204,
            Reply::Health(answer) => answer.status(),
            Reply::Page(answer) => answer.status(),
            Reply::Malformed(_) => 400,
            Reply::NotARequest(what) => what.status(),
            Reply::Unauthorized(..) => 401,
            Reply::OriginRefused(_) | Reply::UserRefused(_) | Reply::AddressRefused(_) => 403,
            Reply::NoRoute | Reply::InvalidTarget => 404,
            Reply::MethodNotAllowed { .. } => 405,
            Reply::TooSlow => 408,
            Reply::TargetTooLong => 414,
            Reply::HostRefused(_) => 421,
            Reply::UpgradeRequired | Reply::WrongVersion => 426,
            Reply::TooManyGuesses { .. } | Reply::TooManyHandshakes => 429,
            Reply::HeadTooLarge => 431,
            Reply::HandlerFailed => 500,
            Reply::NotLoaded
            | Reply::Full(_)
            | Reply::Quarantined { .. }
            | Reply::NoAnswer
            | Reply::Stopping => 503,
            Reply::ClosedEarly { code } => rules::status_of_close((*code).into()),
            Reply::Refused { status, .. } => *status,
        }
    }

    /// Answers once and ends the connection. What the peer sent behind its request is never taken for
    /// another request (RFC 9931). The answer to a HEAD request has no body (RFC 9110 §9.3.2).
    pub(super) async fn send(
        self,
        transport: &mut Transport,
        is_head_request: bool,
        stopping: &Stopping,
    ) {
        let (mut bytes, body) = self.into_head_and_body();
        if !is_head_request {
            bytes.extend_from_slice(&body);
        }
        let all = async {
            transport.write_all(&bytes).await?;
            transport.shutdown().await?;
            linger(transport.socket(), stopping).await
        };
        // A peer that does not read its answer in time does not get it.
        let _ = timeout(SEND_TIMEOUT, all).await;
    }

    fn into_head_and_body(self) -> (Vec<u8>, Vec<u8>) {
        let status = self.status();
        let mut head = ResponseHead::new(status);
        self.write_own_lines(&mut head);
        let default_type = self.content_type();
        let is_guarded = !matches!(self, Reply::Page(_) | Reply::Health(_));
        let (headers, body) = match self {
            Reply::Refused { headers, body, .. } => (headers, body),
            Reply::Json(document) | Reply::Metrics(document) => (Vec::new(), document.into_bytes()),
            Reply::Script(script) => (Vec::new(), script.as_bytes().to_vec()),
            Reply::Page(answer) => (Vec::new(), answer.into_body()),
            Reply::Health(answer) => (Vec::new(), answer.into_body()),
            Reply::Options { .. } | Reply::Preflight(_) => (Vec::new(), Vec::new()),
            other => (Vec::new(), format!("{}\n", other.text()).into_bytes()),
        };
        let is_said = |wanted: &str| {
            let mut names = headers.iter().map(|(name, _)| name);
            names.any(|name| name.eq_ignore_ascii_case(wanted))
        };
        if !is_said("Date") {
            head.date();
        }
        let has_body = rules::has_body(status);
        let body = if has_body { body } else { Vec::new() };
        // In an answer that has no body these lines would be about another answer (RFC 9110 §8.6).
        if has_body {
            head.number("Content-Length", body.len() as u64);
            if !is_said("Content-Type") {
                head.line("Content-Type", default_type);
            }
        }
        // A browser is not to take it for a script or a page. The pages of the program say so themselves, and health is a word
        // for load balancers.
        if has_body && is_guarded && !is_said(NO_SNIFFING.0) {
            head.line(NO_SNIFFING.0, NO_SNIFFING.1);
        }
        head.line(
            "Connection",
            match status {
                426 => "close, Upgrade",
                _ => "close",
            },
        );
        for (name, value) in headers {
            head.line(&name, value);
        }
        (head.into_bytes(), body)
    }

    /// Writes the header lines that only this reply has.
    fn write_own_lines(&self, head: &mut ResponseHead) {
        match self {
            Reply::UpgradeRequired => head.line("Upgrade", "websocket"),
            Reply::WrongVersion => {
                head.line("Upgrade", "websocket");
                head.line("Sec-WebSocket-Version", "13");
            }
            Reply::MethodNotAllowed { allowed } | Reply::Options { allowed } => {
                head.line("Allow", allowed.join(", "));
            }
            Reply::Preflight(preflight) => preflight.write_lines(head),
            Reply::Health(answer) => answer.write_lines(head),
            Reply::Full(_) | Reply::NoAnswer | Reply::NotLoaded | Reply::Stopping => {
                head.number("Retry-After", retry_after(Duration::ZERO));
            }
            Reply::TooManyHandshakes => {
                head.number("Retry-After", retry_after(Duration::from_secs(1)));
            }
            Reply::Unauthorized(challenge, denial) => challenge.write(*denial, head),
            Reply::Quarantined { after, .. } | Reply::TooManyGuesses { after } => {
                head.number("Retry-After", retry_after(*after));
            }
            Reply::ClosedEarly { .. } if self.status() == 503 => {
                head.number("Retry-After", retry_after(Duration::ZERO));
            }
            Reply::Json(_) | Reply::Metrics(_) | Reply::Script(_) => {
                head.line("Cache-Control", "no-store");
            }
            Reply::Page(answer) => answer.write_lines(head),
            _ => {}
        }
    }

    /// The type of the body, unless a handler says another.
    fn content_type(&self) -> &'static str {
        match self {
            Reply::Json(_) => "application/json",
            Reply::Metrics(_) => metrics_page::MEDIA_TYPE,
            Reply::Script(_) => "text/javascript; charset=utf-8",
            Reply::Page(answer) => answer.content_type(),
            Reply::Health(answer) => answer.content_type(),
            _ => "text/plain; charset=utf-8",
        }
    }

    /// What became of a request, as a word for metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Reply::NoRoute | Reply::InvalidTarget => "no_route",
            Reply::NotLoaded => "not_loaded",
            Reply::UpgradeRequired => "upgrade_required",
            Reply::TooSlow => "too_slow",
            Reply::OriginRefused(_) => "origin_refused",
            Reply::Unauthorized(..) => "unauthorized",
            Reply::UserRefused(_) => "user_refused",
            Reply::HostRefused(_) => "host_refused",
            Reply::Full(_) => "full",
            Reply::Quarantined { .. } => "quarantined",
            Reply::NoAnswer => "no_answer",
            Reply::Stopping => "stopping",
            Reply::ClosedEarly { .. } => "handler_closed",
            Reply::Refused { .. } => "handler_refused",
            Reply::HandlerFailed => "handler_failed",
            other => match other.status() {
                200..=399 => "answered",
                403 => "forbidden",
                405 => "method_not_allowed",
                414 | 431 => "too_large",
                429 => "too_many",
                500.. => "unavailable",
                _ => "malformed",
            },
        }
    }

    /// The key of the limit that it is for, if it is for one.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        match self {
            Reply::Full(FullOf::Connections) => Some("connections_max"),
            Reply::Full(FullOf::Handshakes) => Some("pending_handshakes_max"),
            Reply::Full(FullOf::Address { .. }) => Some("connections_per_address_max"),
            Reply::Full(FullOf::HandshakeRate) => Some("handshakes_per_s_max"),
            Reply::TooManyHandshakes => Some("handshakes_per_address_per_s_max"),
            Reply::Full(FullOf::Handler(limit)) => Some(limit.key()),
            Reply::Full(FullOf::Memory) => Some("memory_bytes_max"),
            Reply::Full(FullOf::Files) => Some("open_files"),
            Reply::Full(FullOf::Comparisons) | Reply::TooSlow | Reply::NoAnswer => {
                Some("handshake_timeout_ms")
            }
            Reply::HeadTooLarge | Reply::TargetTooLong => Some("header_bytes_max"),
            _ => None,
        }
    }

    /// The reason, for the log: what the peer is told, or the key of the configuration that decides it.
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
            Reply::InvalidTarget => {
                "the target's host or port is not that of `validation_host` or `validation_port`"
            }
            Reply::Full(FullOf::Connections) => {
                "`connections_max`, or the limit of open files, is reached"
            }
            Reply::Full(FullOf::Address { .. }) => {
                "`connections_per_address_max` is reached by the peer's address"
            }
            Reply::Full(FullOf::Handshakes) => "`pending_handshakes_max` is reached",
            Reply::Full(FullOf::HandshakeRate) => "`handshakes_per_s_max` is reached",
            Reply::TooManyHandshakes => {
                "`handshakes_per_address_per_s_max` is reached by the peer's address"
            }
            Reply::Full(FullOf::Handler(limit)) => {
                return format!("the handler's `{}` is reached", limit.key()).into();
            }
            Reply::Full(FullOf::Memory) => {
                "85 % of the memory that the process may have are taken (`memory_bytes_max`)"
            }
            Reply::Full(FullOf::Files) => "the limit of open files is reached",
            Reply::Full(FullOf::Comparisons) => {
                "the password was not compared within `handshake_timeout_ms`"
            }
            Reply::Unauthorized(_, denial) => match denial {
                Denial::Nothing => "no user and no token",
                Denial::Password => "wrong user or password",
                Denial::Token => "unknown token",
            },
            Reply::AddressRefused(refusal) => return refusal.to_string().into(),
            Reply::UserRefused(user) => {
                return format!("the user `{user}` may not enter here").into();
            }
            Reply::Quarantined {
                by_operator: true, ..
            } => "the operator has taken the handler out of service; `wshd release` takes it back",
            Reply::Quarantined { .. } => {
                "the handler is out of service, at first for `quarantine_ms`"
            }
            Reply::NoAnswer => "the handler gave no answer within `handshake_timeout_ms`",
            Reply::Refused { .. } => "the handler refuses",
            other => other.text(),
        };
        reason.into()
    }

    /// What the peer is told.
    fn text(&self) -> &'static str {
        match self {
            Reply::NoRoute | Reply::InvalidTarget => "nothing answers at this path",
            Reply::NotLoaded => {
                "the file of the handler at this path is refused; the server's log says why"
            }
            Reply::UpgradeRequired => "a WebSocket handler answers here; ask for an upgrade",
            Reply::WrongVersion => "this server speaks version 13 of the WebSocket protocol",
            Reply::Malformed(what) => what,
            Reply::NotARequest(NotARequest::Plain) => {
                "this port speaks TLS; use https:// or wss://"
            }
            Reply::NotARequest(_) => "this is no request of HTTP/1.1",
            Reply::HeadTooLarge => "the request's headers are larger than the limit",
            Reply::TargetTooLong => "the request's target is longer than the limit",
            Reply::TooSlow => "the request took too long",
            Reply::OriginRefused(_) => "pages of this origin may not connect",
            Reply::Unauthorized(challenge, _) => challenge.text(),
            Reply::UserRefused(_) => "this user may not enter here",
            Reply::AddressRefused(_) => "your address may not have this",
            Reply::TooManyGuesses { .. } => {
                "too many wrong passwords, or too many that are not compared yet; try again later"
            }
            Reply::TooManyHandshakes => {
                "too many connections from your address within a second; try again later"
            }
            Reply::HostRefused(_) => "this server does not answer for this host",
            Reply::Full(FullOf::Address { .. }) => {
                "your address has as many connections as it may have now"
            }
            Reply::Full(_) => "no place for one more connection now",
            Reply::Quarantined {
                by_operator: true, ..
            } => "the handler is taken out of service for now",
            Reply::Quarantined { .. } => "the handler is out of service",
            Reply::NoAnswer => "the handler gave no answer in time",
            Reply::Stopping => "the server stops",
            Reply::ClosedEarly { .. } => "the handler closed this connection before it was open",
            Reply::HandlerFailed => "the handler failed",
            Reply::MethodNotAllowed { .. } => "this is only read",
            Reply::Refused { .. }
            | Reply::Json(_)
            | Reply::Metrics(_)
            | Reply::Script(_)
            | Reply::Page(_)
            | Reply::Health(_)
            | Reply::Options { .. }
            | Reply::Preflight(_) => "",
        }
    }
}

impl Challenge {
    /// Writes one line for each scheme (RFC 9110 §11.6.1).
    fn write(self, denial: Denial, head: &mut ResponseHead) {
        if self.basic {
            head.line("WWW-Authenticate", BASIC);
        }
        if self.bearer {
            let bearer = match denial {
                Denial::Token => BEARER_AFTER_A_TOKEN,
                Denial::Nothing | Denial::Password => BEARER,
            };
            head.line("WWW-Authenticate", bearer);
        }
    }

    fn text(self) -> &'static str {
        match (self.basic, self.bearer) {
            (_, false) => "a user and a password are needed",
            (false, true) => "a token is needed",
            (true, true) => "a user and a password, or a token, are needed",
        }
    }
}

/// Ends a connection whose peer gets no answer of HTTP, but may have to be told something else first.
pub(super) async fn end_unanswered(transport: &mut Transport, stopping: &Stopping) {
    let all = async {
        transport.shutdown().await?;
        linger(transport.socket(), stopping).await
    };
    let _ = timeout(SEND_TIMEOUT, all).await;
}

/// Reads and drops bytes until the peer closes. To close over unread bytes would reset the connection,
/// and the peer might lose its answer. A server that stops waits only a moment for the peer to close.
pub(super) async fn linger(socket: &TcpStream, stopping: &Stopping) -> std::io::Result<()> {
    tokio::select! {
        biased;
        dropped = drop_bytes(socket, LINGER_BYTES_MAX) => dropped,
        () = stopping.begun_for(STOPPED_LINGER) => Ok(()),
    }
}

/// Reads and drops so many bytes of a socket, or fewer when the peer closes before. With TLS they are ciphertext.
pub(super) async fn drop_bytes(socket: &TcpStream, mut bytes: usize) -> std::io::Result<()> {
    while bytes > 0 {
        socket.readable().await?;
        // Made anew each time, so that a future that waits does not hold it.
        let mut buffer = [0; 4096];
        match socket.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => bytes = bytes.saturating_sub(length),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Names and passwords come in UTF-8 (RFC 7617 §2.1).
const BASIC: &str = "Basic realm=\"wshd\", charset=\"UTF-8\"";
const BEARER: &str = "Bearer realm=\"wshd\"";
/// RFC 6750 §3.1.
const BEARER_AFTER_A_TOKEN: &str = "Bearer realm=\"wshd\", error=\"invalid_token\"";
/// How long an answer may take, the wait for the peer to close included.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a server that stops waits for a peer that has its answer to close.
const STOPPED_LINGER: Duration = Duration::from_millis(500);
/// Bytes that are read of a peer that has its answer.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
