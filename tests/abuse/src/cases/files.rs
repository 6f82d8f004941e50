//! A file of a plugin that comes slowly, and one that is deleted and put back.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::artifacts::build_name;
use crate::cases::talk::Talk;
use crate::checks::{Checks, Leaves, ms, under_attack_that_leaves};
use crate::server::{Server, Setup};
use crate::wire::Peer;
use crate::{Lab, Result};

/// A file is written in place at 1 MiB a second.
pub(crate) fn slowly_written(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let rounds = lab.either(10, 2);
    let server = start(lab)?;
    let builds = lab.artifacts.builds(LEDGER)?;
    under_attack_that_leaves(Leaves::images_of(LEDGER), &server, checks, |checks| {
        let (mut early, mut longest, mut writing) = (0, Duration::ZERO, Duration::ZERO);
        for round in 2..2 + rounds {
            let (old, new) = (build_name(round - 1), build_name(round));
            let bytes = builds.number(round);
            let began = Instant::now();
            let mut file = fs::File::create(server.path(FILE))?;
            for (number, part) in bytes.chunks(PART).enumerate() {
                file.write_all(part)?;
                let due = began + Duration::from_secs(1) * (number * PART) as u32 / (1 << 20);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                early += usize::from(answers(&server)? != old);
            }
            drop(file);
            let written = Instant::now();
            writing += written - began;
            until(&server, &new)?;
            longest = longest.max(written.elapsed());
        }
        checks.holds(
            format!(
                "{rounds} files written in {:.1} s each: {early} of their builds seen before the end",
                writing.as_secs_f64() / rounds as f64
            ),
            early == 0,
        );
        checks.holds(
            format!("loaded {} after the last write at most", ms(longest)),
            longest < Duration::from_millis(500),
        );
        Ok(())
    })
}

/// The file of a handler is deleted while its sessions talk, and put back.
pub(crate) fn deleted(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let (rounds, sessions) = lab.either((10, 200), (2, 20));
    let server = start(lab)?;
    let builds = lab.artifacts.builds(LEDGER)?;
    under_attack_that_leaves(Leaves::images_of(LEDGER), &server, checks, |checks| {
        let mut talk = Talk::open(&server, sessions)?;
        let (mut gone, mut back) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..rounds {
            fs::remove_file(server.path(FILE))?;
            gone = gone.max(talk.until_status(&server, 404)?);
            talk.build += 1;
            server.put(FILE, &builds.number(talk.build))?;
            back = back.max(talk.until_status(&server, 101)?);
        }
        talk.finish()?;
        checks.holds(
            format!("{rounds} times 404 after {} at most", ms(gone)),
            gone <= Duration::from_millis(500),
        );
        checks.holds(
            format!("put back, it serves after {} at most", ms(back)),
            back < Duration::from_millis(500),
        );
        talk.tell(checks);
        Ok(())
    })
}

/// A server with a handler that says which build it is.
fn start(lab: &Lab) -> Result<Server> {
    let setup = Setup {
        plugins: &["echo_wsh", LEDGER],
        ..Setup::default()
    };
    Server::start(&lab.artifacts, &setup)
}

/// The build that a new session is answered by.
fn answers(server: &Server) -> Result<String> {
    let answer = Peer::open(server.port, "/ledger")?.ask_text("0 hello")?;
    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
}

/// Waits until new sessions are answered by this build.
pub(crate) fn until(server: &Server, build: &str) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while answers(server)? != build {
        if Instant::now() > deadline {
            return Err(format!("{build} does not serve").into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

const LEDGER: &str = "ledger_wsh";
const FILE: &str = "handlers/ledger_wsh.so";
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// So much is written at once.
const PART: usize = 50_000;
