//! Echoes, plain and compressed.

use std::time::Duration;

use crate::Result;
use crate::cell::Cell;
use crate::frame::Batch;
use crate::load::Load;
use crate::rounds::Sample;
use crate::server::Server;
use crate::socket::Offer;

/// A server with connections that are driven.
pub(crate) struct Echo {
    pub(crate) server: Server,
    load: Load,
    batch: Batch,
}

/// What is echoed.
#[derive(Clone, Debug)]
pub(crate) struct Echoed {
    batch: Batch,
    connections: usize,
    offer: Offer,
}

impl Echoed {
    pub(crate) fn plain(cell: Cell) -> Echoed {
        Echoed {
            batch: Batch::binary(cell.payload_bytes, cell.pipelining),
            connections: cell.connections,
            offer: Offer::Nothing,
        }
    }

    /// JSON text with permessage-deflate. The size of the payload is the one before compression.
    pub(crate) fn json(cell: Cell) -> Result<Echoed> {
        Ok(Echoed {
            batch: Batch::text(&json(cell.payload_bytes), cell.pipelining, true)?,
            connections: cell.connections,
            offer: Offer::Deflate,
        })
    }
}

impl Echo {
    pub(crate) fn start(server: Server, echoed: &Echoed) -> Result<Echo> {
        let load = Load::open(server.port, "/echo", echoed.connections, echoed.offer)?;
        if echoed.offer == Offer::Deflate && !load.is_deflating() {
            return Err("does not agree to permessage-deflate".into());
        }
        let batch = echoed.batch.clone();
        let mut echo = Echo {
            server,
            load,
            batch,
        };
        echo.check()?;
        Ok(echo)
    }

    pub(crate) fn drive(&mut self, slice: Duration) -> Result<Sample> {
        let before = self.server.cpu_time()?;
        let driven = self.load.run(&self.batch, slice)?;
        let cpu = self.server.cpu_time()? - before;
        let (messages, elapsed) = (driven.messages, driven.elapsed);
        Ok(Sample::new(messages, elapsed, cpu, driven.latencies))
    }

    /// Compares one echo on every connection with what was sent.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.load.check(&self.batch)
    }
}

/// JSON records of exactly this many bytes, as an interface would send them.
fn json(bytes: usize) -> String {
    let mut text = String::from("[");
    for id in 1_u64.. {
        let noise = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let record = format!(
            r#"{{"id":{id},"symbol":"{}","price":{}.{:02},"quantity":{},"at":"2026-01-{:02}T12:{:02}:{:02}Z"}},"#,
            ["AAPL", "GOOG", "MSFT", "NVDA"][noise as usize % 4],
            noise % 900,
            noise % 97,
            noise % 1_000,
            noise % 28 + 1,
            noise % 60,
            noise % 59,
        );
        if text.len() + record.len() + 2 > bytes {
            break;
        }
        text += &record;
    }
    text.truncate(text.trim_end_matches(',').len());
    let spaces = bytes.saturating_sub(text.len() + 1);
    text + &" ".repeat(spaces) + "]"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_as_long_as_it_is_said_to_be() {
        let text = json(4096);

        assert_eq!(text.len(), 4096);
        assert!(
            text.starts_with(r#"[{"id":1,"#)
                && text.trim_end_matches(']').trim_end().ends_with('}')
        );
    }
}
