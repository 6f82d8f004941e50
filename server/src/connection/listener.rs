//! The addresses that the server listens on: binds all of them or none, except a loopback address that the
//! machine lacks, and accepts until the stop.

mod accept_errors;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tracing::{error, warn};

use self::accept_errors::{AcceptAction, AcceptErrors, Fault};
use crate::connection::Connection;
use crate::connection::server::Server;
use crate::last_resort;
use crate::runtime::wakes;
use crate::sessions::peer::{Peer, PeerProcess};

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", explain(source))]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// An address that is listened on.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: AsyncFd<Socket>,
    /// Whether its clients have to speak TLS.
    is_tls: bool,
}

impl Listener {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket.get_ref().local_addr()?.as_socket();
        address.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The next connection, which is not registered with the runtime. What the peer has sent already can be
    /// read without that.
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

/// Binds every address, with TLS on all of them or on none. Port 0 becomes one free port for all of them.
pub(crate) fn bind(addresses: &[SocketAddr], is_tls: bool) -> Result<Vec<Listener>, ListenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_once(addresses, is_tls) {
            // The port that is free on one address may be taken on another, so another one is tried.
            Err(error)
                if error.source.kind() == io::ErrorKind::AddrInUse
                    && tries < PORT_TRIES
                    && addresses.iter().all(|address| address.port() == 0) => {}
            bound => return bound,
        }
    }
}

fn bind_once(addresses: &[SocketAddr], is_tls: bool) -> Result<Vec<Listener>, ListenError> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut free_port = None;
    for &wanted in addresses {
        let mut address = wanted;
        if let (0, Some(port)) = (address.port(), free_port) {
            address.set_port(port);
        }
        match listen(address, addresses, is_tls) {
            Ok(listener) => {
                if wanted.port() == 0 {
                    free_port = listener.local_addr().ok().map(|local| local.port());
                }
                listeners.push(listener);
            }
            // A machine without IPv6 still has the IPv4 loopback address.
            Err(error) if is_missing_loopback(&error, address.ip()) && addresses.len() > 1 => {
                warn!(%address, %error, "address not available, going on without it");
            }
            Err(source) => return Err(ListenError { address, source }),
        }
    }
    match (listeners.is_empty(), addresses.first()) {
        (true, Some(&address)) => Err(ListenError {
            address,
            source: io::ErrorKind::AddrNotAvailable.into(),
        }),
        _ => Ok(listeners),
    }
}

fn listen(address: SocketAddr, all: &[SocketAddr], is_tls: bool) -> io::Result<Listener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` alone takes both families. Beside an IPv4 address it takes IPv6 only.
        socket.set_only_v6(all.iter().any(SocketAddr::is_ipv4))?;
    }
    socket.bind(&address.into())?;
    // Connections inherit the option. Each readiness event ends with one send, which is to leave at once.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    // The deprecation is about types whose descriptor changes. A socket keeps its own.
    #[allow(deprecated)]
    let registered = AsyncFd::with_interest(socket, Interest::READABLE);
    registered.map(|socket| Listener { socket, is_tls })
}

/// Whether only this machine can reach the listeners.
pub(crate) fn are_loopback(listeners: &[Listener]) -> bool {
    let addresses = listeners.iter().map(Listener::local_addr);
    addresses
        .into_iter()
        .all(|address| address.is_ok_and(|address| address.ip().to_canonical().is_loopback()))
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
                let tls = match listener.is_tls {
                    true => server.tls.current(),
                    false => None,
                };
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
                let address = listener.local_addr();
                let name = address.map_or("a listener".to_owned(), |it| it.to_string());
                last_resort::end_without(&name);
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

fn is_missing_loopback(error: &io::Error, address: IpAddr) -> bool {
    let code = error.raw_os_error();
    address.is_loopback()
        && address.is_ipv6()
        && (code == Some(libc::EADDRNOTAVAIL) || code == Some(libc::EAFNOSUPPORT))
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there already".to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("{error}; ports below 1024 need a privilege")
        }
        _ => error.to_string(),
    }
}

/// The peer of a connection that could not be accepted.
const UNKNOWN_PEER: Peer = Peer::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
const BACKLOG: i32 = 1024;
/// Attempts to find a port that is free on every address.
const PORT_TRIES: u32 = 20;
