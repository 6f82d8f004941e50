#![doc = include_str!("guide/start.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod abi;
mod arena;
#[cfg(feature = "serde")]
mod asked;
mod async_conn;
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
pub mod guide;
mod handle;
mod inbox;
mod instant;
#[cfg(feature = "serde")]
mod json;
mod layout;
mod line;
#[doc(hidden)]
pub mod log;
mod message;
mod outbox;
mod part;
mod pause;
mod payload;
mod queue;
pub mod raw;
mod request;
mod request_copy;
mod response;
mod rule;
#[doc(hidden)]
pub mod rules;
mod sent;
mod session;
mod shared;
mod spares;
mod state;
mod stay;
mod stop;
mod style;
mod task;
pub mod test;
#[cfg(feature = "tracing")]
mod trace;
mod waits;

pub use crate::{
    async_conn::AsyncConn,
    blocking_conn::BlockingConn,
    border::link::Writer,
    close::{Cause, Close},
    config::Config,
    conn::Conn,
    error::{Elapsed, Error, Refused, Result},
    handle::{Handle, publish},
    instant::Instant,
    message::{Kind, Message, MessageBuf, Payload},
    part::{Part, PartBuf},
    pause::Sleep,
    payload::Uncompressed,
    request::Request,
    response::{Handshake, Response},
    rule::Rule,
    sent::Sent,
    session::{Closing, Handler, Session},
    shared::Shared,
    state::{Snapshot, State},
    stay::{LetGo, Stay},
    stop::Stop,
};

#[cfg(feature = "serde")]
pub use crate::json::{JsonError, publish_json};

use crate::border::runtime;

/// What nearly every handler needs: `use wsh::prelude::*;`
pub mod prelude {
    pub use crate::{
        AsyncConn, BlockingConn, Cause, Close, Closing, Config, Conn, Elapsed, Handle, Handler,
        Handshake, Kind, Message, MessageBuf, Part, PartBuf, Refused, Request, Response, Result,
        Session, Shared, Snapshot, State, Stop, Uncompressed,
    };
}

/// Runs `job` on a thread of the server's, which counts it and knows its handler. The [`Stop`] says when
/// it is to end.
///
/// ```
/// use std::time::Duration;
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Slow;
///
/// impl Session for Slow {
///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
///         let (handle, message) = (conn.handle(), message.to_buf());
///         wsh::spawn(move |stop| {
///             // What takes long, here instead of in the callback.
///             if !stop.wait(Duration::from_millis(10)) {
///                 let _ = handle.send(message);
///             }
///         })?;
///         Ok(())
///     }
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(Slow));
/// # client.send("hello");
/// # assert_eq!(client.receive().unwrap(), "hello");
/// ```
///
/// # Errors
/// [`Refused::TooBig`]: the handler has as many threads as it may. [`Refused::Gone`]: it was shut
/// down.
pub fn spawn(job: impl FnOnce(Stop) + Send + 'static) -> Result<(), Refused> {
    let runtime = runtime::current().ok_or(Refused::Misuse)?;
    let stop = runtime.stop.clone();
    let status = runtime.spawn(Box::new(move || job(stop)));
    Refused::check(status, |_| Rule::threads())
}

#[doc(hidden)]
pub mod __private {
    pub use crate::border::export::{Crate, asynchronous, blocking, events};
    pub use crate::events::{Named, NotAFunction, NotDefault, Probe, named};
    pub use crate::function::OfShared;
    pub use crate::log;
}
