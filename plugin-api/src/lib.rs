#![doc = include_str!("guide/start.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod abi;
mod asks;
mod border;
mod buffers;
mod close;
#[doc(hidden)]
pub mod close_codes;
mod config;
mod error;
pub mod guide;
mod handle;
mod handler_macro;
mod handshake;
mod instant;
#[doc(hidden)]
pub mod log;
mod message;
pub mod raw;
#[doc(hidden)]
pub mod rules;
mod stop;
mod styles;
pub mod test;

pub use crate::{
    asks::{
        answer::Answer,
        any_thread::{history, members, present, publish_acked, store},
        ask::Ask,
        callbacks::{Change, Envelope, Presence, PresenceChange, Publication},
        pages::AskAll,
        position::{NoPosition, Position, Start},
        results::{Entries, Entry, History, Joined, Member, Members, Next, PublicationBuf},
        store::Store,
    },
    border::writer::Writer,
    close::{Cause, Close},
    config::Config,
    error::{Elapsed, Error, Refused, Result, rule::Rule},
    handle::{Handle, publish},
    handshake::{
        request::Request,
        response::{Handshake, Response},
        sleep::Sleep,
    },
    instant::Instant,
    message::{
        Kind, Message, MessageBuf,
        part::{Part, PartBuf},
        payload::{Payload, Uncompressed},
    },
    stop::Stop,
    styles::{
        asynchronous::{
            conn::AsyncConn,
            migration::{LetGo, Stay},
            send::Sent,
        },
        blocking::conn::BlockingConn,
        events::{
            conn::Conn,
            handler::Handler,
            session::{Closing, Session},
            state::{Snapshot, State},
        },
        functions::shared::Shared,
    },
};

#[cfg(feature = "serde")]
pub use crate::message::json::{JsonError, send::publish_json};

use crate::border::runtime;

/// The items that nearly every handler needs: `use wsh::prelude::*;`
pub mod prelude {
    pub use crate::{
        Answer, AsyncConn, BlockingConn, Cause, Change, Close, Closing, Config, Conn, Elapsed,
        Envelope, Handle, Handler, Handshake, Kind, Message, MessageBuf, Part, PartBuf, Position,
        Presence, PresenceChange, Publication, Refused, Request, Response, Result, Session, Shared,
        Snapshot, Start, State, Stop, Uncompressed,
    };
}

/// Runs `job` on a thread of the server's, which counts the threads of each handler. The [`Stop`] says when the job is to
/// end.
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
///             // Work that takes long is done here instead of in the callback.
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
/// [`Refused::TooBig`]: the handler has as many threads as it may. [`Refused::Gone`]: the handler was shut down.
/// [`Refused::Misuse`]: in [`test`](mod@crate::test), on a thread that the handler has not begun by this function.
pub fn spawn(job: impl FnOnce(Stop) + Send + 'static) -> Result<(), Refused> {
    let runtime = runtime::current().ok_or(Refused::Misuse)?;
    let stop = runtime.stop.clone();
    let status = runtime.spawn(Box::new(move || job(stop)));
    Refused::check(status, |_| Rule::threads())
}

#[doc(hidden)]
pub mod __private {
    pub use crate::asks::callback_probe::{NoEnvelope, NoPresence, TopicProbe};
    pub use crate::border::export::{Crate, asynchronous, blocking, events};
    pub use crate::log;
    pub use crate::styles::events::adapter::{Named, NotAFunction, NotDefault, Probe, named};
    pub use crate::styles::functions::signatures::HandshakeOfShared;
}
