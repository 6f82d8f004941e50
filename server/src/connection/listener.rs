//! Where the server listens: accepts connections until a listener is let go, or until the stop.

mod accept_errors;
pub(crate) mod binding;
mod listeners;
mod passed;
mod places;
pub(crate) mod remaking;
pub(crate) mod socket_file;

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

use self::accept_errors::{AcceptAction, AcceptErrors, Fault};
pub(crate) use self::listeners::Listeners;
use self::places::Place;
use self::socket_file::SocketFile;
use crate::auth::network::Network;
use crate::config::{Caller, Endpoint};
use crate::connection::server::Server;
use crate::connection::{Beginning, Connection};
use crate::last_resort;
use crate::runtime::wakes;
use crate::sessions::peer::{Peer, PeerProcess};

/// An endpoint that is listened on. Its socket is closed with the last clone.
#[derive(Clone, Debug)]
struct Listener {
    socket: Arc<ListeningSocket>,
    /// As the configuration writes it.
    wanted: Endpoint,
    /// With the port that was found, where any free one was wanted.
    endpoint: Endpoint,
}

/// A socket that listens.
// The fields are dropped in this order: while the socket is open, no other server takes its file over.
#[derive(Debug)]
struct ListeningSocket {
    /// The file of a Unix socket, which is removed with this.
    file: Option<SocketFile>,
    socket: AsyncFd<Socket>,
    /// What systemd has said of it, if it came from there.
    origin: SocketOrigin,
    /// Whether the process that is to take the place of this one has been given it.
    is_passed: AtomicBool,
}

/// Where a socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SocketOrigin {
    /// This server has made it, or one whose place it takes.
    Own,
    /// systemd has made it, for clients that speak TLS or for others. It goes on there when this process has ended.
    Systemd { is_tls: bool },
}

/// How a listener ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerEnd {
    /// Another listener goes on with the socket, and with the connections that wait there.
    AtOnce,
    /// The socket is closed, and would reset the connections that wait to be accepted. So they are accepted first.
    WhenEmpty,
}

impl Listener {
    /// A socket that listens on `endpoint` and is not registered with the runtime.
    fn new(
        socket: Socket,
        wanted: Endpoint,
        endpoint: Endpoint,
        file: Option<SocketFile>,
        origin: SocketOrigin,
    ) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        // The deprecation is about types whose descriptor changes. A socket keeps its own.
        #[allow(deprecated)]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        last_resort::watch_also(socket.as_fd());
        Ok(Listener {
            socket: Arc::new(ListeningSocket {
                file,
                socket,
                origin,
                is_passed: AtomicBool::new(false),
            }),
            wanted,
            endpoint,
        })
    }

    /// This listener as the configuration writes it now, with the address or the path of before.
    fn written_as(&self, wanted: &Endpoint) -> Listener {
        let port = self.endpoint.address().map_or(0, |address| address.port());
        Listener {
            socket: self.socket.clone(),
            wanted: wanted.clone(),
            endpoint: wanted.with_port(port),
        }
    }

    /// Where it listens.
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn place(&self) -> Place {
        let address = self.endpoint.address();
        let is_every_v6 = address.is_some_and(|it| it.is_ipv6() && it.ip().is_unspecified());
        Place {
            wanted: self.wanted.clone(),
            bound: self.endpoint.clone(),
            is_v6_only: is_every_v6 && self.socket().only_v6().unwrap_or(false),
        }
    }

    /// Whether the process that has passed the socket on may still go on with it.
    fn is_of_another(&self) -> bool {
        let file = self.socket.file.as_ref();
        file.is_some_and(SocketFile::is_left)
    }

    fn is_of_systemd(&self) -> bool {
        matches!(self.socket.origin, SocketOrigin::Systemd { .. })
    }

    fn socket(&self) -> &Socket {
        self.socket.socket.get_ref()
    }

    /// Whether its file is what lies at `path`.
    fn has_file_at(&self, path: &Path) -> bool {
        let file = self.socket.file.as_ref();
        file.is_some_and(|file| file.is_at(path))
    }

    /// The next connection, which is not registered with the runtime. What the peer has sent already can be
    /// read without that.
    ///
    /// A Unix socket is a [`TcpStream`] too: reads, writes and readiness do not depend on the family. What only
    /// TCP has fails there.
    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        loop {
            let mut ready = self.socket.socket.readable().await?;
            if let Ok(accepted) = ready.try_io(|socket| accept_now(socket.get_ref())) {
                return accepted;
            }
        }
    }
}

impl Drop for ListeningSocket {
    fn drop(&mut self) {
        last_resort::forget(self.socket.as_fd());
    }
}

/// The next connection that waits on this socket; an error where none does.
fn accept_now(socket: &Socket) -> io::Result<(TcpStream, Peer)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let (socket, peer) = socket.accept4(flags)?;
    let peer = match peer.as_socket() {
        Some(address) => address.into(),
        None => Peer::Unix(PeerProcess::of(&socket)),
    };
    Ok((socket.into(), peer))
}

