//! Bytes past the framing: for handlers that test how browsers and clients treat a server that breaks the protocol.
//!
//! The server allows it only to a handler whose table in the configuration says so:
//!
//! ```toml
//! [handler.broken]
//! raw = true
//! ```
//!
//! Otherwise every function here answers [`Refused::Unsupported`]. In tests, [`load_raw`](crate::test::load_raw) makes a
//! server that allows it.
//!
//! [`write()`] puts bytes between the frames of a session. An [`Answer`] comes in the place of the server's 101, or before
//! it. The server sends such bytes without interpreting them; [`abi::raw`] says what it still does by itself.

use crate::{
    abi::{
        self,
        raw::{RAW_CLOSE, RAW_CONTINUE, RAW_OPEN},
    },
    border::{host_session::HostSession, raw::RawFunctions, runtime},
    error::{Refused, rule::Rule},
    handle::Handle,
    handshake::response::{Handshake, Response},
    styles::{
        asynchronous::conn::AsyncConn,
        blocking::{command::Command, conn::BlockingConn},
        events::conn::Conn,
    },
};

/// Whether the server lets this handler write past the framing.
///
/// ```
/// use wsh::prelude::*;
///
/// fn check(request: &Request, response: &mut Response) -> Result<Handshake> {
///     match wsh::raw::is_allowed() {
///         true => Ok(Handshake::accept()),
///         false => Ok(Handshake::reject(501, "this wants `raw = true` in the handler's table")),
///     }
/// }
/// ```
#[must_use]
pub fn is_allowed() -> bool {
    runtime::current().is_some_and(|runtime| RawFunctions::of(&runtime.host).is_some())
}

/// Sends bytes as they are, after what was sent before and before what is sent next.
///
/// It takes the connection of any style, or a [`Handle`]. The bytes of a handle leave in order with its messages. A
/// blocking connection waits until the bytes fit.
///
/// ```
/// use wsh::prelude::*;
///
/// fn on_message(conn: &mut Conn, message: Message) -> Result {
///     // Text with a reserved bit set, which a client has to fail the connection for.
///     wsh::raw::write(conn, b"\xc1\x02hi")?;
///     Ok(())
/// }
/// ```
///
/// ```standalone_crate
/// use wsh::prelude::*;
///
/// fn cut(conn: BlockingConn) -> Result {
///     conn.send("whole")?;
///     // The head of a frame of 5 bytes, two of them, and the end of the connection.
///     wsh::raw::write(&conn, b"\x81\x05he")?;
///     conn.abort()?;
///     Ok(())
/// }
/// # fn main() {}
/// wsh::handler!(blocking cut);
/// ```
///
/// # Errors
/// [`Refused::Unsupported`]: the handler's table does not say `raw = true`. [`Refused::Gone`]: the session is closing.
/// [`Refused::TooBig`]: the bytes pass the outbound limit, and the session closes; a [`BlockingConn`] waits instead.
/// [`Refused::Full`]: too much waits for the session of a [`Handle`] already.
pub fn write(to: &impl Target, bytes: impl AsRef<[u8]>) -> Result<(), Refused> {
    to.write(bytes.as_ref())
}

/// What [`write()`] writes to: a connection, or a [`Handle`].
pub trait Target: sealed::Target {}

impl<T: sealed::Target> Target for T {}

mod sealed {
    use crate::error::Refused;

    pub trait Target {
        fn write(&self, bytes: &[u8]) -> Result<(), Refused>;
    }
}

impl sealed::Target for Conn {
    fn write(&self, bytes: &[u8]) -> Result<(), Refused> {
        write_by(self.session(), bytes)
    }
}

impl<S> sealed::Target for AsyncConn<S> {
    fn write(&self, bytes: &[u8]) -> Result<(), Refused> {
        write_by(self.session(), bytes)
    }
}

fn write_by(session: &HostSession, bytes: &[u8]) -> Result<(), Refused> {
    let raw = RawFunctions::of(session.host()).ok_or(Refused::Unsupported(Rule::raw()))?;
    let mut answer = raw.write(session.conn(), bytes);
    if answer == i64::from(abi::MISUSE) {
        // No callback of the session runs on this thread.
        answer = raw.write_to(session.id, bytes);
    }
    Refused::check_count(answer, |status| Rule::message(status, bytes)).map(drop)
}

impl sealed::Target for BlockingConn {
    fn write(&self, bytes: &[u8]) -> Result<(), Refused> {
        let answer = self.channel().run(Command::Raw(bytes.to_vec()));
        Refused::check_count(answer, |status| Rule::message(status, bytes)).map(drop)
    }
}

impl sealed::Target for Handle {
    fn write(&self, bytes: &[u8]) -> Result<(), Refused> {
        let raw =
            RawFunctions::of(&self.runtime().host).ok_or(Refused::Unsupported(Rule::raw()))?;
        let answer = raw.write_to(self.id(), bytes);
        Refused::check_count(answer, |status| Rule::message(status, bytes)).map(drop)
    }
}

