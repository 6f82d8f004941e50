//! From the first request head of a connection to where it leads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::head_reader::{self, Unread};
use super::{Server, host};
use crate::config::Limits;
use crate::connection::handshake::raw_reply::RawReply;
use crate::connection::handshake::{self, Knock, Outcome};
use crate::connection::maybe_future::MaybeFuture;
use crate::connection::overlay::{self, Overlay};
use crate::connection::reply::{FullOf, Reply};
use crate::http::head::{Head, HeadFault};
use crate::http::target::Target;
use crate::listing::is_from_here;
use crate::process::clock::Moment;
use crate::router::RouteError;
use crate::session::{About, Session};
use crate::sessions::permits::Permit;

/// Where a connection goes after its first request head.
pub(super) enum Road {
    Session(Box<Session>),
    Reply(TcpStream, Reply),
    File {
        socket: TcpStream,
        head: Head,
        path: String,
        absent: Absent,
    },
    News(TcpStream, Arc<Overlay>),
    RawReply(RawReply),
    Nowhere,
}

/// What is at a path where no file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// Nothing, and only a file was asked for.
    Nothing,
    /// Nothing, and a handler was asked for.
    NoHandler,
    /// A handler, and no upgrade was asked for.
    Handler,
}

impl Absent {
    pub(super) fn reply(self) -> Reply {
        match self {
            Absent::Nothing | Absent::NoHandler => Reply::NoRoute,
            Absent::Handler => Reply::UpgradeRequired,
        }
    }
}

/// From what came until now to where it leads.
pub(super) fn open(
    socket: TcpStream,
    received: Vec<u8>,
    peer: SocketAddr,
    server: &Arc<Server>,
) -> MaybeFuture<Road> {
    let began = Instant::now();
    let limits = server.config.load().limits.clone();
    let Some(pending) = server.admission.handshake(peer, &limits) else {
        let reply = Reply::Full(FullOf::Handshakes);
        server.log_refusal(peer, None, &reply);
        return MaybeFuture::Ready(Road::Reply(socket, reply));
    };
    let entering = Entering {
        socket,
        received,
        wants_head: false,
        peer,
        began,
        deadline: began + Duration::from_millis(limits.handshake_timeout_ms),
        limits,
    };
    match head_reader::end(&entering.received, 0, &entering.limits) {
        Ok(Some(end)) => entering.enter(end, pending, server),
        Ok(None) => MaybeFuture::wait_for(entering.enter_when_whole(pending, server.clone())),
        Err(reply) => MaybeFuture::Ready(entering.refuse(reply, None, server)),
    }
}

/// A request as far as it has come.
struct Request {
    head: Head,
    target: Target,
    /// The host that it is for.
    host: String,
}

/// A connection on its way through its first request head.
struct Entering {
    socket: TcpStream,
    received: Vec<u8>,
    /// Whether the request asks for the head of an answer only.
    wants_head: bool,
    peer: SocketAddr,
    began: Instant,
    deadline: Instant,
    limits: Limits,
}

impl Entering {
    /// Reads the head first. Until it is whole, the connection gives way to others when places are
    /// short.
    async fn enter_when_whole(mut self, pending: Permit, server: Arc<Server>) -> Road {
        let mut entry = server.admission.silent().enter(self.peer, Some(pending));
        let head = head_reader::read(&self.socket, &mut self.received, &self.limits);
        let head = tokio::select! {
            head = tokio::time::timeout_at(self.deadline.into(), head) => head,
            () = entry.evicted() => return Road::Nowhere,
        };
        let Some(pending) = entry.leave() else {
            return Road::Nowhere;
        };
        match head {
            Ok(Ok(end)) => self.enter(end, pending, &server).get().await,
            Ok(Err(Unread::Gone)) => Road::Nowhere,
            Ok(Err(Unread::Refused(reply))) => self.refuse(reply, None, &server),
            // Who says nothing is told nothing.
            Err(_) if self.received.is_empty() => Road::Nowhere,
            Err(_) => self.refuse(Reply::TooSlow, None, &server),
        }
    }

    fn refuse(self, reply: Reply, path: Option<&str>, server: &Server) -> Road {
        server.log_refusal(self.peer, path, &reply);
        let reply = match self.wants_head {
            true => Reply::HeadOf(Box::new(reply)),
            false => reply,
        };
        Road::Reply(self.socket, reply)
    }

