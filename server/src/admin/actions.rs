//! What an operator has the server do.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::info;
use wsh::close_codes::GOING_AWAY;

use super::Admin;
use super::connection::Answer;
use crate::border::quarantine::QuarantineStatus;
use crate::config;
use crate::generation::Generation;
use crate::reload::{Change, ReloadReport};
use crate::sessions::inquiry::OperatorClose;

impl Admin {
    /// Reads the configuration again and loads what has changed, or loads one handler anew, and says what became of it.
    pub(super) async fn reload(self: &Arc<Self>, handler: Option<String>) -> Answer {
        if let Some(name) = &handler
            && self.server.router.listing().find(name).is_none()
        {
            return self.no_handler(name);
        }
        let Ok(_one_of_few) = self.reloads.try_acquire() else {
            return Answer::fault(503, "other reloads are under way; try again");
        };
        info!(handler, "an operator reloads");
        let control = self.control.clone();
        let reloaded = tokio::task::spawn_blocking(move || control.reload(handler));
        match tokio::time::timeout(RELOAD_TIMEOUT, reloaded).await {
            Ok(Ok(report)) => Answer::good(self.report_json(&report)),
            Ok(Err(_)) => Answer::fault(500, "the reload itself has failed; the log says why"),
            Err(_) => Answer::fault(
                504,
                "the reload is not over yet; the log says what comes of it",
            ),
        }
    }

    /// Lets no new session of a handler begin.
    pub(super) fn quarantine(&self, name: &str) -> Answer {
        match self.serving(name) {
            Ok(generation) => {
                generation.withdraw();
                Answer::good(json!({ "handler": name, "sessions": self.sessions_of(name) }))
            }
            Err(answer) => answer,
        }
    }

    /// Lets sessions of a handler begin again.
    pub(super) fn release(&self, name: &str) -> Answer {
        match self.serving(name) {
            Ok(generation) => {
                let was_quarantined = generation.release();
                Answer::good(json!({ "handler": name, "was_quarantined": was_quarantined }))
            }
            Err(answer) => answer,
        }
    }

    /// Lets no new session of a handler begin, and closes those that are open, some at a time.
    pub(super) fn drain(self: &Arc<Self>, name: &str) -> Answer {
        let generation = match self.serving(name) {
            Ok(generation) => generation,
            Err(answer) => return answer,
        };
        generation.withdraw();
        let sessions = self.sessions_of(name);
        info!(handler = name, sessions, "an operator drains a handler");
        let (admin, handler) = (self.clone(), name.to_owned());
        tokio::spawn(async move { admin.close_all(&handler).await });
        Answer::good(json!({ "handler": name, "sessions": sessions }))
    }

    /// Closes a session.
    pub(super) fn close(&self, id: u64, close: OperatorClose) -> Answer {
        let found = self.shared.sessions.find_any(id);
        let (sessions, code) = (&self.shared.sessions, close.code);
        let is_there = found.filter(|mailbox| sessions.close_for_operator(mailbox, close));
        match is_there {
            Some(mailbox) => {
                let handler = &**mailbox.owner();
                info!(session = id, handler, code, "an operator closes a session");
                Answer::good(json!({ "session": id, "handler": handler, "code": code }))
            }
            None => Answer::fault(404, &format!("there is no session {id}")),
        }
    }

    /// Closes the sessions of a handler, of addresses or of both, some at a time, and says how many they are.
    pub(super) async fn close_those(
        &self,
        handler: Option<String>,
        close: OperatorClose,
    ) -> Answer {
        if let Some(name) = &handler
            && self.server.router.listing().find(name).is_none()
        {
            return self.no_handler(name);
        }
        let sessions = &self.shared.sessions;
        let listed = sessions.list(|owner, _| handler.as_deref().is_none_or(|it| it == owner));
        let (mut closed, mut busy) = (0, 0);
        for batch in listed.chunks(BATCH) {
            let (told, mut answers) = mpsc::unbounded_channel();
            let mut asked = 0;
            for mailbox in batch {
                let told = Some(told.clone());
                let close = OperatorClose {
                    told,
                    ..close.clone()
                };
                asked += usize::from(sessions.close_for_operator(mailbox, close));
            }
            // Without it the end of the last session's answer ends the wait.
            drop(told);
            let deadline = tokio::time::Instant::now() + CLOSE_TIMEOUT;
            let closed_before = closed;
            while asked > 0 {
                match tokio::time::timeout_at(deadline, answers.recv()).await {
                    Ok(Some(is_meant)) => {
                        asked -= 1;
                        closed += usize::from(is_meant);
                    }
                    // The others have ended, or callbacks of theirs run.
                    Ok(None) => break,
                    Err(_) => {
                        busy += asked;
                        break;
                    }
                }
            }
            if closed > closed_before {
                tokio::time::sleep(BATCH_PAUSE).await;
            }
        }
        let (handler, code) = (handler.as_deref(), close.code);
        info!(
            handler,
            sessions = closed,
            busy,
            code,
            "an operator closes sessions"
        );
        Answer::good(json!({ "sessions": closed, "busy": busy, "code": code }))
    }

