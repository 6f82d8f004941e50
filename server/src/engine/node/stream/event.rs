//! What happens to a topic's stream, and what it has the node do.

use crate::engine::{Failure, Start, StreamPosition};

/// What has happened.
#[derive(Debug)]
pub(in crate::engine::node) enum Event<P> {
    /// A session wants to join.
    Wanted,
    /// The answer to [`Action::Ask`].
    Started(Result<Start, Failure>),
    /// A publication has come, of so many bytes.
    Published {
        publication: P,
        at: Option<StreamPosition>,
        bytes: usize,
    },
    /// The answer to [`Action::Read`].
    Read(Result<Missing<P>, Failure>),
    /// The last publication of the topic by now.
    Head(StreamPosition),
    /// The engine has lost publications.
    Lost,
    /// What comes from now on stands on another stream, which ends here now, or on none.
    StreamChanged(Option<StreamPosition>),
    /// The engine can be reached no more.
    Cut,
    /// The engine can be reached again.
    Back,
    /// Time has passed. Whether any session wants the topic.
    Tick { is_wanted: bool },
}

/// A part of the history behind a position.
#[derive(Debug)]
pub(in crate::engine::node) struct Missing<P> {
    pub(in crate::engine::node) publications: Vec<(P, StreamPosition)>,
    pub(in crate::engine::node) is_complete: bool,
    pub(in crate::engine::node) has_more: bool,
    pub(in crate::engine::node) head: Option<StreamPosition>,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::node) enum Action<P> {
    /// Subscribe at the engine.
    Ask,
    /// Unsubscribe at the engine.
    Release,
    /// Read the history behind this position.
    Read(StreamPosition),
    /// Give the publication to the subscribers.
    Deliver(P, Option<StreamPosition>),
    /// Publications are lost for the subscribers.
    TellGap,
    /// Answer the sessions that wait to join: the engine cannot be reached.
    FailJoins,
    /// Forget the topic, unless a session wants it by now.
    Forget,
}
