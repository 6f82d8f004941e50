//! States of sessions that cannot be moved to newer code, or only slowly.

use std::time::{Duration, Instant};

use crate::artifacts::build_name;
use crate::checks::{Checks, Leaves, ms, under_attack_that_leaves};
use crate::compile::unruly;
use crate::server::{Server, Setup};
use crate::wire::Peer;
use crate::{Lab, Result};

/// The states of some sessions are refused, are too large or end in a panic, beside others that move.
pub(crate) fn that_do_not_move(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let (rounds, of_each) = lab.either((20, 20), (3, 2));
    let setup = Setup {
        plugins: &["echo_wsh", TROUBLED],
        config: "[handler.troubled]\npanics_max = 1000000\n",
        ..Setup::default()
    };
    let server = Server::start(&lab.artifacts, &setup)?;
    let builds = lab.artifacts.builds(TROUBLED)?;
    let leaves = Leaves {
        images_of: Some(TROUBLED),
        panics: true,
        ..Leaves::default()
    };
    under_attack_that_leaves(leaves, &server, checks, |checks| {
        let mut sessions = Vec::new();
        for number in 0..TROUBLES.len() * of_each {
            sessions.push(Session {
                trouble: TROUBLES[number % TROUBLES.len()],
                peer: Peer::open(server.port, "/troubled")?,
                seen: 0,
            });
        }
        let (mut refused, mut wrong) = (0, 0);
        for round in 0..rounds {
            let (old, new) = (build_name(1 + round), build_name(2 + round));
            for session in &mut sessions {
                wrong += usize::from(session.answer(session.trouble)? != old);
            }
            server.put("handlers/troubled_wsh.so", &builds.number(2 + round))?;
            let generation = format!("generation={} ", 2 + round);
            let line = server.line(&["sessions moved", "troubled", &generation], SOON)?;
            refused += number(&line, "refused=")?;
            for session in &mut sessions {
                // What could not move answers on the old code. That changes its state, and then it moves.
                let build = [&old, &new][usize::from(session.trouble == CALM)];
                wrong += usize::from(session.answer(CALM)? != *build);
                let deadline = Instant::now() + SOON;
                while session.answer(CALM)? != new {
                    if Instant::now() > deadline {
                        return Err(format!("`{}` does not move", session.trouble).into());
                    }
                }
            }
        }
        let expected = rounds * (TROUBLES.len() - 1) * of_each;
        checks.holds(
            format!(
                "{rounds} replacements under {} sessions: {refused} of {expected} moves refused, their sessions go on with \
                 their state; {wrong} answers of another build",
                sessions.len()
            ),
            refused == expected && wrong == 0,
        );
        slow(&server, checks)
    })
}

/// A state that takes seconds holds its own session up, and no other one.
fn slow(server: &Server, checks: &mut Checks) -> Result<()> {
    server.add("slow", &unruly(&["-DMIGRATES", "-DIN_SNAPSHOT=sleep(5)"]))?;
    let mut session = Peer::open(server.port, "/slow")?;
    session.ask(b"hello")?;
    let put = Instant::now();
    server.put("handlers/slow_wsh.so", &unruly(&["-DMIGRATES"]))?;
    let parts = [
        "callback runs past its budget",
        "handler=slow",
        "callback=\"snapshot\"",
    ];
    server.line(&parts, SOON)?;
    let named = put.elapsed();
    let mut other = Peer::open(server.port, "/slow")?;
    let new = other.ask(b"new")? == b"new";
    let after = put.elapsed();
    let old = session.ask(b"old")? == b"old";
    checks.holds(
        format!(
            "a state that takes 5 s is named after {}; a new session is answered after {}, the slow one after {}",
            ms(named),
            ms(after),
            ms(put.elapsed())
        ),
        new && old && after < Duration::from_secs(5),
    );
    Ok(())
}

/// A session whose handler counts its messages.
struct Session {
    trouble: &'static str,
    peer: Peer,
    seen: usize,
}

impl Session {
    /// Sends a message. Returns the build that answers, if it has counted all messages so far.
    fn answer(&mut self, message: &str) -> Result<String> {
        let answer = self.peer.ask_text(message)?;
        self.seen += 1;
        match answer.split_once(' ') {
            Some((build, seen)) if seen == self.seen.to_string() => Ok(build.to_owned()),
            _ => Err(format!("`{answer}` to message {} of `{}`", self.seen, self.trouble).into()),
        }
    }
}

/// The number behind a name in a line of the log.
fn number(line: &str, name: &str) -> Result<usize> {
    let rest = line.split(name).nth(1).unwrap_or_default();
    let digits = rest.split(|it: char| !it.is_ascii_digit()).next();
    Ok(digits.unwrap_or_default().parse()?)
}

const TROUBLED: &str = "troubled_wsh";
const CALM: &str = "calm";
/// What a session's last message says of its state.
const TROUBLES: [&str; 6] = [
    CALM,
    "snapshot panics",
    "snapshot fails",
    "too large",
    "restore panics",
    "restore fails",
];
const SOON: Duration = Duration::from_secs(20);
