//! Clients that take their time with a request, or never send one.

use std::time::{Duration, Instant};

use crate::checks::{Checks, mib, under_attack};
use crate::server::{Server, Setup};
use crate::swarm::{Came, Swarm};
use crate::{Lab, Result};

/// Each sends a byte of a header a second, for as long as it is let.
pub(crate) fn bytes_a_second(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let count = lab.either(1_000, 100);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    let before = server.usage()?.resident_bytes;
    under_attack(&server, checks, |checks| {
        let swarm = Swarm::connected(server.port, count)?;
        let (first, last) = drip(swarm, Duration::from_secs(40))?;
        let growth = mib(server.usage()?.peak_bytes) - mib(before);
        checks.holds(
            format!("{count} closed between {first:.1} and {last:.1} s"),
            last <= 21.0,
        );
        checks.holds(format!("{growth:+.1} MiB at most"), growth < 16.0);
        Ok(())
    })
}

/// Sends a byte of a request a second on each connection, until all are closed. Returns after how many seconds the first
/// and the last were; infinity if some never were.
pub(crate) fn drip(mut swarm: Swarm, most: Duration) -> Result<(f64, f64)> {
    let request = "GET /echo HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".as_bytes();
    let began = Instant::now();
    let (mut first, mut last, mut sent) = (f64::INFINITY, 0.0, 0);
    while swarm.open() > 0 && began.elapsed() < most {
        let byte = request.get(sent).copied().unwrap_or(b'a');
        swarm.write_all(&[byte])?;
        sent += 1;
        let next = began + Duration::from_secs(sent as u64);
        while swarm.open() > 0 && Instant::now() < next {
            let left = next.saturating_duration_since(Instant::now());
            swarm.look(left.min(Duration::from_millis(50)), |_, came| {
                if let Came::End { .. } = came {
                    last = began.elapsed().as_secs_f64();
                    first = f64::min(first, last);
                }
            })?;
        }
    }
    if swarm.open() > 0 {
        last = f64::INFINITY;
    }
    Ok((first, last))
}

/// Each connects, and sends nothing.
pub(crate) fn silence(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let count = lab.either(1_000, 100);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let lines = server.log().lines().count();
        let began = Instant::now();
        let mut swarm = Swarm::connected(server.port, count)?;
        let ended = swarm.until_closed(Duration::from_secs(20))?;
        let after =
            |at: Option<&Instant>| at.map_or(f64::INFINITY, |it| (*it - began).as_secs_f64());
        let (first, last) = (after(ended.first()), after(ended.last()));
        checks.holds(
            format!(
                "{} of {count} closed between {first:.1} and {last:.1} s",
                ended.len()
            ),
            ended.len() == count && first >= 9.0 && last <= 11.0,
        );
        let lines = server.log().lines().count() - lines;
        checks.holds(
            format!("{lines} lines in the log at level info"),
            lines == 0,
        );
        Ok(())
    })
}
