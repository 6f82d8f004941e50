//! The events style: a handler makes a session for each open WebSocket, the server tells the
//! session what happens.

use std::ops::RangeInclusive;

use crate::{
    close::Close,
    config::Config,
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
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
    /// first that a client offers too is chosen. A [`Handler`] says so in its
    /// [`handshake`](Handler::handshake).
    const PROTOCOLS: &[&str] = &[];

    /// Whether pages of any origin may connect, where the session is its own handler; see
    /// [`Handler::ORIGIN_ANY`].
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
    /// [`Handler::restore`].
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

/// What a plugin is: it may refuse clients, and makes a session for each that it lets in.
///
/// A [`Session`] that is `Default` is a handler by itself.
///
/// ```standalone_crate
/// use std::collections::HashSet;
/// use wsh::prelude::*;
///
/// struct Chat {
///     tokens: HashSet<String>,
/// }
///
/// struct Member {
///     name: String,
/// }
///
/// impl Handler for Chat {
///     type Session = Member;
///
///     fn new(config: Config) -> Result<Self> {
///         Ok(Chat { tokens: config.get("tokens")? })
///     }
///
///     fn handshake(&self, request: &Request, response: &mut Response) -> Result<Handshake> {
///         match request.cookie("token") {
///             Some(token) if self.tokens.contains(token) => {
///                 response.choose_protocol(request, &["chat.v2", "chat.v1"])
///             }
///             _ => Ok(Handshake::reject(403, "no token")),
///         }
///     }
///
///     fn open(&self, conn: &mut Conn, request: &Request) -> Result<Member> {
///         conn.subscribe("lobby")?;
///         Ok(Member { name: request.query("name").unwrap_or("someone").into() })
///     }
/// }
///
/// impl Session for Member {
///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
///         conn.publish("lobby", format!("{}: {message}", self.name))?;
///         Ok(())
///     }
///
///     fn on_close(&mut self, _conn: &mut Conn, close: &Close) -> Result {
///         wsh::info!(code = close.code, "{} left", self.name);
///         Ok(())
///     }
/// }
/// # fn main() {}
/// wsh::handler!(Chat);
/// ```
///
/// What begins and ends with its generation, and what a session needs of it again:
///
/// ```
/// use std::sync::Arc;
/// use wsh::prelude::*;
///
/// struct Dictionary {
///     words: Arc<Vec<String>>,
/// }
///
/// struct Reader {
///     words: Arc<Vec<String>>,
///     at: usize,
/// }
///
/// impl Handler for Dictionary {
///     type Session = Reader;
///
///     fn new(config: Config) -> Result<Self> {
///         Ok(Dictionary { words: Arc::new(config.get("words")?) })
///     }
///     /// Before the first client; an error here keeps what served before.
///     fn self_test(&self) -> Result {
///         if self.words.is_empty() { Err("no words".into()) } else { Ok(()) }
///     }
///     fn serving(&self, on: bool) -> Result {
///         wsh::info!("{} words, on: {on}", self.words.len());
///         Ok(())
///     }
///     fn open(&self, _: &mut Conn, _: &Request) -> Result<Reader> {
///         Ok(Reader { words: self.words.clone(), at: 0 })
///     }
///     /// A session of an older generation: its place is in the state, the words are of this handler.
///     fn restore(&self, _: &mut Conn, state: &State) -> Result<Reader> {
///         Ok(Reader { words: self.words.clone(), at: state.parse()? })
///     }
/// }
///
/// impl Session for Reader {
///     const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;
///
///     fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
///         conn.send(&self.words[self.at % self.words.len()])?;
///         self.at += 1;
///         Ok(())
///     }
///     fn snapshot(&self, _: &Conn) -> Result<Snapshot<Self>> {
///         Snapshot::json(&self.at)
///     }
/// }
/// # let dictionary = wsh::descriptor!(Dictionary);
/// # let server = wsh::test::load(&dictionary, r#"{"words": ["ape", "bee"]}"#).unwrap();
/// # let mut client = server.connect();
/// # client.send("");
/// # assert!(client.migrate());
/// # client.send("");
/// # assert_eq!(client.receive().unwrap(), "ape");
/// # assert_eq!(client.receive().unwrap(), "bee");
/// # assert!(wsh::test::load(&dictionary, r#"{"words": []}"#).unwrap_err().contains("no words"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "neither a `Handler`, nor a `Session` that is `Default` and `Sync`",
    note = "a type is a handler through `impl Handler for {Self}`, or by being a `Session`, `Default` and `Sync`",
    note = "a function is one with its style before it: `handler!(async name)`, `handler!(blocking name)`"
)]
pub trait Handler: Sized + Send + Sync + 'static {
    /// What it makes for each client. Sessions without anything in them move to a newer generation by
    /// themselves if their type is `Default`.
    type Session: Session;

    /// Whether the handler's own [`handshake`](Self::handshake) judges the `Origin` (RFC 6455 §10.2).
    /// The server lets in pages of any origin then, unless its configuration has a rule for this very
    /// handler. For handlers that act on nothing a user is logged in to.
    const ORIGIN_ANY: bool = false;

    /// Builds the handler from its configuration. Acts on nothing outside: see
    /// [`serving`](Self::serving).
    ///
    /// # Errors
    /// The handler is not loaded, and the server's log says why.
    fn new(config: Config<'_>) -> crate::Result<Self>;

    /// Whether to let a client in, and with what.
    ///
    /// # Errors
    /// The client gets a 500, and the server's log says why.
    fn handshake(
        &self,
        request: &Request<'_>,
        response: &mut Response<'_>,
    ) -> crate::Result<Handshake> {
        let _ = (request, response);
        Ok(Handshake::accept())
    }

    /// The client is in. Messages may be sent from here on.
    ///
    /// # Errors
    /// There is no session: the client gets a Close with 1011, and the server's log says why.
    fn open(&self, conn: &mut Conn, request: &Request<'_>) -> crate::Result<Self::Session>;

    /// A session of an older generation again. What is sent here leaves after it; everything else that is
    /// asked of `conn` is [`Refused::Misuse`](crate::Refused::Misuse), for topics and timers move by
    /// themselves.
    ///
    /// # Errors
    /// Whatever makes the state unusable; the session then stays with the older generation.
    fn restore(&self, conn: &mut Conn, state: &State) -> crate::Result<Self::Session> {
        Session::restore(conn, state)
    }

    /// Clients come now, or no more: start and stop here what runs beside the sessions.
    ///
    /// # Errors
    /// The server's log says why.
    fn serving(&self, on: bool) -> crate::Result {
        let _ = on;
        Ok(())
    }

    /// Whether the handler is fit to serve. Runs before the first client.
    ///
    /// # Errors
    /// The handler is not used, and the server's log says why.
    fn self_test(&self) -> crate::Result {
        Ok(())
    }
}

impl<T: Session + Default + Sync> Handler for T {
    type Session = T;

    const ORIGIN_ANY: bool = T::ORIGIN_ANY;

    fn new(_config: Config<'_>) -> crate::Result<Self> {
        Ok(T::default())
    }

    fn handshake(
        &self,
        request: &Request<'_>,
        response: &mut Response<'_>,
    ) -> crate::Result<Handshake> {
        response.choose_protocol(request, T::PROTOCOLS)
    }

    fn open(&self, _conn: &mut Conn, _request: &Request<'_>) -> crate::Result<T> {
        Ok(T::default())
    }
}
