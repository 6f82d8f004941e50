//! What the thread of a function has a callback do.

use crate::message::payload::OwnedPayload;

/// What a thread wants done that only a callback can do.
#[derive(Debug)]
pub(crate) enum Command {
    Send {
        kind: u32,
        bytes: OwnedPayload,
        is_part: bool,
    },
    /// Bytes past the framing.
    Raw(Vec<u8>),
    Ping(Vec<u8>),
    Subscribe {
        topic: String,
        on: bool,
    },
    Close {
        code: u32,
        reason: String,
    },
    /// Everything before it was sent.
    Flush,
    Abort,
    Reads(bool),
    /// How much is on its way to the peer.
    Buffered,
}

/// When an errand is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CommandOrder {
    /// Before the messages that were sent before it.
    Before,
    /// After as many of them as fit.
    Beside,
    /// After all of them.
    After,
}

impl Command {
    pub(super) fn turn(&self) -> CommandOrder {
        match self {
            Command::Abort | Command::Reads(_) => CommandOrder::Before,
            Command::Buffered => CommandOrder::Beside,
            Command::Send { .. }
            | Command::Raw(_)
            | Command::Ping(_)
            | Command::Subscribe { .. }
            | Command::Close { .. }
            | Command::Flush => CommandOrder::After,
        }
    }
}

/// What a thread wants done that it waits for the answer to. There is one at a time.
#[derive(Debug, Default)]
pub(super) enum CommandState {
    #[default]
    Free,
    Asked(Command),
    Answered(i64),
}
