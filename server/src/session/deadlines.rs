//! Everything a session waits for: its handler's timers, the peer's signs of life, the end.
//!
//! A handler's timers are the runtime's, to the millisecond. Everything else is in seconds and is
//! the [pulse](crate::pulse)'s.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use tracing::debug;

use super::{Phase, Session};
use crate::clock::Moment;
use crate::config::SessionLimits;
use crate::controls::Controls;
use crate::pulse::Pulse;

/// The deadlines of one session.
pub(super) struct Deadlines {
    /// Jittered, so that ten thousand sessions of one moment do not ping in one moment; 0 is never.
    ping_interval_ms: u32,
    last_heard: Moment,
    wait: Wait,
    /// For the handler's timers, while it has any.
    timer: Option<Pin<Box<Sleep>>>,
    /// The tick for which the pulse was asked; 0 is none.
    armed_for: u32,
    is_due: bool,
    /// Whether the handler knows that the session is over, and with which code.
    pub(super) is_told: bool,
    pub(super) code: u16,
}

/// What the peer owes us, and since when.
#[derive(Clone, Copy, Debug)]
enum Wait {
    Nothing,
    /// A sign of life: we sent a Ping.
    Pong(Instant),
    /// The end: the closing handshake, or the wait for the end of the connection, has begun.
    Close(Instant),
}

impl Deadlines {
    pub(super) fn new(limits: &SessionLimits, id: u64) -> Deadlines {
        Deadlines {
            ping_interval_ms: ping_interval_ms(limits, id),
            last_heard: Moment::recent(),
            wait: Wait::Nothing,
            timer: None,
            armed_for: 0,
            is_due: false,
            is_told: false,
            code: crate::ws::close::ABNORMAL,
        }
    }

    /// Other limits hold from now on.
    pub(super) fn set_limits(&mut self, limits: &SessionLimits, id: u64) {
        self.ping_interval_ms = ping_interval_ms(limits, id);
    }

    /// The peer sent something.
    #[inline]
    pub(super) fn heard(&mut self) {
        self.last_heard = Moment::recent();
        if let Wait::Pong(_) = self.wait {
            self.wait = Wait::Nothing;
        }
    }

    /// The closing handshake, or the wait for the end of the connection, begins.
    pub(super) fn start_closing(&mut self, now: Instant) {
        self.wait = Wait::Close(now);
    }

    /// Whether the peer has had its time to close.
    pub(super) fn is_close_over(&self, now: Instant, controls: &Controls) -> bool {
        self.close_deadline(controls).is_some_and(|at| now >= at)
    }

    /// Whether a Ping is due; it is then taken as sent. While the peer is not read, none is.
    pub(super) fn ping_due(&mut self, now: Instant, rests: bool) -> bool {
        let (false, Wait::Nothing, Some(at)) = (rests, self.wait, self.ping_at()) else {
            return false;
        };
        let due = now >= at;
        if due {
            self.wait = Wait::Pong(now);
        }
        due
    }

    /// Whether the peer left a Ping unanswered, or has taken nothing for too long.
    pub(super) fn is_dead(&self, now: Instant, controls: &Controls) -> bool {
        let pong = self.pong_deadline(controls).is_some_and(|at| now >= at);
        let stalled = self.stall_deadline(controls).is_some_and(|at| now >= at);
        // A peer that is not read cannot be heard.
        pong && controls.reads && !controls.is_congested() || stalled
    }

