//! What all sessions hold together of messages that are incomplete or not sent, and how much one may hold.
//!
//! A session counts what it holds in steps of 64 KiB, and nothing up to 16 KiB, so that short messages never come here. From
//! half of the limit on, a session that wants more may hold no more than its share of that half; at the limit none gets more.

use std::sync::atomic::{AtomicU64, Ordering};

/// The budget of a server.
#[derive(Debug)]
pub(crate) struct HeldMemory {
    steps_max: AtomicU64,
    steps: AtomicU64,
    /// Sessions that hold a step at least.
    holders: AtomicU64,
}

impl HeldMemory {
    pub(crate) fn new(bytes_max: u64) -> HeldMemory {
        HeldMemory {
            steps_max: AtomicU64::new(bytes_max / STEP_BYTES),
            steps: AtomicU64::new(0),
            holders: AtomicU64::new(0),
        }
    }

    /// Sets how many bytes may be held from now on.
    pub(crate) fn set_max(&self, bytes_max: u64) {
        self.steps_max
            .store(bytes_max / STEP_BYTES, Ordering::Relaxed);
    }

    /// The bytes that are held, in whole steps.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.steps.load(Ordering::Relaxed) * STEP_BYTES
    }

    /// Counts that a session which held `before` steps holds `after`. False if it may not: it is to give all of it back.
    pub(crate) fn change(&self, before: u16, after: u16) -> bool {
        let (before, after) = (u64::from(before), u64::from(after));
        let holders = match (before, after) {
            (0, 1..) => self.holders.fetch_add(1, Ordering::Relaxed) + 1,
            (1.., 0) => self.holders.fetch_sub(1, Ordering::Relaxed) - 1,
            _ => self.holders.load(Ordering::Relaxed),
        };
        let steps = if after >= before {
            let more = after - before;
            self.steps.fetch_add(more, Ordering::Relaxed) + more
        } else {
            let less = before - after;
            self.steps.fetch_sub(less, Ordering::Relaxed) - less
        };
        let max = self.steps_max.load(Ordering::Relaxed);
        after <= before || may_hold(after, steps, holders, max)
    }
}

/// Whether a session may hold `own` steps, where all hold `steps` of at most `max`.
fn may_hold(own: u64, steps: u64, holders: u64, max: u64) -> bool {
    steps <= max / 2 || steps <= max && own <= max / 2 / holders.max(1)
}

/// The steps that so many bytes are counted for.
#[inline]
pub(crate) fn steps_of(bytes: usize) -> u16 {
    match bytes {
        0..=FREE_BYTES => 0,
        _ => u16::try_from(bytes.div_ceil(STEP_BYTES as usize)).unwrap_or(u16::MAX),
    }
}

/// The most bytes that are counted as so many steps.
pub(crate) fn bytes_of(steps: u16) -> u64 {
    u64::from(steps) * STEP_BYTES
}

const STEP_BYTES: u64 = 64 * 1024;
/// So many bytes of each session are not counted.
const FREE_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_half_of_the_limit_on_a_session_has_its_share_and_at_the_limit_none_more() {
        // What it wants to hold, what all hold then, how many hold something; the limit is 100.
        for (own, steps, holders, may) in [
            (50, 50, 1, true),
            (51, 51, 1, false),
            (10, 60, 5, true),
            (11, 60, 5, false),
            (1, 100, 50, true),
            (1, 101, 50, false),
        ] {
            assert_eq!(
                may_hold(own, steps, holders, 100),
                may,
                "{own} {steps} {holders}"
            );
        }
        assert_eq!(
            [0, 16_384, 16_385, 65_536, 65_537].map(steps_of),
            [0, 0, 1, 1, 2]
        );
    }

    #[test]
    fn sessions_that_take_what_they_can_never_hold_more_than_the_limit() {
        let held = HeldMemory::new(1_000 * STEP_BYTES);
        let mut sessions = [0_u16; 300];
        for round in 0..20 {
            for session in &mut sessions {
                let more = *session + 1 + round % 3;
                let may = held.change(*session, more);
                *session = if may { more } else { 0 };
                if !may {
                    assert!(held.change(more, 0));
                }
                assert!(held.bytes() <= 1_000 * STEP_BYTES);
            }
        }
        for session in sessions {
            held.change(session, 0);
        }
        assert_eq!((held.bytes(), held.holders.into_inner()), (0, 0));
    }
}
