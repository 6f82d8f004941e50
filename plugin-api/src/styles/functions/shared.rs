//! The value that all sessions of an async or blocking function share.

use crate::{
    config::Config,
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
};

/// The value that all sessions of an async or blocking function share. It is made once from the configuration, passed to
/// each call of the function, and dropped after the last session of its generation.
///
/// It may also have [`Envelope`](crate::Envelope) and [`Presence`](crate::Presence), for what is published and which
/// sessions are there. Its counterpart in the events style is [`Handler`](crate::Handler). [`handler!`](crate::handler) names its type, and
/// the function takes it as its last argument:
///
/// ```standalone_crate
/// use wsh::prelude::*;
///
/// struct Greeter {
///     greeting: String,
/// }
///
/// impl Shared for Greeter {
///     fn new(config: Config) -> Result<Self> {
///         Ok(Greeter { greeting: config.get("greeting")? })
///     }
/// }
///
/// async fn greet(conn: &mut AsyncConn, greeter: &Greeter) -> Result {
///     while let Some(name) = conn.recv().await {
///         conn.send(format!("{} {name}", greeter.greeting)).await?;
///     }
///     Ok(())
/// }
///
/// wsh::handler!(async greet, shared = Greeter, restarts);
///
/// # fn main() {
/// let server = wsh::test::load(&WSH_HANDLER, r#"{"greeting": "good morning"}"#).unwrap();
/// let mut client = server.connect();
/// client.send("Ann");
/// assert_eq!(client.receive().unwrap(), "good morning Ann");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be what sessions share",
    label = "needs `impl Shared for {Self}`"
)]
pub trait Shared: Sized + Send + Sync + 'static {
    /// Whether [`handshake`](Self::handshake) judges the `Origin`; see
    /// [`Handler::ORIGIN_ANY`](crate::Handler::ORIGIN_ANY).
    const ORIGIN_ANY: bool = false;

    /// Builds the value from the handler's configuration. It changes nothing outside: that is for
    /// [`serving`](Self::serving).
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

/// The shared value of functions that share nothing.
impl Shared for () {
    fn new(_config: Config<'_>) -> crate::Result<Self> {
        Ok(())
    }
}
