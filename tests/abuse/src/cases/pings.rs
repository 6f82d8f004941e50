//! Pings without end.

use std::time::{Duration, Instant};

use crate::checks::{Checks, mib, under_attack};
use crate::server::{Server, Setup};
use crate::swarm::{Came, Swarm};
use crate::wire::{FIN, PING, frame};
use crate::{Lab, Result};

/// One client that reads its Pongs, and one that does not, each as fast as it can.
pub(crate) fn flood(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let time = lab.either(Duration::from_secs(10), Duration::from_secs(2));
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let before = server.usage()?.resident_bytes;
        let mut reading = Swarm::opened(server.port, "/echo", 1)?;
        let mut deaf = Swarm::opened(server.port, "/echo", 1)?;
        let flooded = ping_for(&mut reading, &mut deaf, time)?;
        let growth = mib(server.usage()?.peak_bytes) - mib(before);
        checks.note(format!(
            "{} Pings a second by the client that reads, {} bytes of Pongs, {}",
            flooded.pings / time.as_secs(),
            flooded.pong_bytes,
            if reading.open() == 1 {
                "its session goes on"
            } else {
                "its session was closed"
            },
        ));
        checks.holds(format!("{growth:+.1} MiB at most"), growth < 8.0);
        Ok(())
    })
}

pub(crate) struct Flooded {
    pub(crate) pings: u64,
    pong_bytes: usize,
}

/// Sends Pings on both; what comes back is read of the first only.
pub(crate) fn ping_for(reading: &mut Swarm, deaf: &mut Swarm, time: Duration) -> Result<Flooded> {
    let one = frame(FIN | PING, b"");
    let many = one.repeat(1_000);
    let began = Instant::now();
    let (mut written, mut pong_bytes) = (0, 0);
    // What was cut by a full socket goes on where it ended.
    let (mut at, mut deaf_at) = (0, 0);
    while began.elapsed() < time && reading.open() > 0 {
        let wrote = reading.write(0, &many[at..])?;
        at = (at + wrote) % many.len();
        written += wrote;
        deaf_at = (deaf_at + deaf.write(0, &many[deaf_at..])?) % many.len();
        let wait = if wrote == 0 {
            Duration::from_millis(1)
        } else {
            Duration::ZERO
        };
        reading.look(wait, |_, came| {
            if let Came::Bytes(bytes) = came {
                pong_bytes += bytes.len();
            }
        })?;
    }
    Ok(Flooded {
        pings: (written / one.len()) as u64,
        pong_bytes,
    })
}
