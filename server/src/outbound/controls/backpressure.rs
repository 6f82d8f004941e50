//! Keeps the queue of a session short: when a peer is not read, and when a handler is told that it may
//! send again.

use wsh::abi;

use super::Controls;
use crate::config::{OutboundPolicy, SessionLimits};
use crate::outbound::wire::Wire;
use crate::ws::frame;

/// The marks between which a handler wants to be told that there is room to send again.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    low: u64,
    high: u64,
    is_set: bool,
    /// Whether `buffered` has been above `high` since `drain` last ran.
    is_armed: bool,
}

impl Watermark {
    fn note(&mut self, buffered: u64) {
        if self.is_set && buffered > self.high {
            self.is_armed = true;
        }
    }
}

impl Controls {
    /// Has `drain` run once `buffered` is at most `low`, having been above `high`.
    pub(crate) fn set_watermark(&mut self, low: u64, high: u64) -> Result<(), abi::Status> {
        if low > high {
            return Err(abi::INVALID);
        }
        let is_armed = self.wire.buffered() as u64 > high;
        self.extras.get_or_insert_default().watermark = Watermark {
            low,
            high,
            is_set: true,
            is_armed,
        };
        Ok(())
    }

    /// Whether `drain` is due.
    #[inline]
    pub(crate) fn is_drain_due(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| {
            let watermark = &extras.watermark;
            watermark.is_armed && self.wire.buffered() as u64 <= watermark.low
        })
    }

    /// Like `is_drain_due`. A drain that is due counts as run from then on.
    pub(crate) fn take_drain(&mut self) -> bool {
        let is_due = self.is_drain_due();
        if let Some(extras) = &mut self.extras {
            extras.watermark.is_armed &= !is_due;
        }
        is_due
    }

    /// Answers the bytes buffered now, and lets the mailbox know them, for what is sent by id, and those that have passed.
    pub(crate) fn note_buffered(&mut self) -> u64 {
        let buffered = self.arm_watermark();
        self.mailbox
            .set_buffered(buffered + u64::from(self.letter_bytes));
        self.note_bytes();
        buffered
    }

    /// Lets the mailbox know how many bytes have come and gone.
    #[inline]
    pub(crate) fn note_bytes(&self) {
        let Wire {
            bytes_in,
            bytes_out,
            ..
        } = self.wire;
        self.mailbox.traffic.set_bytes(bytes_in, bytes_out);
    }

    #[inline]
    pub(super) fn arm_watermark(&mut self) -> u64 {
        let buffered = self.wire.buffered() as u64;
        if let Some(extras) = &mut self.extras {
            extras.watermark.note(buffered);
            // What was sent took back what was reserved.
            extras.reserved_bytes = None;
        }
        buffered
    }

    /// Whether the queue is so long that the peer is not read: over half its limit. A shorter one takes one
    /// message of any length, and thus an echo never runs over the limit.
    #[inline]
    pub(crate) fn is_congested(&self) -> bool {
        self.wire.buffered() > self.congested_above as usize
    }

    /// How long the next message may be, so that an answer of its length leaves the queue below half its limit; `None`
    /// while nothing is let in, or each message is counted first.
    #[inline]
    pub(crate) fn answer_bytes_max(&self) -> Option<usize> {
        let half = self.congested_above as usize;
        let left = half.checked_sub(self.wire.buffered() + frame::HEADER_BYTES_MAX)?;
        self.read_mode.is_plain().then_some(left)
    }
}

/// The length of the queue above which a peer is not read.
pub(super) fn congested_above(limits: &SessionLimits) -> u32 {
    at_most_u32(limits.outbound_bytes_max / 2)
}

/// How long the queue may be for a message to go the short way, which notes nothing.
pub(super) fn short_way_bytes_max(limits: &SessionLimits) -> u32 {
    match limits.outbound_policy {
        OutboundPolicy::Close | OutboundPolicy::DropNew => at_most_u32(limits.outbound_bytes_max),
        OutboundPolicy::DropOldest => 0,
    }
}

/// As a `u32`, which holds more than the configuration allows: 1 GiB.
fn at_most_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
