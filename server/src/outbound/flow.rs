//! How what is sent to a peer moves, by what its TCP has acknowledged: a slow link is not a dead one.

use crate::process::clock::Moment;

/// What is on its way to one peer.
#[derive(Debug)]
pub(crate) struct Flow {
    /// When it last moved.
    since: Moment,
    looked: Moment,
    /// The bytes that the peer's TCP had acknowledged then.
    acked: u64,
    /// Whether nothing moved between the last two looks.
    is_still: bool,
    /// How long a slow reader takes for the step that it last moved by, in ms.
    step_ms: u64,
}

impl Flow {
    /// One that is first looked at `now`, when `acked` bytes are acknowledged, and last moved `since`.
    pub(crate) fn new(since: Moment, now: Moment, acked: u64) -> Flow {
        Flow {
            since,
            looked: now,
            acked,
            is_still: false,
            step_ms: 0,
        }
    }

    /// Whether it has moved since the last look.
    ///
    /// A window opens in steps, of up to 128 KB on the loopback device. After one that took a while, the
    /// next one has the time in which the slowest reader reads as much.
    pub(crate) fn note(&mut self, now: Moment, acked: u64) -> bool {
        let moved = acked.saturating_sub(self.acked);
        self.looked = now;
        if moved == 0 {
            self.is_still = true;
            return false;
        }
        self.step_ms = if self.is_still {
            slow_reader_ms(moved)
        } else {
            0
        };
        self.is_still = false;
        self.since = now;
        self.acked = acked;
        true
    }

    /// Whether it has not moved for too long, where `timeout_ms` is long enough for any other step.
    pub(crate) fn has_stalled(&self, now: Moment, timeout_ms: u64) -> bool {
        now >= self.since.after(timeout_ms.max(self.step_ms))
    }

    /// Whether it has not moved for `timeout_ms` within the time that began at `start`.
    pub(crate) fn has_not_moved_since(&self, start: Moment, now: Moment, timeout_ms: u64) -> bool {
        now >= self.since.max(start).after(timeout_ms)
    }

    /// When it was last looked at.
    pub(crate) fn looked(&self) -> Moment {
        self.looked
    }

    /// How long a slow reader takes for the step that it last moved by, in ms.
    pub(crate) fn step_ms(&self) -> u64 {
        self.step_ms
    }
}

/// How long the slowest reader that is no dead one takes for so many bytes, of which no more than a
/// receive buffer of the usual size holds count.
pub(crate) fn slow_reader_ms(bytes: u64) -> u64 {
    bytes.min(BUFFER_BYTES) * 1_000 / SLOWEST_BYTES_A_SECOND
}

/// Until the next look at what is on its way, where it may make no progress for `timeout_ms`.
pub(crate) fn pause_ms(timeout_ms: u64) -> u64 {
    LOOK_AGAIN_MS.min(timeout_ms / 4)
}

/// While something is on its way it is looked at so often, or four times in its timeout.
const LOOK_AGAIN_MS: u64 = 1_000;
/// A peer that reads so much is alive.
const SLOWEST_BYTES_A_SECOND: u64 = 2 * 1024;
const BUFFER_BYTES: u64 = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_last_moved_before_a_stop_has_its_time_from_the_stop_on() {
        let began = Moment::now();
        let at = |ms| began.after(ms);
        let mut flow = Flow::new(began, began, 0);
        assert!(!flow.has_not_moved_since(at(9_000), at(9_999), 1_000));
        assert!(flow.has_not_moved_since(at(9_000), at(10_000), 1_000));

        flow.note(at(9_500), 10);
        assert!(!flow.has_not_moved_since(at(9_000), at(10_499), 1_000));
        assert!(flow.has_not_moved_since(at(9_000), at(10_500), 1_000));
    }
}
