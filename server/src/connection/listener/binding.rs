//! Binds all that the server listens on or none of it, except a loopback address that the machine lacks.
//!
//! A socket that is open already serves its endpoint on. So a change of the configuration binds what is new, and what
//! another process has passed on is not bound again.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use super::places::{is_v6_only, overlap, sockets_for};
use super::socket_file;
use super::{Listener, SocketOrigin};
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
    /// The socket is passed as one for TLS.
    #[error(
        "systemd's socket unit names it `tls`, and `[tls]` has no certificate; set `certificates`, or another \
         `FileDescriptorName=`"
    )]
    NoCertificate,
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

/// What is listened on after a change.
#[derive(Debug)]
pub(super) struct Bound {
    /// Addresses first, in their order, then Unix sockets.
    pub(super) listeners: Vec<Listener>,
    /// The loopback addresses that the machine lacks.
    pub(super) missing: Vec<Endpoint>,
}

/// Binds every endpoint of the configuration that none of the `open` sockets serves: addresses first, in their order,
/// then Unix sockets.
///
/// Port 0 becomes one free port for all plain addresses, and another one for all with TLS. The log tells of an address
/// that the machine lacks, unless that is one of `missing` already.
pub(super) fn bind(
    config: &Config,
    open: &[Listener],
    missing: &[Endpoint],
) -> Result<Bound, ListenError> {
    let places: Vec<_> = open.iter().map(Listener::place).collect();
    let sockets = sockets_for(&places, &config.listen);
    let wanted = config.listen.iter().zip(sockets);
    let wanted: Vec<(&Endpoint, Option<&Listener>)> = wanted
        .map(|(endpoint, socket)| (endpoint, socket.map(|index| &open[index])))
        .collect();
    let mut tries = 0;
    let mut bound = loop {
        tries += 1;
        match bind_addresses(config, &wanted, open) {
            // The port that is free on one address may be taken on another, so another one is tried.
            Err(ListenError {
                why: WhyNot::Taken,
                endpoint,
            }) if tries < PORT_TRIES && is_any_port(config, &endpoint) => {}
            bound => break bound?,
        }
    };
    for Missing {
        wanted,
        found,
        error,
    } in &bound.missing
    {
        if !missing.contains(wanted) {
            warn!(address = %found, %error, "address not available, going on without it");
        }
    }
    for (endpoint, socket) in &wanted {
        let Some(path) = endpoint.path() else {
            continue;
        };
        let listener = match socket {
            Some(open) => open.written_as(endpoint),
            None => bind_path(endpoint, path, config.unix_mode, config.listen_backlog).map_err(
                |why| {
                    // Two spellings of a path may lead to one file.
                    let mut all = bound.listeners.iter().chain(open);
                    let own = all.find(|it| it.has_file_at(path));
                    let why = match (why, own) {
                        (WhyNot::Taken, Some(own)) => WhyNot::OwnFile(own.endpoint().clone()),
                        (why, _) => why,
                    };
                    let endpoint = (*endpoint).clone();
                    ListenError { endpoint, why }
                },
            )?,
        };
        bound.listeners.push(listener);
    }
    Ok(Bound {
        listeners: bound.listeners,
        missing: bound.missing.into_iter().map(|it| it.wanted).collect(),
    })
}

/// Whether the configuration leaves the port of this address to the server.
fn is_any_port(config: &Config, bound: &Endpoint) -> bool {
    config.listen.contains(&bound.with_port(0))
}

/// The addresses that are bound, and the loopback addresses that the machine lacks.
struct BoundAddresses {
    listeners: Vec<Listener>,
    missing: Vec<Missing>,
}

/// A loopback address that the machine lacks.
struct Missing {
    wanted: Endpoint,
    /// With the port that was found for the others.
    found: Endpoint,
    error: io::Error,
}

