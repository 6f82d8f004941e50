//! The opening handshake (RFC 6455 §4.2): from a request head to a session, or to a refusal.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use tokio::net::TcpStream;
use tracing::warn;
use tungstenite::handshake::derive_accept_key;

use crate::config::Origins;
use crate::generation::{Generation, Stay};
use crate::head::Head;
use crate::mailbox::Registration;
use crate::origin;
use crate::plugin::calls::{Answer, Attempt};
use crate::plugin::request::{Particulars, Request};
use crate::plugin::response::{Draft, is_token_byte};
use crate::reply::Reply;
use crate::router::Entrance;
use crate::session::{About, Opening, Session};
use crate::target::Target;
use crate::wire::Wire;
use crate::ws::deflate::Agreement;
use crate::ws::extension::{self, Offer};

/// A request for an upgrade that found its handler.
pub(crate) struct Knock {
    pub(crate) socket: TcpStream,
    pub(crate) head: Head,
    pub(crate) target: Target,
    /// What came behind the head.
    pub(crate) early: Vec<u8>,
    pub(crate) about: About,
    /// When the whole handshake must be over.
    pub(crate) deadline: Instant,
}

/// What became of it.
pub(crate) enum Outcome {
    /// A 101 is queued and the handler has its session.
    Session(Box<Session>),
    /// An answer is to be sent.
    Reply(TcpStream, Reply),
    /// The connection is dropped without a byte.
    Dropped,
}

/// Carries a handshake through to its outcome.
pub(crate) async fn shake(knock: Knock, entrance: Entrance) -> Outcome {
    let Entrance { stay, params } = entrance;
    let generation = stay.generation().clone();
    let checked = match check(&knock.head, &generation) {
        Ok(checked) => checked,
        Err(reply) => return Outcome::Reply(knock.socket, reply),
    };
    if generation.is_quarantined() {
        return Outcome::Reply(knock.socket, Reply::Quarantined);
    }
    let bytes_max = generation.settings().session.outbound_bytes_max;
    let sessions = &generation.context.shared.sessions;
    let registration = sessions.register(&generation.handler, generation.number, bytes_max);

    let hold = &generation.context.hold;
    if hold.is_on() {
        let id = registration.mailbox().id;
        let released = poll_fn(|cx| match hold.wait(id, cx.waker()) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        });
        if tokio::time::timeout_at(knock.deadline.into(), released)
            .await
            .is_err()
        {
            return Outcome::Reply(knock.socket, Reply::Quarantined);
        }
    }

    let Knock {
        socket,
        head,
        target,
        mut early,
        about,
        deadline,
    } = knock;
    let head = Arc::new(head);
    let request = Request::new(Particulars {
        id: registration.mailbox().id,
        head: head.clone(),
        path: target.path,
        query: target.query,
        host: checked.host,
        origin: checked.origin,
        remote_addr: about.peer.to_string(),
        protocols: checked.protocols.clone(),
        params,
    });
    let mut attempt = generation.plugin.attempt();
    let asked = Asked {
        request: &request,
        offered: checked.protocols,
    };
    let answer = ask(
        &asked,
        &mut attempt,
        &registration,
        &socket,
        &mut early,
        &stay,
        deadline,
    );
    let draft = match answer.await {
        Asking::Accepted(draft) => draft,
        Asking::Refused(reply) => return Outcome::Reply(socket, reply),
        Asking::Dropped => return Outcome::Dropped,
    };
    let deflate = agree(&head, &draft, &generation);
    let answer = switching_protocols(&checked.key, &draft, deflate.as_ref());
    let protocol = draft.protocol.unwrap_or_default().into();
    let opening = Opening {
        request,
        attempt,
        protocol,
        deflate,
        answer,
        early,
    };
    Outcome::Session(Box::new(Session::open(
        stay,
        registration,
        Wire::new(socket),
        opening,
        about,
    )))
}

/// What the rules of §4.2.1 leave.
struct Checked {
    key: Vec<u8>,
    host: String,
    origin: String,
    protocols: Vec<String>,
}

