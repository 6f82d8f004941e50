//! The events style: a handler makes a session for each open WebSocket, the server tells the
//! session what happens.

use std::ops::RangeInclusive;

use crate::{
    close::Close,
    message::{Message, part::Part},
    styles::events::{
        conn::Conn,
        state::{Snapshot, State},
    },
};

/// One open WebSocket, from `open` to `on_close`. Its callbacks never overlap and keep their order;
/// they may run on different threads.
///
/// A callback that returns an error ends the session with 1011, and the error is logged.
/// [`Refused::Gone`](crate::Refused::Gone) of its own connection is none: the session is over.
///
/// ```standalone_crate
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Echo;
///
/// impl Session for Echo {
///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
///         conn.send(message)?;
///         Ok(())
///     }
/// }
/// # fn main() {}
/// wsh::handler!(Echo);
/// ```
///
/// Besides messages there are Pings, notes of other threads, timers and more; a callback that is not written does nothing:
///
/// ```
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Attentive;
///
/// impl Session for Attentive {
///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
///         conn.ping(message.as_bytes())?;
///         Ok(())
///     }
///     fn on_ping(&mut self, conn: &mut Conn, data: &[u8]) -> Result {
///         conn.send(format!("a Ping of {} bytes", data.len()))?;
///         Ok(())
///     }
///     fn on_pong(&mut self, conn: &mut Conn, data: &[u8]) -> Result {
///         conn.send(format!("a Pong of {} bytes", data.len()))?;
///         Ok(())
///     }
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(Attentive));
/// # client.send("hello");
/// # client.ping(b"abc");
/// # assert_eq!(client.receive().unwrap(), "a Pong of 5 bytes");
/// # assert_eq!(client.receive().unwrap(), "a Ping of 3 bytes");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Session`",
    label = "needs `impl Session for {Self}`"
)]
pub trait Session: Sized + Send + 'static {
    /// The schemas of the state that [`restore`](Self::restore) reads, the last being the one that
    /// [`snapshot`](Self::snapshot) writes; `0..=0` is no state.
    const SCHEMA: RangeInclusive<u32> = 0..=0;

    /// The subprotocols that it speaks, the best first, where the session is its own handler: the
    /// first that a client offers too is chosen. A [`Handler`](crate::Handler) says so in its
    /// [`handshake`](crate::Handler::handshake).
    const PROTOCOLS: &[&str] = &[];

    /// Whether pages of any origin may connect, where the session is its own handler; see
    /// [`Handler::ORIGIN_ANY`](crate::Handler::ORIGIN_ANY).
    const ORIGIN_ANY: bool = false;

    /// Whether messages come in parts, to [`on_part`](Self::on_part) and not to
    /// [`on_message`](Self::on_message). They may be of any length then.
    const PARTS: bool = false;

    /// A whole message came. Every session has this callback, unless its [`PARTS`](Self::PARTS) is `true`
    /// and it has [`on_part`](Self::on_part): one without either does not compile.
    ///
    /// ```compile_fail
    /// use wsh::prelude::*;
    ///
    /// #[derive(Default)]
    /// struct Deaf;
    ///
    /// impl Session for Deaf {}
    /// # fn main() { let _ = wsh::test::connect(wsh::descriptor!(Deaf)); }
    /// ```
    ///
    /// # Errors
    /// Whatever ends the session, with 1011 or as [`Error::close_with`](crate::Error::close_with) says; so for every
    /// callback.
    fn on_message(&mut self, conn: &mut Conn, message: Message<'_>) -> crate::Result {
        const {
            assert!(
                Self::PARTS,
                "a `Session` needs `fn on_message`, or `const PARTS: bool = true` and `fn on_part`"
            );
        }
        let _ = (conn, message);
        Ok(())
    }

    /// A part of a message came: the next of the message before it, or the first of another. Only where
    /// [`PARTS`](Self::PARTS) is `true`, which does not compile without this callback.
    ///
    /// A message that is taken in parts may be of any length, and takes no more memory than one part does:
    /// neither `message_bytes_max` nor `fragments_max` of the configuration holds for it, and
    /// `message_bytes_max` is the longest part. [`Conn::pause`] holds the next part back. A session moves to
    /// newer code only between two messages. [`Conn::send_part`] is the other way.
    ///
    /// ```standalone_crate
    /// use wsh::prelude::*;
    ///
    /// #[derive(Default)]
    /// struct Upload {
    ///     bytes: u64,
    /// }
    ///
    /// impl Session for Upload {
    ///     const PARTS: bool = true;
    ///
    ///     fn on_part(&mut self, conn: &mut Conn, part: Part) -> Result {
    ///         self.bytes += part.len() as u64;
    ///         if part.is_last() {
    ///             conn.send(format!("{} bytes", self.bytes))?;
    ///             self.bytes = 0;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// # fn main() {}
    /// wsh::handler!(Upload);
    /// ```
    ///
    /// # Errors
    /// As of [`on_message`](Self::on_message).
    fn on_part(&mut self, conn: &mut Conn, part: Part<'_>) -> crate::Result {
        const {
            assert!(
                !Self::PARTS,
                "a `Session` with `const PARTS: bool = true` needs `fn on_part`"
            );
        }
        let _ = (conn, part);
        Ok(())
    }

    /// The session begins; the client has its 101.
    ///
    /// # Errors
    /// As of [`on_message`](Self::on_message).
    fn on_open(&mut self, conn: &mut Conn) -> crate::Result {
        let _ = conn;
        Ok(())
    }

    /// A Ping came; the server has answered it.
    ///
    /// # Errors
    /// As of [`on_message`](Self::on_message).
    fn on_ping(&mut self, conn: &mut Conn, data: &[u8]) -> crate::Result {
        let _ = (conn, data);
        Ok(())
    }

    /// A Pong came.
    ///
    /// # Errors
    /// As of [`on_message`](Self::on_message).
    fn on_pong(&mut self, conn: &mut Conn, data: &[u8]) -> crate::Result {
        let _ = (conn, data);
        Ok(())
    }

    /// There is room again, see [`Conn::watermark`].
    ///
    /// # Errors
    /// As of [`on_message`](Self::on_message).
    fn on_drain(&mut self, conn: &mut Conn) -> crate::Result {
        let _ = conn;
        Ok(())
    }

    /// A timer set with [`Conn::timer`] ran out.
    ///
    /// # Errors
    /// As of [`on_message`](Self::on_message).
    fn on_timer(&mut self, conn: &mut Conn, token: u64) -> crate::Result {
        let _ = (conn, token);
        Ok(())
    }

    /// [`Handle::notify`](crate::Handle::notify) was called with this number, from another thread or
    /// session.
    ///
    /// # Errors
    /// As of [`on_message`](Self::on_message).
    fn on_note(&mut self, conn: &mut Conn, note: u64) -> crate::Result {
        let _ = (conn, note);
        Ok(())
    }

    /// The peer closes first. Its code is echoed, unless [`Conn::close`] is called here or the answer is
    /// [`Closing::Later`].
    ///
    /// # Errors
    /// As of [`on_message`](Self::on_message).
    fn on_closing(&mut self, conn: &mut Conn, close: &Close) -> crate::Result<Closing> {
        let _ = (conn, close);
        Ok(Closing::Now)
    }

    /// The session is over. Comes once, whatever ended it. What would be sent is
    /// [`Refused::Gone`](crate::Refused::Gone).
    ///
    /// # Errors
    /// Whatever is to be logged.
    fn on_close(&mut self, conn: &mut Conn, close: &Close) -> crate::Result {
        let _ = (conn, close);
        Ok(())
    }

    /// What the next generation of the handler needs to go on with this session, written with the last
    /// schema of [`SCHEMA`](Self::SCHEMA). It may be asked for between any two callbacks, also when no
    /// move follows, and changes nothing outside the session: [`Conn::close`] is
    /// [`Refused::Misuse`](crate::Refused::Misuse) here.
    ///
    /// # Errors
    /// Whatever is in the way; the session then stays with this generation, and the error is logged.
    fn snapshot(&self, conn: &Conn) -> crate::Result<Snapshot<Self>> {
        let _ = conn;
        Ok(Snapshot::later())
    }

    /// The session again, in a newer generation, where it needs nothing of its handler; else see
    /// [`Handler::restore`](crate::Handler::restore).
    ///
    /// # Errors
    /// Whatever makes the state unusable; the session then stays with the older generation.
    fn restore(conn: &mut Conn, state: &State) -> crate::Result<Self> {
        let _ = (conn, state);
        Err("neither the handler nor its session has a `restore`".into())
    }
}

/// When the Close of a peer that closes first is answered.
///
/// ```standalone_crate
/// # use std::time::Duration;
/// # use wsh::prelude::*;
/// #[derive(Default)]
/// struct Patient;
///
/// impl Session for Patient {
///     fn on_message(&mut self, _conn: &mut Conn, _message: Message) -> Result {
///         Ok(())
///     }
///     fn on_closing(&mut self, conn: &mut Conn, _close: &Close) -> Result<Closing> {
///         conn.timer(1, Duration::from_secs(1))?; // until what was begun is stored
///         Ok(Closing::Later)
///     }
///     fn on_timer(&mut self, conn: &mut Conn, _token: u64) -> Result {
///         conn.close(1000, "stored")?;
///         Ok(())
///     }
/// }
/// # fn main() {}
/// wsh::handler!(Patient);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Closing {
    /// When the callback returns.
    #[default]
    Now,
    /// When [`Conn::close`], or [`Handle::close`](crate::Handle::close), is called, within the server's
    /// close timeout.
    Later,
}