    /// Pending until something is due, or may be.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_open: bool,
        rests: bool,
        controls: &Controls,
        pulse: &Pulse,
    ) -> Poll<()> {
        if is_open && !rests && self.is_armed_before(controls) {
            return Poll::Pending;
        }
        if rests {
            // Nothing can be heard of a peer that is not read.
            self.heard();
        }
        if controls.mailbox.take_roused() {
            self.armed_for = 0;
            self.is_due = true;
        }
        self.is_due |= self.poll_timer(cx, controls.next_timer()).is_ready();
        if self.is_due {
            return Poll::Ready(());
        }
        // Who is woken early does no harm, and moving it with every message would cost.
        if let Some(next) = self.next(is_open, rests, controls) {
            let tick = pulse.tick_of(next);
            if self.armed_for == 0 || tick < self.armed_for {
                self.armed_for = tick.max(1);
                pulse.wake_at(controls.mailbox.id, tick);
            }
        }
        Poll::Pending
    }

    /// Ready when the handler's first timer, which is due at `first`, has run out.
    fn poll_timer(&mut self, cx: &mut Context<'_>, first: Option<Instant>) -> Poll<()> {
        let Some(first) = first.map(tokio::time::Instant::from_std) else {
            self.timer = None;
            return Poll::Pending;
        };
        match &mut self.timer {
            Some(timer) => {
                if timer.deadline() != first {
                    timer.as_mut().reset(first);
                }
                timer.as_mut().poll(cx)
            }
            timer @ None => {
                let sleep = Box::pin(tokio::time::sleep_until(first));
                timer.insert(sleep).as_mut().poll(cx)
            }
        }
    }

    /// Whether nothing has come up that wakes the task too late, without asking what is: a message
    /// only moves deadlines away.
    fn is_armed_before(&self, controls: &Controls) -> bool {
        self.armed_for != 0
            && !controls.mailbox.is_roused()
            && self.timer.is_none()
            && controls.next_timer().is_none()
            && !matches!(self.wait, Wait::Close(_))
            && controls.wire.stalled_since().is_none()
    }

    /// Whether something may be due and nobody has looked.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether something may have been due since the last time.
    pub(super) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }

    /// What is due first, but for the handler's timers.
    fn next(&self, is_open: bool, rests: bool, controls: &Controls) -> Option<Instant> {
        let close = self.close_deadline(controls);
        let ping = match (is_open && !rests, self.pong_deadline(controls)) {
            (false, _) => None,
            (true, Some(pong)) => Some(pong),
            (true, None) => self.ping_at(),
        };
        let stall = if is_open {
            self.stall_deadline(controls)
        } else {
            None
        };
        [close, ping, stall].into_iter().flatten().min()
    }

    /// When a Ping is due, if nothing is heard until then.
    fn ping_at(&self) -> Option<Instant> {
        let interval = Duration::from_millis(self.ping_interval_ms.into());
        (!interval.is_zero()).then(|| self.last_heard.instant() + interval)
    }

    fn pong_deadline(&self, controls: &Controls) -> Option<Instant> {
        let timeout = Duration::from_millis(controls.limits.pong_timeout_ms);
        match self.wait {
            Wait::Pong(since) => Some(since + timeout),
            Wait::Nothing | Wait::Close(_) => None,
        }
    }

    fn close_deadline(&self, controls: &Controls) -> Option<Instant> {
        let timeout = Duration::from_millis(controls.limits.close_timeout_ms);
        match self.wait {
            Wait::Close(since) => Some(since + timeout),
            Wait::Nothing | Wait::Pong(_) => None,
        }
    }

    fn stall_deadline(&self, controls: &Controls) -> Option<Instant> {
        let timeout = Duration::from_millis(controls.limits.outbound_timeout_ms);
        controls.wire.stalled_since().map(|since| since + timeout)
    }
}

/// 90 to 110 % of the limit, by the id: spread evenly and without a source of randomness. More than
/// seven weeks are seven weeks.
fn ping_interval_ms(limits: &SessionLimits, id: u64) -> u32 {
    let percent = 90 + id.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 21;
    let interval_ms = limits.ping_interval_ms.saturating_mul(percent) / 100;
    interval_ms.try_into().unwrap_or(u32::MAX)
}

impl Session {
    /// Does what is due.
    pub(super) fn meet_deadlines(&mut self) {
        let now = Instant::now();
        while self.is_talking() {
            let Some(token) = self.controls().take_expired(now) else {
                break;
            };
            self.call(|instance, conn| instance.timer(conn, token));
        }
        self.follow_ending();
        match self.phase {
            Phase::Open if self.deadlines.is_dead(now, &self.conn.controls) => {
                debug!(
                    session = self.conn.id(),
                    "peer does not answer or does not read"
                );
                self.lose();
            }
            Phase::Open => {
                let rests = !self.reads();
                if self.deadlines.ping_due(now, rests) {
                    let _ = self.controls().ping(b"");
                }
            }
            Phase::PeerCloses if self.deadlines.is_close_over(now, &self.conn.controls) => {
                self.answer_close()
            }
            Phase::Closing | Phase::Lingering | Phase::Finished
                if self.deadlines.is_close_over(now, &self.conn.controls) =>
            {
                self.lose();
            }
            _ => {}
        }
    }
}
