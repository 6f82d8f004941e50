//! What a peer still owes a session, and by when: a sign of life, progress with what is sent to it,
//! the rest of its message, its part of the end.
//!
//! A slow link is not a dead one. While much is on its way to a peer no Ping is sent, which would
//! wait behind it; what counts then is that the peer's TCP acknowledges more. A peer whose process
//! hangs acknowledges no more once its buffer is full.
//!
//! [`Liveness`] does no I/O: it is told the time and the [`Facts`], and says what is to be done.

use crate::outbound::flow::{Flow, pause_ms, slow_reader_ms};
use crate::process::clock::Moment;

/// What is known of one peer.
#[derive(Debug)]
pub(super) struct Liveness {
    last_heard: Moment,
    expects: Expects,
    /// There while more is on its way to the peer than it acknowledges soon.
    flow: Option<Box<Flow>>,
    /// Since when a message, or a frame, is incomplete that the peer has begun.
    message_began: Option<Moment>,
    /// The low bits of the number of bytes sent before the last Ping that was answered.
    answered: u32,
}

/// What the peer owes.
#[derive(Clone, Copy, Debug)]
enum Expects {
    Nothing,
    /// Anything at all: the first Ping that it has not answered leaves it time `until` then.
    Life {
        until: Moment,
        last_ping: Moment,
    },
    /// Nothing, for what it sends is not read. A Ping shows whether it is still there: where it is not,
    /// the connection breaks.
    Nobody {
        last_ping: Moment,
    },
    /// The end: the closing handshake, or the wait for the end of the connection, has begun.
    End {
        since: Moment,
        until: Moment,
        /// It was looked at since.
        is_seen: bool,
    },
}

/// What a look at the peer takes into account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Whether what the peer sends is read.
    pub(super) hears: bool,
    /// Since when bytes wait that the kernel does not take.
    pub(super) queued_since: Option<Moment>,
    /// Bytes that the kernel has taken.
    pub(super) taken: u64,
    /// Bytes of those that the peer's TCP has not acknowledged.
    pub(super) unacked: u64,
    /// Bytes of the peer's message that have come, if it is incomplete.
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
pub(super) enum Verdict {
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

/// When the next look is due, and whether it may be a second late.
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

    /// The peer sent something. True if that moves a deadline away which is near.
    #[inline]
    pub(super) fn heard(&mut self, now: Moment) -> bool {
        self.last_heard = now;
        if let Expects::Life { .. } = self.expects {
            self.expects = Expects::Nothing;
            return true;
        }
        false
    }

    /// Whether the peer is not read. When it is read again, its time begins anew.
    pub(super) fn set_rests(&mut self, rests: bool, now: impl FnOnce() -> Moment) {
        if rests == matches!(self.expects, Expects::Nobody { .. }) || self.is_closing() {
            return;
        }
        let now = now();
        self.rest(now);
        self.expects = match rests {
            true => Expects::Nobody { last_ping: now },
            false => Expects::Nothing,
        };
    }

    /// The peer is not read for now, so nothing is expected of what it sends.
    pub(super) fn rest(&mut self, now: Moment) {
        self.heard(now);
        self.message_began = self.message_began.map(|_| now);
    }

    /// Whether a message is incomplete. True if that is new.
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

