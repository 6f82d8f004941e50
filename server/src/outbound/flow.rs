//! The progress of what is sent to a peer, by what its TCP has acknowledged: a slow link is not a dead one.

use crate::process::clock::Moment;

/// The progress of what is on its way to one peer.
#[derive(Debug)]
pub(crate) struct Flow {
    /// When the peer's TCP was last seen to have acknowledged more.
    since: Moment,
    /// When that was last looked at.
    looked: Moment,
    /// The bytes that the peer's TCP had acknowledged at `since`.
    acked: u64,
    /// Whether nothing moved between the last two looks.
    is_still: bool,
    /// The time in ms that a slow reader takes for the last step; 0 if that took no while.
    step_ms: u64,
}

impl Flow {
    /// Begins with a first look `now`, at which `acked` bytes are acknowledged. The last move was at `since`.
    pub(crate) fn new(since: Moment, now: Moment, acked: u64) -> Flow {
        Flow {
            since,
            looked: now,
            acked,
            is_still: false,
            step_ms: 0,
        }
    }

    /// Notes a look; answers whether more was acknowledged since the last one.
    ///
    /// A window opens in steps, of up to 128 KB on the loopback device. After a step that took a while,
    /// the next one has the time in which the slowest reader reads as much.
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

    /// Whether nothing has moved for too long: for `timeout_ms`, or longer after a step that took a while.
    pub(crate) fn has_stalled(&self, now: Moment, timeout_ms: u64) -> bool {
        now >= self.since.after(timeout_ms.max(self.step_ms))
    }

    /// Whether nothing has moved for `timeout_ms`, counted from `start` at the earliest.
    pub(crate) fn has_not_moved_since(&self, start: Moment, now: Moment, timeout_ms: u64) -> bool {
        now >= self.since.max(start).after(timeout_ms)
    }

    /// When the last look was.
    pub(crate) fn looked(&self) -> Moment {
        self.looked
    }

    /// The time in ms that a slow reader takes for the last step; 0 if that took no while.
    pub(crate) fn step_ms(&self) -> u64 {
        self.step_ms
    }
}

/// The time in ms that the slowest reader that is alive takes for so many bytes. A receive buffer of the
/// usual size holds no more than 128 KiB, so more bytes take no longer.
pub(crate) fn slow_reader_ms(bytes: u64) -> u64 {
    bytes.min(BUFFER_BYTES) * 1_000 / SLOWEST_BYTES_A_SECOND
}

/// The time in ms until the next look, where no progress is allowed for `timeout_ms`.
pub(crate) fn pause_ms(timeout_ms: u64) -> u64 {
    LOOK_AGAIN_MS.min(timeout_ms / 4)
}

/// The time between two looks at what is on its way, unless a quarter of its timeout is shorter.
const LOOK_AGAIN_MS: u64 = 1_000;
/// A peer that reads so many bytes in a second is alive.
const SLOWEST_BYTES_A_SECOND: u64 = 2 * 1024;
/// A receive buffer of the usual size.
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