fn check(head: &Head, generation: &Generation) -> Result<Checked, Reply> {
    if head.method() != b"GET" {
        return Err(Reply::Malformed("an opening handshake is a GET"));
    }
    if !head.is_http_1_1() {
        return Err(Reply::Malformed("an opening handshake is HTTP/1.1"));
    }
    if !head
        .elements("connection")
        .any(|token| token.eq_ignore_ascii_case(b"upgrade"))
    {
        return Err(Reply::Malformed("`Connection` does not list `Upgrade`"));
    }
    let has_length = head.values("content-length").any(|value| value != b"0");
    if has_length || head.values("transfer-encoding").next().is_some() {
        return Err(Reply::Malformed("an opening handshake has no body"));
    }
    let host = single(head, "host", "`Host` stands more than once")?;
    let host = host.ok_or(Reply::Malformed("`Host` is missing"))?;
    let host = plain_text(host).ok_or(Reply::Malformed("`Host` is not plain text"))?;
    match single(
        head,
        "sec-websocket-version",
        "`Sec-WebSocket-Version` stands more than once",
    )? {
        Some(b"13") => {}
        Some(_) => return Err(Reply::WrongVersion),
        None => return Err(Reply::Malformed("`Sec-WebSocket-Version` is missing")),
    }
    let key = single(
        head,
        "sec-websocket-key",
        "`Sec-WebSocket-Key` stands more than once",
    )?;
    let key = key.filter(|key| is_key(key));
    let key = key.ok_or(Reply::Malformed(
        "`Sec-WebSocket-Key` is not 16 bytes in base64",
    ))?;
    let protocols = protocols(head)?;
    offers(head)?;
    let origin = single(head, "origin", "`Origin` stands more than once")?;
    let origin = origin.map(plain_text);
    let origin = origin.unwrap_or(Some(String::new()));
    let origin = origin.ok_or(Reply::Malformed("`Origin` is not plain text"))?;
    if head.values("origin").next().is_some() {
        check_origin(&generation.settings().origins, &origin, &host, generation)?;
    }
    Ok(Checked {
        key: key.to_vec(),
        host,
        origin,
        protocols,
    })
}

fn check_origin(
    origins: &Origins,
    origin: &str,
    host: &str,
    generation: &Generation,
) -> Result<(), Reply> {
    if origin::is_allowed(origins, origin, host) {
        return Ok(());
    }
    warn!(
        handler = %generation.handler,
        origin = %origin.escape_debug(),
        host = %host.escape_debug(),
        "origin refused; to allow it: origins = {} in config.toml",
        origin::allowing(origins, origin)
    );
    Err(Reply::OriginRefused)
}

struct Asked<'a> {
    request: &'a Request,
    offered: Vec<String>,
}

enum Asking {
    Accepted(Draft),
    Refused(Reply),
    Dropped,
}

/// Asks the handler, again after each wake while it says PENDING.
async fn ask(
    asked: &Asked<'_>,
    attempt: &mut Attempt,
    registration: &Registration,
    socket: &TcpStream,
    early: &mut Vec<u8>,
    stay: &Stay,
    deadline: Instant,
) -> Asking {
    let generation = stay.generation();
    // One for all calls: what the handler said before it asked for time still holds.
    let mut draft = Draft::new(asked.offered.clone());
    loop {
        match generation
            .plugin
            .handshake(generation.context, asked.request, &mut draft, attempt)
        {
            Answer::Accept => return Asking::Accepted(draft),
            Answer::Reject => return Asking::Refused(refusal(draft)),
            Answer::Abort => return Asking::Dropped,
            Answer::Failed => return Asking::Refused(Reply::HandlerFailed),
            Answer::Panicked => {
                generation.record_panic();
                return Asking::Refused(Reply::HandlerFailed);
            }
            Answer::Pending => {}
        }
        tokio::select! {
            () = woken(registration) => {}
            () = left(socket, early) => return Asking::Dropped,
            () = tokio::time::sleep_until(deadline.into()) => {
                return Asking::Refused(Reply::NoAnswer);
            }
        }
    }
}

