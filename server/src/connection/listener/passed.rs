//! Listeners of sockets that another process has passed to this one.

use std::io;

use super::binding::{ListenError, WhyNot};
use super::socket_file::SocketFile;
use super::{Listener, SocketOrigin};
use crate::config::{Config, Endpoint};
use crate::process::passed_sockets::{PassedSocket, SocketNote};

/// A listener of a socket that was passed. Nothing is accepted there yet.
pub(super) fn listener_of(passed: PassedSocket) -> io::Result<Listener> {
    let PassedSocket { socket, note } = passed;
    let address = socket.local_addr()?;
    let endpoint = match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => Endpoint::Plain(address),
        (None, Some(path)) => Endpoint::Unix(path.to_owned()),
        (None, None) => return Err(io::Error::other("it has neither an address nor a path")),
    };
    if endpoint.address().is_some() {
        socket.set_tcp_nodelay(true)?;
    }
    let file = match endpoint.path() {
        Some(path) if !note.is_of_systemd => Some(SocketFile::of_another(path, note.file)),
        _ => None,
    };
    let wanted = note.wanted.as_deref().and_then(Endpoint::written);
    let wanted = wanted.unwrap_or_else(|| endpoint.clone());
    let endpoint = match (&wanted, endpoint.address()) {
        (_, None) => endpoint,
        (wanted, Some(address)) if wanted.address().is_some_and(|it| it.ip() == address.ip()) => {
            wanted.with_port(address.port())
        }
        (_, Some(_)) => endpoint,
    };
    let origin = match note.is_of_systemd {
        true => SocketOrigin::Systemd {
            is_tls: note.is_tls,
        },
        false => SocketOrigin::Own,
    };
    Listener::new(socket, wanted, endpoint, file, origin)
}

/// What another process has to know of a listener's socket.
pub(super) fn note_of(listener: &Listener) -> SocketNote {
    SocketNote {
        wanted: Some(listener.wanted.to_string()),
        is_of_systemd: listener.is_of_systemd(),
        is_tls: listener.socket.origin == SocketOrigin::Systemd { is_tls: true },
        is_admin: false,
        file: listener.socket.file.as_ref().and_then(SocketFile::identity),
    }
}

/// Where to listen: as the configuration says, but for a server to which systemd has passed sockets and whose `listen`
/// is the default. That one listens where systemd says.
pub(super) fn endpoints(config: &Config, known: &[Listener]) -> Result<Vec<Endpoint>, ListenError> {
    let of_systemd: Vec<&Listener> = known.iter().filter(|it| it.is_of_systemd()).collect();
    if of_systemd.is_empty() || !config.listens_by_default() {
        return Ok(config.listen.clone());
    }
    let endpoints = of_systemd.into_iter().map(|listener| {
        let is_named_tls = listener.socket.origin == SocketOrigin::Systemd { is_tls: true };
        let endpoint = listener.endpoint();
        match endpoint.address() {
            Some(address) if config.tls.every_address || is_named_tls => Endpoint::Tls(address),
            Some(address) => Endpoint::Plain(address),
            None => endpoint.clone(),
        }
    });
    let endpoints: Vec<Endpoint> = endpoints.collect();
    match endpoints.iter().find(|it| it.is_tls()) {
        Some(endpoint) if config.tls.certificates.is_empty() => Err(ListenError {
            endpoint: endpoint.clone(),
            why: WhyNot::NoCertificate,
        }),
        _ => Ok(endpoints),
    }
}
