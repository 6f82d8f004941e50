//! What becomes of a handler's answer to an opening handshake: a session behind a 101, a refusal, or
//! bytes of the handler's own.

use tracing::warn;
use wsh::rules::RawThen;

use super::pending::PendingHandshake;
use super::raw_reply::RawReply;
use super::rules;
use crate::border::calls::HandshakeAnswer;
use crate::border::raw_table::RawAnswer;
use crate::border::response_draft::Draft;
use crate::connection::next_step::NextStep;
use crate::connection::reply::Reply;
use crate::generation::Generation;
use crate::generation::owners::HandshakeOwner;
use crate::http::head::Head;
use crate::session::UnusualNames;
use crate::sessions::registry::Registration;
use crate::ws::deflate::Agreement;

/// An opening handshake that its handler accepts, and what its session begins with.
pub(in crate::connection) struct AcceptedHandshake {
    pub(in crate::connection) registration: Registration,
    pub(in crate::connection) owner: HandshakeOwner,
    /// The chosen subprotocol, or empty.
    pub(in crate::connection) protocol: String,
    /// Whether and how messages are compressed.
    pub(in crate::connection) deflate: Option<Agreement>,
    /// The first bytes that the peer is sent: the 101, or what the handler puts in its place.
    pub(in crate::connection) answer: Vec<u8>,
}

impl AcceptedHandshake {
    /// The path that the peer asked for, unless it is the handler's own, and the user if there is one.
    pub(in crate::connection) fn unusual_names(&self) -> Option<Box<UnusualNames>> {
        let request = self.owner.request();
        let (path, user) = (request.path(), request.user());
        let is_own = path.strip_prefix('/') == Some(&*self.owner.generation().handler);
        if is_own && user.is_empty() {
            return None;
        }
        Some(Box::new(UnusualNames {
            path: (!is_own).then(|| path.into()),
            user: (!user.is_empty()).then(|| user.into()),
        }))
    }
}

impl PendingHandshake {
    /// The step that the handler's answer leads to.
    pub(super) fn conclude(mut self, answer: HandshakeAnswer) -> NextStep {
        match answer {
            HandshakeAnswer::Accept => match self.draft.take_raw() {
                None => NextStep::OpenSession(self.accept()),
                Some(raw) => self.answer_raw(*raw),
            },
            HandshakeAnswer::Reject => {
                let reply = refusal(&mut self.draft);
                self.refuse(reply)
            }
            HandshakeAnswer::Abort => NextStep::Abort {
                request: self.refused(),
            },
            HandshakeAnswer::Failed | HandshakeAnswer::Panicked => {
                self.refuse(Reply::HandlerFailed)
            }
            // Its caller asks the handler again instead.
            HandshakeAnswer::Pending => self.refuse(Reply::NoAnswer),
        }
    }

    fn accept(self) -> AcceptedHandshake {
        let generation = self.owner.generation();
        if self.draft.chooses_no_protocol() && generation.context.is_first_to_pass_over_protocols()
        {
            warn!(
                handler = %generation.handler,
                generation = generation.number,
                offered = %self.draft.offered.join(", "),
                "client offers subprotocols and the handler chooses none; a browser ends such a connection",
            );
        }
        let deflate = self.agree();
        let answer = switching_protocols(&self.draft, deflate.as_ref());
        self.accept_with(answer, deflate)
    }

    fn accept_with(self, answer: Vec<u8>, deflate: Option<Agreement>) -> AcceptedHandshake {
        AcceptedHandshake {
            registration: self.registration,
            owner: self.owner,
            protocol: self.draft.protocol.unwrap_or_default(),
            deflate,
            answer,
        }
    }

    /// The step of a handler that answers in bytes of its own.
    #[cold]
    fn answer_raw(self, raw: RawAnswer) -> NextStep {
        let RawAnswer { mut bytes, then } = raw;
        match then {
            RawThen::Close { linger } => NextStep::SendRaw {
                reply: RawReply { bytes, linger },
                request: self.refused(),
            },
            RawThen::Continue => {
                let deflate = self.agree();
                bytes.extend_from_slice(&switching_protocols(&self.draft, deflate.as_ref()));
                NextStep::OpenSession(self.accept_with(bytes, deflate))
            }
            // What the bytes say of extensions, right or wrong, is not looked at.
            RawThen::Open => NextStep::OpenSession(self.accept_with(bytes, None)),
        }
    }

    /// What is compressed and how, if the client, the configuration and the handler all want it.
    fn agree(&self) -> Option<Agreement> {
        agree(
            self.owner.request().head(),
            &self.draft,
            self.owner.generation(),
        )
    }
}

fn agree(head: &Head, draft: &Draft, generation: &Generation) -> Option<Agreement> {
    if !draft.allows_deflate() {
        return None;
    }
    let policy = &generation.settings().session.deflate;
    let budget = &generation.context.shared.deflate_budget;
    Agreement::reach(&rules::offers(head).ok()?, policy, budget)
}

/// The refusal in the handler's words; 403 where it has none.
fn refusal(draft: &mut Draft) -> Reply {
    let (status, body) = match draft.rejection.take() {
        Some(rejection) => (rejection.status, rejection.body),
        None => (403, Vec::new()),
    };
    Reply::Refused {
        status,
        headers: std::mem::take(&mut draft.headers),
        body,
    }
}

/// The 101 (RFC 6455 §4.2.2).
fn switching_protocols(draft: &Draft, deflate: Option<&Agreement>) -> Vec<u8> {
    let mut answer = Vec::with_capacity(256);
    answer.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: ",
    );
    answer.extend_from_slice(draft.accept_key().as_bytes());
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
