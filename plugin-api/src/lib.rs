//! Write WebSocket handlers for wshd.

pub mod abi;
mod asynchronous;
mod blocking;
mod blocking_conn;
mod border;
mod carry;
mod close;
mod config;
mod conn;
mod ending;
mod error;
mod events;
mod function;
mod inbox;
mod layout;
mod line;
#[doc(hidden)]
pub mod log;
mod message;
mod pause;
pub mod raw;
mod request;
mod request_copy;
mod response;
#[doc(hidden)]
pub mod rules;
mod sent;
mod session;
mod spares;
mod state;
mod style;
mod task;
pub mod test;
#[cfg(feature = "tracing")]
mod trace;
mod waits;

use std::fmt::Display;

pub use crate::{
    blocking_conn::BlockingConn,
    border::link::Writer,
    close::Close,
    config::Config,
    conn::{Conn, Peer},
    error::{Elapsed, Refused, Result},
    message::{Kind, Message, MessageBuf, Payload},
    pause::Sleep,
    request::Request,
    response::{Handshake, Response},
    sent::Sent,
    session::{Handler, Session},
    state::State,
};

use crate::border::{guard, runtime};

/// What nearly every handler needs: `use wsh::prelude::*;`
pub mod prelude {
    pub use crate::{
        BlockingConn, Close, Config, Conn, Elapsed, Handler, Handshake, Kind, Message, MessageBuf,
        Peer, Request, Response, Result, Session,
    };
}

/// Sends a message to every subscriber of a topic of this handler, from any thread. Answers about
/// how many there are.
pub fn publish<P: Payload>(topic: &str, message: P) -> u64 {
    runtime::current().map_or(0, |runtime| conn::publish(runtime, topic, &message, 0))
}

/// Runs `job` on a thread of the server's, which counts it and knows its handler.
///
/// # Errors
/// [`Refused::TooBig`]: the handler has as many threads as it may. [`Refused::Gone`]: it was shut
/// down.
pub fn spawn(job: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
    let runtime = runtime::current().ok_or(Refused::Misuse)?;
    Refused::check(runtime.spawn(Box::new(job)))
}

/// Lets the callback that is running on this thread fail, and says why: a session ends with 1011, a
/// handler is not loaded. What the callback returns no longer counts.
pub fn fail(why: impl Display) {
    guard::fail(&why.to_string());
}

#[doc(hidden)]
pub mod __private {
    pub use crate::border::export::{Crate, asynchronous, blocking, events};
    pub use crate::function::accept;
    pub use crate::log;
}