/// Ends when the handler calls `wake` with the request's id.
async fn woken(registration: &Registration) {
    std::future::poll_fn(|cx| {
        loop {
            if registration.mailbox().take().is_some_and(|post| post.woken) {
                return std::task::Poll::Ready(());
            }
            if !registration.mailbox().listen(cx.waker()) {
                return std::task::Poll::Pending;
            }
        }
    })
    .await;
}

/// Ends when the peer is gone. What it sends early is kept, up to a limit.
async fn left(socket: &TcpStream, early: &mut Vec<u8>) {
    loop {
        if early.len() >= EARLY_BYTES_MAX {
            return std::future::pending().await;
        }
        if socket.readable().await.is_err() {
            return;
        }
        match socket.try_read_buf(early) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn refusal(draft: Draft) -> Reply {
    let (status, body) = match draft.rejection {
        Some(rejection) => (rejection.status, rejection.body),
        None => (403, Vec::new()),
    };
    Reply::Refused {
        status,
        headers: draft.headers,
        body,
    }
}

/// The 101 (§4.2.2).
fn switching_protocols(key: &[u8], draft: &Draft, deflate: Option<&Agreement>) -> Vec<u8> {
    let mut answer = Vec::with_capacity(256);
    answer.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    answer.extend_from_slice(derive_accept_key(key).as_bytes());
    answer.extend_from_slice(b"\r\n");
    let mut line = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            answer.extend_from_slice(part);
        }
    };
    if let Some(protocol) = &draft.protocol {
        line(b"Sec-WebSocket-Protocol", protocol.as_bytes());
    }
    if let Some(deflate) = deflate {
        line(b"Sec-WebSocket-Extensions", deflate.response().as_bytes());
    }
    for (name, value) in &draft.headers {
        line(name.as_bytes(), value);
    }
    answer.extend_from_slice(b"\r\n");
    answer
}

/// What is compressed and how, if the client, the configuration and the handler all want it.
fn agree(head: &Head, draft: &Draft, generation: &Generation) -> Option<Agreement> {
    if !draft.allows_deflate() {
        return None;
    }
    let policy = &generation.settings().session.deflate;
    let budget = &generation.context.shared.deflate_budget;
    Agreement::reach(&offers(head).ok()?, policy, budget)
}

/// The extensions that the client offers.
fn offers(head: &Head) -> Result<Vec<Offer<'_>>, Reply> {
    let offers = extension::parse(head.values("sec-websocket-extensions"));
    offers.map_err(|_| Reply::Malformed("`Sec-WebSocket-Extensions` is not a list of extensions"))
}

/// The subprotocols that the client offers, each once, in its order.
fn protocols(head: &Head) -> Result<Vec<String>, Reply> {
    let mut protocols = Vec::new();
    for element in head.elements("sec-websocket-protocol") {
        let text = std::str::from_utf8(element).ok();
        let text = text.filter(|text| text.bytes().all(is_token_byte));
        let text = text.ok_or(Reply::Malformed(
            "`Sec-WebSocket-Protocol` is not a list of tokens",
        ))?;
        if !protocols.iter().any(|known| known == text) {
            protocols.push(text.to_owned());
        }
    }
    Ok(protocols)
}

fn single<'a>(
    head: &'a Head,
    name: &'a str,
    fault: &'static str,
) -> Result<Option<&'a [u8]>, Reply> {
    head.value(name).map_err(|_| Reply::Malformed(fault))
}

/// Text without control characters.
fn plain_text(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    (!text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// Whether `key` is the base64 of 16 bytes: 22 digits, the last with four zero bits, and padding.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, b"==")) = key.split_at_checked(22) else {
        return false;
    };
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    digits.iter().all(is_digit) && matches!(digits[21], b'A' | b'Q' | b'g' | b'w')
}

/// Bytes that a peer may send while its handler has not answered.
const EARLY_BYTES_MAX: usize = 64 * 1024;
