//! One accepted connection, from its first byte to its end.
//!
//! A connection is a task. Until its session begins it speaks HTTP, as an `HttpConnection`. Where its
//! request has come by the first poll and the handler answers at once, that poll begins the session. Only
//! a connection that has to wait before becomes a future in a box.

pub(crate) mod admission;
pub(crate) mod authentication;
mod built_in_pages;
mod cross_origin;
mod eviction;
pub(crate) mod files;
pub(crate) mod forwarded;
pub(crate) mod handshake;
mod head_reader;
mod health;
pub(crate) mod host;
mod http_connection;
pub(crate) mod listener;
pub(crate) mod log_rate;
mod maybe_future;
pub(crate) mod metrics_page;
mod next_step;
pub(crate) mod origin;
pub mod overlay;
mod peer_watch;
pub(crate) mod proxy_protocol;
pub(crate) mod refusal_log;
pub(crate) mod reply;
mod request;
mod retry_after;
mod routing;
pub(crate) mod server;
pub(crate) mod snapshot;
pub(crate) mod stopping;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use self::http_connection::HttpConnection;
use self::maybe_future::MaybeFuture;
use self::refusal_log::UnansweredEnd;
use self::reply::{FullOf, Reply};
use self::request::Proxied;
use self::server::Server;
use crate::auth::network::Network;
use crate::runtime::wakes;
use crate::session::Session;
use crate::sessions::peer::Peer;
use crate::sessions::permits::{ConnectionGuard, Permit};
use crate::transport::Transport;
use crate::transport::tls::{INTERNAL_ERROR, TlsStream};

/// The task of one accepted connection.
///
/// A session spends hours in it, so it holds only what a session needs: whatever an earlier stage
/// waits for is in a box that is freed with that stage. A task with it takes two cache lines.
pub(crate) struct Connection(ConnectionStage);

enum ConnectionStage {
    /// Nothing of it was read. `None` once its first poll has begun.
    Accepted(Option<Box<Accepted>>),
    /// It has to wait for something before its session, or before its end without one.
    Http(Pin<Box<dyn Future<Output = Option<Box<Session>>> + Send>>),
    Session(Box<Session>),
}

impl Connection {
    /// Holds `alive` until the connection ends. Without a permit it looks for one in its first poll.
    pub(crate) fn new(
        socket: std::net::TcpStream,
        peer: Peer,
        beginning: Beginning,
        server: Arc<Server>,
        permit: Option<Permit>,
        alive: mpsc::Sender<()>,
    ) -> Connection {
        Connection(ConnectionStage::Accepted(Some(Box::new(Accepted {
            socket,
            peer,
            beginning,
            server,
            permit,
            alive,
        }))))
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // A callback may block after it has woken others.
        let _keeping = wakes::defer();
        loop {
            if let ConnectionStage::Session(session) = &mut self.0 {
                return session.poll_to_the_end(cx);
            }
            match ready!(self.poll_before_session(cx)) {
                Some(session) => self.0 = ConnectionStage::Session(session),
                None => return Poll::Ready(()),
            }
        }
    }
}

