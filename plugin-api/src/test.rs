//! Drives a handler in `cargo test`, without a server and without a plugin file.
//!
//! ```standalone_crate
//! use wsh::prelude::*;
//!
//! #[derive(Default)]
//! struct Echo;
//!
//! impl Session for Echo {
//!     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
//!         conn.send(message)?;
//!         Ok(())
//!     }
//! }
//!
//! wsh::handler!(Echo);
//!
//! # fn main() {
//! let mut client = wsh::test::connect(&WSH_HANDLER);
//! client.send("hello");
//! assert_eq!(client.receive().unwrap(), "hello");
//! client.close(1000, "");
//! assert_eq!(client.closed().unwrap().code, 1000);
//! # }
//! ```
//!
//! The handler is called through the ABI, like by a server, and the host of a test keeps the rules of the server: the
//! order of callbacks, what a call answers, what a failure becomes. Tests do not see each other. A server differs in these:
//!
//! - *Time.* In a test it stands still for sessions, handshakes and kept values until [`Server::advance`] lets it pass.
//!   Threads of [`spawn`](crate::spawn) run by the real clock, with [`Stop::wait`](crate::Stop::wait) and
//!   [`Ask::wait_timeout`](crate::Ask::wait_timeout). So a time to live that such a thread gives does not end by itself.
//! - *Order.* In a test all callbacks run on the test's thread, one at a time, so that a test always sees one order, also of
//!   the answers to asks. A server calls different sessions at the same time, and may answer in another order.
//! - *Quarantine.* A test goes on after any number of panics. A server takes a handler out of service after `panics_max` of
//!   them.
//! - *Versions.* In a test the first version of a kept value is 1. On a server it may be any number.
//!
//! With [`Server::set_answer_delay`], a thread that waits for an answer goes on after [`Server::advance`] only. A
//! [`Client::receive`] before that waits for the thread, and after ten seconds returns `None`.
//!
//! Where a real server matters, [`wshd()`] starts one.
//!
//! [`serve`] is for several clients, for requests with something in them, and for refusals:
//!
//! ```
//! use wsh::prelude::*;
//!
//! struct Lobby;
//! struct Guest(String);
//!
//! impl Handler for Lobby {
//!     type Session = Guest;
//!
//!     fn new(_: Config) -> Result<Self> {
//!         Ok(Lobby)
//!     }
//!     fn handshake(&self, request: &Request, _: &mut Response) -> Result<Handshake> {
//!         Ok(match request.query("name") {
//!             Some(_) => Handshake::accept(),
//!             None => Handshake::reject(403, "who?"),
//!         })
//!     }
//!     fn open(&self, conn: &mut Conn, request: &Request) -> Result<Guest> {
//!         conn.subscribe("lobby")?;
//!         Ok(Guest(request.query("name").unwrap_or_default().into()))
//!     }
//! }
//!
//! impl Session for Guest {
//!     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
//!         conn.publish_to_others("lobby", format!("{}: {message}", self.0))?;
//!         Ok(())
//!     }
//! }
//!
//! let server = wsh::test::serve(wsh::descriptor!(Lobby));
//! let mut ann = server.request("/?name=ann").connect();
//! let mut ben = server.request("/?name=ben").connect();
//! ann.send("hi");
//! assert_eq!(ben.receive().unwrap(), "ann: hi");
//! assert_eq!(ann.receive(), None);
//!
//! let refusal = server.request("/").try_connect().unwrap_err();
//! assert_eq!((refusal.status, refusal.body), (403, b"who?".to_vec()));
//! ```

mod answer_table;
mod callback_scope;
mod client;
mod conn_table;
mod context;
mod controls;
mod engine;
mod generation;
mod handshake;
mod host_table;
mod hub;
mod incoming;
mod limits;
mod log;
mod plugin_handshake;
mod plugin_session;
mod raw_table;
mod request_table;
mod response_draft;
mod server;
mod session;
mod sink;
mod topic_callbacks;
mod wshd;

use std::borrow::Borrow;

use crate::abi::Descriptor;

pub use self::{
    client::Client,
    handshake::{Opening, Refusal, Request},
    limits::OutboundPolicy,
    log::Line,
    server::Server,
    wshd::{Wshd, WshdClient},
};

/// Loads a handler without a configuration, and connects one client to it, which asks for `/`.
///
/// The handler is `&WSH_HANDLER`, which [`handler!`](crate::handler) exports, or a
/// [`descriptor!`](crate::descriptor).
///
/// ```standalone_crate
/// # use wsh::prelude::*;
/// # async fn echo(conn: &mut AsyncConn) -> Result {
/// #     while let Some(message) = conn.recv().await {
/// #         conn.send(message).await?;
/// #     }
/// #     Ok(())
/// # }
/// # wsh::handler!(async echo, restarts);
/// # fn main() {
/// let mut client = wsh::test::connect(&WSH_HANDLER);
/// client.send("hello");
/// assert_eq!(client.receive().unwrap(), "hello");
/// # }
/// ```
///
/// # Panics
/// The handler cannot be loaded, or refuses the client.
#[must_use]
pub fn connect(handler: impl Borrow<Descriptor>) -> Client {
    serve(handler).connect()
}