    /// Tells the sessions of a handler to close, in batches, until none is left.
    async fn close_all(&self, name: &str) {
        let end = tokio::time::Instant::now() + DRAIN_TIMEOUT;
        while tokio::time::Instant::now() < end {
            let is_wanted = |owner: &str, _| owner == name;
            let open = self.shared.sessions.list(is_wanted);
            if open.is_empty() {
                return;
            }
            for batch in open.chunks(BATCH) {
                for mailbox in batch {
                    let sessions = &self.shared.sessions;
                    let close = OperatorClose {
                        code: GOING_AWAY,
                        reason: "".into(),
                        of: None,
                        told: None,
                    };
                    sessions.close_for_operator(mailbox, close);
                }
                tokio::time::sleep(BATCH_PAUSE).await;
            }
            // A handshake that was under way may have become a session since.
            tokio::time::sleep(LATECOMERS).await;
        }
    }

    /// The generation of a handler that new sessions begin on. An error says why there is none.
    fn serving(&self, name: &str) -> Result<Arc<Generation>, Answer> {
        let listing = self.server.router.listing();
        let Some(listed) = listing.find(name) else {
            return Err(self.no_handler(name));
        };
        listed.serving.clone().ok_or_else(|| {
            let why = match &listed.refusal {
                Some(refusal) => format!("handler `{name}` does not serve: {refusal}"),
                None => format!("handler `{name}` does not serve"),
            };
            Answer::fault(409, &why)
        })
    }

    fn sessions_of(&self, name: &str) -> usize {
        let listing = self.server.router.listing();
        listing.find(name).map_or(0, |it| it.sessions())
    }

    /// What became of a reload.
    fn report_json(&self, report: &ReloadReport) -> Value {
        let listing = self.server.router.listing();
        let is_good = |change: &&Change| change.outcome.is_ok();
        let loaded = report.changes.iter().filter(is_good).map(|change| {
            let listed = listing.find(&change.handler);
            let serving = listed.and_then(|listed| listed.serving.as_ref());
            let status = serving.map(|it| it.context.quarantine_status());
            json!({
                "handler": change.handler,
                "generation": change.outcome.as_ref().ok(),
                "state": status.as_ref().map(|it| it.state),
                "quarantined_by": status.as_ref().and_then(QuarantineStatus::by),
                "elapsed_ms": change.elapsed.as_millis() as u64,
                "moved": change.moved.map(|moved| moved.sessions),
            })
        });
        let refused = report.changes.iter().filter_map(|change| {
            let why = change.outcome.as_ref().err()?;
            Some(json!({ "handler": change.handler, "why": why }))
        });
        json!({
            "loaded": loaded.collect::<Vec<_>>(),
            "refused": refused.collect::<Vec<_>>(),
            "config_faults": report.config.faults,
            "not_applied": report.config.hindrances,
            "wait_for_restart": report.config.wait_for_restart,
        })
    }

    /// Says that there is no such handler, and which there are.
    pub(super) fn no_handler(&self, name: &str) -> Answer {
        let listing = self.server.router.listing();
        let names = listing.names();
        let meant = config::nearest(
            name.trim_start_matches('/'),
            names.iter().map(String::as_str),
        );
        let hint = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => config::ThereAre(&names).to_string(),
        };
        Answer::fault(404, &format!("there is no handler `{name}`; {hint}"))
    }
}

/// How long the outcome of a reload is waited for.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long sessions that have not ended are told to close again.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long sessions may take to say whether they are meant. One whose callback runs says it later.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Sessions told to close at a time, so that their peers do not all come back at one moment.
const BATCH: usize = 500;
const BATCH_PAUSE: Duration = Duration::from_millis(100);
const LATECOMERS: Duration = Duration::from_millis(500);
