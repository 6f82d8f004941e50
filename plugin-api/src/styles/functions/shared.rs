//! What all sessions of an async or a blocking function share.

use crate::{
    config::Config,
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
};

/// What all sessions of an async or a blocking function share: made once from the configuration, passed to
/// each call of the function, and dropped after the last session of its generation.
///
/// It is what [`Handler`](crate::Handler) is in the events style. Named in
/// [`handler!`](crate::handler), the function takes it as its last argument:
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
    /// Whether [`handshake`](Self::handshake) judges the `Origin`, see
    /// [`Handler::ORIGIN_ANY`](crate::Handler::ORIGIN_ANY).
    const ORIGIN_ANY: bool = false;

    /// Builds it from the handler's configuration. Acts on nothing outside: see
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

/// Functions that share nothing.
impl Shared for () {
    fn new(_config: Config<'_>) -> crate::Result<Self> {
        Ok(())
    }
}
