//! A handler of the events style: decides which clients enter, and makes their sessions.

use crate::{
    config::Config,
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
    styles::events::{conn::Conn, session::Session, state::State},
};

/// What a plugin exports in the events style: it may refuse clients, and makes a session for each client that enters.
///
/// A [`Session`] that is `Default` is a handler by itself. A handler may also have [`Envelope`](crate::Envelope) and
/// [`Presence`](crate::Presence), for what is published and which sessions are there.
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
/// A handler that is tested before it serves, and gives restored sessions what they share:
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
///     /// Runs before the first client. An error here keeps the older generation serving.
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
///     /// A session of an older generation: its position comes from the state, the words from this handler.
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
    /// What the handler makes for each client. Sessions of a type without fields that is `Default` move to a newer
    /// generation by themselves.
    type Session: Session;

    /// Whether the handler's own [`handshake`](Self::handshake) judges the `Origin` (RFC 6455 §10.2).
    ///
    /// If so, the server admits pages of any origin, unless its configuration has a rule for this handler. It is meant for
    /// handlers that do nothing on behalf of a logged-in user.
    const ORIGIN_ANY: bool = false;

    /// Builds the handler from its configuration. It changes nothing outside: that is for [`serving`](Self::serving).
    ///
    /// # Errors
    /// With any error the handler is not loaded, and the server's log says why.
    fn new(config: Config<'_>) -> crate::Result<Self>;

    /// Decides whether a client may enter, and what the answer carries.
    ///
    /// # Errors
    /// With any error the client gets a 500, and the server's log says why.
    fn handshake(
        &self,
        request: &Request<'_>,
        response: &mut Response<'_>,
    ) -> crate::Result<Handshake> {
        let _ = (request, response);
        Ok(Handshake::accept())
    }

    /// Makes the session of a client that has received its 101. Messages may be sent from here on.
    ///
    /// # Errors
    /// With any error there is no session: the client gets a Close with 1011, and the server's log says why.
    fn open(&self, conn: &mut Conn, request: &Request<'_>) -> crate::Result<Self::Session>;

    /// Makes a session from the state that an older generation wrote.
    ///
    /// What is sent here leaves after this callback. Every other request to `conn` is answered with
    /// [`Refused::Misuse`](crate::Refused::Misuse): topics and timers move by themselves.
    ///
    /// # Errors
    /// Any error keeps the session in the older generation, and is logged.
    fn restore(&self, conn: &mut Conn, state: &State) -> crate::Result<Self::Session> {
        Session::restore(conn, state)
    }

    /// Clients come from now on, or come no more: the place to start and to stop what runs beside the sessions.
    ///
    /// # Errors
    /// Any error is logged.
    fn serving(&self, on: bool) -> crate::Result {
        let _ = on;
        Ok(())
    }

    /// Checks whether the handler is fit to serve. It runs before the first client.
    ///
    /// # Errors
    /// With any error the handler is not used, and the server's log says why.
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
