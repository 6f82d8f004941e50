//! The server's own order to a session to close, and which sessions it concerns.

use std::num::NonZeroU32;

/// The server's own order to close, to sessions of a generation and of older ones. It overtakes letters that
/// wait, and the parts of a message.
///
/// The generations of a handler only rise, so the greater of two orders stands for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dismissal(NonZeroU32);

impl Dismissal {
    /// The order of a server that stops. It concerns every session.
    pub(crate) const STOPPING: Dismissal = Dismissal(NonZeroU32::MAX);

    /// The order of a server whose place another process takes. It concerns every session.
    // The order of a server that stops is greater, so that it stands for both.
    pub(crate) const RESTARTING: Dismissal = Dismissal(NonZeroU32::new(u32::MAX - 1).unwrap());

    /// The order of a server whose memory is nearly spent, to the sessions that it gives it to.
    pub(crate) const OVERLOADED: Dismissal =
        Dismissal(NonZeroU32::new(GENERATION_MAX + 1).unwrap());

    /// The order to sessions on this generation, which newer code has replaced.
    pub(crate) fn replaced(generation: u64) -> Dismissal {
        // The first generation of a handler is 1.
        Dismissal(NonZeroU32::new(number_kept(generation)).unwrap_or(NonZeroU32::MIN))
    }

    /// Whether the order concerns a session on this generation.
    pub(crate) fn concerns(self, generation: u64) -> bool {
        number_kept(generation) <= self.0.get()
    }
}

/// The number of a generation as mailboxes keep it, which takes half the memory. A handler that is loaded every second comes to
/// the last of them after a century.
pub(super) fn number_kept(generation: u64) -> u32 {
    u32::try_from(generation).map_or(GENERATION_MAX, |number| number.min(GENERATION_MAX))
}

/// The greatest number of a generation that is told from others. What is greater is a [`Dismissal`] of all sessions.
const GENERATION_MAX: u32 = u32::MAX - 3;
