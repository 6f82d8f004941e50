//! The opening handshake (RFC 6455 §4.2): from a request head to a session, or to a refusal.

pub(crate) mod raw_reply;
pub(crate) mod rules;

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tracing::warn;
use wsh::rules::RawThen;

use self::raw_reply::RawReply;
use self::rules::Checked;
use crate::border::calls::Answer;
use crate::border::hold::Hold;
use crate::border::raw::RawAnswer;
use crate::border::request::{Particulars, Request};
use crate::border::response::Draft;
use crate::config::DecidedBy;
use crate::connection::maybe_future::MaybeFuture;
use crate::connection::origin;
use crate::connection::reply::{OriginRefusal, Reply};
use crate::generation::Generation;
use crate::generation::owners::HandshakeOwner;
use crate::http::head::Head;
use crate::http::target::Target;
use crate::outbound::wire::Wire;
use crate::router::RouteMatch;
use crate::session::{About, Opening, Session};
use crate::sessions::mailbox::Knocked;
use crate::sessions::permits::Permit;
use crate::sessions::registry::Registration;
use crate::ws::deflate::Agreement;

/// A request for an upgrade that found its handler.
pub(crate) struct Knock {
    pub(crate) socket: TcpStream,
    pub(crate) head: Head,
    pub(crate) target: Target,
    /// The host that the request is for.
    pub(crate) host: String,
    /// What came behind the head.
    pub(crate) early: Vec<u8>,
    pub(crate) about: About,
    /// When the whole handshake must be over.
    pub(crate) deadline: Instant,
    /// It is under way.
    pub(crate) pending: Permit,
}

impl Knock {
    fn refuse(self, reply: Reply) -> Outcome {
        Outcome::Refused {
            socket: self.socket,
            reply,
            path: self.target.path,
        }
    }
}

/// What became of it.
pub(crate) enum Outcome {
    /// A 101 is queued and the handler has its session.
    Session(Box<Session>),
    /// There is no session; an answer is to be sent.
    Refused {
        socket: TcpStream,
        reply: Reply,
        /// What was asked for.
        path: String,
    },
    /// The handler has the connection dropped without a byte.
    Aborted {
        /// What was asked for.
        path: String,
    },
    /// The handler answers in bytes of its own, and wants no session.
    RawReply {
        raw_reply: RawReply,
        /// What was asked for.
        path: String,
    },
    /// The peer is gone.
    Dropped,
}

/// Carries a handshake through to its outcome.
pub(crate) fn shake(knock: Knock, route: RouteMatch) -> MaybeFuture<Outcome> {
    let generation = route.generation_ref.generation();
    let checked = match check(&knock, generation) {
        Ok(checked) => checked,
        Err(reply) => return MaybeFuture::Ready(knock.refuse(reply)),
    };
    if let Err(after) = generation.context.let_in() {
        return MaybeFuture::Ready(knock.refuse(Reply::Quarantined { after }));
    }
    let is_held = generation.context.hold.is_on();
    let mut asked = Asked::new(knock, route, checked);
    if is_held {
        return MaybeFuture::wait_for(asked.wait(true));
    }
    match asked.ask() {
        Answer::Pending => MaybeFuture::wait_for(asked.wait(false)),
        answer => MaybeFuture::Ready(asked.conclude(answer)),
    }
}

fn check(knock: &Knock, generation: &Generation) -> Result<Checked, Reply> {
    let checked = rules::check(&knock.head)?;
    if knock.head.values("origin").next().is_some() {
        check_origin(&checked.origin, &knock.host, generation)?;
    }
    Ok(checked)
}

fn check_origin(origin: &str, host: &str, generation: &Generation) -> Result<(), Reply> {
    let settings = generation.settings();
    if generation.judges_origins() && settings.origins_by != DecidedBy::Table {
        return Ok(());
    }
    if origin::is_allowed(&settings.origins, origin, host) {
        return Ok(());
    }
    Err(Reply::OriginRefused(Box::new(OriginRefusal {
        handler: generation.handler.clone(),
        origin: origin.to_owned(),
        host: host.to_owned(),
        origins: settings.origins.clone(),
        by: settings.origins_by,
    })))
}

