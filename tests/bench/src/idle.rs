//! The memory of an idle connection that has been used.

use crate::Result;
use crate::cell::KIB;
use crate::contender::Contender;
use crate::frame::Batch;
use crate::load::Load;
use crate::machine::Cores;
use crate::server::Server;
use crate::socket::Offer;

/// One server's figures, in bytes a connection.
pub(crate) struct Idle {
    pub(crate) name: String,
    pub(crate) plain: Result<f64, String>,
    pub(crate) deflate: Result<f64, String>,
}

/// Resident memory with that many idle connections, less that of the fresh server, for each of them.
pub(crate) fn measure(contenders: &[Contender], cores: Cores, connections: usize) -> Vec<Idle> {
    let figure = |contender: &Contender, offer| {
        one(contender, cores, connections, offer).map_err(|error| error.to_string())
    };
    contenders
        .iter()
        .map(|contender| Idle {
            name: contender.name.clone(),
            plain: figure(contender, Offer::Nothing),
            deflate: figure(contender, Offer::Deflate),
        })
        .collect()
}

fn one(contender: &Contender, cores: Cores, connections: usize, offer: Offer) -> Result<f64> {
    let server = Server::start(contender, cores)?;
    server.settled_cpu_time()?;
    let before = server.resident_bytes()?;
    if offer == Offer::Deflate && !Load::open(server.port, "/echo", 1, offer)?.is_deflating() {
        return Err("not negotiated".into());
    }
    let mut load = Load::open(server.port, "/echo", connections, offer)?;
    let text = "0123456789abcdef".repeat(16 * KIB / 16);
    load.check(&Batch::text(&text, 1, offer == Offer::Deflate)?)?;
    server.settled_cpu_time()?;
    let after = server.resident_bytes()?;
    Ok((after as f64 - before as f64) / connections as f64)
}