/// Loads a handler without a configuration.
///
/// ```standalone_crate
/// # use wsh::prelude::*;
/// # async fn echo(conn: &mut AsyncConn) -> Result {
/// #     while let Some(message) = conn.recv().await {
/// #         conn.send(message).await?;
/// #     }
/// #     Ok(())
/// # }
/// # wsh::handler!(async echo, restarts);
/// # fn main() {
/// let server = wsh::test::serve(&WSH_HANDLER);
/// let (mut ann, mut ben) = (server.connect(), server.connect());
/// ann.send("to myself");
/// assert_eq!(ann.receive().unwrap(), "to myself");
/// assert_eq!(ben.receive(), None);
/// # }
/// ```
///
/// # Panics
/// The handler cannot be loaded.
#[must_use]
pub fn serve(handler: impl Borrow<Descriptor>) -> Server {
    match load(handler, "{}") {
        Ok(server) => server,
        Err(error) => panic!("the handler is not loaded: {error}"),
    }
}

/// Loads a handler with its table of the configuration as a JSON object.
///
/// # Errors
/// A sentence that says why the handler cannot be loaded: the handler's own if it gave one.
///
/// ```
/// # use wsh::prelude::*;
/// # struct Chat;
/// # struct Member;
/// # impl Handler for Chat {
/// #     type Session = Member;
/// #     fn new(config: Config) -> Result<Self> { config.get::<u32>("history")?; Ok(Chat) }
/// #     fn open(&self, _: &mut Conn, _: &Request) -> Result<Member> { Ok(Member) }
/// # }
/// # impl Session for Member {
/// #     fn on_message(&mut self, _: &mut Conn, _: Message) -> Result { Ok(()) }
/// # }
/// assert!(wsh::test::load(wsh::descriptor!(Chat), r#"{"history": 100}"#).is_ok());
/// let error = wsh::test::load(wsh::descriptor!(Chat), "{}").unwrap_err();
/// assert!(error.starts_with("`history` is missing"), "{error}");
/// ```
pub fn load(handler: impl Borrow<Descriptor>, config_json: &str) -> Result<Server, String> {
    Server::load(handler.borrow(), config_json, false)
}

/// Like [`load`], for a handler that may write past the framing, as if its table said `raw = true`: see
/// [`raw`](crate::raw).
///
/// # Errors
/// Those of [`load`].
///
/// ```
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Broken;
///
/// impl Session for Broken {
///     fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
///         wsh::raw::write(conn, b"\xc1\x00")?;
///         Ok(())
///     }
/// }
///
/// let server = wsh::test::load_raw(wsh::descriptor!(Broken), "{}").unwrap();
/// let mut client = server.connect();
/// client.send("hello");
/// assert_eq!(client.receive_raw().unwrap(), b"\xc1\x00");
/// ```
pub fn load_raw(handler: impl Borrow<Descriptor>, config_json: &str) -> Result<Server, String> {
    Server::load(handler.borrow(), config_json, true)
}

/// Starts a real server with the handler of this crate, on a free port of this machine, and waits until it serves. The
/// server ends when the returned value is dropped.
///
/// It is for what only a server has: sockets, compression, limits, origins, a browser. It builds the crate's library, with
/// its default features and in the profile of the test. So the crate's name must end in `_wsh`, and its `crate-type` must
/// contain `cdylib`. The server comes with a small client; any other client can use its [`url`](Wshd::url).
///
/// ```no_run,standalone_crate
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
///
/// wsh::handler!(Echo);
///
/// // In a test of its crate, `echo_wsh`:
/// let server = wsh::test::wshd(&WSH_HANDLER);
/// let mut client = server.connect();
/// client.send("hello");
/// assert_eq!(client.receive().unwrap(), "hello");
/// assert_eq!(client.close(1000, "").code, 1000);
/// ```
///
/// The program is the one that the environment variable `WSHD` names. Otherwise it is the `wshd` beside the test, the one
/// that wrote this SDK, or the one on `PATH`.
///
/// # Panics
/// There is no `wshd`, the library cannot be built, or the server does not serve it. The message says which, and what to
/// do.
#[must_use = "the server ends when this is dropped"]
pub fn wshd(handler: impl Borrow<Descriptor>) -> Wshd {
    match wshd_with(handler, "") {
        Ok(server) => server,
        Err(error) => panic!("{error}"),
    }
}

/// Like [`wshd()`], with the text of the server's configuration file.
///
/// ```no_run,standalone_crate
/// # #[derive(Default)] struct Chat;
/// # impl wsh::Session for Chat {
/// #     fn on_message(&mut self, _: &mut wsh::Conn, _: wsh::Message) -> wsh::Result { Ok(()) }
/// # }
/// # wsh::handler!(Chat);
/// let config = r#"
///     origins = "https://example.com"
///     [handler.chat]
///     config = { history = 100 }
/// "#;
/// let server = wsh::test::wshd_with(&WSH_HANDLER, config).unwrap();
/// let foreign = [("Origin", "https://example.org")];
/// assert_eq!(server.try_connect("", &foreign).unwrap_err().status, 403);
/// ```
///
/// # Errors
/// The message with which [`wshd()`] panics.
pub fn wshd_with(handler: impl Borrow<Descriptor>, config_toml: &str) -> Result<Wshd, String> {
    Wshd::start(handler, config_toml)
}
