//! When a session wakes although nothing has happened: its handler's timers, and what its peer owes.
//!
//! A handler's timers are the runtime's, to the millisecond. What the peer owes is in seconds: what
//! and by when is [`Liveness`]'s, and the [timer wheel](crate::sessions::timer_wheel) wakes the session for it.

use std::task::{Context, Poll};
use std::time::Instant;

use super::Session;
use super::liveness::{Facts, Liveness, Timeouts, Verdict};
use crate::config::SessionLimits;
use crate::outbound::controls::Controls;
use crate::outbound::wire::PeerEnd;
use crate::process::clock::Moment;
use crate::sessions::cause::Cause;
use crate::sessions::timer_wheel::TimerWheel;
use crate::ws::closing::ClosingEvent;

/// The deadlines of one session.
pub(super) struct Deadlines {
    pub(super) life: Liveness,
    /// The tick for which the timer wheel was asked; 0 is none.
    armed_for: u32,
    is_due: bool,
    /// Whether something has changed that moves the next deadline, and not only a little away.
    has_moved: bool,
}

impl Deadlines {
    pub(super) fn new() -> Deadlines {
        Deadlines {
            life: Liveness::new(),
            armed_for: 0,
            is_due: false,
            has_moved: false,
        }
    }

    /// Other limits hold from now on.
    pub(super) fn note_limits(&mut self) {
        self.has_moved = true;
    }

    /// The peer sent something.
    #[inline]
    pub(super) fn heard(&mut self) {
        self.has_moved |= self.life.heard(Moment::recent());
    }

    /// What was received ends inside a message, or inside a frame, or it does not.
    #[inline]
    pub(super) fn note_message(&mut self, is_incomplete: bool) {
        self.has_moved |= self.life.note_message(is_incomplete, Moment::recent);
    }

    /// The closing handshake, or the wait for the end of the connection, begins.
    pub(super) fn start_closing(&mut self, controls: &Controls) {
        self.life.start_closing(Moment::now(), &timeouts(controls));
    }

    /// Pending until something is due, or may be. `is_open`: the session is not closing.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_open: bool,
        facts: &Facts,
        controls: &mut Controls,
        timer_wheel: &TimerWheel,
    ) -> Poll<()> {
        let rests = is_open && !facts.hears;
        if is_open {
            self.life.set_rests(rests, Moment::now);
        }
        self.note_deadline_due(controls);
        self.is_due |= controls.poll_timers(cx).is_ready();
        if self.is_due {
            return Poll::Ready(());
        }
        let timeouts = timeouts(controls);
        if let Some((next, may_be_late)) = self.life.next(is_open, facts, &timeouts) {
            let mut tick = timer_wheel.tick_of(next);
            if may_be_late {
                // Those of one second are woken together, which costs each of them less.
                tick = tick.next_multiple_of(TICKS_A_SECOND);
            }
            self.arm(tick.max(1), controls, timer_wheel);
        }
        self.has_moved = rests;
        Poll::Pending
    }

    /// Has the session woken at `tick`, if it is not woken before: that does no harm, and moving it
    /// with every message would cost.
    fn arm(&mut self, tick: u32, controls: &Controls, timer_wheel: &TimerWheel) {
        if self.armed_for == 0 || tick < self.armed_for {
            self.armed_for = tick;
            controls.mailbox.set_due(tick);
            timer_wheel.wake_at(controls.mailbox.id, tick);
        } else if self.has_moved {
            // The timer wheel finds this when it has come to the earlier tick, and wakes nothing then.
            self.armed_for = tick;
            controls.mailbox.set_due(tick);
        }
    }

    /// Whether the session was woken for its deadlines: then something may be due.
    pub(super) fn note_deadline_due(&mut self, controls: &Controls) {
        if controls.mailbox.take_deadline_due() {
            self.armed_for = 0;
            self.is_due = true;
        }
    }

    /// Has the session woken in a second. What is due until then stays so.
    pub(super) fn look_in_a_second(&mut self, controls: &Controls, timer_wheel: &TimerWheel) {
        self.note_deadline_due(controls);
        let tick = timer_wheel.tick_of(Moment::now().after(HELD_LOOK_MS));
        self.arm(tick.max(1), controls, timer_wheel);
    }

    /// Whether nothing has come up that wakes the task too late, without asking what is: a message
    /// only moves deadlines away.
    #[inline]
    pub(super) fn is_armed_before(&self, controls: &Controls) -> bool {
        self.armed_for != 0
            && !self.has_moved
            && !controls.mailbox.is_deadline_due()
            && !controls.has_timers()
            && !self.life.is_closing()
            && controls.wire.stalled_since().is_none()
    }

    /// Whether something may be due that was not looked at yet.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether something may have been due since the last time.
    pub(super) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }
}