/// Binds every address that has no socket yet.
fn bind_addresses(
    config: &Config,
    wanted: &[(&Endpoint, Option<&Listener>)],
    open: &[Listener],
) -> Result<BoundAddresses, ListenError> {
    let addresses = config.listen.iter().filter_map(Endpoint::address).count();
    let mut bound = BoundAddresses {
        listeners: Vec::new(),
        missing: Vec::new(),
    };
    for (endpoint, socket) in wanted {
        let Some(address) = endpoint.address() else {
            continue;
        };
        if let Some(open) = socket {
            bound.listeners.push(open.written_as(endpoint));
            continue;
        }
        let found = match address.port() {
            0 => endpoint.with_port(free_port(&bound.listeners, wanted, endpoint)),
            _ => (*endpoint).clone(),
        };
        let is_v6_only = is_v6_only(endpoint, &config.listen);
        match listen(endpoint, &found, is_v6_only, open, config.listen_backlog) {
            Ok(listener) => bound.listeners.push(listener),
            // A machine without IPv6 still has the IPv4 loopback address.
            Err(error) if is_missing_loopback(&error, address) && addresses > 1 => {
                let wanted = (*endpoint).clone();
                bound.missing.push(Missing {
                    wanted,
                    found,
                    error,
                });
            }
            Err(error) => {
                let why = match error.kind() {
                    io::ErrorKind::PermissionDenied => WhyNot::NoPrivilege(error),
                    _ => error.into(),
                };
                let endpoint = found;
                return Err(ListenError { endpoint, why });
            }
        }
    }
    if bound.listeners.is_empty() && !bound.missing.is_empty() {
        let missing = bound.missing.remove(0);
        return Err(ListenError {
            endpoint: missing.found,
            why: missing.error.into(),
        });
    }
    Ok(bound)
}

/// The port that was found for an endpoint like this one, which may be listened on already; 0 if none was.
fn free_port(
    bound: &[Listener],
    wanted: &[(&Endpoint, Option<&Listener>)],
    endpoint: &Endpoint,
) -> u16 {
    let kept = wanted.iter().filter_map(|(_, socket)| *socket);
    let of_any_port = |it: &&Listener| it.wanted.address().is_some_and(|it| it.port() == 0);
    let kept = kept.filter(of_any_port);
    let all = bound.iter().chain(kept).map(Listener::endpoint);
    let mut alike = all.filter(|bound| bound.shares_port(endpoint));
    let address = alike.find_map(Endpoint::address);
    address.map_or(0, |address| address.port())
}

/// Listens on one address.
///
/// Where one of the `open` sockets has the port already, as when `127.0.0.1` becomes `0.0.0.0`, both share it until
/// that one is closed.
fn listen(
    wanted: &Endpoint,
    found: &Endpoint,
    is_v6_only: bool,
    open: &[Listener],
    backlog: u16,
) -> io::Result<Listener> {
    let address = found.address().ok_or(io::ErrorKind::Unsupported)?;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(is_v6_only)?;
    }
    let shares = |it: &&Listener| {
        it.endpoint()
            .address()
            .is_some_and(|it| overlap(it, address))
    };
    let sharing: Vec<&Socket> = open.iter().filter(shares).map(Listener::socket).collect();
    let sharing = || sharing.iter().copied().chain([&socket]);
    let is_shared = address.port() != 0 && sharing().count() > 1;
    if is_shared {
        sharing().try_for_each(|it| it.set_reuse_port(true))?;
    }
    let bound = socket.bind(&address.into()).and_then(|()| {
        // Connections inherit the option. Each readiness event ends with one send, which is to leave at once.
        socket.set_tcp_nodelay(true)?;
        socket.listen(backlog.into())
    });
    if is_shared {
        // From now on no other process joins them.
        sharing().try_for_each(|it| it.set_reuse_port(false))?;
    }
    bound?;
    let port = socket.local_addr()?.as_socket().map_or(0, |it| it.port());
    let endpoint = found.with_port(port);
    Listener::new(socket, wanted.clone(), endpoint, None, SocketOrigin::Own)
}

/// Makes the Unix socket of `endpoint` at `path`.
pub(super) fn bind_path(
    endpoint: &Endpoint,
    path: &Path,
    mode: u32,
    backlog: u16,
) -> Result<Listener, WhyNot> {
    let (socket, file) = socket_file::bind(path, mode, backlog.into())?;
    let endpoint = endpoint.clone();
    Ok(Listener::new(
        socket,
        endpoint.clone(),
        endpoint,
        Some(file),
        SocketOrigin::Own,
    )?)
}

fn is_missing_loopback(error: &io::Error, address: SocketAddr) -> bool {
    let code = error.raw_os_error();
    address.ip().is_loopback()
        && address.is_ipv6()
        && (code == Some(libc::EADDRNOTAVAIL) || code == Some(libc::EAFNOSUPPORT))
}

/// Attempts to find a port that is free on every address.
const PORT_TRIES: u32 = 20;
