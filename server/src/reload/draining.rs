//! A generation that was superseded or removed, until none of its code runs any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::generation::Generation;
use crate::sessions::mailbox::Mailbox;
use crate::sessions::mailbox::dismissal::Dismissal;

/// A generation that was superseded or removed.
#[derive(Debug)]
pub(super) struct Draining {
    pub(super) generation: Arc<Generation>,
    /// The time at which its sessions are told to close, if they are still there.
    deadline: Option<Instant>,
    /// The sessions that are being told to close.
    closing: Option<ClosingSessions>,
}

/// Sessions that are told to close, some at a time.
#[derive(Debug)]
struct ClosingSessions {
    sessions: Vec<Arc<Mailbox>>,
    listed: Instant,
}

impl Draining {
    pub(super) fn new(generation: Arc<Generation>, deadline: Option<Instant>) -> Draining {
        Draining {
            generation,
            deadline,
            closing: None,
        }
    }

    /// Whether its sessions are being told to close.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether it has sessions or handshakes.
    pub(super) fn has_sessions(&self) -> bool {
        self.generation.sessions() > 0
    }

    /// Whether it is retired and none of its code runs.
    pub(super) fn is_over(&self) -> bool {
        self.generation.look()
    }

    /// Lists its sessions, so that they are told to close from now on.
    pub(super) fn begin_closing(&mut self, now: Instant) {
        self.deadline = None;
        let generation = &self.generation;
        let is_on_it =
            |owner: &str, number| *owner == *generation.handler && number == generation.number;
        self.closing = Some(ClosingSessions {
            sessions: generation.context.shared.sessions.list(is_on_it),
            listed: now,
        });
    }

    /// Warns that its sessions did not end in time.
    fn tell_late(&self) {
        warn!(
            handler = %self.generation.handler,
            generation = self.generation.number,
            sessions = self.generation.sessions(),
            "`drain_timeout_s` is over, the sessions of an old generation close"
        );
    }

    /// Tells the next sessions to close, if it is time. Answers when there is more to do.
    pub(super) fn close_next(&mut self, now: Instant) -> Option<Instant> {
        let has_sessions = self.has_sessions();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            if has_sessions {
                self.tell_late();
            }
            self.begin_closing(now);
        }
        let Some(closing) = &mut self.closing else {
            return self.deadline;
        };
        let rest = closing.sessions.len().saturating_sub(BATCH);
        for mailbox in closing.sessions.drain(rest..) {
            // A session that has moved stays open.
            mailbox.dismiss(Dismissal::replaced(self.generation.number));
        }
        if rest > 0 {
            return Some(now + PAUSE);
        }
        // A handshake that was under way may have become a session since the list was made.
        let again = closing.listed + LATECOMERS;
        if has_sessions && again <= now {
            self.begin_closing(now);
            return Some(now + PAUSE);
        }
        has_sessions.then_some(again)
    }
}

/// Sessions told to close at a time, so that their peers do not all come back at one moment.
const BATCH: usize = 500;
/// The time between two batches.
const PAUSE: Duration = Duration::from_millis(100);
/// The time between two lists of sessions.
const LATECOMERS: Duration = Duration::from_secs(1);
