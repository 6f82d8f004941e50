//! A log that cannot be written.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::checks::{Checks, under_attack};
use crate::server::{Server, Setup};
use crate::wire::Peer;
use crate::{Lab, Result};

/// The disk of the log is full for a while, with sessions that come and go meanwhile. Then its file is moved.
pub(crate) fn full_disk(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let count = lab.either(20_000, 2_000);
    let server = Server::start(&lab.artifacts, &on_a_small_disk())?;
    under_attack(&server, checks, |checks| {
        come_and_go(&server, 100)?;
        let lines = |text: &str| server.log().matches(text).count();
        let told = || lines("session closed") + dropped(&server);
        let filler = server.inside("logs").join("filler");
        fill(&filler)?;
        let before = told();
        come_and_go(&server, count)?;
        std::thread::sleep(Duration::from_millis(500));
        let written = told() - before;
        fs::remove_file(&filler)?;
        // The file is tried again in ever longer waits, up to a minute.
        let deadline = Instant::now() + Duration::from_secs(90);
        while told() < before + count && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(200));
        }
        let missing = dropped(&server);
        let there = told() - before - missing;
        checks.holds(
            format!(
                "{count} sessions while the disk was full, which took {written} lines of them; afterwards {there} were \
                 there and {missing} told to be missing"
            ),
            written < count / 10 && there + missing >= count,
        );

        fs::rename(
            server.inside("logs/a.log"),
            server.inside("logs").join("moved.log"),
        )?;
        server.signal(nix::sys::signal::Signal::SIGHUP)?;
        server.await_lines(
            "reading the configuration again",
            1,
            Duration::from_secs(10),
        )?;
        come_and_go(&server, 10)?;
        server.await_lines("session closed", 10, Duration::from_secs(10))?;
        checks.note("the moved file is made again");
        Ok(())
    })
}

/// How many lines the log says are missing.
fn dropped(server: &Server) -> usize {
    let log = server.log();
    let told = log
        .lines()
        .filter(|it| it.contains("log lines were dropped"));
    let numbers = told.filter_map(|it| {
        it.split("lines=")
            .nth(1)?
            .split_whitespace()
            .next()?
            .parse::<usize>()
            .ok()
    });
    numbers.sum()
}

/// A server whose log is on a disk of 16 MiB, which only it sees.
pub(crate) fn on_a_small_disk() -> Setup<'static> {
    Setup {
        within: &[
            "unshare",
            "-m",
            "sh",
            "-c",
            "mount -t tmpfs -o size=16m none logs && exec \"$@\"",
            "sh",
        ],
        files: &[("logs/.keep", "")],
        flags: &["-l", "logs/a.log"],
        log: "logs/a.log",
        ..Setup::default()
    }
}

/// Writes until the disk takes no more.
pub(crate) fn fill(path: &std::path::Path) -> Result<()> {
    let mut file = fs::File::create(path)?;
    for block in [vec![0; 65536], vec![0; 512], vec![0]] {
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

fn come_and_go(server: &Server, count: usize) -> Result<()> {
    for _ in 0..count {
        let mut peer = Peer::open(server.port, "/echo")?;
        peer.send(&crate::wire::frame(0x88, &1000u16.to_be_bytes()))?;
        peer.close_code()?;
    }
    Ok(())
}
