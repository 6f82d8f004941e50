//! What is answered to questions: the server, its handlers and its sessions as they are now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Admin;
use super::connection::{Answer, Body};
use super::request::{AdminRequest, SessionsWanted, WhichSessions};
use crate::connection::metrics_page;
use crate::connection::snapshot::Snapshot;
use crate::listing::Listed;
use crate::process::machine;
use crate::sessions::inquiry::{OperatorClose, SessionReport};
use crate::sessions::mailbox::Mailbox;
use crate::sessions::registry::Registry;

impl Admin {
    /// Answers a question, or does what is wanted and says what became of it.
    pub(super) async fn answer(self: &Arc<Self>, request: AdminRequest) -> Answer {
        match request {
            AdminRequest::Status => Answer::good(self.status()),
            AdminRequest::Handlers => Answer::good(self.handlers()),
            AdminRequest::Snapshot => {
                let snapshot = Snapshot::take(&self.server).await;
                Answer::good(serde_json::to_value(snapshot).unwrap_or_default())
            }
            AdminRequest::Metrics => {
                let snapshot = Snapshot::take(&self.server).await;
                Answer {
                    status: 200,
                    body: Body::Text(metrics_page::MEDIA_TYPE, metrics_page::text(&snapshot)),
                }
            }
            AdminRequest::Sessions(wanted) => match &wanted.handler {
                Some(name) if self.server.router.listing().find(name).is_none() => {
                    self.no_handler(name)
                }
                _ => Answer::good(self.sessions(wanted).await),
            },
            AdminRequest::Reload { handler } => self.reload(handler).await,
            AdminRequest::Upgrade => self.upgrade().await,
            AdminRequest::Drain { handler } => self.drain(&handler),
            AdminRequest::Quarantine { handler } => self.quarantine(&handler),
            AdminRequest::Release { handler } => self.release(&handler),
            AdminRequest::Close {
                which,
                code,
                reason,
            } => {
                let close = |of| OperatorClose {
                    code,
                    reason: reason.into(),
                    of,
                    told: None,
                };
                match which {
                    WhichSessions::One(session) => self.close(session, close(None)),
                    WhichSessions::Those { handler, of } => {
                        let close = close(of.map(Arc::new));
                        self.close_those(handler, close).await
                    }
                }
            }
        }
    }

    /// The server as a whole.
    fn status(&self) -> Value {
        let config = self.server.config.load();
        let listing = self.server.router.listing();
        let handlers = listing.all();
        let count = |is_so: fn(&Listed) -> bool| handlers.iter().filter(|it| is_so(it)).count();
        let started_at = self.began_at.duration_since(UNIX_EPOCH);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uid": rustix::process::geteuid().as_raw(),
            "state": self.shared.readiness.now().word(),
            "started_at": started_at.map_or(0, |it| it.as_secs()),
            "uptime_ms": self.began.elapsed().as_millis() as u64,
            "listen": self.listeners.endpoints().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "config_file": config.file.as_ref().map(|it| it.to_string_lossy()),
            "handlers_dir": config.handlers_dir.to_string_lossy(),
            "admin_socket": self.socket.load().as_ref().map(|it| it.to_string_lossy()),
            "connections": {
                "open": self.server.admission.open_connections(),
                "max": self.server.admission.connections_max(&config.limits),
            },
            "sessions": handlers.iter().map(Listed::sessions).sum::<usize>(),
            "handlers": {
                "serving": count(|it| it.serving.is_some()),
                "refused": count(|it| it.refusal.is_some()),
                "quarantined": count(|it| it.serving.as_ref().is_some_and(|it| it.is_quarantined())),
            },
            "memory_bytes": Some(machine::resident_bytes()).filter(|bytes| *bytes > 0),
            "panics": handlers.iter().filter_map(|it| it.serving.as_ref())
                .map(|it| it.context.quarantine_status().panics).sum::<u64>(),
        })
    }

    /// Each handler with its generations.
    fn handlers(&self) -> Value {
        let node = &self.server.node;
        let listing = self.server.router.listing();
        listing.document(true, |name| node.usage(name))
    }

    /// The sessions that are wanted, in the order of their ids, and after which id the next ones follow.
    async fn sessions(&self, wanted: SessionsWanted) -> Value {
        let shared = self.shared.clone();
        // A hundred thousand mailboxes take milliseconds, which no worker is to be without.
        let listed = tokio::task::spawn_blocking(move || {
            let handler = wanted.handler.as_deref();
            let is_wanted = |owner: &str, _| handler.is_none_or(|it| it == owner);
            let mut listed = shared.sessions.list(is_wanted);
            let open = listed.len();
            listed.retain(|mailbox| mailbox.id > wanted.after);
            listed.sort_unstable_by_key(|mailbox| mailbox.id);
            let is_more = listed.len() > wanted.max;
            listed.truncate(wanted.max);
            (listed, is_more, open)
        });
        let Ok((listed, is_more, open)) = listed.await else {
            return json!({ "sessions": [], "next": null, "open": 0 });
        };
        let reports = ask_each(&self.shared.sessions, &listed).await;
        let next = listed.last().filter(|_| is_more).map(|last| last.id);
        let sessions = listed
            .iter()
            .filter_map(|mailbox| match reports.get(&mailbox.id) {
                Some(report) => Some(report_json(report)),
                // It has ended meanwhile.
                None if mailbox.is_over() => None,
                None => Some(silent_json(mailbox)),
            });
        json!({ "sessions": sessions.collect::<Vec<_>>(), "next": next, "open": open })
    }
}

/// Asks each session for its report. Those whose callbacks run do not answer in time, nor do opening handshakes.
async fn ask_each(registry: &Registry, sessions: &[Arc<Mailbox>]) -> BTreeMap<u64, SessionReport> {
    let (report_to, mut reports) = mpsc::unbounded_channel();
    for session in sessions {
        registry.inquire(session, report_to.clone());
    }
    // Without it the end of the last session's answer ends the wait.
    drop(report_to);
    let deadline = Instant::now() + REPORT_TIMEOUT;
    let mut found = BTreeMap::new();
    while found.len() < sessions.len() {
        match timeout_at(deadline, reports.recv()).await {
            Ok(Some(report)) => found.insert(report.id, report),
            Ok(None) | Err(_) => break,
        };
    }
    found
}

fn report_json(report: &SessionReport) -> Value {
    json!({
        "id": report.id,
        "handler": report.handler,
        "generation": report.generation,
        "state": if report.is_closing { "closing" } else { "open" },
        "peer": report.peer,
        "path": report.path,
        "user": report.user,
        "subprotocol": Some(&report.subprotocol).filter(|it| !it.is_empty()),
        "tls": report.is_tls,
        "compressed": report.is_compressed,
        "age_ms": report.age_ms,
        "bytes_in": report.bytes_in,
        "bytes_out": report.bytes_out,
        "buffered": report.buffered,
    })
}

/// A session that does not answer: its callback runs, or its opening handshake waits for the handler.
fn silent_json(mailbox: &Mailbox) -> Value {
    json!({
        "id": mailbox.id,
        "handler": &**mailbox.owner(),
        "generation": mailbox.generation(),
        "state": "busy",
        "buffered": mailbox.buffered(),
    })
}

/// How long sessions may take to answer.
const REPORT_TIMEOUT: Duration = Duration::from_millis(500);
