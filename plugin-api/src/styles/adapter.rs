//! What the shims of the border need of each style: a handler adapter and a session adapter.
//!
//! A style turns the callbacks of the ABI into what an author writes. The shims know these two traits only.

use std::sync::Arc;

use crate::{
    abi::Status,
    asks::{
        answer::Answer,
        callbacks::{PresenceChange, Publication},
    },
    border::{guard, host_session::HostSession},
    close::Close,
    config::Config,
    error::Error,
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
    message::{Message, MessageBuf},
};

/// A handler of one style, between `init` and `shutdown`.
pub(crate) trait HandlerAdapter: Send + Sync + Sized + 'static {
    /// What it makes for each client.
    type Session: SessionAdapter;
    /// The schema that `snapshot` writes, and the oldest that `restore` reads. 0 is none.
    const SCHEMA: (u32, u32);
    /// The flags of the descriptor that follow from the style and the handler.
    const FLAGS: u32;
    /// Whether messages come in parts.
    const PARTS: bool;
    /// Whether the handler is told that one whole message follows another.
    const BATCHES: bool = false;

    fn new(config: Config<'_>) -> crate::Result<Self>;
    fn handshake(
        &self,
        request: &Request<'_>,
        response: &mut Response<'_>,
    ) -> crate::Result<Handshake>;
    /// Makes the session. The status is what the callback `open` answers.
    fn open(
        &self,
        session: Arc<HostSession>,
        request: Request<'_>,
    ) -> crate::Result<(Self::Session, Status)>;
    fn restore(
        &self,
        session: Arc<HostSession>,
        schema: u32,
        state: &[u8],
    ) -> crate::Result<Self::Session>;
    /// Whether it makes its own form of publications, by [`envelope`](Self::envelope).
    const HAS_ENVELOPE: bool;
    /// Whether it hears how members change, by [`presence`](Self::presence).
    const HAS_PRESENCE: bool;
    /// Makes the form in which a publication goes to the peers; `None` sends it as it is.
    fn envelope(&self, publication: &Publication<'_>) -> crate::Result<Option<MessageBuf>>;
    /// Hears how the members of a topic change, and says what its subscribers are told.
    fn presence(&self, change: &PresenceChange<'_>) -> crate::Result<Option<MessageBuf>>;
    fn self_test(&self) -> crate::Result;
    fn serving(&self, on: bool) -> crate::Result;
}

/// A session of one style.
pub(crate) trait SessionAdapter: Send + 'static {
    /// The session itself, whatever the author's code does with its connection.
    fn session(&self) -> &Arc<HostSession>;
    /// Handles one event; the status is what the callback answers.
    fn on(&mut self, event: Event<'_>) -> Status;
    /// Handles a message that another one follows at once. Called only if [`HandlerAdapter::BATCHES`].
    fn on_followed(&mut self, message: Message<'_>) -> Status {
        self.on(Event::Message(message))
    }
    /// The session's state; `None` if it cannot be written now.
    fn snapshot(&mut self) -> crate::Result<Option<Vec<u8>>>;
}

/// Reports that a callback of a session has failed; answers the callback's status. An error that names a close code
/// closes the session with it.
#[cold]
#[inline(never)]
pub(crate) fn fail(session: &HostSession, error: &Error) -> Status {
    if let Some((code, reason)) = error.closes_with() {
        // If the code is refused, the log says so, and the session closes with 1011.
        let _: Status = session.close(code, reason);
    }
    guard::fail(&error.to_string())
}

/// What happens to a session.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Message(Message<'a>),
    /// A part of a message, and whether it is the last one. Comes only if [`HandlerAdapter::PARTS`].
    Part(Message<'a>, bool),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Drain,
    Timer(u64),
    Wake,
    Note(u64),
    /// The answer to the ask with this token.
    Answer(u64, Answer<'a>),
    Closing(Close),
    Closed(Close),
}

/// Why a function has failed that returns between two parts of a message. The peer would wait for the rest.
pub(crate) const MESSAGE_IS_OPEN: &str =
    "the function returned while a message that it sends in parts is open";