pub(super) fn timeouts(controls: &Controls) -> Timeouts {
    let limits = &controls.limits;
    Timeouts {
        ping_interval: ping_interval_ms(limits, controls.mailbox.id),
        pong: limits.pong_timeout_ms,
        outbound: limits.outbound_timeout_ms,
        message: limits.message_timeout_ms,
        close: limits.close_timeout_ms,
    }
}

/// 90 to 110 % of the limit, by the id: spread evenly and without a source of randomness, so that ten
/// thousand sessions of one moment do not ping in one moment.
fn ping_interval_ms(limits: &SessionLimits, id: u64) -> u64 {
    let percent = 90 + id.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 21;
    limits.ping_interval_ms.saturating_mul(percent) / 100
}

impl Session {
    /// Pending until something is due, or may be.
    #[inline(never)]
    pub(super) fn poll_deadlines(&mut self, cx: &mut Context<'_>, is_open: bool) -> Poll<()> {
        let (facts, controls) = (self.facts(), &mut self.conn.controls);
        let timer_wheel = &self.conn.context.shared.timer_wheel;
        self.deadlines
            .poll(cx, is_open, &facts, controls, timer_wheel)
    }

    /// Does what is due.
    #[cold]
    pub(super) fn meet_deadlines(&mut self) {
        let now = Instant::now();
        while self.state().may_send() {
            let Some(token) = self.controls().take_expired(now) else {
                break;
            };
            self.call(|instance, conn, _| instance.timer(conn, token));
        }
        let mut facts = self.facts();
        if self.deadlines.life.asks_unacked(&facts) {
            facts.unacked = self.conn.controls.wire.unacked();
        }
        let timeouts = timeouts(&self.conn.controls);
        match self.look_at_peer(Moment::now(), &facts, &timeouts) {
            Verdict::Ping if !facts.hears && self.peer_has_left() => {
                self.meet(ClosingEvent::ConnectionLost, Cause::ConnectionLost);
            }
            verdict => self.follow(verdict),
        }
    }

    /// What a look at the peer comes to; nothing once the connection is over.
    pub(super) fn look_at_peer(
        &mut self,
        now: Moment,
        facts: &Facts,
        timeouts: &Timeouts,
    ) -> Verdict {
        let (state, life) = (self.state(), &mut self.deadlines.life);
        if state.is_open() {
            life.look(now, facts, timeouts)
        } else if state.is_over() {
            Verdict::Wait
        } else {
            life.look_at_end(now, facts, timeouts)
        }
    }

    /// Does what follows from a look at the peer.
    pub(super) fn follow(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Wait => {}
            Verdict::Ping => drop(self.controls().ping(b"")),
            Verdict::Unfinished => self.meet(ClosingEvent::Close, Cause::MessageTimeout),
            Verdict::Silent => self.meet(ClosingEvent::ConnectionLost, Cause::NoPong),
            Verdict::Stalled => self.meet(ClosingEvent::ConnectionLost, Cause::NoProgress),
            Verdict::NotClosed => self.meet(ClosingEvent::Overdue, Cause::NoClose),
        }
    }

    /// Whether a peer that is not read is gone, or has left nothing to read. One that has sent something
    /// before it left is read by a handler that resumes, until the next Ping shows that it is gone.
    fn peer_has_left(&self) -> bool {
        let wire = &self.conn.controls.wire;
        match wire.peer_end() {
            PeerEnd::No => false,
            PeerEnd::Finished => wire.unread() == 0,
            PeerEnd::Lost => true,
        }
    }

    /// What is known of the peer without asking the kernel.
    pub(super) fn facts(&self) -> Facts {
        let wire = &self.conn.controls.wire;
        Facts {
            hears: self.reads(),
            queued_since: wire.stalled_since(),
            taken: wire.bytes_out,
            unacked: 0,
            message_bytes: self.decoder.message_bytes(),
        }
    }
}

/// Between two looks at a peer that is not read.
const HELD_LOOK_MS: u64 = 1_000;
/// Of the timer wheel.
const TICKS_A_SECOND: u32 = 10;
