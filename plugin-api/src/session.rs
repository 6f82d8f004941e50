//! The events style: a handler makes a session for each open WebSocket, the server tells the
//! session what happens.

use std::ops::RangeInclusive;

use crate::{
    close::Close,
    config::Config,
    conn::Conn,
    message::Message,
    request::Request,
    response::{Handshake, Response},
    state::State,
};

/// One open WebSocket, from `open` to `on_close`. Its callbacks never overlap and keep their order;
/// they may run on different threads.
///
/// A callback that must end the session with an error calls [`fail`](crate::fail) and returns.
///
/// ```
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Echo;
///
/// impl Session for Echo {
///     fn on_message(&mut self, conn: &mut Conn, message: Message) {
///         conn.send(message);
///     }
/// }
/// # fn main() {}
/// wsh::handler!(Echo);
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

    /// A whole message came.
    fn on_message(&mut self, conn: &mut Conn, message: Message<'_>);

    /// The session begins; the client has its 101.
    fn on_open(&mut self, conn: &mut Conn) {
        let _ = conn;
    }

    /// A Ping came; the server has answered it.
    fn on_ping(&mut self, conn: &mut Conn, data: &[u8]) {
        let _ = (conn, data);
    }

    /// A Pong came.
    fn on_pong(&mut self, conn: &mut Conn, data: &[u8]) {
        let _ = (conn, data);
    }

    /// There is room again, see [`Conn::watermark`].
    fn on_drain(&mut self, conn: &mut Conn) {
        let _ = conn;
    }

    /// A timer set with [`Conn::timer`] ran out.
    fn on_timer(&mut self, conn: &mut Conn, token: u64) {
        let _ = (conn, token);
    }

    /// [`Peer::notify`](crate::Peer::notify) was called with this number, from another thread or session.
    fn on_note(&mut self, conn: &mut Conn, note: u64) {
        let _ = (conn, note);
    }

    /// The peer closes first. Its code is echoed unless `conn.close` is called here.
    fn on_closing(&mut self, conn: &mut Conn, close: &Close) {
        let _ = (conn, close);
    }

    /// The session is over. Comes once, whatever ended it.
    fn on_close(&mut self, close: Close) {
        let _ = close;
    }

    /// What the next generation of the handler needs to go on with this session, or none to stay
    /// with this one for now.
    fn snapshot(&self) -> Option<State> {
        None
    }

    /// The session again, in a newer generation.
    ///
    /// # Errors
    /// Whatever makes the state unusable; the session then stays with the older generation.
    fn restore(state: &State) -> crate::Result<Self> {
        let _ = state;
        Err("this session has no `restore`".into())
    }
}

/// What a plugin is: it may refuse clients, and makes a session for each that it lets in.
///
/// A [`Session`] that is `Default` is a handler by itself.
///
/// ```
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
///     fn handshake(&self, request: &Request, response: &mut Response) -> Handshake {
///         match request.cookie("token") {
///             Some(token) if self.tokens.contains(token) => {
///                 response.choose_protocol(request, &["chat.v2", "chat.v1"])
///             }
///             _ => Handshake::reject(403, "no token"),
///         }
///     }
///
///     fn open(&self, conn: &mut Conn, request: &Request) -> Member {
///         conn.subscribe("lobby");
///         Member { name: request.query("name").unwrap_or("someone").into() }
///     }
/// }
///
/// impl Session for Member {
///     fn on_message(&mut self, conn: &mut Conn, message: Message) {
///         conn.publish("lobby", format!("{}: {message}", self.name));
///     }
///
///     fn on_close(&mut self, close: Close) {
///         wsh::info!(code = close.code, "{} left", self.name);
///     }
/// }
/// # fn main() {}
/// wsh::handler!(Chat);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "neither a `Handler` nor a `Session` that is `Default`",
    note = "a type is a handler through `impl Handler for {Self}`, or by being a `Session` and `Default`",
    note = "a function is one with its style before it: `handler!(async name)`, `handler!(blocking name)`"
)]
pub trait Handler: Sized + Send + Sync + 'static {
    /// What it makes for each client.
    type Session: Session;

    /// How a session without anything in it begins again in a newer generation.
    #[doc(hidden)]
    const STATELESS: Option<fn() -> Self::Session> = None;

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
    fn handshake(&self, request: &Request<'_>, response: &mut Response<'_>) -> Handshake {
        let _ = (request, response);
        Handshake::accept()
    }

    /// The client is in. Messages may be sent from here on.
    fn open(&self, conn: &mut Conn, request: &Request<'_>) -> Self::Session;

    /// Clients come now, or no more: start and stop here what runs beside the sessions.
    fn serving(&self, on: bool) {
        let _ = on;
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

    const STATELESS: Option<fn() -> T> = if size_of::<T>() == 0 {
        Some(T::default)
    } else {
        None
    };
    const ORIGIN_ANY: bool = T::ORIGIN_ANY;

    fn new(_config: Config<'_>) -> crate::Result<Self> {
        Ok(T::default())
    }

    fn handshake(&self, request: &Request<'_>, response: &mut Response<'_>) -> Handshake {
        response.choose_protocol(request, T::PROTOCOLS)
    }

    fn open(&self, _conn: &mut Conn, _request: &Request<'_>) -> T {
        T::default()
    }
}
