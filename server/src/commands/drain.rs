//! `wshd drain`: takes a handler out of service, and waits until its sessions have ended.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde_json::Value;

use super::client::{Client, NoAnswer};
use super::table::{counted, word};
use super::{FAILED, NO_SERVER, Outcome, with_handler};
use crate::shared::readiness::Readiness;

/// Has the handler drained, and waits for at most `wait`.
///
/// What it waits for ends with the server: another process that takes its place lets sessions of the handler begin.
pub(super) fn drain(client: &Client, handler: &str, wait: Duration) -> Result<Outcome, NoAnswer> {
    let began = Instant::now();
    let drained = client.post_told(&with_handler("/drain", handler))?;
    let (mut answer, server) = (drained.body, drained.server);
    let before = answer["sessions"].as_u64().unwrap_or(0);
    let mut left = before;
    while left > 0 && began.elapsed() < wait {
        std::thread::sleep(PAUSE);
        left = match look(client, handler, server) {
            Look::Left(left) => left,
            Look::Nothing => left,
            Look::Gone => return Ok(gone(answer, handler, left, server)),
            Look::Another(other) => return Ok(replaced(answer, handler, left, server, other)),
            Look::Failed(error) => return Err(error),
        };
    }
    if left == 0 && before > 0 && is_ending(client, server) {
        return Ok(gone(answer, handler, left, server));
    }
    answer["left"] = left.into();
    let name = word(handler);
    let rest = format!("no new one begins until `wshd release {name}`");
    if left == 0 {
        let text = format!("{name} is drained: {}, {rest}\n", ended(before));
        return Ok(Outcome::good(answer, text));
    }
    let seconds = wait.as_secs();
    Ok(Outcome {
        code: FAILED,
        answer,
        text: format!("{name}: {}, {rest}\n", ended(before.saturating_sub(left))),
        faults: vec![format!(
            "{} of {name} not ended after {seconds} s; `wshd sessions {name}` lists them",
            counted(left, "session")
        )],
    })
}

/// What a look at the server has found.
enum Look {
    /// The sessions that the handler still has.
    Left(u64),
    /// The server is about to end or to be replaced, and does not answer now.
    Nothing,
    /// The server has ended.
    Gone,
    /// Another process has taken its place.
    Another(u32),
    Failed(NoAnswer),
}

/// Looks how many sessions the handler has on the server that was asked to drain it.
fn look(client: &Client, handler: &str, server: u32) -> Look {
    match client.get_told("/handlers") {
        Ok(told) if told.server == server => Look::Left(sessions_of(&told.body, handler)),
        Ok(told) => Look::Another(told.server),
        // A server that was replaced closes its sessions without its socket, and one that stops may end between two looks.
        Err(NoAnswer::NoServer { .. }) if is_alive(server) => Look::Nothing,
        Err(NoAnswer::NoServer { .. }) => Look::Gone,
        Err(NoAnswer::Odd { .. }) => Look::Nothing,
        Err(error) => Look::Failed(error),
    }
}

/// Whether the server ends, so that its handlers do not stay as they are.
fn is_ending(client: &Client, server: u32) -> bool {
    match client.get_told("/status") {
        Ok(told) => told.server != server || told.body["state"] == Readiness::Draining.word(),
        Err(_) => true,
    }
}

/// Whether there is such a process. It may be another user's.
fn is_alive(process: u32) -> bool {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    process.is_some_and(|process| test_kill_process(process) != Err(Errno::SRCH))
}

/// The outcome where the server has ended, and so all its sessions.
fn gone(mut answer: Value, handler: &str, left: u64, server: u32) -> Outcome {
    answer["left"] = left.into();
    answer["server"] = "ended".into();
    Outcome {
        code: NO_SERVER,
        answer,
        text: String::new(),
        faults: vec![format!(
            "the server (process {server}) ends, and its sessions with it; a process that takes its place, or is started from \
             now on, serves {}",
            word(handler),
        )],
    }
}

/// The outcome where another process has taken the place of the server.
fn replaced(mut answer: Value, handler: &str, left: u64, server: u32, other: u32) -> Outcome {
    answer["left"] = left.into();
    answer["server"] = "replaced".into();
    Outcome {
        code: FAILED,
        answer,
        text: String::new(),
        faults: vec![format!(
            "another process ({other}) has taken the place of the server (process {server}), which closes its {} of {name} and \
             ends; the new one serves {name}, and `wshd drain {name}` drains it",
            counted(left, "session"),
            name = word(handler),
        )],
    }
}

fn ended(sessions: u64) -> String {
    format!("{} ended", counted(sessions, "session"))
}

/// The sessions of a handler in a list of handlers. One that is gone has none.
fn sessions_of(handlers: &Value, handler: &str) -> u64 {
    let listed = handlers.as_array().into_iter().flatten();
    let mut own = listed.filter(|it| it["name"] == handler);
    own.next()
        .and_then(|it| it["sessions"].as_u64())
        .unwrap_or(0)
}

const PAUSE: Duration = Duration::from_millis(200);