/// The value of `Sec-WebSocket-Accept` for the request that is being answered (RFC 6455 §4.2.2), for a handler that writes
/// its own 101.
///
/// ```
/// use wsh::{prelude::*, raw};
///
/// fn handshake(_: &Request, response: &mut Response) -> Result<Handshake> {
///     let key = raw::accept_key(response)?;
///     let head = format!(
///         "HTTP/1.1 101 Hello\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///          Sec-WebSocket-Accept: {key}\r\n\r\n"
///     );
///     raw::Answer::open(head).give(response)
/// }
/// ```
///
/// # Errors
/// [`Refused::Unsupported`]: the handler's table does not say `raw = true`.
pub fn accept_key(response: &Response<'_>) -> Result<String, Refused> {
    let raw = RawFunctions::of(response.host).ok_or(Refused::Unsupported(Rule::raw()))?;
    raw.accept(response.response)
        .map_err(|status| Refused::from_status(status, |_| Rule::unknown()))
}

/// An answer to the opening handshake in bytes of the handler's own, for its `handshake`.
///
/// ```
/// use wsh::{prelude::*, raw::{self, Answer}};
///
/// const UPGRADE: &str = "HTTP/1.1 101 Switching Protocols\r\n\
///     Upgrade: websocket\r\nConnection: Upgrade\r\n";
///
/// fn handshake(request: &Request, response: &mut Response) -> Result<Handshake> {
///     match request.query("broken") {
///         // A 101 with a wrong key. The client may answer with up to 64 bytes.
///         Some("key") => {
///             let head = format!("{UPGRADE}Sec-WebSocket-Accept: wrong\r\n\r\n");
///             Answer::close(head).linger(64).give(response)
///         }
///         // A line before the server's own 101.
///         Some("line") => Answer::before("\r\n").give(response),
///         // A correct 101 with a header line that the server would not send, and then the session.
///         Some("header") => {
///             let key = raw::accept_key(response)?;
///             let head = format!("{UPGRADE}Sec-WebSocket-Accept: {key}\r\nX-Bell: \x07\r\n\r\n");
///             Answer::open(head).give(response)
///         }
///         _ => Ok(Handshake::accept()),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an answer has no effect unless it is given"]
pub struct Answer {
    bytes: Vec<u8>,
    then: u32,
    linger: u32,
}

impl Answer {
    /// Answers with these bytes, of at most 1 MiB, and closes the connection. There is no session.
    pub fn close(bytes: impl Into<Vec<u8>>) -> Self {
        Answer::new(bytes, RAW_CLOSE)
    }

    /// Sends these bytes, of at most 1 MiB, before the server's own 101. Then the session begins.
    pub fn before(bytes: impl Into<Vec<u8>>) -> Self {
        Answer::new(bytes, RAW_CONTINUE)
    }

    /// Sends these bytes, of at most 1 MiB, in the place of the 101 and of the header lines of the response. Then the
    /// session begins, with the response's subprotocol and without compression, whatever the bytes say.
    pub fn open(bytes: impl Into<Vec<u8>>) -> Self {
        Answer::new(bytes, RAW_OPEN)
    }

    fn new(bytes: impl Into<Vec<u8>>, then: u32) -> Self {
        Answer {
            bytes: bytes.into(),
            then,
            linger: 0,
        }
    }

    /// Lets the client send up to `bytes` bytes after its request, at most 1 MiB, before the connection is closed: its own
    /// Close frame, for example. They are dropped. The connection is closed at the latest when the time for the handshake
    /// is over. For [`close`](Self::close) only.
    pub fn linger(mut self, bytes: u32) -> Self {
        self.linger = bytes;
        self
    }

    /// Gives the answer. The result is what `handshake` is to return, now or [later](Handshake::later).
    ///
    /// # Errors
    /// The server refuses the answer. With `?` the handshake fails with a line in the log.
    pub fn give(self, response: &mut Response<'_>) -> crate::Result<Handshake> {
        match self.try_give(response) {
            Ok(()) => Ok(Handshake::accept()),
            Err(refused) => Err(why(refused).into()),
        }
    }

    /// Like [`give`](Self::give), for a handler that does something else if the server refuses.
    ///
    /// ```
    /// use wsh::{prelude::*, raw::Answer};
    ///
    /// fn handshake(_: &Request, response: &mut Response) -> Result<Handshake> {
    ///     match Answer::close("HTTP/1.0 200 OK\r\n\r\n").try_give(response) {
    ///         Err(Refused::Unsupported(_)) => Ok(Handshake::reject(403, "not configured for it")),
    ///         answer => Ok(answer.map(|()| Handshake::accept())?),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Refused::Unsupported`]: the handler's table does not say `raw = true`. [`Refused::TooBig`]:
    /// more than 1 MiB. [`Refused::Invalid`]: [`linger`](Self::linger) where a session follows.
    pub fn try_give(self, response: &mut Response<'_>) -> Result<(), Refused> {
        let raw = RawFunctions::of(response.host).ok_or(Refused::Unsupported(Rule::raw()))?;
        let status = raw.answer(response.response, &self.bytes, self.then, self.linger);
        Refused::check(status, |status| {
            Rule::raw_answer(status, &self.bytes, self.linger)
        })
    }
}

fn why(refused: Refused) -> String {
    match refused {
        Refused::Unsupported(rule) => format!("raw answer refused: it wants {}", rule.wanted()),
        _ => format!("raw answer refused: {refused}"),
    }
}