/// What happens to a handshake while its handler has not answered.
enum News {
    /// The handler's sessions are not held back any more.
    Released,
    /// The handler called `wake`.
    Woken,
    /// The handler closes what would become of it.
    Closed {
        code: u16,
    },
    PeerGone,
    /// The deadline came.
    Late,
}

/// A request before its handler.
// The fields are dropped in this order: the id is gone first, so that nothing is posted to a
// handshake that is over; then what the handler has of it; the places last.
struct Asked {
    registration: Registration,
    owner: HandshakeOwner,
    socket: TcpStream,
    about: About,
    deadline: Instant,
    /// One for all calls: what the handler said before it asked for time still holds.
    draft: Draft,
    early: Vec<u8>,
    _pending: Permit,
}

impl Asked {
    fn new(knock: Knock, route: RouteMatch, checked: Checked) -> Asked {
        let RouteMatch {
            generation_ref,
            params,
        } = route;
        let generation = generation_ref.generation();
        let bytes_max = generation.settings().session.outbound_bytes_max;
        let sessions = &generation.context.shared.sessions;
        let registration = sessions.register(&generation.handler, generation.number, bytes_max);
        let may_be_raw = generation.context.rights.raw;
        let id = registration.mailbox().id;
        let draft = Draft::new(id, checked.key, checked.protocols.clone(), may_be_raw);
        let request = Request::new(Particulars {
            id,
            head: knock.head,
            path: knock.target.path,
            query: knock.target.query,
            host: knock.host,
            origin: checked.origin,
            remote_addr: knock.about.peer.to_string(),
            // No proxy is trusted.
            client_addr: None,
            protocols: checked.protocols,
            params,
        });
        Asked {
            registration,
            owner: HandshakeOwner::new(generation_ref, request),
            draft,
            socket: knock.socket,
            about: knock.about,
            deadline: knock.deadline,
            early: knock.early,
            _pending: knock.pending,
        }
    }

    /// Asks the handler.
    fn ask(&mut self) -> Answer {
        self.owner.ask(&mut self.draft)
    }

    /// Waits for what happens to it, and asks the handler when that is worth it, until there is an
    /// answer. `is_held`: the handler's sessions are held back, so it is not to be asked now.
    async fn wait(mut self, mut is_held: bool) -> Outcome {
        loop {
            match self.news(is_held).await {
                News::Woken if is_held => {}
                News::Woken if self.hold().is_on() => is_held = true,
                News::Woken | News::Released => {
                    is_held = false;
                    match self.ask() {
                        Answer::Pending => {}
                        answer => return self.conclude(answer),
                    }
                }
                News::Closed { code } => {
                    return self.refuse(Reply::ClosedEarly { code });
                }
                News::PeerGone => return Outcome::Dropped,
                News::Late if is_held => {
                    return self.refuse(Reply::Quarantined { after: HOLD_PAUSE });
                }
                News::Late => return self.refuse(Reply::NoAnswer),
            }
        }
    }

    async fn news(&mut self, is_held: bool) -> News {
        let hold = self.hold();
        tokio::select! {
            knocked = knocked(&self.registration) => match knocked {
                Knocked::Woken => News::Woken,
                Knocked::Closed { code } => News::Closed { code },
            },
            () = released(hold, &self.registration), if is_held => News::Released,
            () = left(&self.socket, &mut self.early) => News::PeerGone,
            () = tokio::time::sleep_until(self.deadline.into()) => News::Late,
        }
    }

