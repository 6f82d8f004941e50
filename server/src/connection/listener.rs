//! The addresses that are listened on: bound all or not at all, accepted from until the stop.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::connection::Connection;
use crate::connection::server::Server;
use crate::last_resort;

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
pub(crate) struct Listener(AsyncFd<Socket>);

impl Listener {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.0.get_ref().local_addr()?.as_socket();
        address.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// The next connection, which the runtime does not know yet: when it does, it looks after it,
    /// and what most peers have sent already can be had without that.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let mut ready = self.0.readable().await?;
            let accept = |socket: &AsyncFd<Socket>| {
                let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
                socket.get_ref().accept4(flags)
            };
            if let Ok(accepted) = ready.try_io(accept) {
                let (socket, peer) = accepted?;
                let peer = peer.as_socket().ok_or(io::ErrorKind::Unsupported)?;
                return Ok((socket.into(), peer));
            }
        }
    }
}

/// Binds every address. Port 0 becomes one free port for all of them.
pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Vec<Listener>, ListenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_once(addresses) {
            // The free port of one address may be taken on another: try again with a new one.
            Err(error)
                if error.source.kind() == io::ErrorKind::AddrInUse
                    && tries < PORT_TRIES
                    && addresses.iter().all(|address| address.port() == 0) => {}
            bound => return bound,
        }
    }
}

fn bind_once(addresses: &[SocketAddr]) -> Result<Vec<Listener>, ListenError> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut free_port = None;
    for &wanted in addresses {
        let mut address = wanted;
        if let (0, Some(port)) = (address.port(), free_port) {
            address.set_port(port);
        }
        match listen(address, addresses) {
            Ok(listener) => {
                if wanted.port() == 0 {
                    free_port = listener.local_addr().ok().map(|local| local.port());
                }
                listeners.push(listener);
            }
            // A machine without IPv6 still has the other loopback address.
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

fn listen(address: SocketAddr, all: &[SocketAddr]) -> io::Result<Listener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` alone takes both families; beside an IPv4 address it leaves that one alone.
        socket.set_only_v6(all.iter().any(SocketAddr::is_ipv4))?;
    }
    socket.bind(&address.into())?;
    // Connections inherit it. Replies leave at once: one send a readiness event is all the batching
    // there is.
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    // What it warns of are types that change their descriptor; a socket is one for its life.
    #[allow(deprecated)]
    let registered = AsyncFd::with_interest(socket, Interest::READABLE);
    registered.map(Listener)
}

/// Whether only this machine reaches any of them.
pub(crate) fn are_loopback(listeners: &[Listener]) -> bool {
    let addresses = listeners.iter().map(Listener::local_addr);
    addresses
        .into_iter()
        .all(|address| address.is_ok_and(|address| address.ip().to_canonical().is_loopback()))
}

/// Accepts until the server stops. Every connection holds a clone of `alive` while it lasts.
pub(crate) async fn accept(listener: Listener, server: Arc<Server>, alive: mpsc::Sender<()>) {
    // Made once: each connection would pay for another one.
    let stopping = server.stopping.clone();
    let mut stopped = pin!(stopping.begun());
    let mut pause = PAUSE_MIN;
    // Connections that were gone before they could be accepted, since the last one that was.
    let mut gone = 0;
    // When it was last said that something has run out.
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                (pause, gone) = (PAUSE_MIN, 0);
                let limits = &server.config.load().limits;
                let place = server.admission.connection(limits);
                let is_crowded = place.is_none();
                let (server, alive) = (server.clone(), alive.clone());
                tokio::spawn(Connection::new(socket, peer, server, place, alive));
                if is_crowded {
                    // What gives way closes its descriptor before the next one is opened.
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if is_out_of_resources(&error) => {
                // The system's limit is below ours: something else has taken descriptors.
                server
                    .admission
                    .evict_any(UNKNOWN_PEER, &server.config.load().limits);
                // Said once, and again after a connection was accepted, but not with each of those.
                let is_told = told.is_some_and(|told| told.elapsed() < TOLD_AGAIN);
                if pause == PAUSE_MIN && !is_told {
                    warn!(%error, "cannot accept; trying again, every second in the end");
                    told = Some(Instant::now());
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) if is_of_the_listener(&error) => {
                let address = listener.local_addr();
                last_resort::end_without(
                    &address.map_or("a listener".to_owned(), |it| it.to_string()),
                );
            }
            // The one connection that was to be accepted is gone; the next one is not.
            Err(error) if is_of_the_connection(&error) && gone < GONE_MAX => gone += 1,
            Err(error) => {
                // Said once, and again after a connection was accepted.
                if pause == PAUSE_MIN {
                    error!(%error, "cannot accept; trying again every second");
                }
                pause = PAUSE_MAX;
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Whether an error of `accept` is about the one connection that was to be accepted (accept(2)).
fn is_of_the_connection(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [
        libc::ECONNABORTED,
        libc::EINTR,
        libc::EPERM,
        libc::EPROTO,
        libc::ENETDOWN,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::ETIMEDOUT,
    ]
    .iter()
    .any(|c| code == Some(*c))
}

/// Whether an error of `accept` says that the socket listens no more, for ever.
fn is_of_the_listener(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [libc::EINVAL, libc::EBADF, libc::ENOTSOCK]
        .iter()
        .any(|c| code == Some(*c))
}

fn is_out_of_resources(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM]
        .iter()
        .any(|c| code == Some(*c))
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

/// So many connections may be gone one after another before they could be accepted. More of them are an
/// error of the system's: a filter of system calls answers EPERM for each.
const GONE_MAX: u32 = 1000;
/// The peer of a connection that could not be accepted.
const UNKNOWN_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const BACKLOG: i32 = 1024;
const PORT_TRIES: u32 = 20;
/// A lack that comes and goes is said once in that time.
const TOLD_AGAIN: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);
