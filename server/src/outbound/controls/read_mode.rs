//! Whether the peer's messages are let in, and whether they go the short way.
//!
//! One byte for all reasons not to, so that the loop over whole messages asks once.

use crate::config::SessionLimits;

/// What keeps the peer's messages back or on the long way. 0 is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadMode(u8);

impl ReadMode {
    /// The mode of a session that begins with these limits.
    pub(super) fn of(limits: &SessionLimits) -> ReadMode {
        let mut mode = ReadMode(0);
        mode.set_limits(limits);
        mode
    }

    /// Sets whether each message is counted from now on. A pause ends, because the counts begin anew.
    pub(super) fn set_limits(&mut self, limits: &SessionLimits) {
        self.set(PAUSED, false);
        self.set(COUNTED, limits.has_rate());
    }

    /// Whether messages are let in, and none is counted.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.0 == 0
    }

    /// Whether the peer's messages are let in.
    #[inline]
    pub(crate) fn reads(self) -> bool {
        self.0 & (HELD_BACK | PAUSED | ENDING) == 0
    }

    /// Whether each message counts against a rate.
    pub(crate) fn is_counted(self) -> bool {
        self.0 & COUNTED != 0
    }

    /// Whether the peer has sent more than its rate.
    pub(crate) fn is_paused(self) -> bool {
        self.0 & PAUSED != 0
    }

    /// Lets no message in any more, because the end of the session has begun.
    pub(super) fn end(&mut self) {
        self.set(ENDING, true);
    }

    /// Holds the peer's messages back for the handler, or lets them in.
    pub(crate) fn hold_back(&mut self, holds: bool) {
        self.set(HELD_BACK, holds);
    }

    /// Holds the peer's messages back because of its rate, or lets them in.
    pub(crate) fn pause(&mut self, pauses: bool) {
        self.set(PAUSED, pauses);
    }

    fn set(&mut self, bit: u8, is_set: bool) {
        self.0 = if is_set { self.0 | bit } else { self.0 & !bit };
    }
}

/// The handler lets nothing in.
const HELD_BACK: u8 = 1;
/// The peer is over its rate.
const PAUSED: u8 = 2;
/// Each message counts against a rate.
const COUNTED: u8 = 4;
/// The session is not open any more.
const ENDING: u8 = 8;
