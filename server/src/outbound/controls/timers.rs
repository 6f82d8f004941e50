//! A handler's timers, all of them kept by one timer of the runtime's.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use wsh::abi;

use super::Controls;

/// The timers of one session.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: Vec<Timer>,
    /// Wakes the session for the timer that runs out first; after the end, when the handler's time is over.
    sleep: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
struct Timer {
    token: u64,
    at: Instant,
}

impl Controls {
    /// Sets or replaces the timer `token`; `u64::MAX` cancels it.
    pub(crate) fn timer(&mut self, token: u64, after_ms: u64) -> Result<(), abi::Status> {
        if !self.may_send() {
            return Err(abi::GONE);
        }
        let timers = &mut self.extras.get_or_insert_default().timers.set;
        timers.retain(|timer| timer.token != token);
        if after_ms == u64::MAX {
            return Ok(());
        }
        if timers.len() == self.limits.timers_max {
            return Err(abi::TOO_BIG);
        }
        let at = Instant::now() + Duration::from_millis(after_ms.min(FOR_EVER_MS));
        timers.push(Timer { token, at });
        Ok(())
    }

    /// Whether there is a timer, or there was one when the session was last polled.
    #[inline]
    pub(crate) fn has_timers(&self) -> bool {
        let extras = self.extras.as_ref();
        extras.is_some_and(|extras| !extras.timers.set.is_empty() || extras.timers.sleep.is_some())
    }

    /// Ready when the first timer has run out.
    pub(crate) fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(extras) = &mut self.extras else {
            return Poll::Pending;
        };
        let timers = &mut extras.timers;
        let Some(first) = timers.set.iter().map(|timer| timer.at).min() else {
            timers.sleep = None;
            return Poll::Pending;
        };
        timers.poll_until(first, cx)
    }

    /// Takes the earliest timer that has run out.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<u64> {
        let timers = &mut self.extras.as_mut()?.timers.set;
        let expired = timers
            .iter()
            .enumerate()
            .filter(|(_, timer)| timer.at <= now);
        let (index, _) = expired.min_by_key(|(_, timer)| timer.at)?;
        Some(timers.swap_remove(index).token)
    }

    /// Drops all timers, and has [`poll_time_left`](Self::poll_time_left) ready after `time`.
    pub(crate) fn limit_time(&mut self, time: Duration) {
        self.extras.get_or_insert_default().timers = Timers {
            set: Vec::new(),
            sleep: Some(Box::pin(tokio::time::sleep(time))),
        };
    }

    /// Ready when the time that [`limit_time`](Self::limit_time) set is over.
    pub(crate) fn poll_time_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let extras = self.extras.as_mut();
        let sleep = extras.and_then(|extras| extras.timers.sleep.as_mut());
        sleep.map_or(Poll::Ready(()), |sleep| sleep.as_mut().poll(cx))
    }
}

impl Timers {
    /// Ready at `first`, when the first timer runs out.
    fn poll_until(&mut self, first: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let first = tokio::time::Instant::from_std(first);
        match &mut self.sleep {
            Some(sleep) => {
                if sleep.deadline() != first {
                    sleep.as_mut().reset(first);
                }
                sleep.as_mut().poll(cx)
            }
            sleep @ None => {
                let new = Box::pin(tokio::time::sleep_until(first));
                sleep.insert(new).as_mut().poll(cx)
            }
        }
    }
}

/// A century, which is the longest that a timer runs.
const FOR_EVER_MS: u64 = 100 * 365 * 24 * 3600 * 1000;
