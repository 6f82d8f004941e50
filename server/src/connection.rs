//! One accepted connection: its request head, and the road it takes from there.

mod admission;
mod first_head;
mod refusals;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tracing::debug;

pub(crate) use self::admission::Admission;
use self::first_head::Unread;
pub(crate) use self::refusals::Refusals;
use crate::config::{Config, Limits};
use crate::files;
use crate::handshake::{self, Knock, Outcome};
use crate::head::{Head, HeadFault};
use crate::overlay::{self, Overlay};
use crate::places::{Guest, Place};
use crate::reply::{FullOf, Reply};
use crate::router::{NoWay, Router};
use crate::session::{About, Session};
use crate::soon::Soon;
use crate::target::Target;
use crate::wakes;

/// What every connection needs.
pub(crate) struct Server {
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) router: Arc<Router>,
    pub(crate) admission: Admission,
    pub(crate) refusals: Refusals,
    /// What pages are told of failed builds, in `wshd dev`.
    pub(crate) overlay: Option<Arc<Overlay>>,
    /// Becomes true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// One accepted connection, to its end.
///
/// This is what a session waits in for hours, so it holds nothing that it does not need: what else
/// there is to wait for is in a box that is gone when it is over. It is so small that a task with
/// it is two cache lines.
pub(crate) struct Connection(Stage);

enum Stage {
    /// There until the first poll.
    Arrived(Option<Box<Arrival>>),
    FirstRequest(Pin<Box<dyn Future<Output = Option<Box<Session>>> + Send>>),
    Session(Box<Session>),
}

impl Connection {
    /// It holds `alive` until its end. Without a place it waits for its first poll to find one.
    pub(crate) fn new(
        socket: std::net::TcpStream,
        peer: SocketAddr,
        server: Arc<Server>,
        place: Option<Place>,
        alive: mpsc::Sender<()>,
    ) -> Connection {
        Connection(Stage::Arrived(Some(Box::new(Arrival {
            socket,
            peer,
            server,
            place,
            alive,
        }))))
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // A callback may block after it has woken others.
        let _keeping = wakes::keep();
        loop {
            if let Stage::Session(session) = &mut self.0 {
                return session.poll_to_the_end(cx);
            }
            match ready!(self.poll_first_request(cx)) {
                Some(session) => self.0 = Stage::Session(session),
                None => return Poll::Ready(()),
            }
        }
    }
}

