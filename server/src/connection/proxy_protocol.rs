//! Where only proxies connect: each connection begins with a header of the PROXY protocol, before TLS and before HTTP.
//!
//! The header says whose connection it is. It is taken from trusted proxies only, which the listener has looked at.

pub(crate) mod header;
#[cfg(test)]
mod header_tests;

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use self::header::{HeaderFault, ProxyClient, ProxyHeader};
use super::http_connection::Naming;
use super::maybe_future::MaybeFuture;
use super::reply::Reply;
use super::request::Proxied;
use super::{Arrived, head_reader};
use crate::session::Session;
use crate::sessions::peer::Peer;

/// Reads the header, if it has come, and goes on with what the client has sent. Otherwise waits for it as long as an opening
/// handshake may take.
pub(super) fn begin(mut arrived: Arrived) -> MaybeFuture<Option<Box<Session>>> {
    match take_header(&mut arrived) {
        Ok(Some(header)) => go_on(arrived, header),
        Ok(None) => MaybeFuture::wait_for(wait(arrived)),
        Err(fault) => {
            arrived.server.refusals.log_closed(&arrived.peer, fault);
            MaybeFuture::Ready(None)
        }
    }
}

async fn wait(mut arrived: Arrived) -> Option<Box<Session>> {
    let (timeout_ms, time_at_stop) = {
        let limits = &arrived.server.config.load().limits;
        let time_at_stop = head_reader::time_at_stop(limits);
        (limits.handshake_timeout_ms, time_at_stop)
    };
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let stopping = arrived.server.stopping.clone();
    let read = timeout_at(deadline.into(), read_header(&mut arrived));
    let read = tokio::select! {
        biased;
        read = read => read,
        () = stopping.begun_for(time_at_stop) => return None,
    };
    let refusals = &arrived.server.refusals;
    let header = match read {
        Ok(Ok(header)) => header,
        Ok(Err(Unread::Gone)) => return None,
        Ok(Err(Unread::Fault(fault))) => {
            refusals.log_closed(&arrived.peer, fault);
            return None;
        }
        Err(_) => {
            // A balancer that only looks whether the port is open says nothing.
            if !arrived.received.is_empty() {
                refusals.log_closed(&arrived.peer, TOO_SLOW);
            }
            return None;
        }
    };
    match go_on(arrived, header) {
        MaybeFuture::Ready(session) => session,
        MaybeFuture::Waiting(http) => http.await,
    }
}

/// Why there is no header.
enum Unread {
    /// The proxy has ended the connection.
    Gone,
    Fault(HeaderFault),
}

async fn read_header(arrived: &mut Arrived) -> Result<ProxyHeader, Unread> {
    loop {
        arrived.socket.readable().await.map_err(|_| Unread::Gone)?;
        match read_some(arrived) {
            Ok(0) => return Err(Unread::Gone),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => return Err(Unread::Gone),
        }
        if let Some(header) = take_header(arrived).map_err(Unread::Fault)? {
            return Ok(header);
        }
    }
}

fn read_some(arrived: &mut Arrived) -> io::Result<usize> {
    arrived.received.reserve(READ_BYTES);
    arrived.socket.try_read_buf(&mut arrived.received)
}

/// Takes the header off what was received, once it is whole.
fn take_header(arrived: &mut Arrived) -> Result<Option<ProxyHeader>, HeaderFault> {
    let header = ProxyHeader::parse(&arrived.received)?;
    if let Some(header) = &header {
        arrived.received.drain(..header.length);
    }
    Ok(header)
}

/// Serves the client that the header names, or the proxy.
fn go_on(mut arrived: Arrived, header: ProxyHeader) -> MaybeFuture<Option<Box<Session>>> {
    let mut proxied = Box::new(Proxied::by(arrived.peer.clone()));
    proxied.has_header = true;
    proxied.is_tls = header.is_tls;
    let client = match header.client {
        ProxyClient::Address(address) => Some(address.into()),
        ProxyClient::Unknown => Some(Peer::unknown_behind(arrived.peer.clone())),
        ProxyClient::Proxy => None,
    };
    let mut too_many = None;
    if let Some(client) = client {
        arrived.peer = client;
        let config = arrived.server.config.load();
        // A proxy before this one may name the client in its request.
        let is_of_proxy = Naming::of(&arrived.peer, &config) == Naming::Awaited;
        if !is_of_proxy {
            let permit = arrived
                .server
                .admission
                .address(&arrived.peer, &config.limits);
            match permit {
                Ok(permit) => arrived.guard.count_for_address(permit),
                Err(reply) => too_many = Some(reply),
            }
        }
    }
    arrived.proxied = Some(proxied);
    match too_many {
        None => arrived.begin(),
        Some(reply) => refuse(arrived, reply),
    }
}

fn refuse(arrived: Arrived, reply: Reply) -> MaybeFuture<Option<Box<Session>>> {
    match arrived.into_http() {
        Some(http) => http.refuse(reply),
        None => MaybeFuture::Ready(None),
    }
}

/// Bytes that one read asks for.
const READ_BYTES: usize = 512;
const TOO_SLOW: &str = "the PROXY header did not come within `handshake_timeout_ms`";
