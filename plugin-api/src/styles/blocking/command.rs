//! A command: what the function's thread has a callback do, and waits for the answer to.

use crate::{asks::position::Start, message::payload::OwnedPayload};

/// What only a callback can do, because it needs the Conn.
#[derive(Debug)]
pub(crate) enum Command {
    Send {
        kind: u32,
        bytes: OwnedPayload,
        is_part: bool,
    },
    /// Write bytes past the framing.
    Raw(Vec<u8>),
    Ping(Vec<u8>),
    Subscribe {
        topic: String,
        on: bool,
    },
    /// Join a topic with what was missed.
    SubscribeFrom(Box<SubscribeFrom>),
    /// Become a member of a topic.
    Enter(Box<Enter>),
    /// Be a member no more.
    Leave(String),
    Close {
        code: u32,
        reason: String,
    },
    /// Answer when every message before it was sent.
    Flush,
    Abort,
    Reads(bool),
    /// Answer how many bytes wait for the peer.
    Buffered,
}

/// The arguments of [`Command::SubscribeFrom`]. They lie apart, so that a session which asks nothing is no larger.
#[derive(Debug)]
pub(crate) struct SubscribeFrom {
    pub(crate) token: u64,
    pub(crate) topic: String,
    pub(crate) start: Start,
}

/// The arguments of [`Command::Enter`].
#[derive(Debug)]
pub(crate) struct Enter {
    pub(crate) token: u64,
    pub(crate) topic: String,
    pub(crate) value: Vec<u8>,
}

/// When a command runs, relative to the messages that were sent before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CommandOrder {
    /// Before them.
    First,
    /// After as many of them as fit.
    AfterThoseThatFit,
    /// After all of them.
    Last,
}

/// The one command of a channel, if there is one.
#[derive(Debug, Default)]
pub(super) enum CommandState {
    #[default]
    None,
    /// The thread has asked for it.
    Requested(Command),
    /// A callback has done it; the thread has still to take the answer.
    Answered(i64),
}

impl Command {
    pub(super) fn order(&self) -> CommandOrder {
        match self {
            Command::Abort | Command::Reads(_) => CommandOrder::First,
            Command::Buffered => CommandOrder::AfterThoseThatFit,
            Command::Send { .. }
            | Command::Raw(_)
            | Command::Ping(_)
            | Command::Subscribe { .. }
            | Command::SubscribeFrom(_)
            | Command::Enter(_)
            | Command::Leave(_)
            | Command::Close { .. }
            | Command::Flush => CommandOrder::Last,
        }
    }
}