    /// The head is there up to `end`.
    fn enter(mut self, end: usize, pending: Permit, server: &Arc<Server>) -> MaybeFuture<Road> {
        let early = self.received.split_off(end);
        let received = std::mem::take(&mut self.received);
        let (head, target) = match parse(received, &self.limits) {
            Ok(parsed) => parsed,
            Err(reply) => return MaybeFuture::Ready(self.refuse(reply, None, server)),
        };
        self.wants_head = head.method() == b"HEAD";
        let host = match host::of(&head, &target) {
            Ok(host) => host,
            Err(reply) => {
                return MaybeFuture::Ready(self.refuse(reply, Some(&target.path), server));
            }
        };
        if !host::is_served(&server.config.load().hosts, server.is_loopback_only, &host) {
            let reply = Reply::HostRefused(host.into());
            return MaybeFuture::Ready(self.refuse(reply, Some(&target.path), server));
        }
        if !wants_upgrade(&head) {
            let absent = match server.router.has(&target.path) {
                true => Absent::Handler,
                false => Absent::Nothing,
            };
            return MaybeFuture::Ready(other_than_upgrade(
                self,
                Request { head, target, host },
                absent,
                server,
            ));
        }
        let route = match server.router.enter(&target.path) {
            Ok(route) => route,
            // An upgrade may be ignored (RFC 9110 §7.8): the answer is what lies there.
            Err(RouteError::NoRoute) => {
                let absent = Absent::NoHandler;
                return MaybeFuture::Ready(other_than_upgrade(
                    self,
                    Request { head, target, host },
                    absent,
                    server,
                ));
            }
            Err(RouteError::Full) => {
                let reply = Reply::Full(FullOf::Handler);
                return MaybeFuture::Ready(self.refuse(reply, Some(&target.path), server));
            }
        };
        let own =
            target.path.strip_prefix('/') == Some(&*route.generation_ref.generation().handler);
        let about = About {
            peer: self.peer.into(),
            path: (!own).then(|| target.path.as_str().into()),
            began: Moment::at(self.began),
        };
        let knock = Knock {
            socket: self.socket,
            head,
            target,
            host,
            early,
            about,
            deadline: self.deadline,
            pending,
        };
        let peer = self.peer;
        match handshake::shake(knock, route) {
            MaybeFuture::Ready(outcome) => MaybeFuture::Ready(lead(outcome, peer, server)),
            MaybeFuture::Waiting(outcome) => {
                let server = server.clone();
                MaybeFuture::wait_for(async move { lead(outcome.await, peer, &server) })
            }
        }
    }
}

/// Where the outcome of an opening handshake leads.
fn lead(outcome: Outcome, peer: SocketAddr, server: &Server) -> Road {
    match outcome {
        Outcome::Session(session) => Road::Session(session),
        Outcome::Refused {
            socket,
            reply,
            path,
        } => {
            server.log_refusal(peer, Some(&path), &reply);
            Road::Reply(socket, reply)
        }
        Outcome::Aborted { path } => {
            server.refusals.log_abort(peer, &path);
            Road::Nowhere
        }
        Outcome::RawReply { raw_reply, path } => {
            server.refusals.log_raw(peer, &path);
            Road::RawReply(raw_reply)
        }
        Outcome::Dropped => Road::Nowhere,
    }
}

fn parse(head: Vec<u8>, limits: &Limits) -> Result<(Head, Target), Reply> {
    let head = match Head::parse(head.into_boxed_slice(), limits.header_lines_max) {
        Ok(head) => head,
        Err(HeadFault::Malformed) => return Err(Reply::Malformed("the request is malformed")),
        Err(HeadFault::NotARequest(what)) => return Err(Reply::NotARequest(what)),
        Err(HeadFault::TooManyLines) => return Err(Reply::HeadTooLarge),
    };
    match Target::parse(head.target()) {
        Some(target) => Ok((head, target)),
        None => Err(Reply::Malformed("the request's target is malformed")),
    }
}

fn wants_upgrade(head: &Head) -> bool {
    let mut tokens = head.elements("upgrade");
    tokens.any(|token| token.eq_ignore_ascii_case(b"websocket"))
}

/// What answers a request that wants no WebSocket, or wants one where there is no handler.
fn other_than_upgrade(
    entering: Entering,
    request: Request,
    absent: Absent,
    server: &Server,
) -> Road {
    let Request { head, target, host } = request;
    // Files are only read; what else is asked of a handler's path is meant for the handler.
    let is_for_files = matches!(head.method(), b"GET" | b"HEAD");
    if !is_for_files && absent != Absent::Nothing {
        return entering.refuse(absent.reply(), Some(&target.path), server);
    }
    let is_listing = target.path == LISTING_PATH && server.config.load().handlers_json;
    let allowed: &[&str] = match target.path.as_str() {
        // A stream has no end, and so no length that its head could say.
        overlay::EVENTS_PATH if server.overlay.is_some() => &["GET"],
        overlay::SCRIPT_PATH if server.overlay.is_some() => &["GET", "HEAD"],
        _ if is_listing => &["GET", "HEAD"],
        // Files say so themselves.
        _ => &[],
    };
    let is_allowed = |method: &&str| method.as_bytes() == head.method();
    if !allowed.is_empty() && !allowed.iter().any(is_allowed) {
        let reply = Reply::MethodNotAllowed { allowed };
        return entering.refuse(reply, Some(&target.path), server);
    }
    let Entering { socket, peer, .. } = entering;
    let read = |reply: Reply| reply.for_method(head.method());
    if is_listing {
        let is_here = is_from_here(peer.ip(), &head, &host);
        let listing = Reply::Json(server.router.listing().json(is_here));
        return Road::Reply(socket, read(listing));
    }
    match (&server.overlay, target.path.as_str()) {
        (Some(overlay), overlay::EVENTS_PATH) => Road::News(socket, overlay.clone()),
        (Some(_), overlay::SCRIPT_PATH) => {
            Road::Reply(socket, read(Reply::Script(overlay::SCRIPT)))
        }
        _ => Road::File {
            socket,
            head,
            path: target.path,
            absent,
        },
    }
}

/// Where the list of handlers is, for the pages that show it and for operators.
const LISTING_PATH: &str = "/.wshd/handlers.json";
