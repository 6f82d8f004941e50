//! What a session holds of messages that are incomplete or not sent, counted against `buffered_bytes_max`.

use super::Session;
use crate::sessions::cause::Cause;
use crate::sessions::held_memory::steps_of;
use crate::ws::closing::ClosingEvent;

/// What a session is counted for in steps, and whether it may hold something beyond that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holding(u16);

impl Holding {
    /// Whether the session holds nothing, and is counted for nothing.
    #[inline]
    pub(super) fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// Notes that the session may hold something, so that it counts.
    #[inline]
    pub(super) fn note(&mut self) {
        self.0 |= MAY_HOLD;
    }

    fn new(steps: u16, may_hold: bool) -> Holding {
        Holding(steps.min(MAY_HOLD - 1) | if may_hold { MAY_HOLD } else { 0 })
    }

    fn steps(self) -> u16 {
        self.0 & !MAY_HOLD
    }
}

/// Above the steps, which go up to 2 GiB: more than the longest message and its answer take.
const MAY_HOLD: u16 = 1 << 15;

impl Session {
    /// Counts what the session holds now. If it may not hold so much, its connection ends, and with it what it holds; false
    /// then.
    // The peer gets no Close frame where much waits for it: that would wait behind.
    #[cold]
    pub(super) fn count_held(&mut self) -> bool {
        let wire = &self.conn.controls.wire;
        let unsent = wire.buffered();
        let held = unsent + self.decoder.assembly_bytes() + self.unparsed.len();
        // What has come in part is held until the rest comes, and nothing else tells of that.
        let holding = Holding::new(steps_of(held), held > 0);
        let before = std::mem::replace(&mut self.holding, holding).steps();
        let steps = holding.steps();
        if steps == before {
            return true;
        }
        self.conn.controls.mailbox.note_held(steps);
        let may = self.conn.context.shared.held_memory.change(before, steps);
        if may || !self.state().is_open() {
            return true;
        }
        let event = match steps_of(unsent) {
            0 => ClosingEvent::Close,
            _ => ClosingEvent::ConnectionLost,
        };
        self.meet(event, Cause::MemorySpent);
        self.decoder.skip_messages();
        false
    }

    /// Counts the session as one that holds nothing.
    pub(super) fn release_held(&mut self) {
        let before = std::mem::take(&mut self.holding).steps();
        if before > 0 {
            self.conn.context.shared.held_memory.change(before, 0);
        }
    }
}
