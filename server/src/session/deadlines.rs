//! When a session wakes although nothing has happened: its handler's timers, and what its peer owes.
//!
//! The runtime keeps a handler's timers, to the millisecond. What the peer owes is a matter of seconds:
//! [`Liveness`] says what is owed and by when, and the [timer wheel](crate::sessions::timer_wheel) wakes the session.

use std::task::{Context, Poll};
use std::time::Instant;

use super::Session;
use super::liveness::{Due, Facts, Liveness, LivenessVerdict, Timeouts};
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
    /// The tick at which the timer wheel is to wake the session; 0 is none.
    armed_for: u32,
    /// Whether something may be due that was not looked at yet.
    is_due: bool,
    /// Whether the next deadline has changed by more than a message moves it away.
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

    /// Notes that other limits hold from now on.
    pub(super) fn note_limits(&mut self) {
        self.has_moved = true;
    }

    /// Notes that the peer sent something.
    #[inline]
    pub(super) fn heard(&mut self) {
        if self.life.heard(Moment::recent()) {
            self.has_moved = true;
        }
    }

    /// Notes whether what was received ends inside a message or a frame.
    #[inline]
    pub(super) fn note_message(&mut self, is_incomplete: bool) {
        self.has_moved |= self.life.note_message(is_incomplete, Moment::recent);
    }

    /// Notes that a message has ended, so that one that is incomplete now is another one.
    pub(super) fn note_message_end(&mut self) {
        self.life.note_message_end(Moment::recent);
    }

    /// Gives the closing handshake, or the wait for the end of the connection, its time from now on.
    pub(super) fn start_closing(&mut self, controls: &Controls) {
        self.life.start_closing(Moment::now(), &timeouts(controls));
    }

    /// Ready when something may be due, at `also` at the latest. `is_open` says that neither side closes.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_open: bool,
        facts: &Facts,
        also: Option<Moment>,
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
        let next = self.life.next(is_open, facts, &timeouts);
        if let Some((next, may_be_late)) = earlier(next, also) {
            let mut tick = timer_wheel.tick_of(next);
            if may_be_late {
                // Sessions of one second are woken together, which costs each of them less.
                tick = tick.next_multiple_of(TICKS_A_SECOND);
            }
            self.arm(tick.max(1), controls, timer_wheel);
        }
        self.has_moved = rests;
        Poll::Pending
    }

    /// Has the session woken at `tick` at the latest. It may be woken earlier, for a deadline that has
    /// moved away since: that costs less than to move the tick with every message.
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

    /// Notes that something may be due, if the session was woken for its deadlines.
    pub(super) fn note_deadline_due(&mut self, controls: &Controls) {
        if controls.mailbox.take_deadline_due() {
            self.armed_for = 0;
            self.is_due = true;
        }
    }

    /// Has the session woken in a second. What is due by then stays due.
    pub(super) fn look_in_a_second(&mut self, controls: &Controls, timer_wheel: &TimerWheel) {
        self.note_deadline_due(controls);
        let tick = timer_wheel.tick_of(Moment::now().after(THROTTLED_LOOK_MS));
        self.arm(tick.max(1), controls, timer_wheel);
    }

    /// Whether the session is woken early enough as it is. A message only moves deadlines away, so that
    /// after most turns nothing has to be asked.
    #[inline]
    pub(super) fn is_armed_before(&self, controls: &Controls) -> bool {
        self.armed_for != 0
            && !self.has_moved
            && !controls.mailbox.is_deadline_due()
            && !controls.has_timers()
            && !self.life.is_closing()
            && controls.wire.stalled_since().is_none()
    }

    /// Whether nothing is due, and the session is woken early enough. The part of [`is_armed_before`](Self::is_armed_before)
    /// that a plain session still has to ask.
    #[inline]
    pub(super) fn are_plainly_armed(&self) -> bool {
        self.armed_for != 0 && !self.has_moved && !self.is_due
    }

    /// Whether something may be due that was not looked at yet.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Like `is_due`. What is due counts as looked at from then on.
    pub(super) fn take_due(&mut self) -> bool {
        self.is_due && std::mem::take(&mut self.is_due)
    }
}

