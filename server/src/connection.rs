//! One accepted connection: its request head, and the road it takes from there.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tracing::debug;

use crate::config::{Config, Limits};
use crate::files;
use crate::handshake::{self, Knock, Outcome};
use crate::head::{Head, HeadFault};
use crate::overlay::{self, Overlay};
use crate::places::{Guest, Place, Places};
use crate::reply::Reply;
use crate::router::{NoWay, Router};
use crate::scratch::Scratch;
use crate::session::{About, Session};
use crate::soon::Soon;
use crate::target::Target;

/// What every connection needs.
pub(crate) struct Server {
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) router: Arc<Router>,
    /// Connections that are open.
    pub(crate) places: Places,
    /// Opening handshakes that are under way.
    pub(crate) handshakes: Places,
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
    /// It holds `alive` until its end.
    pub(crate) fn new(
        socket: std::net::TcpStream,
        peer: SocketAddr,
        server: Arc<Server>,
        alive: mpsc::Sender<()>,
    ) -> Connection {
        let connections_max = server.config.load().limits.connections_max;
        let place = server.places.take(connections_max);
        let guest = place.map(|place| Guest {
            _place: place,
            _alive: alive,
        });
        Connection(Stage::Arrived(Some(Box::new(Arrival {
            socket,
            peer,
            server,
            guest,
        }))))
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
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
    /// Who is no guest finds no place.
    guest: Option<Guest>,
}

impl Arrival {
    /// Goes as far as it can without waiting, which for nearly all is all the way to the session.
    fn begin(self) -> Soon<Option<Box<Session>>> {
        let Arrival {
            socket,
            peer,
            server,
            guest,
        } = self;
        let looked = match guest {
            Some(_) => look(&socket),
            None => Err(Unread::Refused(Reply::Full)),
        };
        // Without descriptors to watch it there is nothing to say and nobody to say it.
        let Ok(socket) = TcpStream::from_std(socket) else {
            return Soon::Now(None);
        };
        let road = match looked {
            Ok(received) => open(socket, received, peer, &server),
            Err(Unread::Gone) => Soon::Now(Road::Nowhere),
            Err(Unread::Refused(reply)) => Soon::Now(Road::Reply(socket, reply)),
        };
        match road {
            Soon::Now(Road::Nowhere) => Soon::Now(None),
            Soon::Now(Road::Session(mut session)) => {
                session.set_guest(guest);
                Soon::Now(Some(session))
            }
            road => Soon::later(follow(road, peer, server, guest)),
        }
    }
}

/// Waits for what there is to wait for; `None` unless a session came of it.
async fn follow(
    road: Soon<Road>,
    peer: SocketAddr,
    server: Arc<Server>,
    guest: Option<Guest>,
) -> Option<Box<Session>> {
    let road = match road {
        // The answer that is there is given, whether the server stops or not.
        Soon::Now(road) => road,
        Soon::Later(road) => unless_stopping(road, &server).await,
    };
    match road {
        Road::Session(mut session) => {
            session.set_guest(guest);
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
            reply.send(socket).await;
        }
        Road::File(socket, received) => {
            let config = server.config.load_full();
            match &config.document_root {
                Some(root) => {
                    let addition = server.overlay.as_ref().map(|it| it.tag());
                    files::serve(socket, received, root, addition.as_deref()).await;
                }
                None => Reply::NoRoute.send(socket).await,
            }
        }
        Road::News(socket, overlay) => overlay.tell(socket, server.stopping.clone()).await,
        Road::Session(_) | Road::Nowhere => {}
    }
}

/// Where a connection goes after its first request head.
enum Road {
    Session(Box<Session>),
    Reply(TcpStream, Reply),
    File(TcpStream, Vec<u8>),
    News(TcpStream, Arc<Overlay>),
    Nowhere,
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
    let Some(pending) = server.handshakes.take(limits.pending_handshakes_max) else {
        return Soon::Now(Road::Reply(socket, Reply::Full));
    };
    let entering = Entering {
        socket,
        received,
        peer,
        began,
        deadline: began + Duration::from_millis(limits.handshake_timeout_ms),
        limits,
        pending,
    };
    match head_end(&entering.received, 0, &entering.limits) {
        Ok(Some(end)) => entering.enter(end, server),
        Ok(None) => Soon::later(entering.enter_when_whole(server.clone())),
        Err(reply) => Soon::Now(Road::Reply(entering.socket, reply)),
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
    pending: Place,
}

impl Entering {
    /// Reads the head first.
    async fn enter_when_whole(mut self, server: Arc<Server>) -> Road {
        let head = read_head(&self.socket, &mut self.received, &self.limits);
        let head = tokio::time::timeout_at(self.deadline.into(), head).await;
        match head {
            Ok(Ok(end)) => self.enter(end, &server).get().await,
            Ok(Err(Unread::Gone)) => Road::Nowhere,
            Ok(Err(Unread::Refused(reply))) => Road::Reply(self.socket, reply),
            // Who says nothing is told nothing.
            Err(_) if self.received.is_empty() => Road::Nowhere,
            Err(_) => Road::Reply(self.socket, Reply::TooSlow),
        }
    }

