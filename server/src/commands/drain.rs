//! `wshd drain`: takes a handler out of service, and waits until its sessions have ended.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, NoAnswer};
use super::table::{counted, word};
use super::{FAILED, Outcome, with_handler};

/// Has the handler drained, and waits for at most `wait`.
pub(super) fn drain(client: &Client, handler: &str, wait: Duration) -> Result<Outcome, NoAnswer> {
    let began = Instant::now();
    let mut answer = client.post(&with_handler("/drain", handler))?;
    let before = answer["sessions"].as_u64().unwrap_or(0);
    let mut left = before;
    while left > 0 && began.elapsed() < wait {
        std::thread::sleep(PAUSE);
        left = sessions_of(&client.get("/handlers")?, handler);
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
