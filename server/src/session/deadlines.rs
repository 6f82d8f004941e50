//! Everything a session waits for: its handler's timers, the peer's signs of life, the end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::clock::Moment;
use crate::config::SessionLimits;
use crate::controls::Controls;

/// The deadlines of one session over one timer.
pub(super) struct Deadlines {
    limits: Arc<SessionLimits>,
    /// Jittered, so that ten thousand sessions of one moment do not ping in one moment.
    ping_interval: Option<Duration>,
    last_heard: Moment,
    pinged: Option<Instant>,
    closing_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    armed_for: Option<Instant>,
    is_due: bool,
    /// Whether the handler knows that the session is over, and with which code.
    pub(super) is_told: bool,
    pub(super) code: u16,
}

impl Deadlines {
    pub(super) fn new(limits: Arc<SessionLimits>, id: u64) -> Deadlines {
        Deadlines {
            ping_interval: ping_interval(&limits, id),
            limits,
            last_heard: Moment::recent(),
            pinged: None,
            closing_since: None,
            timer: None,
            armed_for: None,
            is_due: false,
            is_told: false,
            code: crate::ws::close::ABNORMAL,
        }
    }

    /// Other limits hold from now on.
    pub(super) fn set_limits(&mut self, limits: Arc<SessionLimits>, id: u64) {
        self.ping_interval = ping_interval(&limits, id);
        self.limits = limits;
    }

    /// The peer sent something.
    #[inline]
    pub(super) fn heard(&mut self) {
        self.last_heard = Moment::recent();
        self.pinged = None;
    }

    /// The closing handshake, or the wait for the end of the connection, begins.
    pub(super) fn start_closing(&mut self, now: Instant) {
        self.closing_since = Some(now);
    }

    /// Whether the peer has had its time to close.
    pub(super) fn is_close_over(&self, now: Instant) -> bool {
        let timeout = Duration::from_millis(self.limits.close_timeout_ms);
        self.closing_since
            .is_some_and(|since| now >= since + timeout)
    }

    /// Whether a Ping is due; it is then taken as sent. While the peer is not read, none is.
    pub(super) fn ping_due(&mut self, now: Instant, rests: bool) -> bool {
        let (false, Some(interval)) = (rests, self.ping_interval) else {
            return false;
        };
        let due = self.pinged.is_none() && now >= self.last_heard.instant() + interval;
        if due {
            self.pinged = Some(now);
        }
        due
    }

    /// Whether the peer left a Ping unanswered, or has taken nothing for too long.
    pub(super) fn is_dead(&self, now: Instant, controls: &Controls) -> bool {
        let pong = self.pong_deadline().is_some_and(|at| now >= at);
        let stalled = self.stall_deadline(controls).is_some_and(|at| now >= at);
        // A peer that is not read cannot be heard.
        pong && controls.reads && !controls.is_congested() || stalled
    }

    /// Pending until something is due.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_open: bool,
        rests: bool,
        controls: &Controls,
    ) -> Poll<()> {
        if is_open && !rests && self.is_armed_before(controls) {
            return Poll::Pending;
        }
        if rests {
            // Nothing can be heard of a peer that is not read.
            self.heard();
        }
        let Some(next) = self.next(is_open, rests, controls) else {
            return Poll::Pending;
        };
        // A timer that fires early does no harm, and moving it with every message would cost.
        if let (Some(armed), Some(timer)) = (self.armed_for, &self.timer)
            && armed <= next
            && !timer.is_elapsed()
        {
            // It wakes this very task: it was polled with its waker when it was armed.
            return Poll::Pending;
        }
        if self.armed_for.is_none_or(|armed| next < armed) {
            self.armed_for = Some(next);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(next.into()),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(next.into()))),
            }
        }
        let Some(timer) = &mut self.timer else {
            return Poll::Pending;
        };
        let due = timer.as_mut().poll(cx);
        if due.is_ready() {
            self.armed_for = None;
            self.is_due = true;
        }
        due
    }

    /// Whether the timer runs and nothing has come up that is due before it, without asking what is:
    /// a message only moves deadlines away.
    fn is_armed_before(&self, controls: &Controls) -> bool {
        let (Some(armed), Some(timer)) = (self.armed_for, &self.timer) else {
            return false;
        };
        self.closing_since.is_none()
            && controls.wire.stalled_since().is_none()
            && controls.next_timer().is_none_or(|at| at >= armed)
            && !timer.is_elapsed()
    }

    /// Whether the timer fired and nobody has looked.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether the timer fired since the last time.
    pub(super) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }

    fn next(&self, is_open: bool, rests: bool, controls: &Controls) -> Option<Instant> {
        let close_timeout = Duration::from_millis(self.limits.close_timeout_ms);
        let close = self.closing_since.map(|since| since + close_timeout);
        let ping = match (is_open && !rests, self.pong_deadline(), self.ping_interval) {
            (false, ..) => None,
            (true, Some(pong), _) => Some(pong),
            (true, None, interval) => interval.map(|interval| self.last_heard.instant() + interval),
        };
        let stall = if is_open {
            self.stall_deadline(controls)
        } else {
            None
        };
        [controls.next_timer(), close, ping, stall]
            .into_iter()
            .flatten()
            .min()
    }

    fn pong_deadline(&self) -> Option<Instant> {
        let timeout = Duration::from_millis(self.limits.pong_timeout_ms);
        self.pinged.map(|pinged| pinged + timeout)
    }

    fn stall_deadline(&self, controls: &Controls) -> Option<Instant> {
        let timeout = Duration::from_millis(self.limits.outbound_timeout_ms);
        controls.wire.stalled_since().map(|since| since + timeout)
    }
}

/// 90 to 110 % of the limit, by the id: spread evenly and without a source of randomness.
fn ping_interval(limits: &SessionLimits, id: u64) -> Option<Duration> {
    let percent = 90 + id.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 21;
    let interval_ms = limits.ping_interval_ms.saturating_mul(percent) / 100;
    (interval_ms > 0).then(|| Duration::from_millis(interval_ms))
}
