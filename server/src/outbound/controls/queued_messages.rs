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
    /// The bytes of all runs.
    bytes: usize,
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
        self.forget_begun(wire);
        let front = self.front(wire);
        let Some(start) = (front + wire.buffered() as u64).checked_sub(bytes as u64) else {
            return;
        };
        // A message is shorter than 4 GiB.
        let length = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Some(run) = self.runs.back_mut()
            && run.start + u64::from(run.bytes) == start
            && run.bytes.saturating_add(length) <= RUN_BYTES_MAX
        {
            run.bytes += length;
            run.messages += 1;
            self.bytes += length as usize;
        } else if start >= front {
            self.runs.push_back(Run {
                start,
                bytes: length,
                messages: 1,
            });
            self.bytes += length as usize;
        }
    }

    /// Drops the oldest messages until a queue of so many bytes `fits`. Drops none where all of them would not be enough.
    /// Answers how many.
    pub(super) fn drop_oldest(&mut self, wire: &mut Wire, fits: impl Fn(usize) -> bool) -> u64 {
        self.forget_begun(wire);
        if !fits(wire.buffered().saturating_sub(self.bytes)) {
            return 0;
        }
        let mut dropped = 0;
        while !fits(wire.buffered())
            && let Some(run) = self.runs.pop_front()
        {
            self.bytes -= run.bytes as usize;
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

    /// Forgets the messages of which a byte has left, or is about to.
    fn forget_begun(&mut self, wire: &Wire) {
        let begun = self.front(wire) + wire.committed() as u64;
        while let Some(run) = self.runs.front()
            && run.start < begun
        {
            self.bytes -= run.bytes as usize;
            self.runs.pop_front();
        }
    }

    /// The position of the first byte in the queue.
    fn front(&self, wire: &Wire) -> u64 {
        wire.bytes_out + self.dropped_bytes
    }
}

/// Short messages share a run up to so many bytes.
const RUN_BYTES_MAX: u32 = 256;
