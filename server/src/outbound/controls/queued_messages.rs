//! Which whole messages wait in a queue, so that the oldest of them can be dropped (`outbound_policy = "drop_oldest"`).
//!
//! What is not noted here is never dropped: control frames, parts of a message, and messages that later ones refer to.

use std::collections::VecDeque;

use crate::outbound::wire::Wire;

/// The whole messages of one queue that were noted and have not begun to leave.
#[derive(Debug, Default)]
pub(super) struct QueuedMessages {
    /// The oldest first.
    runs: VecDeque<Run>,
    /// The bytes that were dropped. Positions count them as if they had been sent.
    dropped_bytes: u64,
}

/// Messages that stand behind each other. Short ones share a run, so that a queue of them takes little more memory.
#[derive(Debug)]
struct Run {
    /// The position of the first byte among all that were ever queued.
    start: u64,
    bytes: u32,
    messages: u32,
}

impl QueuedMessages {
    /// Notes the message of so many bytes, its header included, that was queued last.
    pub(super) fn note(&mut self, wire: &Wire, bytes: usize) {
        let front = self.front(wire);
        while self.runs.front().is_some_and(|run| run.start < front) {
            self.runs.pop_front();
        }
        let Some(start) = (front + wire.buffered() as u64).checked_sub(bytes as u64) else {
            return;
        };
        // A message is shorter than 4 GiB.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Some(run) = self.runs.back_mut()
            && run.start + u64::from(run.bytes) == start
            && run.bytes.saturating_add(bytes) <= RUN_BYTES_MAX
        {
            run.bytes += bytes;
            run.messages += 1;
        } else if start >= front {
            self.runs.push_back(Run {
                start,
                bytes,
                messages: 1,
            });
        }
    }

    /// Drops the oldest messages until the queue `fits`, or none is left that may be dropped. Answers how many.
    pub(super) fn drop_oldest(&mut self, wire: &mut Wire, fits: impl Fn(&Wire) -> bool) -> u64 {
        let mut dropped = 0;
        while !fits(wire)
            && let Some(run) = self.runs.pop_front()
        {
            let at = run.start.checked_sub(self.front(wire));
            // A run that has begun to leave stays.
            if let Some(at) = at
                && wire.take_out(at as usize, run.bytes as usize)
            {
                self.dropped_bytes += u64::from(run.bytes);
                dropped += u64::from(run.messages);
            }
        }
        dropped
    }

    /// The position of the first byte in the queue.
    fn front(&self, wire: &Wire) -> u64 {
        wire.bytes_out + self.dropped_bytes
    }
}

/// Short messages share a run up to so many bytes.
const RUN_BYTES_MAX: u32 = 256;
