//! One accepted connection: its request head, and the road it takes from there.

mod admission;
mod entering;
mod eviction;
pub(crate) mod files;
pub(crate) mod handshake;
mod head_reader;
mod host;
pub(crate) mod listener;
mod log_rate;
mod maybe_future;
pub(crate) mod origin;
pub mod overlay;
mod refusal_log;
pub(crate) mod reply;
pub(crate) mod stopping;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tracing::debug;

pub(crate) use self::admission::Admission;
use self::entering::{Absent, Road, open};
pub(crate) use self::refusal_log::RefusalLog;
use crate::config::Config;
use crate::connection::files::TransferTimeouts;
use crate::connection::maybe_future::MaybeFuture;
use crate::connection::overlay::Overlay;
use crate::connection::reply::{FullOf, Reply};
use crate::connection::stopping::Stopping;
use crate::router::Router;
use crate::runtime::wakes;
use crate::session::Session;
use crate::sessions::permits::{ConnectionGuard, Permit};

/// What every connection needs.
pub(crate) struct Server {
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) router: Arc<Router>,
    pub(crate) admission: Admission,
    pub(crate) refusals: RefusalLog,
    /// Whether only loopback addresses are listened on.
    pub(crate) is_loopback_only: bool,
    /// What pages are told of failed builds, in `wshd dev`.
    pub(crate) overlay: Option<Arc<Overlay>>,
    pub(crate) stopping: Stopping,
}

impl Server {
    /// Logs why `peer` gets `reply`.
    fn log_refusal(&self, peer: SocketAddr, path: Option<&str>, reply: &Reply) {
        let meant = || self.router.meant(path?);
        self.refusals
            .log(peer, path, reply, &meant, &self.config.load());
    }
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
        place: Option<Permit>,
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
                MaybeFuture::Ready(session) => return Poll::Ready(session),
                MaybeFuture::Waiting(first) => self.0 = Stage::FirstRequest(first),
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
    place: Option<Permit>,
    /// The server waits for it when it stops.
    alive: mpsc::Sender<()>,
}

impl Arrival {
    /// Goes as far as it can without waiting, which for nearly all is all the way to the session.
    fn begin(self) -> MaybeFuture<Option<Box<Session>>> {
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
        let guard = ConnectionGuard::new(place, alive);
        let looked = head_reader::first_bytes(&socket);
        // Without descriptors to watch it there is nothing to say and nobody to say it.
        let Ok(socket) = TcpStream::from_std(socket) else {
            return MaybeFuture::Ready(None);
        };
        let road = match looked {
            Ok(received) => open(socket, received, peer, &server),
            Err(_) => MaybeFuture::Ready(Road::Nowhere),
        };
        match road {
            MaybeFuture::Ready(Road::Nowhere) => MaybeFuture::Ready(None),
            MaybeFuture::Ready(Road::Session(mut session)) => {
                session.set_guard(Some(guard));
                MaybeFuture::Ready(Some(session))
            }
            road => MaybeFuture::wait_for(follow(road, peer, server, guard)),
        }
    }
}

/// Tells a connection for which there is no place that there is none.
fn turn_away(
    socket: std::net::TcpStream,
    peer: SocketAddr,
    server: Arc<Server>,
) -> MaybeFuture<Option<Box<Session>>> {
    let reply = Reply::Full(FullOf::Connections);
    server.log_refusal(peer, None, &reply);
    let place = server.admission.refusal();
    let (Some(place), Ok(socket)) = (place, TcpStream::from_std(socket)) else {
        return MaybeFuture::Ready(None);
    };
    MaybeFuture::wait_for(async move {
        reply.send(socket, &server.stopping).await;
        drop(place);
        None
    })
}

/// Waits for what there is to wait for; `None` unless a session came of it.
async fn follow(
    road: MaybeFuture<Road>,
    peer: SocketAddr,
    server: Arc<Server>,
    guard: ConnectionGuard,
) -> Option<Box<Session>> {
    let road = match road {
        // The answer that is there is given, whether the server stops or not.
        MaybeFuture::Ready(road) => road,
        MaybeFuture::Waiting(road) => unless_stopping(road, &server).await,
    };
    match road {
        Road::Session(mut session) => {
            session.set_guard(Some(guard));
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
    let road = server.stopping.unless_begun(open).await;
    road.unwrap_or(Road::Nowhere)
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
            head,
            path,
            absent,
        } => {
            let config = server.config.load_full();
            let Some(root) = &config.document_root else {
                let reply = absent.reply();
                if absent != Absent::Nothing {
                    server.log_refusal(peer, Some(&path), &reply);
                }
                return send(socket, reply.for_method(head.method()), peer, server).await;
            };
            let Some(place) = server.admission.file() else {
                let reply = Reply::Full(FullOf::Files).for_method(head.method());
                return send(socket, reply, peer, server).await;
            };
            let addition = server.overlay.as_ref().map(|it| it.tag());
            let limits = &config.defaults.session;
            let timeouts = TransferTimeouts {
                outbound_ms: limits.outbound_timeout_ms,
                close_ms: limits.close_timeout_ms,
                stopping: server.stopping.clone(),
            };
            let unserved = files::serve(socket, &head, root, addition.as_deref(), timeouts).await;
            drop(place);
            if let Some(socket) = unserved {
                let reply = absent.reply();
                if absent != Absent::Nothing {
                    server.log_refusal(peer, Some(&path), &reply);
                }
                send(socket, reply.for_method(head.method()), peer, server).await;
            }
        }
        Road::RawReply(raw_reply) => {
            let mut entry = server.admission.answered().enter(peer, None);
            tokio::select! {
                biased;
                () = raw_reply.send() => {}
                () = entry.evicted() => {}
                () = server.stopping.begun() => {}
            }
        }
        Road::News(socket, overlay) => {
            server.stopping.unless_begun(overlay.tell(socket)).await;
        }
        Road::Session(_) | Road::Nowhere => {}
    }
}

/// Sends a reply. A peer that has it and does not close may be evicted.
async fn send(socket: TcpStream, reply: Reply, peer: SocketAddr, server: &Server) {
    let mut entry = server.admission.answered().enter(peer, None);
    tokio::select! {
        biased;
        () = reply.send(socket, &server.stopping) => {}
        () = entry.evicted() => {}
    }
}
