//! What the three ways to write a handler have in common, as the export shims see it.

use std::sync::Arc;

use crate::{
    abi::Status,
    border::{guard, host_session::HostSession},
    close::Close,
    config::Config,
    error::Error,
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
    message::Message,
};

/// One way to write a handler; `Self` is the handler itself.
pub(crate) trait HandlerAdapter: Send + Sync + Sized + 'static {
    /// A session.
    type Session: SessionAdapter;
    /// The schema that `snapshot` writes and the oldest that `restore` reads; 0 = none.
    const SCHEMA: (u32, u32);
    /// The flags of the descriptor.
    const FLAGS: u32;
    /// Whether messages come in parts.
    const PARTS: bool;
    /// Whether it is told that one whole message follows another.
    const BATCHES: bool = false;

    fn new(config: Config<'_>) -> crate::Result<Self>;
    fn handshake(
        &self,
        request: &Request<'_>,
        response: &mut Response<'_>,
    ) -> crate::Result<Handshake>;
    /// Makes the session; the second is what the callback answers.
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
    fn self_test(&self) -> crate::Result;
    fn serving(&self, on: bool) -> crate::Result;
}

/// A session of one style.
pub(crate) trait SessionAdapter: Send + 'static {
    /// The session's own link, whatever the author's code does with its connection.
    fn session(&self) -> &Arc<HostSession>;
    fn on(&mut self, event: Event<'_>) -> Status;
    /// A message that another one follows at once, only where [`HandlerAdapter::BATCHES`] says so.
    fn on_followed(&mut self, message: Message<'_>) -> Status {
        self.on(Event::Message(message))
    }
    /// The state, or none for now.
    fn snapshot(&mut self) -> crate::Result<Option<Vec<u8>>>;
}

/// What a callback of a session answers that fails.
#[cold]
#[inline(never)]
pub(crate) fn fail(session: &HostSession, error: &Error) -> Status {
    if let Some((code, reason)) = error.closes_with() {
        // Refused: the log says why, and the session closes with 1011.
        let _: Status = session.close(code, reason);
    }
    guard::fail(&error.to_string())
}

/// What happens to a session.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Message(Message<'a>),
    /// A part of a message, only where [`HandlerAdapter::PARTS`] says so; whether it is the last.
    Part(Message<'a>, bool),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Drain,
    Timer(u64),
    Wake,
    Note(u64),
    Closing(Close),
    Closed(Close),
}

/// Why a function has failed that returns between two parts of a message: the peer would wait for the rest.
pub(crate) const MESSAGE_IS_OPEN: &str =
    "the function returned while a message that it sends in parts is open";
