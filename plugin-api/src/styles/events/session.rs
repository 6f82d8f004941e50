//! A session of the events style: the callbacks that an author writes.

use std::ops::RangeInclusive;

use crate::{
    asks::answer::Answer,
    close::Close,
    message::{Message, part::Part},
    styles::events::{
        conn::Conn,
        state::{Snapshot, State},
    },
};

/// One open WebSocket, from `open` to `on_close`. The callbacks of a session never overlap and keep their order. They
/// may run on different threads.
///
/// A callback that returns an error ends the session with 1011, and the error is logged.
/// [`Refused::Gone`](crate::Refused::Gone) of the session's own connection is no failure: it says that the session is over.
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
/// Besides messages there are Pings, notes of other threads, timers and more. A callback that is not written does
/// nothing:
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
    /// The schemas of the state that [`restore`](Self::restore) reads. The last one is the schema that
    /// [`snapshot`](Self::snapshot) writes. `0..=0` is no state.
    const SCHEMA: RangeInclusive<u32> = 0..=0;

    /// The subprotocols that the session speaks, the best first; the first that a client offers too is chosen. It counts
    /// where the session is its own handler. A [`Handler`](crate::Handler) chooses in its
    /// [`handshake`](crate::Handler::handshake).
    const PROTOCOLS: &[&str] = &[];

    /// Whether pages of any origin may connect; see [`Handler::ORIGIN_ANY`](crate::Handler::ORIGIN_ANY). It counts where
    /// the session is its own handler.
    const ORIGIN_ANY: bool = false;

    /// Whether messages come in parts, to [`on_part`](Self::on_part) and not to [`on_message`](Self::on_message). Such
    /// messages may be of any length.
    const PARTS: bool = false;

    /// A whole message came. A session needs this callback, or `PARTS = true` and [`on_part`](Self::on_part). A session
    /// without either does not compile:
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
    /// Any error of any callback ends the session: with 1011, or as [`Error::close_with`](crate::Error::close_with) says.
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

    /// The next part of a message came, or the first part of another message. It comes only where [`PARTS`](Self::PARTS)
    /// is `true`, which does not compile without this callback.
    ///
    /// A message that is taken in parts may be of any length, and takes no more memory than one part does. The limits
    /// `message_bytes_max` and `fragments_max` of the configuration do not apply to such a message; `message_bytes_max`
    /// limits a part. [`Conn::pause`] holds the next part back. A session moves to newer code only between two messages.
    /// [`Conn::send_part`] sends a message in parts.
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
    /// Any error ends the session; see [`on_message`](Self::on_message).
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

    /// The session begins. The client has received its 101.
    ///
    /// # Errors
    /// Any error ends the session; see [`on_message`](Self::on_message).
    fn on_open(&mut self, conn: &mut Conn) -> crate::Result {
        let _ = conn;
        Ok(())
    }

    /// A Ping came. The server has answered it.
    ///
    /// # Errors
    /// Any error ends the session; see [`on_message`](Self::on_message).
    fn on_ping(&mut self, conn: &mut Conn, data: &[u8]) -> crate::Result {
        let _ = (conn, data);
        Ok(())
    }

    /// A Pong came.
    ///
    /// # Errors
    /// Any error ends the session; see [`on_message`](Self::on_message).
    fn on_pong(&mut self, conn: &mut Conn, data: &[u8]) -> crate::Result {
        let _ = (conn, data);
        Ok(())
    }

    /// The peer has taken most of what waited for it; see [`Conn::watermark`].
    ///
    /// # Errors
    /// Any error ends the session; see [`on_message`](Self::on_message).
    fn on_drain(&mut self, conn: &mut Conn) -> crate::Result {
        let _ = conn;
        Ok(())
    }

    /// A timer set with [`Conn::timer`] ran out.
    ///
    /// # Errors
    /// Any error ends the session; see [`on_message`](Self::on_message).
    fn on_timer(&mut self, conn: &mut Conn, token: u64) -> crate::Result {
        let _ = (conn, token);
        Ok(())
    }

    /// [`Handle::notify`](crate::Handle::notify) was called with this number, on another thread or by another session.
    ///
    /// # Errors
    /// Any error ends the session; see [`on_message`](Self::on_message).
    fn on_note(&mut self, conn: &mut Conn, note: u64) -> crate::Result {
        let _ = (conn, note);
        Ok(())
    }

    /// The answer to an ask of this session came: to [`Conn::subscribe_from`], [`Conn::store`] and their like. The token is
    /// the one that the ask had. An answer comes once, and finds the session wherever it has moved, so the token should
    /// mean one thing in every version. [`Answer`] has an example.
    ///
    /// Answers come in no promised order: that of [`Conn::subscribe_from`] may come after those of later asks. What is asked
    /// of the [`Store`](crate::Store) is carried out in the order of the calls all the same.
    ///
    /// Without this callback a failure is a warning in the log, and the rest is ignored.
    ///
    /// # Errors
    /// Any error ends the session; see [`on_message`](Self::on_message).
    fn on_answer(&mut self, conn: &mut Conn, token: u64, answer: Answer<'_>) -> crate::Result {
        let _ = conn;
        if let Err(error) = answer.done() {
            crate::warn!(token, error, "an ask has failed");
        }
        Ok(())
    }

    /// The peer closes first. The server echoes the peer's code, unless this callback calls [`Conn::close`] or returns
    /// [`Closing::Later`].
    ///
    /// # Errors
    /// Any error ends the session; see [`on_message`](Self::on_message).
    fn on_closing(&mut self, conn: &mut Conn, close: &Close) -> crate::Result<Closing> {
        let _ = (conn, close);
        Ok(Closing::Now)
    }

    /// The session is over. This callback comes once, whatever ended the session. A send is answered with
    /// [`Refused::Gone`](crate::Refused::Gone) here.
    ///
    /// # Errors
    /// Any error is logged.
    fn on_close(&mut self, conn: &mut Conn, close: &Close) -> crate::Result {
        let _ = (conn, close);
        Ok(())
    }

    /// The state that the next generation of the handler needs to go on with this session, in the last schema of
    /// [`SCHEMA`](Self::SCHEMA).
    ///
    /// The server may ask for it between any two callbacks, also when no move follows. So it changes nothing outside the
    /// session: [`Conn::close`] answers [`Refused::Misuse`](crate::Refused::Misuse) here.
    ///
    /// # Errors
    /// Any error keeps the session in this generation, and is logged.
    fn snapshot(&self, conn: &Conn) -> crate::Result<Snapshot<Self>> {
        let _ = conn;
        Ok(Snapshot::later())
    }

    /// Makes a session from the state that an older generation wrote. A session that needs something of its handler is
    /// restored by [`Handler::restore`](crate::Handler::restore).
    ///
    /// # Errors
    /// Any error keeps the session in the older generation, and is logged.
    fn restore(conn: &mut Conn, state: &State) -> crate::Result<Self> {
        let (_, schema) = (conn, state.schema());
        Err(format!("state of schema {schema} is not read: neither the handler nor its session has a `restore`").into())
    }
}

/// When the server answers the Close of a peer that closes first.
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
    /// When [`Conn::close`] or [`Handle::close`](crate::Handle::close) is called, at the latest after the server's close
    /// timeout.
    Later,
}