    fn hold(&self) -> &'static Hold {
        &self.owner.generation().context.hold
    }

    fn conclude(mut self, answer: Answer) -> Outcome {
        let reply = match answer {
            Answer::Accept => {
                return match self.draft.take_raw() {
                    None => Outcome::Session(Box::new(self.accept())),
                    Some(raw) => self.answer_raw(*raw),
                };
            }
            Answer::Abort => {
                let path = self.owner.request().path().to_owned();
                return Outcome::Aborted { path };
            }
            // It is asked again instead.
            Answer::Pending => Reply::NoAnswer,
            Answer::Reject => refusal(&mut self.draft),
            Answer::Failed | Answer::Panicked => Reply::HandlerFailed,
        };
        self.refuse(reply)
    }

    fn refuse(self, reply: Reply) -> Outcome {
        Outcome::Refused {
            path: self.owner.request().path().to_owned(),
            socket: self.socket,
            reply,
        }
    }

    /// Makes the session of it.
    fn accept(self) -> Session {
        let head = self.owner.request().head();
        let generation = self.owner.generation();
        if self.draft.chooses_no_protocol() && generation.context.passes_over_protocols() {
            warn!(
                handler = %generation.handler,
                generation = generation.number,
                offered = %self.draft.offered.join(", "),
                "client offers subprotocols and the handler chooses none; a browser ends such a connection",
            );
        }
        let deflate = agree(head, &self.draft, generation);
        let answer = switching_protocols(&self.draft, deflate.as_ref());
        self.open(answer, deflate)
    }

    /// Does what the handler wants that answers in bytes of its own.
    #[cold]
    fn answer_raw(self, raw: RawAnswer) -> Outcome {
        let RawAnswer { mut bytes, then } = raw;
        let session = match then {
            RawThen::Close { linger } => {
                let path = self.owner.request().path().to_owned();
                let raw_reply = RawReply {
                    linger: linger.saturating_sub(self.early.len()),
                    socket: self.socket,
                    bytes,
                    deadline: self.deadline,
                };
                return Outcome::RawReply { raw_reply, path };
            }
            RawThen::Continue => {
                let head = self.owner.request().head();
                let deflate = agree(head, &self.draft, self.owner.generation());
                bytes.extend_from_slice(&switching_protocols(&self.draft, deflate.as_ref()));
                self.open(bytes, deflate)
            }
            // What the bytes say of extensions, right or wrong, is not looked at.
            RawThen::Open => self.open(bytes, None),
        };
        Outcome::Session(Box::new(session))
    }

    /// Makes the session behind `answer`.
    fn open(self, answer: Vec<u8>, deflate: Option<Agreement>) -> Session {
        let opening = Opening {
            owner: self.owner,
            protocol: self.draft.protocol.unwrap_or_default(),
            deflate,
            early: self.early,
        };
        let wire = Wire::new(self.socket, answer);
        Session::open(self.registration, wire, opening, self.about)
    }
}

/// Ends when the handler's sessions are not held back any more.
async fn released(hold: &Hold, registration: &Registration) {
    let id = registration.mailbox().id;
    poll_fn(|cx| match hold.wait(id, cx.waker()) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await;
}

/// Ends when the handler calls `wake` or `close_to` with the request's id.
async fn knocked(registration: &Registration) -> Knocked {
    poll_fn(|cx| registration.mailbox().poll_knocked(cx.waker())).await
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

/// The 101 (§4.2.2).
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

/// What is compressed and how, if the client, the configuration and the handler all want it.
fn agree(head: &Head, draft: &Draft, generation: &Generation) -> Option<Agreement> {
    if !draft.allows_deflate() {
        return None;
    }
    let policy = &generation.settings().session.deflate;
    let budget = &generation.context.shared.deflate_budget;
    Agreement::reach(&rules::offers(head).ok()?, policy, budget)
}

/// When to try again a handler whose callbacks hold the workers.
const HOLD_PAUSE: Duration = Duration::from_secs(5);
/// Bytes that a peer may send while its handler has not answered.
const EARLY_BYTES_MAX: usize = 64 * 1024;