/// The limits that hold for a session's peer, in ms.
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

/// The earlier of the two. What is due by `also` is no more than a tick late.
fn earlier(due: Option<Due>, also: Option<Moment>) -> Option<Due> {
    match (due, also) {
        (due, None) => due,
        (Some((at, may_be_late)), Some(also)) if at <= also => {
            Some((at, may_be_late && at.after(1_000) <= also))
        }
        (_, Some(also)) => Some((also, false)),
    }
}

/// 90 to 110 % of the limit, by the session's id. The ids spread it evenly without a source of
/// randomness, so that ten thousand sessions that opened together do not ping together.
fn ping_interval_ms(limits: &SessionLimits, id: u64) -> u64 {
    let percent = 90 + id.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 21;
    limits.ping_interval_ms.saturating_mul(percent) / 100
}

impl Session {
    /// Ready when something may be due. `is_open` says that neither side closes.
    #[inline(never)]
    pub(super) fn poll_deadlines(&mut self, cx: &mut Context<'_>, is_open: bool) -> Poll<()> {
        if !is_open {
            self.wait_to_end(cx);
        }
        let (facts, also) = (
            self.facts(),
            self.rate_due().into_iter().chain(self.idle_due()).min(),
        );
        let controls = &mut self.conn.controls;
        let timer_wheel = &self.conn.context.shared.timer_wheel;
        self.deadlines
            .poll(cx, is_open, &facts, also, controls, timer_wheel)
    }

    /// Does what is due: runs the timers that have run out, and looks at the peer.
    #[cold]
    pub(super) fn meet_deadlines(&mut self) {
        self.end_pause();
        self.look_for_messages();
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
            LivenessVerdict::Ping if !facts.hears && self.peer_has_left() => {
                self.meet(ClosingEvent::ConnectionLost, Cause::ConnectionLost);
            }
            verdict => self.follow(verdict),
        }
    }

    /// Looks whether the peer keeps its deadlines. Nothing is due once the connection is over.
    pub(super) fn look_at_peer(
        &mut self,
        now: Moment,
        facts: &Facts,
        timeouts: &Timeouts,
    ) -> LivenessVerdict {
        let (state, life) = (self.state(), &mut self.deadlines.life);
        if state.is_open() {
            life.look(now, facts, timeouts)
        } else if state.is_over() {
            LivenessVerdict::Wait
        } else {
            life.look_at_end(now, facts, timeouts)
        }
    }

    /// Does what a look at the peer has come to.
    pub(super) fn follow(&mut self, verdict: LivenessVerdict) {
        match verdict {
            LivenessVerdict::Wait => {}
            LivenessVerdict::Ping => drop(self.controls().ping(b"")),
            LivenessVerdict::Unfinished => self.meet(ClosingEvent::Close, Cause::MessageTimeout),
            LivenessVerdict::Silent => self.meet(ClosingEvent::ConnectionLost, Cause::NoPong),
            LivenessVerdict::Stalled => self.meet(ClosingEvent::ConnectionLost, Cause::NoProgress),
            LivenessVerdict::NotClosed => self.meet(ClosingEvent::Overdue, Cause::NoClose),
        }
    }

    /// Whether a peer that is not read is gone and has left nothing to read. What it sent before it left
    /// stays for a handler that resumes, until the next Ping shows that the peer is gone.
    fn peer_has_left(&self) -> bool {
        let wire = &self.conn.controls.wire;
        match wire.peer_end() {
            PeerEnd::No => false,
            PeerEnd::Finished => wire.unread() == 0,
            PeerEnd::Lost => true,
        }
    }

    /// The facts about the peer that are known without a system call.
    pub(super) fn facts(&self) -> Facts {
        let wire = &self.conn.controls.wire;
        Facts {
            hears: self.reads(),
            queued_since: wire.stalled_since(),
            taken: wire.taken(),
            unacked: 0,
            message_bytes: self.decoder.message_bytes(),
        }
    }
}

/// The time between two looks at the peer of a session that is throttled.
const THROTTLED_LOOK_MS: u64 = 1_000;
/// Ticks of the timer wheel.
const TICKS_A_SECOND: u32 = 10;
