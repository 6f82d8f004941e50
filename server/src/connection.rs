//! One accepted connection: its request head, and the road it takes from there.

use std::net::SocketAddr;
use std::sync::Arc;
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
use crate::places::Places;
use crate::reply::Reply;
use crate::router::{NoWay, Router};
use crate::session::{About, Session};
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

/// Serves one connection to its end, and holds `alive` until then.
///
/// This is what a session waits in for hours, so it holds nothing that it does not need: the
/// handshake and the answers to other requests are in a box that is gone when they are over.
pub(crate) fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    server: Arc<Server>,
    alive: mpsc::Sender<()>,
) -> impl Future<Output = ()> + Send {
    let connections_max = server.config.load().limits.connections_max;
    let place = server.places.take(connections_max);
    let is_full = place.is_none();
    let first = Box::pin(first_request(socket, peer, server, is_full));
    async move {
        if let Some(session) = first.await {
            session.run().await;
        }
        drop((place, alive));
    }
}

/// Answers the first request; `None` unless a session came of it.
async fn first_request(
    socket: TcpStream,
    peer: SocketAddr,
    server: Arc<Server>,
    is_full: bool,
) -> Option<Box<Session>> {
    if is_full {
        Reply::Full.send(socket).await;
        return None;
    }
    let mut stopping = server.stopping.clone();
    let road = tokio::select! {
        road = open(socket, peer, &server) => road,
        // Whoever has said nothing yet, or waits for an answer, is not waited for.
        _ = stopping.changed() => Road::Nowhere,
    };
    match road {
        Road::Session(session) => return Some(session),
        Road::Reply(socket, reply) => {
            debug!(%peer, status = reply.status(), "request answered");
            reply.send(socket).await;
        }
        Road::File(socket, received) => {
            let config = server.config.load_full();
            match &config.document_root {
                Some(root) => {
                    let addition = server.overlay.is_some().then_some(overlay::TAG);
                    files::serve(socket, received, root, addition).await;
                }
                None => Reply::NoRoute.send(socket).await,
            }
        }
        Road::News(socket, overlay) => overlay.tell(socket, stopping).await,
        Road::Nowhere => {}
    }
    None
}

/// Where a connection goes after its first request head.
enum Road {
    Session(Box<Session>),
    Reply(TcpStream, Reply),
    File(TcpStream, Vec<u8>),
    News(TcpStream, Arc<Overlay>),
    Nowhere,
}

async fn open(socket: TcpStream, peer: SocketAddr, server: &Server) -> Road {
    let began = Instant::now();
    let limits = server.config.load().limits.clone();
    let Some(_pending) = server.handshakes.take(limits.pending_handshakes_max) else {
        return Road::Reply(socket, Reply::Full);
    };
    let timeout = Duration::from_millis(limits.handshake_timeout_ms);
    let mut received = Vec::new();
    let head = tokio::time::timeout(timeout, read_head(&socket, &mut received, &limits)).await;
    let end = match head {
        Ok(Ok(end)) => end,
        Ok(Err(Unread::Gone)) => return Road::Nowhere,
        Ok(Err(Unread::Refused(reply))) => return Road::Reply(socket, reply),
        // Who says nothing is told nothing.
        Err(_) if received.is_empty() => return Road::Nowhere,
        Err(_) => return Road::Reply(socket, Reply::TooSlow),
    };
    let early = received.split_off(end);
    let head = match Head::parse(received.into_boxed_slice(), limits.header_lines_max) {
        Ok(head) => head,
        Err(HeadFault::Malformed) => {
            return Road::Reply(socket, Reply::Malformed("the request is malformed"));
        }
        Err(HeadFault::TooManyLines) => return Road::Reply(socket, Reply::HeadTooLarge),
    };
    let Some(target) = Target::parse(head.target()) else {
        return Road::Reply(
            socket,
            Reply::Malformed("the request's target is malformed"),
        );
    };
    let wants_upgrade = head
        .elements("upgrade")
        .any(|token| token.eq_ignore_ascii_case(b"websocket"));
    match (server.router.has(&target.path), wants_upgrade) {
        (true, true) => {}
        (true, false) => return Road::Reply(socket, Reply::UpgradeRequired),
        (false, true) => return Road::Reply(socket, Reply::NoRoute),
        (false, false) if target.path == LISTING_PATH => {
            return Road::Reply(socket, Reply::Json(server.router.listing().json(peer.ip())));
        }
        (false, false) => {
            match (&server.overlay, target.path.as_str()) {
                (Some(overlay), overlay::STREAM_PATH) => {
                    return Road::News(socket, overlay.clone());
                }
                (Some(_), overlay::SCRIPT_PATH) => {
                    return Road::Reply(socket, Reply::Script(overlay::SCRIPT));
                }
                _ => {}
            }
            let mut received = head.bytes().to_vec();
            received.extend_from_slice(&early);
            return Road::File(socket, received);
        }
    }
    let entrance = match server.router.enter(&target.path) {
        Ok(entrance) => entrance,
        Err(NoWay::Full) => return Road::Reply(socket, Reply::Full),
        // It has gone since.
        Err(NoWay::NoRoute) => return Road::Reply(socket, Reply::NoRoute),
    };
    let about = About {
        peer,
        path: target.path.clone(),
        began,
    };
    let knock = Knock {
        socket,
        head,
        target,
        early,
        about,
        deadline: began + timeout,
    };
    match handshake::shake(knock, entrance).await {
        Outcome::Session(session) => Road::Session(session),
        Outcome::Reply(socket, reply) => Road::Reply(socket, reply),
        Outcome::Dropped => Road::Nowhere,
    }
}

/// Why there is no request head.
enum Unread {
    Gone,
    Refused(Reply),
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
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return Err(Unread::Gone),
        }
        let end = Head::end(received, before);
        if end.unwrap_or(received.len()) > limits.header_bytes_max {
            let line_ended = received[..limits.header_bytes_max].contains(&b'\n');
            let reply = if line_ended {
                Reply::HeadTooLarge
            } else {
                Reply::TargetTooLong
            };
            return Err(Unread::Refused(reply));
        }
        if let Some(end) = end {
            return Ok(end);
        }
    }
}

/// What one read of a head asks for.
const READ_BYTES: usize = 1024;
/// Where the list of handlers is, for the pages that show it and for operators.
const LISTING_PATH: &str = "/.wshd/handlers.json";