impl Connection {
    /// Answers the first request; `None` unless a session came of it.
    // Apart, so that its frame is no part of a session's polls.
    #[inline(never)]
    fn poll_first_request(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<Session>>> {
        if let Stage::Arrived(arrival) = &mut self.0
            && let Some(arrival) = arrival.take()
        {
            match arrival.begin() {
                Soon::Now(session) => return Poll::Ready(session),
                Soon::Later(first) => self.0 = Stage::FirstRequest(first),
            }
        }
        match &mut self.0 {
            Stage::FirstRequest(first) => first.as_mut().poll(cx),
            Stage::Arrived(_) | Stage::Session(_) => Poll::Ready(None),
        }
    }
}

/// A connection of which nothing was read.
struct Arrival {
    socket: std::net::TcpStream,
    peer: SocketAddr,
    server: Arc<Server>,
    /// `None` when none was free.
    place: Option<Place>,
    /// The server waits for it when it stops.
    alive: mpsc::Sender<()>,
}

impl Arrival {
    /// Goes as far as it can without waiting, which for nearly all is all the way to the session.
    fn begin(self) -> Soon<Option<Box<Session>>> {
        let Arrival {
            socket,
            peer,
            server,
            place,
            alive,
        } = self;
        // Those that came before and wait may give way by now: they were polled.
        let make_room = || {
            let limits = &server.config.load().limits;
            server.admission.make_room(peer, limits)
        };
        let Some(place) = place.or_else(make_room) else {
            return turn_away(socket, peer, server);
        };
        let guest = Guest::new(place, alive);
        let looked = first_head::look(&socket);
        // Without descriptors to watch it there is nothing to say and nobody to say it.
        let Ok(socket) = TcpStream::from_std(socket) else {
            return Soon::Now(None);
        };
        let road = match looked {
            Ok(received) => open(socket, received, peer, &server),
            Err(_) => Soon::Now(Road::Nowhere),
        };
        match road {
            Soon::Now(Road::Nowhere) => Soon::Now(None),
            Soon::Now(Road::Session(mut session)) => {
                session.set_guest(Some(guest));
                Soon::Now(Some(session))
            }
            road => Soon::later(follow(road, peer, server, guest)),
        }
    }
}

/// Tells a connection for which there is no place that there is none.
fn turn_away(
    socket: std::net::TcpStream,
    peer: SocketAddr,
    server: Arc<Server>,
) -> Soon<Option<Box<Session>>> {
    let reply = Reply::Full(FullOf::Connections);
    server.refusals.log(peer, None, &reply);
    let place = server.admission.refusal();
    let (Some(place), Ok(socket)) = (place, TcpStream::from_std(socket)) else {
        return Soon::Now(None);
    };
    Soon::later(async move {
        reply.send(socket).await;
        drop(place);
        None
    })
}

/// Waits for what there is to wait for; `None` unless a session came of it.
async fn follow(
    road: Soon<Road>,
    peer: SocketAddr,
    server: Arc<Server>,
    guest: Guest,
) -> Option<Box<Session>> {
    let road = match road {
        // The answer that is there is given, whether the server stops or not.
        Soon::Now(road) => road,
        Soon::Later(road) => unless_stopping(road, &server).await,
    };
    match road {
        Road::Session(mut session) => {
            session.set_guest(Some(guest));
            Some(session)
        }
        road => {
            answer(road, peer, &server).await;
            None
        }
    }
}

/// Whoever has said nothing yet, or waits for an answer, is not waited for when the server stops.
async fn unless_stopping(open: impl Future<Output = Road>, server: &Server) -> Road {
    let mut stopping = server.stopping.clone();
    tokio::select! {
        road = open => road,
        _ = stopping.changed() => Road::Nowhere,
    }
}

/// Gives the answers that are no session.
async fn answer(road: Road, peer: SocketAddr, server: &Server) {
    match road {
        Road::Reply(socket, reply) => {
            debug!(%peer, status = reply.status(), "request answered");
            send(socket, reply, peer, server).await;
        }
        Road::File {
            socket,
            received,
            path,
            absent,
        } => {
            let config = server.config.load_full();
            let Some(root) = &config.document_root else {
                let reply = absent.reply();
                if absent != Absent::Nothing {
                    server.refusals.log(peer, Some(&path), &reply);
                }
                return send(socket, reply, peer, server).await;
            };
            let Some(place) = server.admission.file() else {
                return send(socket, Reply::Full(FullOf::Files), peer, server).await;
            };
            let addition = server.overlay.as_ref().map(|it| it.tag());
            let absent = || {
                let reply = absent.reply();
                if absent != Absent::Nothing {
                    server.refusals.log(peer, Some(&path), &reply);
                }
                reply.into_response()
            };
            files::serve(socket, received, root, addition.as_deref(), &absent).await;
            drop(place);
        }
        Road::News(socket, overlay) => overlay.tell(socket, server.stopping.clone()).await,
        Road::Session(_) | Road::Nowhere => {}
    }
}

/// Sends a reply. A peer that has it and does not close may be evicted.
async fn send(socket: TcpStream, reply: Reply, peer: SocketAddr, server: &Server) {
    let mut stand = server.admission.answered().enter(peer, None);
    tokio::select! {
        biased;
        () = reply.send(socket) => {}
        () = stand.evicted() => {}
    }
}

/// Where a connection goes after its first request head.
enum Road {
    Session(Box<Session>),
    Reply(TcpStream, Reply),
    File {
        socket: TcpStream,
        /// The whole request, as far as it has come.
        received: Vec<u8>,
        path: String,
        absent: Absent,
    },
    News(TcpStream, Arc<Overlay>),
    Nowhere,
}

/// What is at a path where no file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    /// Nothing, and only a file was asked for.
    Nothing,
    /// Nothing, and a handler was asked for.
    NoHandler,
    /// A handler, and no upgrade was asked for.
    Handler,
}

impl Absent {
    fn reply(self) -> Reply {
        match self {
            Absent::Nothing | Absent::NoHandler => Reply::NoRoute,
            Absent::Handler => Reply::UpgradeRequired,
        }
    }
}

/// From what came until now to where it leads.
fn open(
    socket: TcpStream,
    received: Vec<u8>,
    peer: SocketAddr,
    server: &Arc<Server>,
) -> Soon<Road> {
    let began = Instant::now();
    let limits = server.config.load().limits.clone();
    let Some(pending) = server.admission.handshake(peer, &limits) else {
        let reply = Reply::Full(FullOf::Handshakes);
        server.refusals.log(peer, None, &reply);
        return Soon::Now(Road::Reply(socket, reply));
    };
    let entering = Entering {
        socket,
        received,
        peer,
        began,
        deadline: began + Duration::from_millis(limits.handshake_timeout_ms),
        limits,
    };
    match first_head::end(&entering.received, 0, &entering.limits) {
        Ok(Some(end)) => entering.enter(end, pending, server),
        Ok(None) => Soon::later(entering.enter_when_whole(pending, server.clone())),
        Err(reply) => Soon::Now(entering.refuse(reply, None, server)),
    }
}

