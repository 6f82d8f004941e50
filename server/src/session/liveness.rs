//! What a peer owes a session, and by when: a sign of life, progress with what is sent to it, the rest
//! of its message, its part of the closing handshake.
//!
//! A slow link is not a dead one. While much is on its way to a peer, no Ping is sent, because it would
//! wait behind that. Progress is then that the peer's TCP acknowledges more. A peer whose process
//! hangs acknowledges nothing any more once its buffer is full.
//!
//! [`Liveness`] does no I/O: it is given the time and the [`Facts`], and answers what is to be done.

use crate::outbound::flow::{Flow, pause_ms, slow_reader_ms};
use crate::process::clock::Moment;

/// What one peer owes, and what was seen of it.
#[derive(Debug)]
pub(super) struct Liveness {
    last_heard: Moment,
    expects: Expects,
    /// The progress of what is on its way, while that is more than the peer acknowledges soon.
    flow: Option<Box<Flow>>,
    /// When the peer began the message or frame that is incomplete.
    message_began: Option<Moment>,
    /// The bytes sent before the last Ping that began the peer's time for an answer, modulo 2³².
    answered: u32,
}

/// What the peer owes.
#[derive(Clone, Copy, Debug)]
enum Expects {
    Nothing,
    /// Any byte until `until`, since a Ping was sent and nothing has come after it.
    Life {
        until: Moment,
        last_ping: Moment,
    },
    /// Nothing, because what it sends is not read. A Ping is sent all the same: where the peer is gone, it
    /// breaks the connection.
    Unread {
        last_ping: Moment,
    },
    /// Its part of the closing handshake, or of the end of the connection.
    End {
        since: Moment,
        until: Moment,
        /// Whether the peer was looked at since then.
        is_seen: bool,
    },
}

/// What a look at the peer takes into account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Whether what the peer sends is read.
    pub(super) hears: bool,
    /// When the queue stopped moving, if the kernel does not take all of it.
    pub(super) queued_since: Option<Moment>,
    /// The bytes that the kernel has taken.
    pub(super) taken: u64,
    /// The bytes of those that the peer's TCP has not acknowledged.
    pub(super) unacked: u64,
    /// The bytes that have come of the peer's message, if it is incomplete.
    pub(super) message_bytes: u64,
}

/// The limits that hold, in ms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// 0 is never.
    pub(super) ping_interval: u64,
    pub(super) pong: u64,
    pub(super) outbound: u64,
    pub(super) message: u64,
    pub(super) close: u64,
}

/// What a look comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LivenessVerdict {
    /// Nothing is due.
    Wait,
    /// A Ping is to be sent; it counts as sent.
    Ping,
    /// The peer has left a Ping unanswered.
    Silent,
    /// The peer takes nothing of what is sent to it.
    Stalled,
    /// The peer does not complete its message.
    Unfinished,
    /// The peer has had its time to close.
    NotClosed,
}

/// The time of the next look, and whether that may be a second late.
pub(super) type Due = (Moment, bool);

impl Liveness {
    pub(super) fn new() -> Liveness {
        Liveness {
            last_heard: Moment::recent(),
            expects: Expects::Nothing,
            flow: None,
            message_began: None,
            answered: 0,
        }
    }

    /// Notes that the peer sent something. True if a deadline that was near is gone by that.
    #[inline]
    pub(super) fn heard(&mut self, now: Moment) -> bool {
        self.last_heard = now;
        if let Expects::Life { .. } = self.expects {
            self.expects = Expects::Nothing;
            return true;
        }
        false
    }

    /// Notes whether the peer is not read. When it is read again, its time begins anew.
    pub(super) fn set_rests(&mut self, rests: bool, now: impl FnOnce() -> Moment) {
        if rests == matches!(self.expects, Expects::Unread { .. }) || self.is_closing() {
            return;
        }
        let now = now();
        self.rest(now);
        self.expects = match rests {
            true => Expects::Unread { last_ping: now },
            false => Expects::Nothing,
        };
    }

    /// Begins the peer's time anew, since what it sends is not read now.
    pub(super) fn rest(&mut self, now: Moment) {
        self.heard(now);
        self.message_began = self.message_began.map(|_| now);
    }