/// Accepts until `end` comes. Every connection holds a clone of `alive` while it lasts.
async fn accept(
    listener: Listener,
    server: Arc<Server>,
    alive: mpsc::Sender<()>,
    end: oneshot::Receiver<ListenerEnd>,
) {
    accept_until(&listener, server, alive, end).await;
    // The file system of a Unix socket's file may be slow, and workers have sessions to serve.
    if listener.socket.file.is_some() {
        let _ = tokio::task::spawn_blocking(|| drop(listener)).await;
    }
}

async fn accept_until(
    listener: &Listener,
    server: Arc<Server>,
    alive: mpsc::Sender<()>,
    mut end: oneshot::Receiver<ListenerEnd>,
) {
    let mut errors = AcceptErrors::new();
    loop {
        let accepted = tokio::select! {
            // The end comes first: another loop accepts at this socket from then on, maybe with TLS.
            biased;
            end = &mut end => {
                if end == Ok(ListenerEnd::WhenEmpty) {
                    // As many as can wait at one moment. Without a bound, a flood of new ones would be waited for.
                    for _ in 0..=u16::MAX {
                        let Ok((socket, peer)) = accept_now(listener.socket()) else {
                            return;
                        };
                        serve(listener, socket, peer, &server, &alive);
                    }
                }
                return;
            }
            accepted = listener.accept() => accepted,
        };
        let error = match accepted {
            Ok((socket, peer)) => {
                errors.note_accepted();
                if serve(listener, socket, peer, &server, &alive) == Admitted::OverTheLimit {
                    // An evicted connection closes its descriptor before the next one is opened.
                    wakes::yield_now().await;
                }
                continue;
            }
            Err(error) => error,
        };
        match errors.step(Fault::of(&error), Instant::now()) {
            AcceptAction::AcceptNext => {}
            AcceptAction::EndProcess => {
                last_resort::end_without(&listener.endpoint.to_string());
            }
            AcceptAction::EvictAndPause { pause, is_logged } => {
                // Something else has taken the descriptors that `connections_max` counts on.
                server.admission.evict_any(UNKNOWN_NETWORK);
                if is_logged {
                    warn!(%error, "cannot accept; trying again, every half second in the end");
                }
                tokio::time::sleep(pause).await;
            }
            AcceptAction::Pause { pause, is_logged } => {
                if is_logged {
                    error!(%error, "cannot accept; trying again every second");
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Whether there was a permit for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admitted {
    WithinTheLimit,
    OverTheLimit,
}

/// Serves a connection that was accepted.
fn serve(
    listener: &Listener,
    socket: TcpStream,
    peer: Peer,
    server: &Arc<Server>,
    alive: &mpsc::Sender<()>,
) -> Admitted {
    server.meters.connections.count(carrier(&listener.endpoint));
    let config = server.config.load();
    let has_proxy_header = listener.endpoint.is_proxied();
    if has_proxy_header && !config.trusted_proxies.contains(peer.ip()) {
        server.refusals.log_closed(&peer, NO_TRUSTED_PROXY);
        return Admitted::WithinTheLimit;
    }
    let (address, is_known) = (peer.ip(), peer.is_known());
    // A trusted proxy says later whose connection it is.
    if let Some(refusal) = config.addresses.refuses(Caller { address, is_known })
        && !config.trusted_proxies.contains(address)
    {
        server.refusals.log_closed(&peer, refusal);
        return Admitted::WithinTheLimit;
    }
    let permit = server.admission.connection(&config.limits);
    drop(config);
    let admitted = match permit.is_some() {
        true => Admitted::WithinTheLimit,
        false => Admitted::OverTheLimit,
    };
    let (server, alive) = (server.clone(), alive.clone());
    let tls = match listener.endpoint.is_tls() {
        true => server.tls.current(),
        false => None,
    };
    // Plain bytes must never go where TLS is promised. Settings with a certificate keep one.
    if !listener.endpoint.is_tls() || tls.is_some() {
        let begins_with = Beginning {
            has_proxy_header,
            tls,
        };
        tokio::spawn(Connection::new(
            socket,
            peer,
            begins_with,
            server,
            permit,
            alive,
        ));
    }
    admitted
}

/// What carries the connections of a listener, as a word for metrics.
fn carrier(endpoint: &Endpoint) -> &'static str {
    match (endpoint.is_tls(), endpoint.address()) {
        (true, _) => "tls",
        (false, Some(_)) => "tcp",
        (false, None) => "unix",
    }
}

/// Why a connection is closed at once where only proxies connect.
const NO_TRUSTED_PROXY: &str =
    "the peer is none of `trusted_proxies`, and only these connect there";
/// The network of a connection that could not be accepted.
const UNKNOWN_NETWORK: Network = Network::V4(0);
