//! The handler of the events style, which makes a session for each client.

use crate::{
    config::Config,
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
    styles::events::{conn::Conn, session::Session, state::State},
};

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