    /// Notes whether a message is incomplete. True if one has become so.
    #[inline]
    pub(super) fn note_message(
        &mut self,
        is_incomplete: bool,
        now: impl FnOnce() -> Moment,
    ) -> bool {
        if is_incomplete == self.message_began.is_some() {
            return false;
        }
        self.message_began = is_incomplete.then(now);
        is_incomplete
    }

    /// Begins the time of an incomplete message anew, because the message that it was given to has ended. A deadline that
    /// comes too early is looked at, and is not over then.
    #[inline]
    pub(super) fn note_message_end(&mut self, now: impl FnOnce() -> Moment) {
        if let Some(began) = &mut self.message_began {
            *began = now();
        }
    }

    /// Gives the closing handshake, or the wait for the end of the connection, its time from now on.
    pub(super) fn start_closing(&mut self, now: Moment, timeouts: &Timeouts) {
        self.message_began = None;
        self.expects = Expects::End {
            since: now,
            until: now.after(timeouts.close),
            is_seen: false,
        };
    }

    /// Whether the peer owes its part of the end.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.expects, Expects::End { .. })
    }

    /// Whether a look needs the unacknowledged bytes, which take a system call. Most do not: the peer was
    /// sent next to nothing since the last Ping.
    pub(super) fn asks_unacked(&self, facts: &Facts) -> bool {
        let since = u64::from((facts.taken as u32).wrapping_sub(self.answered));
        since > LONG_WAY_BYTES
            || facts.queued_since.is_some()
            || self.flow.is_some()
            || self.is_closing()
    }

    /// Looks at the peer of a session that neither side closes.
    pub(super) fn look(
        &mut self,
        now: Moment,
        facts: &Facts,
        timeouts: &Timeouts,
    ) -> LivenessVerdict {
        if self.is_stalled(now, facts, timeouts) {
            return LivenessVerdict::Stalled;
        }
        self.set_rests(!facts.hears, || now);
        if facts.hears
            && let Some(until) = self.message_until(facts.message_bytes, timeouts)
            && now >= until
        {
            return LivenessVerdict::Unfinished;
        }
        let is_due = self.ping_at(timeouts).is_some_and(|at| now >= at);
        let may_ping = is_due && !is_long_way(facts);
        match &mut self.expects {
            Expects::Life { until, .. } if now >= *until => LivenessVerdict::Silent,
            Expects::Life { last_ping, .. } | Expects::Unread { last_ping } if may_ping => {
                *last_ping = now;
                LivenessVerdict::Ping
            }
            Expects::Nothing if may_ping => {
                // What was sent since the last Ping may lie before this one in the peer's buffer.
                let before = u64::from((facts.taken as u32).wrapping_sub(self.answered));
                self.answered = facts.taken as u32;
                self.expects = Expects::Life {
                    until: now.after(timeouts.pong + slow_reader_ms(before)),
                    last_ping: now,
                };
                LivenessVerdict::Ping
            }
            _ => {
                if is_due && self.flow.is_none() {
                    self.flow = Some(Box::new(Flow::new(now, now, facts.acked())));
                }
                LivenessVerdict::Wait
            }
        }
    }

    /// Looks at the peer of a session that closes.
    pub(super) fn look_at_end(
        &mut self,
        now: Moment,
        facts: &Facts,
        timeouts: &Timeouts,
    ) -> LivenessVerdict {
        let Expects::End {
            since,
            until,
            is_seen,
        } = &mut self.expects
        else {
            return LivenessVerdict::Wait;
        };
        *is_seen = true;
        let on_its_way = facts.queued_since.is_some() || facts.unacked > 0;
        let latest = since.after(timeouts.outbound.max(timeouts.close));
        if on_its_way && now < latest {
            // Our Close frame is behind what a slow link still carries.
            let flow = self
                .flow
                .get_or_insert_with(|| Box::new(Flow::new(now, now, facts.acked())));
            if flow.note(now, facts.acked()) {
                *until = now.after(timeouts.close.max(flow.step_ms())).min(latest);
            }
        } else {
            self.flow = None;
        }
        if now >= *until {
            return LivenessVerdict::NotClosed;
        }
        LivenessVerdict::Wait
    }

    /// The time of the next look. `is_open` says that neither side closes.
    pub(super) fn next(&self, is_open: bool, facts: &Facts, timeouts: &Timeouts) -> Option<Due> {
        if let Expects::End {
            since,
            until,
            is_seen,
        } = self.expects
        {
            let pause = pause_ms(timeouts.close);
            let again = match &self.flow {
                Some(flow) => Some(flow.looked().after(pause)),
                None => (!is_seen).then(|| since.after(pause)),
            };
            return Some((again.map_or(until, |again| again.min(until)), false));
        }
        let pause = pause_ms(timeouts.outbound);
        let looks_again = |flow: &Flow| flow.looked().after(pause);
        if !is_open {
            return None;
        }
        let again = match &self.flow {
            Some(flow) => Some(looks_again(flow)),
            None => facts.queued_since.map(|since| since.after(pause)),
        };
        // While a Ping waits behind what is on its way, both are looked at together.
        let ping = self.ping_at(timeouts).map(|at| match &self.flow {
            Some(flow) => at.max(looks_again(flow)),
            None => at,
        });
        let life = match self.expects {
            Expects::Life { until, .. } => Some(until),
            _ => None,
        };
        let message = (facts.hears)
            .then(|| self.message_until(facts.message_bytes, timeouts))
            .flatten();
        let strict = [again, life, message].into_iter().flatten().min();
        match (ping, strict) {
            (Some(ping), Some(strict)) if strict <= ping => Some((strict, false)),
            (Some(ping), _) => Some((ping, timeouts.ping_interval >= LONG_INTERVAL_MS)),
            (None, strict) => strict.map(|at| (at, false)),
        }
    }

    /// The time of the next Ping, if nothing is heard until then.
    fn ping_at(&self, timeouts: &Timeouts) -> Option<Moment> {
        let last = match self.expects {
            Expects::Nothing => self.last_heard,
            Expects::Life { last_ping, .. } | Expects::Unread { last_ping } => last_ping,
            Expects::End { .. } => return None,
        };
        (timeouts.ping_interval > 0).then(|| last.after(timeouts.ping_interval))
    }

    /// The time by which the open message has to be complete. Each [`MESSAGE_BYTES`] that have come add
    /// the whole timeout once more.
    fn message_until(&self, bytes: u64, timeouts: &Timeouts) -> Option<Moment> {
        let shares = 1 + bytes / MESSAGE_BYTES;
        let began = self.message_began?;
        (timeouts.message > 0).then(|| began.after(timeouts.message.saturating_mul(shares)))
    }

    /// Whether what is on its way has not moved for too long.
    fn is_stalled(&mut self, now: Moment, facts: &Facts, timeouts: &Timeouts) -> bool {
        if facts.queued_since.is_none() && !is_long_way(facts) {
            self.flow = None;
            return false;
        }
        let Some(flow) = &mut self.flow else {
            // The kernel last took something at that time.
            let since = facts.queued_since.map_or(now, |since| since.min(now));
            self.flow = Some(Box::new(Flow::new(since, now, facts.acked())));
            return false;
        };
        flow.note(now, facts.acked());
        flow.has_stalled(now, timeouts.outbound)
    }
}

impl Facts {
    /// The bytes that the peer's TCP has acknowledged.
    fn acked(&self) -> u64 {
        self.taken.saturating_sub(self.unacked)
    }
}

/// Whether a Ping would take long to reach the peer.
fn is_long_way(facts: &Facts) -> bool {
    facts.queued_since.is_some() || facts.unacked > LONG_WAY_BYTES
}

/// So many bytes ahead of a Ping delay it by a few seconds at most.
const LONG_WAY_BYTES: u64 = 16 * 1024;
/// The bytes of a message that have to come in each of its timeouts.
const MESSAGE_BYTES: u64 = 64 * 1024;
/// From this interval on a Ping may be a second late.
const LONG_INTERVAL_MS: u64 = 10_000;

#[cfg(test)]
mod tests;