/// A connection on its way through its first request head.
struct Entering {
    socket: TcpStream,
    received: Vec<u8>,
    peer: SocketAddr,
    began: Instant,
    deadline: Instant,
    limits: Limits,
}

impl Entering {
    /// Reads the head first. Until it is whole, the connection gives way to others when places are
    /// short.
    async fn enter_when_whole(mut self, pending: Place, server: Arc<Server>) -> Road {
        let mut stand = server.admission.silent().enter(self.peer, Some(pending));
        let head = first_head::read(&self.socket, &mut self.received, &self.limits);
        let head = tokio::select! {
            head = tokio::time::timeout_at(self.deadline.into(), head) => head,
            () = stand.evicted() => return Road::Nowhere,
        };
        let Some(pending) = stand.leave() else {
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
        server.refusals.log(self.peer, path, &reply);
        Road::Reply(self.socket, reply)
    }

    /// The head is there up to `end`.
    fn enter(mut self, end: usize, pending: Place, server: &Arc<Server>) -> Soon<Road> {
        let early = self.received.split_off(end);
        let received = std::mem::take(&mut self.received);
        let (head, target) = match parse(received, &self.limits) {
            Ok(parsed) => parsed,
            Err(reply) => return Soon::Now(self.refuse(reply, None, server)),
        };
        if !wants_upgrade(&head) {
            let absent = match server.router.has(&target.path) {
                true => Absent::Handler,
                false => Absent::Nothing,
            };
            return Soon::Now(other_than_upgrade(
                self, head, target, early, absent, server,
            ));
        }
        let entrance = match server.router.enter(&target.path) {
            Ok(entrance) => entrance,
            // An upgrade may be ignored (RFC 9110 §7.8): the answer is what lies there.
            Err(NoWay::NoRoute) => {
                let absent = Absent::NoHandler;
                return Soon::Now(other_than_upgrade(
                    self, head, target, early, absent, server,
                ));
            }
            Err(NoWay::Full) => {
                let reply = Reply::Full(FullOf::Handler);
                return Soon::Now(self.refuse(reply, Some(&target.path), server));
            }
        };
        let own = target.path.strip_prefix('/') == Some(&*entrance.stay.generation().handler);
        let about = About {
            peer: self.peer.into(),
            path: (!own).then(|| target.path.as_str().into()),
            began: self.began,
        };
        let knock = Knock {
            socket: self.socket,
            head,
            target,
            early,
            about,
            deadline: self.deadline,
            pending,
        };
        let peer = self.peer;
        match handshake::shake(knock, entrance) {
            Soon::Now(outcome) => Soon::Now(lead(outcome, peer, server)),
            Soon::Later(outcome) => {
                let server = server.clone();
                Soon::later(async move { lead(outcome.await, peer, &server) })
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
            server.refusals.log(peer, Some(&path), &reply);
            Road::Reply(socket, reply)
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
    head: Head,
    target: Target,
    early: Vec<u8>,
    absent: Absent,
    server: &Server,
) -> Road {
    // Files are only read; what else is asked of a handler's path is meant for the handler.
    let is_for_files = matches!(head.method(), b"GET" | b"HEAD");
    if !is_for_files && absent != Absent::Nothing {
        return entering.refuse(absent.reply(), Some(&target.path), server);
    }
    let Entering { socket, peer, .. } = entering;
    if target.path == LISTING_PATH {
        return Road::Reply(socket, Reply::Json(server.router.listing().json(peer.ip())));
    }
    match (&server.overlay, target.path.as_str()) {
        (Some(overlay), overlay::STREAM_PATH) => Road::News(socket, overlay.clone()),
        (Some(_), overlay::SCRIPT_PATH) => Road::Reply(socket, Reply::Script(overlay::SCRIPT)),
        _ => {
            let mut received = head.bytes().to_vec();
            received.extend_from_slice(&early);
            Road::File {
                socket,
                received,
                path: target.path,
                absent,
            }
        }
    }
}

/// Where the list of handlers is, for the pages that show it and for operators.
const LISTING_PATH: &str = "/.wshd/handlers.json";
