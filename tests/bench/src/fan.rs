//! One publisher and many subscribers.

use std::time::{Duration, Instant};

use crate::Result;
use crate::frame::Batch;
use crate::load::Load;
use crate::rounds::Sample;
use crate::server::Server;
use crate::socket::Offer;

/// A server whose `/fan` sends every message to all connections there.
pub(crate) struct Fan {
    pub(crate) server: Server,
    load: Load,
    batch: Batch,
}

impl Fan {
    /// The first of the subscribers publishes.
    pub(crate) fn start(server: Server, subscribers: usize) -> Result<Fan> {
        let batch = Batch::binary(PAYLOAD_BYTES, 1);
        // Two subscribers show whether the server publishes at all.
        let probe = Load::open(server.port, "/fan", 2, Offer::Nothing).and_then(|load| {
            load.with_patience(Duration::from_millis(500))
                .publish(&batch)
        });
        if probe.is_err() {
            return Err("has no topics here".into());
        }
        let mut load = Load::open(server.port, "/fan", subscribers, Offer::Nothing)?;
        load.publish(&batch)?;
        Ok(Fan {
            server,
            load,
            batch,
        })
    }

    pub(crate) fn drive(&mut self, slice: Duration) -> Result<Sample> {
        let before = self.server.settled_cpu_time()?;
        let began = Instant::now();
        let mut latencies = Vec::new();
        while began.elapsed() < slice {
            latencies.extend(self.load.publish(&self.batch)?);
        }
        let elapsed = began.elapsed();
        let cpu = self.server.settled_cpu_time()? - before;
        let units = latencies.len() as u64;
        Ok(Sample::new(units, elapsed, cpu, latencies))
    }
}

const PAYLOAD_BYTES: usize = 125;
