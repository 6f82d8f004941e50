//! Sessions in which no message has come or gone for too long (`idle_timeout_ms`).
//!
//! A message notes no time. A few times in the timeout the session looks whether its counts of messages have changed, so it
//! ends at most a quarter of the timeout late.

use super::Session;
use crate::process::clock::Moment;
use crate::sessions::cause::Cause;
use crate::ws::closing::ClosingEvent;

impl Session {
    /// When the session looks next whether it is idle, if its limits have a timeout.
    pub(super) fn idle_due(&mut self) -> Option<Moment> {
        let timeout = self.conn.controls.limits.idle_timeout_ms;
        let is_open = self.state().is_open();
        let watch = self.conn.controls.idle_watch().filter(|_| is_open)?;
        Some(watch.due(timeout))
    }

    /// Closes if no message has come or gone for too long. A message that is under way is no idleness: its own timeouts hold.
    pub(super) fn look_for_messages(&mut self) {
        let timeout = self.conn.controls.limits.idle_timeout_ms;
        if timeout == 0 {
            return;
        }
        let now = Moment::now();
        let controls = &self.conn.controls;
        let is_busy = self.decoder.is_in_message()
            || !self.unparsed.is_empty()
            || controls.is_in_message()
            || controls.wire.buffered() > 0;
        let counts = controls.mailbox.traffic.counts();
        let messages = counts.messages_in.wrapping_add(counts.messages_out);
        let is_open = self.state().is_open();
        let watch = self.conn.controls.idle_watch();
        if watch.is_some_and(|watch| watch.look(now, messages, is_busy, timeout)) && is_open {
            self.meet(ClosingEvent::Close, Cause::Idle);
        }
    }
}