impl Connection {
    /// Polls what comes before the session; `None` when the connection ends without one.
    // A function of its own, so that its stack frame is no part of a session's polls.
    #[inline(never)]
    fn poll_before_session(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<Session>>> {
        if let ConnectionStage::Accepted(accepted) = &mut self.0
            && let Some(accepted) = accepted.take()
        {
            match accepted.begin() {
                MaybeFuture::Ready(session) => return Poll::Ready(session),
                MaybeFuture::Waiting(http) => self.0 = ConnectionStage::Http(http),
            }
        }
        match &mut self.0 {
            ConnectionStage::Http(http) => http.as_mut().poll(cx),
            ConnectionStage::Accepted(_) | ConnectionStage::Session(_) => Poll::Ready(None),
        }
    }
}

/// What a connection begins with, by where it was accepted.
pub(crate) struct Beginning {
    /// A header of the PROXY protocol.
    pub(crate) has_proxy_header: bool,
    /// TLS, with what its clients are offered; `None` on a plain listener.
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// A connection of which nothing was read.
struct Accepted {
    /// Not known to the runtime yet.
    socket: std::net::TcpStream,
    peer: Peer,
    beginning: Beginning,
    server: Arc<Server>,
    /// `None` when none was free at accept.
    permit: Option<Permit>,
    /// The server waits for it when it stops.
    alive: mpsc::Sender<()>,
}

impl Accepted {
    /// Goes as far as it can without waiting, which may be to the session.
    fn begin(self) -> MaybeFuture<Option<Box<Session>>> {
        let Accepted {
            socket,
            peer,
            beginning,
            server,
            permit,
            alive,
        } = self;
        let is_tls = beginning.tls.is_some();
        let config = server.config.load();
        // The address of a client behind a trusted proxy is judged when it is known.
        let is_of_proxy = config.trusted_proxies.contains(peer.ip());
        let (network, address) = match is_of_proxy {
            true => (Network::Shared, Ok(None)),
            false => (
                Network::of(peer.ip()),
                server.admission.address(&peer, &config.limits),
            ),
        };
        // First of all, so that no other connection gives way to one of an address that has too many.
        let address = match address {
            Ok(address) => address,
            Err(reply) => {
                drop((config, permit));
                return turn_away(socket, peer, network, is_tls, server, reply);
            }
        };
        // Connections that were accepted before may give way by now, since they were polled.
        let make_room = || server.admission.make_room(network, &config.limits);
        let permit = permit.or_else(make_room);
        drop(config);
        let Some(permit) = permit else {
            let reply = Reply::Full(FullOf::Connections);
            return turn_away(socket, peer, network, is_tls, server, reply);
        };
        let mut guard = ConnectionGuard::new(permit, alive);
        guard.count_for_address(address);
        let received = head_reader::read_now(&socket);
        // The peer is gone, or no descriptor is left with which the runtime could watch the socket.
        let (Ok(received), Ok(socket)) = (received, TcpStream::from_std(socket)) else {
            return MaybeFuture::Ready(None);
        };
        let arrived = Arrived {
            socket,
            received,
            tls: beginning.tls,
            peer,
            proxied: None,
            server,
            guard,
        };
        match beginning.has_proxy_header {
            true => proxy_protocol::begin(arrived),
            false => arrived.begin(),
        }
    }
}

/// A connection that is let in, and what its socket had to read so far.
struct Arrived {
    socket: TcpStream,
    /// What follows a header of the PROXY protocol, where there is one.
    received: Vec<u8>,
    tls: Option<Arc<ServerConfig>>,
    peer: Peer,
    /// What such a header says.
    proxied: Option<Box<Proxied>>,
    server: Arc<Server>,
    guard: ConnectionGuard,
}

impl Arrived {
    /// Goes as far as it can without waiting, which may be to the session.
    fn begin(self) -> MaybeFuture<Option<Box<Session>>> {
        match self.into_http() {
            Some(http) => http.begin(),
            None => MaybeFuture::Ready(None),
        }
    }

    /// The connection as one that speaks HTTP, behind a TLS handshake if there is one.
    fn into_http(self) -> Option<HttpConnection> {
        let (transport, received) = match self.tls {
            None => (Transport::Plain(self.socket), self.received),
            Some(tls) => {
                let tls = TlsStream::new(self.socket, self.received, tls).ok()?;
                (Transport::Tls(Box::new(tls)), Vec::new())
            }
        };
        let http = HttpConnection::new(transport, received, self.peer, self.server, self.guard);
        Some(http.behind(self.proxied))
    }
}

/// Answers a connection that gets no permit, as long as there are few of them at a time. A TLS client gets an alert
/// instead: its handshake would take more than what the server is short of.
fn turn_away(
    socket: std::net::TcpStream,
    peer: Peer,
    network: Network,
    is_tls: bool,
    server: Arc<Server>,
    reply: Reply,
) -> MaybeFuture<Option<Box<Session>>> {
    let entry = server.admission.refusal(network);
    let (Some(mut entry), Ok(socket)) = (entry, TcpStream::from_std(socket)) else {
        let refusals = &server.refusals;
        refusals.log_unanswered(&peer, &reply, UnansweredEnd::Silent);
        return MaybeFuture::Ready(None);
    };
    let mut transport = Transport::Plain(socket);
    if is_tls {
        let refusals = &server.refusals;
        refusals.log_unanswered(&peer, &reply, UnansweredEnd::Alert);
    }
    MaybeFuture::wait_for(async move {
        let answer = async {
            match is_tls {
                // A new socket has room for it.
                true => {
                    let _ = transport.write_all(&INTERNAL_ERROR).await;
                    reply::end_unanswered(&mut transport, &server.stopping).await;
                }
                false => {
                    let limits = server.config.load().limits.clone();
                    // A server that is full lives, and a supervisor that asks must not start it anew.
                    let probe = health::probe_of_refused(
                        &mut transport,
                        Vec::new(),
                        &limits,
                        &server.tls_handshakes,
                    );
                    let (reply, is_head) = match server.stopping.unless_begun(probe).await.flatten()
                    {
                        Some((answer, is_head)) => (Reply::Health(answer), is_head),
                        None => {
                            server.log_refusal(&peer, None, &reply);
                            (reply, false)
                        }
                    };
                    reply.send(&mut transport, is_head, &server.stopping).await;
                }
            }
        };
        // A peer that has its answer and does not close, or says nothing, gives way to the next one.
        tokio::select! {
            biased;
            () = answer => {}
            () = entry.evicted() => {}
        }
        drop(transport);
        drop(entry);
        None
    })
}
