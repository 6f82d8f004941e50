//! Binds all that the server listens on or none of it, except a loopback address that the machine lacks.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use super::Listener;
use super::socket_file;
use crate::config::{Config, Endpoint};

/// An endpoint that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {endpoint}: {why}")]
pub struct ListenError {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Why it cannot be listened on.
    pub why: WhyNot,
}

/// Why an endpoint cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum WhyNot {
    /// Another socket has the address or the path.
    #[error("another process listens there already")]
    Taken,
    /// The path leads to the socket of another endpoint of this server.
    #[error("it is the file of `{0}`, which is listened on too")]
    OwnFile(Endpoint),
    /// The path is that of a file, a directory or a link.
    #[error("what lies there is no socket, and is left as it is")]
    NoSocket,
    /// The directory of a Unix socket is not there.
    #[error("its directory is not there")]
    NoDirectory,
    /// The port is one of those that are for privileged processes.
    #[error("{0}; ports below 1024 need a privilege")]
    NoPrivilege(io::Error),
    /// The system does not allow it.
    #[error(transparent)]
    System(io::Error),
}

impl From<io::Error> for WhyNot {
    fn from(error: io::Error) -> WhyNot {
        match error.kind() {
            io::ErrorKind::AddrInUse => WhyNot::Taken,
            _ => WhyNot::System(error),
        }
    }
}

/// Binds every endpoint of the configuration: addresses first, in their order, then Unix sockets.
///
/// Port 0 becomes one free port for all plain addresses, and another one for all with TLS.
pub(crate) fn bind(config: &Config) -> Result<Vec<Listener>, ListenError> {
    let mut tries = 0;
    let mut listeners = loop {
        tries += 1;
        match bind_addresses(config) {
            // The port that is free on one address may be taken on another, so another one is tried.
            Err(ListenError {
                why: WhyNot::Taken,
                endpoint,
            }) if tries < PORT_TRIES && is_any_port(config, &endpoint) => {}
            bound => break bound?,
        }
    };
    for endpoint in &config.listen {
        if let Endpoint::Unix(path) = endpoint {
            let backlog = config.listen_backlog.into();
            let bound = socket_file::bind(path, config.unix_mode, backlog);
            let bound = bound.and_then(|(socket, file)| {
                Ok(Listener::new(socket, endpoint.clone(), Some(file))?)
            });
            let bound = bound.map_err(|why| {
                // Two spellings of a path may lead to one file.
                let own = listeners.iter().find(|it| it.has_file_at(path));
                let why = match (why, own) {
                    (WhyNot::Taken, Some(own)) => WhyNot::OwnFile(own.endpoint().clone()),
                    (why, _) => why,
                };
                let endpoint = endpoint.clone();
                ListenError { endpoint, why }
            });
            listeners.push(bound?);
        }
    }
    Ok(listeners)
}

/// Whether the configuration leaves the port of this address to the server.
fn is_any_port(config: &Config, bound: &Endpoint) -> bool {
    config.listen.contains(&bound.with_port(0))
}

/// Binds every address.
fn bind_addresses(config: &Config) -> Result<Vec<Listener>, ListenError> {
    let addresses = config.listen.iter().filter_map(Endpoint::address);
    let addresses: Vec<SocketAddr> = addresses.collect();
    let mut listeners: Vec<Listener> = Vec::new();
    let mut missing = None;
    for endpoint in &config.listen {
        let Some(wanted) = endpoint.address() else {
            continue;
        };
        let endpoint = match wanted.port() {
            0 => endpoint.with_port(free_port(&listeners, endpoint)),
            _ => endpoint.clone(),
        };
        match listen(&endpoint, &addresses, config.listen_backlog.into()) {
            Ok(listener) => listeners.push(listener),
            // A machine without IPv6 still has the IPv4 loopback address.
            Err(error) if is_missing_loopback(&error, wanted) && addresses.len() > 1 => {
                warn!(address = %endpoint, %error, "address not available, going on without it");
                missing = missing.or(Some((endpoint, error)));
            }
            Err(error) => {
                let why = match error.kind() {
                    io::ErrorKind::PermissionDenied => WhyNot::NoPrivilege(error),
                    _ => error.into(),
                };
                return Err(ListenError { endpoint, why });
            }
        }
    }
    match missing {
        Some((endpoint, error)) if listeners.is_empty() => Err(ListenError {
            endpoint,
            why: error.into(),
        }),
        _ => Ok(listeners),
    }
}

/// The port that was found for an endpoint like this one; 0 if none was.
fn free_port(listeners: &[Listener], endpoint: &Endpoint) -> u16 {
    let bound = listeners.iter().map(|listener| listener.endpoint());
    let mut alike = bound.filter(|bound| bound.is_tls() == endpoint.is_tls());
    let address = alike.find_map(Endpoint::address);
    address.map_or(0, |address| address.port())
}

/// Listens on one address; `all` are those that the server listens on.
fn listen(endpoint: &Endpoint, all: &[SocketAddr], backlog: i32) -> io::Result<Listener> {
    let address = endpoint.address().ok_or(io::ErrorKind::Unsupported)?;
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
    socket.listen(backlog)?;
    let bound = socket.local_addr()?.as_socket();
    let port = bound.map_or(0, |bound| bound.port());
    Listener::new(socket, endpoint.with_port(port), None)
}

fn is_missing_loopback(error: &io::Error, address: SocketAddr) -> bool {
    let code = error.raw_os_error();
    address.ip().is_loopback()
        && address.is_ipv6()
        && (code == Some(libc::EADDRNOTAVAIL) || code == Some(libc::EAFNOSUPPORT))
}

/// Attempts to find a port that is free on every address.
const PORT_TRIES: u32 = 20;
