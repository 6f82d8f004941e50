//! Signals without end, and the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cases::clock::echo_on_all;
use crate::checks::{Checks, mib, under_attack};
use crate::server::{Server, Setup};
use crate::swarm::{AllFrames, Came, Swarm};
use crate::wire::{CLOSE, FIN, Peer, frame};
use crate::{Lab, Result};

/// SIGHUPs while sessions echo.
pub(crate) fn hangups(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let (count, sessions) = lab.either((1_000, 1_000), (100, 100));
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let before = server.usage()?.resident_bytes;
        let mut swarm = Swarm::opened(server.port, "/echo", sessions)?;
        let (mut asked, mut echoed) = (0, 0);
        let began = Instant::now();
        for number in 0..count {
            server.signal(Signal::SIGHUP)?;
            if number % 100 == 0 {
                asked += sessions;
                echoed += echo_on_all(&mut swarm)?;
            }
            let next = began + PERIOD * (number as u32 + 1);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        std::thread::sleep(Duration::from_millis(500));
        let readings = server
            .log()
            .matches("reading the configuration again")
            .count();
        let growth = mib(server.usage()?.peak_bytes) - mib(before);
        checks.holds(
            format!(
                "{count} in {:.1} s are {readings} readings",
                began.elapsed().as_secs_f64()
            ),
            readings > 0 && readings < count,
        );
        checks.holds(
            format!(
                "{echoed} of {asked} echoes, {} of {sessions} sessions open",
                swarm.open()
            ),
            echoed == asked && swarm.open() == sessions,
        );
        checks.note(format!(
            "{growth:+.1} MiB at most, its {sessions} sessions included"
        ));
        Ok(())
    })
}

/// SIGTERM with many sessions; twice; and SIGKILL.
pub(crate) fn stop(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let count = lab.either(10_000, 1_000);
    // Smaller batches than the default, so that they are seen.
    let config = format!("[limits]\nstop_batch_sessions = {}\n", count / 4);
    let setup = Setup {
        config: &config,
        ..Setup::default()
    };
    let mut server = Server::start(&lab.artifacts, &setup)?;
    let swarm = Swarm::opened(server.port, "/echo", count)?;
    let stopped = stop_with(&mut server, swarm)?;
    checks.holds(
        format!(
            "{} of {count} sessions closed: {}",
            stopped.total(),
            stopped.codes()
        ),
        stopped.total() == count && stopped.codes.keys().all(|code| [1001, 1012].contains(code)),
    );
    checks.holds(
        format!(
            "{} of them with the end of the connection behind it",
            stopped.clean
        ),
        stopped.clean * 100 >= count * 99,
    );
    checks.holds(
        format!(
            "{} in {:.1} s, batches of {}",
            stopped.status,
            stopped.took.as_secs_f64(),
            count / 4
        ),
        stopped.status == "exit status: 0" && stopped.took < Duration::from_secs(30),
    );

    let mut server = Server::start(&lab.artifacts, &Setup::default())?;
    let deaf = Swarm::opened(server.port, "/echo", 100)?;
    server.signal(Signal::SIGTERM)?;
    server.await_lines("stopping", 1, Duration::from_secs(5))?;
    let second = Instant::now();
    server.signal(Signal::SIGTERM)?;
    server.wait(Duration::from_secs(10))?;
    let took = second.elapsed();
    drop(deaf);
    checks.holds(
        format!("a second one ends it in {:.2} s", took.as_secs_f64()),
        took < Duration::from_secs(1),
    );

    let server = Server::start(&lab.artifacts, &Setup::default())?;
    let swarm = Swarm::opened(server.port, "/echo", 100)?;
    let killed = Instant::now();
    let server = server.restart(&lab.artifacts, &Setup::default())?;
    Peer::open(server.port, "/echo")?.ask(b"again")?;
    let took = killed.elapsed();
    drop(swarm);
    checks.holds(
        format!(
            "after SIGKILL it serves again in {:.2} s",
            took.as_secs_f64()
        ),
        took < Duration::from_secs(1),
    );
    Ok(())
}

/// How a server has ended.
pub(crate) struct Stopped {
    /// How many sessions got each code.
    pub(crate) codes: BTreeMap<u16, usize>,
    /// Sessions whose connection was closed and not reset.
    pub(crate) clean: usize,
    pub(crate) status: String,
    pub(crate) took: Duration,
}

impl Stopped {
    pub(crate) fn total(&self) -> usize {
        self.codes.values().sum()
    }

    pub(crate) fn codes(&self) -> String {
        let each = self
            .codes
            .iter()
            .map(|(code, count)| format!("{count} × {code}"));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// Asks a server to stop; its sessions answer their Close frames.
pub(crate) fn stop_with(server: &mut Server, mut swarm: Swarm) -> Result<Stopped> {
    let began = Instant::now();
    server.signal(Signal::SIGTERM)?;
    let mut frames = AllFrames::default();
    let mut stopped = Stopped {
        codes: BTreeMap::new(),
        clean: 0,
        status: String::new(),
        took: Duration::ZERO,
    };
    while swarm.open() > 0 && began.elapsed() < Duration::from_secs(40) {
        let mut closed = Vec::new();
        swarm.look(Duration::from_millis(50), |number, came| match came {
            Came::Bytes(bytes) => {
                let _ = frames.take(number, bytes, |it| {
                    if it.opcode() == CLOSE {
                        closed.push((number, it));
                    }
                });
            }
            Came::End { is_reset } => stopped.clean += usize::from(!is_reset),
        })?;
        for (number, close) in closed {
            *stopped.codes.entry(close.code()).or_default() += 1;
            swarm.write(number, &frame(FIN | CLOSE, &close.payload))?;
        }
    }
    stopped.status = server.wait(Duration::from_secs(40))?.to_string();
    stopped.took = began.elapsed();
    Ok(stopped)
}

const PERIOD: Duration = Duration::from_millis(10);
