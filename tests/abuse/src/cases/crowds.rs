//! Ten thousand at a time.

use std::time::{Duration, Instant};

use crate::checks::{Baseline, Checks, mib, under_attack};
use crate::server::{Server, Setup};
use crate::swarm::{AllFrames, Came, Swarm};
use crate::wire::{FIN, PING, PONG, frame};
use crate::{Lab, Result};

/// All open a session and leave, again and again.
pub(crate) fn churn(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let (count, rounds) = lab.either((10_000, 20), (1_000, 5));
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    // What ten thousand sessions take once stays with the server.
    drop(Swarm::opened(server.port, "/echo", count)?);
    std::thread::sleep(Duration::from_secs(2));
    under_attack(&server, checks, |checks| {
        let before = server.usage()?.resident_bytes;
        let began = Instant::now();
        for _ in 0..rounds {
            let mut swarm = Swarm::opened(server.port, "/echo", count)?;
            swarm.write_all(&frame(FIN | 8, &1000u16.to_be_bytes()))?;
            // The client closes, so that ports rest on its side.
            swarm.look(Duration::from_millis(50), |_, _| ())?;
        }
        let each_s = (count * rounds) as f64 / began.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_secs(5));
        let growth = mib(server.usage()?.resident_bytes) - mib(before);
        checks.note(format!("{} sessions, {each_s:.0} a second", count * rounds));
        checks.holds(
            format!("{growth:+.1} MiB after {rounds} rounds"),
            growth < 8.0,
        );
        Ok(())
    })
}

/// All open a session and do nothing but answer Pings.
pub(crate) fn idle(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let (count, seconds) = lab.either((10_000, 60), (1_000, 10));
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    let baseline = Baseline::take(&server)?;
    let mut swarm = Swarm::opened(server.port, "/echo", count)?;
    answer_pings(&mut swarm, Duration::from_secs(2))?;
    let each = (server.usage()?.resident_bytes - baseline.resident_bytes()) / count as u64;
    let before = server.usage()?.cpu;
    let pings = answer_pings(&mut swarm, Duration::from_secs(seconds))?;
    let share = 100.0 * (server.usage()?.cpu - before).as_secs_f64() / seconds as f64;
    checks.holds(format!("{count} sessions of {each} bytes"), each <= 4096);
    checks.holds(
        format!("{share:.2} % of a processor for {pings} Pings in {seconds} s"),
        share <= 1.0 && swarm.open() == count,
    );
    drop(swarm);
    baseline.check(&server, checks)
}

/// Answers Pings for so long. Returns how many there were.
pub(crate) fn answer_pings(swarm: &mut Swarm, time: Duration) -> Result<usize> {
    let mut frames = AllFrames::default();
    let (began, mut pings) = (Instant::now(), 0);
    while began.elapsed() < time {
        let mut asked = Vec::new();
        swarm.look(Duration::from_millis(100), |number, came| {
            if let Came::Bytes(bytes) = came {
                let _ = frames.take(number, bytes, |it| {
                    if it.opcode() == PING {
                        asked.push((number, it.payload));
                    }
                });
            }
        })?;
        pings += asked.len();
        for (number, payload) in asked {
            swarm.write(number, &frame(FIN | PONG, &payload))?;
        }
    }
    Ok(pings)
}
