//! The one symbol of a plugin, and the macro that makes it.

use crate::{
    abi::{self, Descriptor},
    asynchronous::Async,
    blocking::Blocking,
    border::shims,
    carry::Carry,
    events::Events,
    function::{AsyncFunction, BlockingFunction, HandshakeFunction},
    session::Handler,
    style::Style,
};

/// What the macro knows of the crate that it stands in.
#[doc(hidden)]
#[derive(Debug)]
pub struct Crate {
    /// `CARGO_PKG_NAME`
    pub name: &'static str,
    /// `CARGO_PKG_VERSION`
    pub version: &'static str,
    /// `cfg!(panic = "abort")`
    pub panic_abort: bool,
    /// The handler is a function that judges origins itself.
    pub origin_any: bool,
}

/// The descriptor of a handler in the events style.
#[doc(hidden)]
#[must_use]
pub const fn events<H: Handler>(about: &Crate) -> Descriptor {
    describe::<Events<H>>(about, Events::<H>::SCHEMA)
}

/// The descriptor of an async function. The functions are taken for their types: see
/// [`item`](crate::border::item::item).
#[doc(hidden)]
#[must_use]
pub const fn asynchronous<F, C, S, A>(about: &Crate, _function: F, _check: C) -> Descriptor
where
    F: AsyncFunction<S, A>,
    C: HandshakeFunction,
    S: Carry,
    A: 'static,
{
    describe::<Async<F, C, S, A>>(about, Async::<F, C, S, A>::SCHEMA)
}

/// The descriptor of a blocking function. The functions are taken for their types: see
/// [`item`](crate::border::item::item).
#[doc(hidden)]
#[must_use]
pub const fn blocking<F, C, A>(about: &Crate, _function: F, _check: C) -> Descriptor
where
    F: BlockingFunction<A>,
    C: HandshakeFunction,
    A: 'static,
{
    describe::<Blocking<F, C, A>>(about, Blocking::<F, C, A>::SCHEMA)
}

pub(crate) const fn describe<E: Style>(about: &Crate, schema: (u32, u32)) -> Descriptor {
    let panics = if about.panic_abort {
        abi::PANIC_ABORT
    } else {
        0
    };
    let origins = if about.origin_any { abi::ORIGIN_ANY } else { 0 };
    Descriptor {
        magic: abi::MAGIC,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        // Nothing here needs more than 1.0 has: what a host lacks is answered UNSUPPORTED.
        min_host_minor: 0,
        size: size_of::<Descriptor>() as u32,
        flags: E::FLAGS | panics | origins,
        state_schema: schema.0,
        state_schema_min: schema.1,
        reserved: 0,
        name: padded(handler_name(about.name)),
        version: padded(about.version.as_bytes()),
        toolchain: padded(env!("WSH_TOOLCHAIN").as_bytes()),
        init: Some(shims::init::<E>),
    }
}

/// `echo` of `echo_wsh`.
const fn handler_name(package: &str) -> &[u8] {
    let name = package.as_bytes();
    match name {
        [stem @ .., b'_' | b'-', b'w', b's', b'h'] if !stem.is_empty() => stem,
        _ => name,
    }
}

/// Filled up with NUL, and cut where a character ends; the last byte is always NUL.
const fn padded<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut field = [0; N];
    let mut len = if text.len() < N { text.len() } else { N - 1 };
    while len > 0 && len < text.len() && text[len] & 0xc0 == 0x80 {
        len -= 1;
    }
    let mut at = 0;
    while at < len {
        field[at] = text[at];
        at += 1;
    }
    field
}

