//! Opening handshakes: connect, upgrade, reset.

use std::time::{Duration, Instant};

use crate::Result;
use crate::rounds::Sample;
use crate::server::Server;
use crate::socket::{Offer, Socket};

/// A server whose handshakes are measured.
pub(crate) struct Handshakes {
    pub(crate) server: Server,
}

impl Handshakes {
    pub(crate) fn start(server: Server) -> Result<Handshakes> {
        Socket::open(server.port, "/echo", Offer::Nothing)?.reset()?;
        Ok(Handshakes { server })
    }

    pub(crate) fn drive(&mut self, slice: Duration) -> Result<Sample> {
        let before = self.server.settled_cpu_time()?;
        let began = Instant::now();
        let mut latencies = Vec::new();
        while began.elapsed() < slice {
            let mut group = Vec::with_capacity(AT_A_TIME);
            for _ in 0..AT_A_TIME {
                let at = Instant::now();
                group.push((
                    at,
                    Socket::begin(self.server.port, "/echo", Offer::Nothing)?,
                ));
            }
            for (at, stream) in group {
                let socket = Socket::finish(stream)?;
                latencies.push(at.elapsed().as_nanos().try_into().unwrap_or(u32::MAX));
                socket.reset()?;
            }
        }
        let elapsed = began.elapsed();
        // The ends of the last connections are part of the measurement.
        let cpu = self.server.settled_cpu_time()? - before;
        let units = latencies.len() as u64;
        Ok(Sample::new(units, elapsed, cpu, latencies))
    }
}

/// Handshakes at a time.
const AT_A_TIME: usize = 32;