    /// The closing handshake, or the wait for the end of the connection, begins.
    pub(super) fn start_closing(&mut self, now: Moment, timeouts: &Timeouts) {
        self.message_began = None;
        self.expects = Expects::End {
            since: now,
            until: now.after(timeouts.close),
            is_seen: false,
        };
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.expects, Expects::End { .. })
    }

    /// Whether a look has to know what is unacknowledged, which takes a system call: not where the
    /// peer was sent next to nothing since it answered a Ping.
    pub(super) fn asks_unacked(&self, facts: &Facts) -> bool {
        let since = u64::from((facts.taken as u32).wrapping_sub(self.answered));
        since > LONG_WAY_BYTES
            || facts.queued_since.is_some()
            || self.flow.is_some()
            || self.is_closing()
    }

    /// Looks at an open session's peer.
    pub(super) fn look(&mut self, now: Moment, facts: &Facts, timeouts: &Timeouts) -> Verdict {
        if self.is_stalled(now, facts, timeouts) {
            return Verdict::Stalled;
        }
        self.set_rests(!facts.hears, || now);
        if facts.hears
            && let Some(until) = self.message_until(facts.message_bytes, timeouts)
            && now >= until
        {
            return Verdict::Unfinished;
        }
        let is_due = self.ping_at(timeouts).is_some_and(|at| now >= at);
        let may_ping = is_due && !is_long_way(facts);
        match &mut self.expects {
            Expects::Life { until, .. } if now >= *until => Verdict::Silent,
            Expects::Life { last_ping, .. } | Expects::Nobody { last_ping } if may_ping => {
                *last_ping = now;
                Verdict::Ping
            }
            Expects::Nothing if may_ping => {
                // What was sent since may lie before the Ping in the peer's own buffer.
                let before = u64::from((facts.taken as u32).wrapping_sub(self.answered));
                self.answered = facts.taken as u32;
                self.expects = Expects::Life {
                    until: now.after(timeouts.pong + slow_reader_ms(before)),
                    last_ping: now,
                };
                Verdict::Ping
            }
            _ => {
                if is_due && self.flow.is_none() {
                    self.flow = Some(Box::new(Flow::new(now, now, facts.acked())));
                }
                Verdict::Wait
            }
        }
    }

    /// Looks at the peer of a session that ends.
    pub(super) fn look_at_end(
        &mut self,
        now: Moment,
        facts: &Facts,
        timeouts: &Timeouts,
    ) -> Verdict {
        let Expects::End {
            since,
            until,
            is_seen,
        } = &mut self.expects
        else {
            return Verdict::Wait;
        };
        *is_seen = true;
        let on_its_way = facts.queued_since.is_some() || facts.unacked > 0;
        let latest = since.after(timeouts.outbound.max(timeouts.close));
        if on_its_way && now < latest {
            // Our Close is behind what a slow link still carries.
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
            return Verdict::NotClosed;
        }
        Verdict::Wait
    }

    /// When the next look is due. `is_open`: the session is not closing.
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
        // While a Ping waits for what is on its way, it is looked at again with that.
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

    /// When a Ping is due, if nothing is heard until then.
    fn ping_at(&self, timeouts: &Timeouts) -> Option<Moment> {
        let last = match self.expects {
            Expects::Nothing => self.last_heard,
            Expects::Life { last_ping, .. } | Expects::Nobody { last_ping } => last_ping,
            Expects::End { .. } => return None,
        };
        (timeouts.ping_interval > 0).then(|| last.after(timeouts.ping_interval))
    }

    /// By when the open message has to be complete: each [`MESSAGE_BYTES`] that came buy as much time
    /// again.
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
            // The kernel took something then, so it moved.
            let since = facts.queued_since.map_or(now, |since| since.min(now));
            self.flow = Some(Box::new(Flow::new(since, now, facts.acked())));
            return false;
        };
        flow.note(now, facts.acked());
        flow.has_stalled(now, timeouts.outbound)
    }
}

impl Facts {
    /// Bytes that the peer's TCP has acknowledged.
    fn acked(&self) -> u64 {
        self.taken.saturating_sub(self.unacked)
    }
}

/// Whether a Ping would take long to get there.
fn is_long_way(facts: &Facts) -> bool {
    facts.queued_since.is_some() || facts.unacked > LONG_WAY_BYTES
}

/// Sent before a Ping they hold it up by no more than a few seconds.
const LONG_WAY_BYTES: u64 = 16 * 1024;
/// What has to come of a message in each of its timeouts.
const MESSAGE_BYTES: u64 = 64 * 1024;
/// A Ping of so long an interval may be a second late.
const LONG_INTERVAL_MS: u64 = 10_000;

#[cfg(test)]
mod tests;