    /// The head is there up to `end`.
    fn enter(mut self, end: usize, server: &Server) -> Soon<Road> {
        let early = self.received.split_off(end);
        let (head, target) = match parse(self.received, &self.limits) {
            Ok(parsed) => parsed,
            Err(reply) => return Soon::Now(Road::Reply(self.socket, reply)),
        };
        if !wants_upgrade(&head) {
            let road = other_than_upgrade(self.socket, head, target, early, self.peer, server);
            return Soon::Now(road);
        }
        let entrance = match server.router.enter(&target.path) {
            Ok(entrance) => entrance,
            Err(NoWay::NoRoute) => return Soon::Now(Road::Reply(self.socket, Reply::NoRoute)),
            Err(NoWay::Full) => return Soon::Now(Road::Reply(self.socket, Reply::Full)),
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
            pending: self.pending,
        };
        handshake::shake(knock, entrance).map(|outcome| match outcome {
            Outcome::Session(session) => Road::Session(session),
            Outcome::Reply(socket, reply) => Road::Reply(socket, reply),
            Outcome::Dropped => Road::Nowhere,
        })
    }
}

fn parse(head: Vec<u8>, limits: &Limits) -> Result<(Head, Target), Reply> {
    let head = match Head::parse(head.into_boxed_slice(), limits.header_lines_max) {
        Ok(head) => head,
        Err(HeadFault::Malformed) => return Err(Reply::Malformed("the request is malformed")),
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

/// What answers a request that wants no WebSocket.
fn other_than_upgrade(
    socket: TcpStream,
    head: Head,
    target: Target,
    early: Vec<u8>,
    peer: SocketAddr,
    server: &Server,
) -> Road {
    if server.router.has(&target.path) {
        return Road::Reply(socket, Reply::UpgradeRequired);
    }
    if target.path == LISTING_PATH {
        return Road::Reply(socket, Reply::Json(server.router.listing().json(peer.ip())));
    }
    match (&server.overlay, target.path.as_str()) {
        (Some(overlay), overlay::STREAM_PATH) => Road::News(socket, overlay.clone()),
        (Some(_), overlay::SCRIPT_PATH) => Road::Reply(socket, Reply::Script(overlay::SCRIPT)),
        _ => {
            let mut received = head.bytes().to_vec();
            received.extend_from_slice(&early);
            Road::File(socket, received)
        }
    }
}

/// Why there is no request head.
enum Unread {
    Gone,
    Refused(Reply),
}

/// What the peer has sent by now, which mostly is its whole request.
fn look(mut socket: &std::net::TcpStream) -> Result<Vec<u8>, Unread> {
    let mut scratch = Scratch::take();
    let received = match socket.read(&mut scratch.input) {
        Ok(0) => Err(Unread::Gone),
        Ok(length) => Ok(scratch.input[..length].to_vec()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Vec::new()),
        Err(_) => Err(Unread::Gone),
    };
    scratch.put_back();
    received
}

/// Reads until the head is whole; answers where it ends. More may have come behind it.
async fn read_head(
    socket: &TcpStream,
    received: &mut Vec<u8>,
    limits: &Limits,
) -> Result<usize, Unread> {
    loop {
        let before = received.len();
        received.reserve(READ_BYTES);
        socket.readable().await.map_err(|_| Unread::Gone)?;
        match socket.try_read_buf(received) {
            Ok(0) => return Err(Unread::Gone),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return Err(Unread::Gone),
        }
        match head_end(received, before, limits) {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => {}
            Err(reply) => return Err(Unread::Refused(reply)),
        }
    }
}

/// Where the head ends, if it does; `before` was searched before.
fn head_end(received: &[u8], before: usize, limits: &Limits) -> Result<Option<usize>, Reply> {
    let end = Head::end(received, before);
    if end.unwrap_or(received.len()) <= limits.header_bytes_max {
        return Ok(end);
    }
    Err(match received[..limits.header_bytes_max].contains(&b'\n') {
        true => Reply::HeadTooLarge,
        false => Reply::TargetTooLong,
    })
}

/// What one read of a head asks for.
const READ_BYTES: usize = 1024;
/// Where the list of handlers is, for the pages that show it and for operators.
const LISTING_PATH: &str = "/.wshd/handlers.json";