/// Makes this crate a plugin: exports a handler as the symbol that the server looks for. Once a
/// crate, in its root.
///
/// | | |
/// |---|---|
/// | `handler!(Chat)` | a type: a [`Handler`](crate::Handler), or a [`Session`](crate::Session) that is `Default` |
/// | `handler!(async echo)` | `async fn echo(conn: &mut Conn<S>) -> Result`: a future a session |
/// | `handler!(blocking echo)` | `fn echo(conn: BlockingConn) -> Result`: a thread a session |
/// | `handler!(async echo, handshake = check)`, `handler!(blocking echo, handshake = check)` | the same, and `fn check(request: &Request, response: &mut Response) -> Handshake` says who may enter |
///
/// With `, origin = any` at the end a function judges the `Origin` itself: see
/// [`Handler::ORIGIN_ANY`](crate::Handler::ORIGIN_ANY).
///
/// An async or blocking function may take `request: &Request` after its connection; the request is
/// kept for as long as the session lasts.
///
/// What a function returns ends its session: `Ok(())` closes with 1000, an error is logged and
/// closes with 1011, as a panic does. `Err(Refused::Gone)`, which `?` passes on when the session is
/// over, is no failure.
///
/// A peer that closes first is answered with its own code. First the messages that it sent before
/// are received, then `recv` gives `None`, and the answer leaves when the function ends, or calls
/// `close` with a code of its own. A function that has not asked for messages is not waited for if
/// there are none, nor is an async one that waits for something else after the `None`; the server's
/// close timeout bounds the rest. [`Conn::closed`](crate::Conn::closed) says what the peer closed
/// with. A function goes on after the end of its session until it returns, within the server's
/// patience.
///
/// ```
/// use std::time::Duration;
/// use wsh::prelude::*;
///
/// async fn greet(conn: &mut Conn, request: &Request<'_>) -> Result {
///     let name = request.query("name").unwrap_or("stranger");
///     conn.send(format!("hello {name}")).await?;
///     conn.sleep(Duration::from_secs(1)).await;
///     Ok(())
/// }
///
/// fn check(request: &Request, response: &mut Response) -> Handshake {
///     match request.cookie("token") {
///         Some("secret") => response.choose_protocol(request, &["greet.v1"]),
///         _ => Handshake::reject(403, "no token"),
///     }
/// }
/// # fn main() {}
/// wsh::handler!(async greet, handshake = check);
/// ```
///
/// # State that survives a reload
///
/// An async session waiting in [`recv`](crate::Conn::recv),
/// [`recv_timeout`](crate::Conn::recv_timeout) or [`sleep`](crate::Conn::sleep) moves to a newer
/// generation of its handler with the socket open: the new function starts at its top, with the
/// `state` of the old one. One that awaits anything else stays where it is for now.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wsh::prelude::*;
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Counter {
///     seen: u64,
///     #[serde(default)]
///     last: String,
/// }
///
/// async fn count(conn: &mut Conn<Counter>) -> Result {
///     while let Some(message) = conn.recv().await {
///         conn.state.seen += 1;
///         conn.state.last = message.to_string();
///         conn.send(format!("{}", conn.state.seen)).await?;
///     }
///     Ok(())
/// }
/// # fn main() {}
/// wsh::handler!(async count);
/// ```
///
/// What a future holds across an `.await` must be `Send`:
///
/// ```compile_fail
/// use wsh::prelude::*;
///
/// async fn echo(conn: &mut Conn) -> Result {
///     let counter = std::rc::Rc::new(0);
///     conn.recv().await;
///     drop(counter);
///     Ok(())
/// }
/// # fn main() {}
/// wsh::handler!(async echo);
/// ```
#[macro_export]
macro_rules! handler {
    ($($handler:tt)+) => {
        /// What the server looks for in this library.
        #[unsafe(no_mangle)]
        pub static WSH_HANDLER: $crate::abi::Descriptor = $crate::descriptor!($($handler)+);
    };
}

/// The descriptor that [`handler!`](crate::handler) exports, as a value: for tests of several
/// handlers in one crate.
#[macro_export]
macro_rules! descriptor {
    (async $function:path $(, origin = $origin:ident)?) => {
        $crate::descriptor!(async $function, handshake = $crate::__private::accept $(, origin = $origin)?)
    };
    (async $function:path, handshake = $check:path $(, origin = $origin:ident)?) => {
        $crate::__private::asynchronous(&$crate::__crate!($($origin)?), $function, $check)
    };
    (blocking $function:path $(, origin = $origin:ident)?) => {
        $crate::descriptor!(blocking $function, handshake = $crate::__private::accept $(, origin = $origin)?)
    };
    (blocking $function:path, handshake = $check:path $(, origin = $origin:ident)?) => {
        $crate::__private::blocking(&$crate::__crate!($($origin)?), $function, $check)
    };
    ($handler:ty) => {
        $crate::__private::events::<$handler>(&$crate::__crate!())
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __crate {
    () => {
        $crate::__crate!(@ false)
    };
    (any) => {
        $crate::__crate!(@ true)
    };
    (@ $origin_any:literal) => {
        $crate::__private::Crate {
            name: ::core::env!("CARGO_PKG_NAME"),
            version: ::core::env!("CARGO_PKG_VERSION"),
            panic_abort: ::core::cfg!(panic = "abort"),
            origin_any: $origin_any,
        }
    };
}
