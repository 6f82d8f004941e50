//! Where the server listens: accepts connections until the stop.

mod accept_errors;
pub(crate) mod binding;
mod socket_file;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tracing::{error, warn};

use self::accept_errors::{AcceptAction, AcceptErrors, Fault};
use self::socket_file::SocketFile;
use crate::config::Endpoint;
use crate::connection::Connection;
use crate::connection::server::Server;
use crate::last_resort;
use crate::runtime::wakes;
use crate::sessions::peer::{Peer, PeerProcess};

/// An endpoint that is listened on.
// The fields are dropped in this order: while the socket is open, no other server takes its file over.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The file of a Unix socket, which is removed with this.
    file: Option<SocketFile>,
    socket: AsyncFd<Socket>,
    /// With the port that was found, where any free one was wanted.
    endpoint: Endpoint,
}

impl Listener {
    /// A socket that listens on `endpoint` and is not registered with the runtime.
    fn new(socket: Socket, endpoint: Endpoint, file: Option<SocketFile>) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        // The deprecation is about types whose descriptor changes. A socket keeps its own.
        #[allow(deprecated)]
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Listener {
            file,
            socket,
            endpoint,
        })
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether its file is what lies at `path`.
    fn has_file_at(&self, path: &Path) -> bool {
        self.file.as_ref().is_some_and(|file| file.is_at(path))
    }

    /// The next connection, which is not registered with the runtime. What the peer has sent already can be
    /// read without that.
    ///
    /// A Unix socket is a [`TcpStream`] too: reads, writes and readiness do not depend on the family. What only
    /// TCP has fails there.
    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        loop {
            let mut ready = self.socket.readable().await?;
            let accept = |socket: &AsyncFd<Socket>| {
                let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
                socket.get_ref().accept4(flags)
            };
            if let Ok(accepted) = ready.try_io(accept) {
                let (socket, peer) = accepted?;
                let peer = match peer.as_socket() {
                    Some(address) => address.into(),
                    None => Peer::Unix(PeerProcess::of(&socket)),
                };
                return Ok((socket.into(), peer));
            }
        }
    }
}

/// Whether only this machine can reach them.
pub(crate) fn are_loopback(listeners: &[Listener]) -> bool {
    listeners.iter().all(|it| it.endpoint.is_loopback())
}

/// Accepts until the server stops. Every connection holds a clone of `alive` while it lasts.
pub(crate) async fn accept(listener: Listener, server: Arc<Server>, alive: mpsc::Sender<()>) {
    // Made once, since each connection would pay for another one.
    let stopping = server.stopping.clone();
    let mut stopped = pin!(stopping.begun());
    let mut errors = AcceptErrors::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        let error = match accepted {
            Ok((socket, peer)) => {
                errors.note_accepted();
                let limits = &server.config.load().limits;
                let permit = server.admission.connection(limits);
                let is_crowded = permit.is_none();
                let (server, alive) = (server.clone(), alive.clone());
                let tls = match listener.endpoint.is_tls() {
                    true => server.tls.current(),
                    false => None,
                };
                if listener.endpoint.is_tls() && tls.is_none() {
                    // Plain bytes must never go where TLS is promised. Settings with a certificate keep one.
                    continue;
                }
                tokio::spawn(Connection::new(socket, peer, tls, server, permit, alive));
                if is_crowded {
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
                let limits = &server.config.load().limits;
                server.admission.evict_any(&UNKNOWN_PEER, limits);
                if is_logged {
                    warn!(%error, "cannot accept; trying again, every second in the end");
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

/// The peer of a connection that could not be accepted.
const UNKNOWN_PEER: Peer = Peer::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
