//! What a session holds of messages that are incomplete or not sent, counted against `buffered_bytes_max`.

use super::Session;
use crate::sessions::cause::Cause;
use crate::sessions::held_memory::steps_of;
use crate::ws::closing::ClosingEvent;

impl Session {
    /// Counts what the session holds now. If it may not hold so much, its connection ends, and with it what it holds; false
    /// then.
    // The peer gets no Close frame where much waits for it: that would wait behind.
    #[cold]
    pub(super) fn count_held(&mut self) -> bool {
        let wire = &self.conn.controls.wire;
        let unsent = wire.buffered();
        let held = unsent + self.decoder.assembly_bytes() + self.unparsed.len();
        let steps = steps_of(held);
        // What has come in part is held until the rest comes, and nothing else tells of that.
        self.may_hold = held > 0;
        if steps == self.held_steps {
            return true;
        }
        let before = std::mem::replace(&mut self.held_steps, steps);
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
        let before = std::mem::take(&mut self.held_steps);
        self.may_hold = false;
        if before > 0 {
            self.conn.context.shared.held_memory.change(before, 0);
        }
    }
}
