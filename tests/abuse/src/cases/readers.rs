//! Readers that do not keep up.

use std::collections::VecDeque;
use std::io::Read;
use std::time::{Duration, Instant};

use crate::checks::{Checks, mib, ms, under_attack};
use crate::server::{Server, Setup};
use crate::swarm::{Came, Swarm};
use crate::wire::{BINARY, FIN, Peer, exchange, frame};
use crate::{Lab, Result};

/// Each reads a kibibyte a second of a topic that a writer fills.
pub(crate) fn slow(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let time = lab.either(Duration::from_secs(15), Duration::from_secs(3));
    let setup = Setup {
        plugins: &["echo_wsh", "fan_wsh"],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    under_attack(&server, checks, |checks| {
        let before = server.usage()?.resident_bytes;
        let filled = fill(server.port, READERS, time)?;
        let growth = mib(server.usage()?.peak_bytes) - mib(before);
        checks.holds(
            format!("{READERS} readers held {growth:.1} MiB at most"),
            growth <= READERS as f64 * 1.1 + 8.0,
        );
        checks.holds(
            format!(
                "{} MiB published, {} readers let go and replaced",
                filled.published >> 20,
                filled.let_go
            ),
            filled.let_go > 0,
        );
        Ok(())
    })
}

pub(crate) struct Filled {
    pub(crate) published: usize,
    pub(crate) let_go: usize,
}

/// Publishes as fast as the server takes it, to readers of a kibibyte a second. A reader that is let go comes back.
pub(crate) fn fill(port: u16, readers: usize, time: Duration) -> Result<Filled> {
    let path = "/fan?topic=flood";
    let before = let_go(port)?;
    let mut slow: VecDeque<Peer> = VecDeque::new();
    let mut writer = Swarm::opened(port, path, 1)?;
    let message = frame(FIN | BINARY, &[7; 32 * 1024]);
    let mut filled = Filled {
        published: 0,
        let_go: 0,
    };
    let (began, mut at, mut next_read) = (Instant::now(), 0, Instant::now());
    while began.elapsed() < time {
        while slow.len() < readers {
            let peer = Peer::open(port, path)?;
            socket2::SockRef::from(&peer.stream).set_recv_buffer_size(4096)?;
            peer.stream.set_nonblocking(true)?;
            slow.push_back(peer);
        }
        // The writer hears its own messages. It reads them, or it would be let go itself.
        let wrote = writer.write(0, &message[at..])?;
        at = (at + wrote) % message.len();
        filled.published += wrote;
        let mut has_ended = false;
        writer.look(Duration::from_millis(1), |_, came| {
            has_ended |= matches!(came, Came::End { .. });
        })?;
        if has_ended {
            return Err("the writer was let go".into());
        }
        if Instant::now() >= next_read {
            next_read = Instant::now() + Duration::from_secs(1);
            slow.retain_mut(|peer| match peer.stream.read(&mut [0; 1024]) {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            });
        }
    }
    drop(writer);
    // One that is let go has the time of `close_timeout_ms` to take what was sent before.
    let deadline = Instant::now() + Duration::from_secs(15);
    while filled.let_go < readers && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(500));
        filled.let_go = let_go(port)? - before;
    }
    Ok(filled)
}

/// How many sessions have been closed because their peer did not keep up, by the metrics: with little room, a reader takes
/// minutes to come to the end of its connection, and the log may be full.
fn let_go(port: u16) -> Result<usize> {
    let metrics = exchange(
        port,
        b"GET /.wshd/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )?;
    let closed = metrics
        .lines()
        .filter(|it| it.starts_with(CLOSED) && it.contains(SLOW));
    let counts = closed.filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(counts.sum::<f64>() as usize)
}

/// How long a publication takes to reach all its subscribers, without and with one that does not read.
pub(crate) fn among_many(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let count = lab.either(10_000, 1_000);
    let setup = Setup {
        plugins: &["echo_wsh", "fan_wsh"],
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    under_attack(&server, checks, |checks| {
        let mut swarm = Swarm::opened(server.port, "/fan", count)?;
        publish(&mut swarm)?;
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(publish(&mut swarm)?);
            let mut slow = Peer::open(server.port, "/fan")?;
            socket2::SockRef::from(&slow.stream).set_recv_buffer_size(1)?;
            // Its own publications fill its window. Everybody else reads them.
            for _ in 0..4 {
                publish(&mut swarm)?;
            }
            with.push(publish(&mut swarm)?);
            slow.stream.set_nonblocking(true)?;
            let _ = slow.stream.read(&mut [0; 16])?;
            slow.reset()?;
        }
        without.sort_unstable();
        with.sort_unstable();
        let (without, with) = (without[ROUNDS / 2], with[ROUNDS / 2]);
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        checks.holds(
            format!(
                "to {count} subscribers {} without and {} with a slow reader, ratio {ratio:.2} (medians of {ROUNDS})",
                ms(without),
                ms(with)
            ),
            ratio < 1.1,
        );
        drop(swarm);
        Ok(())
    })
}

/// Publishes once, and waits until all have it.
fn publish(swarm: &mut Swarm) -> Result<Duration> {
    let payload = [7; 4096];
    let message = frame(FIN | BINARY, &payload);
    let all = (payload.len() + 4) * swarm.open();
    let began = Instant::now();
    if swarm.write(0, &message)? != message.len() {
        return Err("the publication does not fit".into());
    }
    let mut read = 0;
    while read < all {
        let before = read;
        swarm.look(Duration::from_secs(10), |_, came| {
            if let Came::Bytes(bytes) = came {
                // A Ping may lie between. It has two bytes, and is not counted.
                read += if bytes.len() == 2 { 0 } else { bytes.len() };
            }
        })?;
        if read == before {
            return Err(format!("{read} of {all} bytes of a publication came").into());
        }
    }
    Ok(began.elapsed())
}

const CLOSED: &str = "wshd_sessions_ended_total";
const SLOW: &str = "cause=\"outbound_bytes_max\"";
const READERS: usize = 100;
const ROUNDS: usize = 11;
