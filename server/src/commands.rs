//! The commands of operators for a server that runs: `wshd status`, `list`, `sessions`, `reload` and others.
//!
//! They ask at the server's admin socket and print what it answers: tables, or JSON. Nothing that a peer or a handler has
//! chosen steers the terminal.

mod choice;
mod client;
mod drain;
mod report;
mod table;
mod top;

use std::io::{self, Write};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use self::choice::Choosing;
use self::client::{Client, NoAnswer};
use crate::config::{OperatorAction, OperatorCommand};
use crate::logging;
use crate::process::stdout::{self, NotPrinted};

/// Carries a command out. Answers the exit code.
pub fn run(command: &OperatorCommand) -> u8 {
    let client = match choice::choose(&command.server) {
        Ok(client) => client,
        Err(Choosing::NoServer(why)) => return fail(NO_SERVER, &why),
        Err(Choosing::Refused(why)) => return fail(FAILED, &why),
        Err(Choosing::Several(servers)) => return fail(WRONG_COMMAND_LINE, &servers),
    };
    if let (OperatorAction::Top { interval }, false) = (&command.action, command.is_json) {
        return top::top(&client, *interval);
    }
    match carry_out(command, &client) {
        Ok(outcome) => {
            let printed = outcome.print(command.is_json);
            match printed {
                Ok(()) => outcome.code,
                // What was asked for is done.
                Err(error) => fail(outcome.code.max(FAILED), &error.to_string()),
            }
        }
        Err(NoAnswer::Refused(why)) => fail(FAILED, &why),
        Err(error) => fail(NO_SERVER, &error.to_string()),
    }
}

/// What became of a command.
struct Outcome {
    code: u8,
    /// The server's answer.
    answer: Value,
    /// What is printed of it.
    text: String,
    /// What went wrong, a sentence each.
    faults: Vec<String>,
}

impl Outcome {
    fn good(answer: Value, text: String) -> Outcome {
        Outcome {
            code: 0,
            answer,
            text,
            faults: Vec::new(),
        }
    }

    fn print(&self, is_json: bool) -> Result<(), NotPrinted> {
        let printed = match is_json {
            true => {
                stdout::print(format!("{}\n", crate::admin::json::text(&self.answer)).as_bytes())
            }
            false => stdout::print(self.text.as_bytes()),
        };
        if !is_json {
            self.faults.iter().for_each(|fault| tell(fault));
        }
        printed
    }
}

fn carry_out(command: &OperatorCommand, client: &Client) -> Result<Outcome, NoAnswer> {
    match &command.action {
        OperatorAction::Status => {
            let status = client.get("/status")?;
            let text = report::status(&status);
            Ok(Outcome::good(status, text))
        }
        // Its numbers once, for programs.
        OperatorAction::Top { .. } => {
            let snapshot = client.get("/snapshot")?;
            Ok(Outcome::good(snapshot, String::new()))
        }
        OperatorAction::List => {
            let handlers = client.get("/handlers")?;
            let text = report::handlers(&handlers);
            Ok(Outcome::good(handlers, text))
        }
        OperatorAction::Sessions { handler, max } => {
            let sessions = sessions(client, handler.as_deref(), *max)?;
            let text = report::sessions(&sessions);
            Ok(Outcome::good(sessions, text))
        }
        OperatorAction::Reload { handler } => {
            let path = match handler {
                Some(handler) => with_handler("/reload", handler),
                None => "/reload".to_owned(),
            };
            let answer = client.post(&path)?;
            let (text, faults) = report::reload(&answer);
            let code = if faults.is_empty() { 0 } else { FAILED };
            Ok(Outcome {
                code,
                answer,
                text,
                faults,
            })
        }
        OperatorAction::Upgrade => {
            // The server bounds it, by `upgrade_timeout_ms`.
            let answer = client.post_within("/upgrade", UPGRADE_TIMEOUT)?;
            let text = report::upgraded(&answer);
            Ok(Outcome::good(answer, text))
        }
        OperatorAction::Drain { handler, wait } => drain::drain(client, handler, *wait),
        OperatorAction::Quarantine { handler } => {
            let answer = client.post(&with_handler("/quarantine", handler))?;
            let text = report::quarantined(handler, &answer);
            Ok(Outcome::good(answer, text))
        }
        OperatorAction::Release { handler } => {
            let answer = client.post(&with_handler("/release", handler))?;
            let text = report::released(handler, &answer);
            Ok(Outcome::good(answer, text))
        }
        OperatorAction::Close {
            session,
            handler,
            address,
            close,
        } => {
            let mut path = format!(
                "/close?code={}&reason={}",
                close.code,
                encoded(&close.reason)
            );
            let session = session.map(|session| session.to_string());
            for (name, value) in [
                ("session", &session),
                ("handler", handler),
                ("address", address),
            ] {
                if let Some(value) = value {
                    path += &format!("&{name}={}", encoded(value));
                }
            }
            let answer = client.post(&path)?;
            let text = report::closed(&answer);
            Ok(Outcome::good(answer, text))
        }
    }
}

/// Up to `max` sessions, which come a thousand at a time.
fn sessions(client: &Client, handler: Option<&str>, max: u64) -> Result<Value, NoAnswer> {
    let mut listed = Vec::new();
    let mut after = 0;
    loop {
        let left = max - listed.len() as u64;
        let page = left.min(crate::admin::request::SESSIONS_MAX);
        let mut path = format!("/sessions?after={after}&max={page}");
        if let Some(handler) = handler {
            path += &format!("&handler={}", encoded(handler));
        }
        let mut answer = client.get(&path)?;
        if let Value::Array(sessions) = answer["sessions"].take() {
            listed.extend(sessions);
        }
        match answer["next"].as_u64() {
            Some(next) if (listed.len() as u64) < max => after = next,
            next => {
                let open = &answer["open"];
                return Ok(json!({ "sessions": listed, "next": next, "open": open }));
            }
        }
    }
}

fn with_handler(path: &str, handler: &str) -> String {
    format!("{path}?handler={}", encoded(handler))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Writes a sentence to stderr.
fn tell(sentence: &str) {
    // It fails when the reader has gone.
    let _ = writeln!(io::stderr(), "wshd: {}", logging::on_one_line(sentence));
}

fn fail(code: u8, sentence: &str) -> u8 {
    for line in sentence.lines() {
        tell(line);
    }
    code
}

/// Longer than the longest `upgrade_timeout_ms`, which is a day.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(25 * 3_600);
const FAILED: u8 = 1;
const WRONG_COMMAND_LINE: u8 = 2;
const NO_SERVER: u8 = 3;
