//! A line in the log for each request that gets no session, limited in rate.

use std::net::SocketAddr;
use std::sync::Arc;

use tracing::info;

use crate::reply::Reply;
use crate::throttle::Throttle;

/// The refused opening handshakes.
#[derive(Debug)]
pub(crate) struct Refusals(Arc<Throttle>);

impl Refusals {
    pub(crate) fn new() -> Refusals {
        Refusals(Throttle::new(LINES_MAX))
    }

    /// Logs why `peer` gets `reply`. There is no path where the request could not be read.
    pub(crate) fn log(&self, peer: SocketAddr, path: Option<&str>, reply: &Reply) {
        let line = || {
            info!(
                %peer,
                path = path.map(tracing::field::display),
                status = reply.status(),
                reason = &*reply.reason(),
                "handshake refused"
            );
        };
        self.0
            .log(line, |refused| info!(refused, "more handshakes refused"));
    }
}

/// Lines a second.
const LINES_MAX: u32 = 20;
