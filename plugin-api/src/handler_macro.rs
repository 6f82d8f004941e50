//! The macros that make a crate a plugin.

/// Makes this crate a plugin: exports a handler as the symbol that the server looks for. It is written once, in the root
/// of the crate.
///
/// | | |
/// |---|---|
/// | `handler!(Chat)` | a type: a [`Handler`](crate::Handler), or a [`Session`](crate::Session) that is `Default` |
/// | `handler!(async echo)` | `async fn echo(conn: &mut AsyncConn<S>) -> Result`: a future for each session |
/// | `handler!(blocking echo)` | `fn echo(conn: BlockingConn) -> Result`: a thread for each session |
///
/// A function may be followed by options, in any order:
///
/// | | |
/// |---|---|
/// | `, handshake = check` | `fn check(request: &Request, response: &mut Response) -> Result<Handshake>` decides which clients may enter |
/// | `, shared = Chat` | the sessions share a value, made from the configuration: a [`Shared`](crate::Shared). The function takes `shared: &Chat` last |
/// | `, restarts` | an async function without a state may begin again at its top in a newer generation |
/// | `, parts` | messages come in parts, and may be of any length: [`AsyncConn::recv_part`](crate::AsyncConn::recv_part) |
/// | `, origin = any` | the function judges the `Origin` itself: see [`Handler::ORIGIN_ANY`](crate::Handler::ORIGIN_ANY) |
///
/// An async or blocking function may take `request: &Request` after its connection. The request is then kept for as long
/// as the session lasts.
///
/// A session ends when its function returns. `Ok(())` closes with 1000. An error is logged and closes with 1011, and so
/// does a panic. `Err(Refused::Gone)`, which `?` passes on when the session is over, is no failure.
///
/// A peer that closes first is answered with its own code. First the messages that it sent before are received. Then
/// `recv` returns `None`, and the answer leaves when the function ends, or when it calls `close` with a code of its own.
/// The answer does not wait for a function that has never asked for messages, if there are none. Nor does it wait for an
/// async function that waits for something else after the `None`. In any case it leaves within the server's close
/// timeout. [`AsyncConn::closed`](crate::AsyncConn::closed) says what the peer closed with. A function may go on after the
/// end of its session, for at most 30 seconds.
///
/// ```standalone_crate
/// use std::time::Duration;
/// use wsh::prelude::*;
///
/// async fn greet(conn: &mut AsyncConn, request: &Request<'_>) -> Result {
///     let name = request.query("name").unwrap_or("stranger");
///     conn.send(format!("hello {name}")).await?;
///     conn.sleep(Duration::from_secs(1)).await;
///     Ok(())
/// }
///
/// fn check(request: &Request, response: &mut Response) -> Result<Handshake> {
///     match request.cookie("token") {
///         Some("secret") => response.choose_protocol(request, &["greet.v1"]),
///         _ => Ok(Handshake::reject(403, "no token")),
///     }
/// }
/// # fn main() {}
/// wsh::handler!(async greet, handshake = check);
/// ```
///
/// # State that survives a reload
///
/// An async session with a state moves to a newer generation of its handler while its function waits in
/// [`recv`](crate::AsyncConn::recv), [`recv_timeout`](crate::AsyncConn::recv_timeout) or
/// [`sleep`](crate::AsyncConn::sleep). The socket stays open, and the new function starts at its top with the `state` of
/// the old one. A function that also awaits something else keeps its session in the old generation for now, and so does
/// one that says [`stay`](crate::AsyncConn::stay). A function without a state would begin again with nothing: its sessions
/// move if its handler says `restarts`, and stay otherwise.
///
/// ```standalone_crate
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
/// async fn count(conn: &mut AsyncConn<Counter>) -> Result {
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
/// Values that a future holds across an `.await` must be `Send`:
///
/// ```compile_fail
/// use wsh::prelude::*;
///
/// async fn echo(conn: &mut AsyncConn) -> Result {
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
    ($($handler:tt)*) => {
        /// The descriptor that the server looks for in this library.
        #[unsafe(no_mangle)]
        pub static WSH_HANDLER: $crate::abi::Descriptor = $crate::descriptor!($($handler)*);
    };
}

/// The descriptor that [`handler!`](crate::handler) would export, as a value: for tests of several handlers in one crate.
///
/// ```
/// use wsh::prelude::*;
///
/// async fn shout(conn: &mut AsyncConn) -> Result {
///     while let Some(message) = conn.recv().await {
///         conn.send(message.to_string().to_uppercase()).await?;
///     }
///     Ok(())
/// }
///
/// let mut client = wsh::test::connect(wsh::descriptor!(async shout, restarts));
/// client.send("hello");
/// assert_eq!(client.receive().unwrap(), "HELLO");
/// ```
#[macro_export]
macro_rules! descriptor {
    () => {
        $crate::__wanted!("nothing")
    };
    (async) => {
        $crate::__wanted!("no function after `async`")
    };
    (blocking) => {
        $crate::__wanted!("no function after `blocking`")
    };
    ($(async)? fn $($rest:tt)*) => {
        $crate::__wanted!("`fn`, which is not written here")
    };
    (async $function:path $(, $($options:tt)*)?) => {
        $crate::__function!(
            async $function, [$crate::__private::HandshakeOfShared] [()] [false] [false] [false], $($($options)*)?
        )
    };
    (blocking $function:path $(, $($options:tt)*)?) => {
        $crate::__function!(
            blocking $function, [$crate::__private::HandshakeOfShared] [()] [false] [false] [false], $($($options)*)?
        )
    };
    // A path may name a type or a function. The import takes it for what it is: if it is no type, the type of the outer
    // block shows through.
    ($($handler:ident)::+) => {{
        #[allow(unused_imports)]
        use $crate::__private::{NotAFunction as _, named::HandlerOfThisCrate};
        {
            #[allow(unused_imports)]
            use $($handler)::+ as HandlerOfThisCrate;
            const {
                ::core::assert!(
                    !$crate::__private::Named::<HandlerOfThisCrate>::IS_FUNCTION,
                    ::core::concat!(
                        "`", ::core::stringify!($($handler)::+), "` is a function, and its style is missing: \
                         write `handler!(async ", ::core::stringify!($($handler)::+), ")` for an \
                         `async fn(conn: &mut AsyncConn) -> Result`, `handler!(blocking ",
                        ::core::stringify!($($handler)::+), ")` for a `fn(conn: BlockingConn) -> Result`"
                    )
                )
            };
            $crate::__events!(HandlerOfThisCrate)
        }
    }};
    ($handler:ty) => {
        $crate::__events!($handler)
    };
    ($handler:ty, $($rest:tt)*) => {
        ::core::compile_error!(::core::concat!(
            "a type takes no options: found `, ", ::core::stringify!($($rest)*), "` after `",
            ::core::stringify!($handler), "`; what functions say with options, a type says in `impl Handler` \
             or `impl Session`"
        ))
    };
    ($($other:tt)+) => {
        $crate::__wanted!(::core::concat!("`", ::core::stringify!($($other)+), "`"))
    };
}

/// The descriptor of a type.
#[doc(hidden)]
#[macro_export]
macro_rules! __events {
    ($handler:ty) => {{
        #[allow(unused_imports)]
        use $crate::__private::NotDefault as _;
        $crate::__private::events::<$handler, _, _>(
            &$crate::__crate!(false),
            (
                $crate::__private::Probe::<$handler>::BEGIN,
                $crate::__topic_callbacks!($handler),
            ),
        )
    }};
}

/// Which of [`Envelope`](crate::Envelope) and [`Presence`](crate::Presence) a type has.
#[doc(hidden)]
#[macro_export]
macro_rules! __topic_callbacks {
    ($type:ty) => {{
        #[allow(unused_imports)]
        use $crate::__private::{NoEnvelope as _, NoPresence as _};
        // A session is its own handler, or must leave these to it: nothing would call them.
        const {
            ::core::assert!(
                !$crate::__private::TopicProbe::<$type>::ENVELOPE_OF_SESSION
                    || $crate::__private::TopicProbe::<$type>::ENVELOPE.is_written(),
                "the session has `Envelope`, and its handler has not: write `impl Envelope` for the handler"
            );
            ::core::assert!(
                !$crate::__private::TopicProbe::<$type>::PRESENCE_OF_SESSION
                    || $crate::__private::TopicProbe::<$type>::PRESENCE.is_written(),
                "the session has `Presence`, and its handler has not: write `impl Presence` for the handler"
            )
        };
        (
            $crate::__private::TopicProbe::<$type>::ENVELOPE,
            $crate::__private::TopicProbe::<$type>::PRESENCE,
        )
    }};
}

/// A compile error that says what [`handler!`](crate::handler) takes, and what was found.
#[doc(hidden)]
#[macro_export]
macro_rules! __wanted {
    ($found:expr) => {
        ::core::compile_error!(::core::concat!(
            "wanted a handler: `handler!(TYPE)` for a `Handler` or a `Session` that is `Default`, \
             `handler!(async FUNCTION)` for an `async fn(conn: &mut AsyncConn) -> Result`, \
             `handler!(blocking FUNCTION)` for a `fn(conn: BlockingConn) -> Result`; found ",
            $found
        ))
    };
}

/// Reads the options after a function one by one: `[handshake] [shared] [restarts] [origin = any] [parts]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __function {
    ($style:tt $function:path, $check:tt $shared:tt $restarts:tt $any:tt $parts:tt,
     handshake = $new:path $(, $($rest:tt)*)?) => {
        $crate::__function!($style $function, [$new] $shared $restarts $any $parts, $($($rest)*)?)
    };
    ($style:tt $function:path, $check:tt $shared:tt $restarts:tt $any:tt $parts:tt,
     shared = $new:ty $(, $($rest:tt)*)?) => {
        $crate::__function!($style $function, $check [$new] $restarts $any $parts, $($($rest)*)?)
    };
    (async $function:path, $check:tt $shared:tt $restarts:tt $any:tt $parts:tt,
     restarts $(, $($rest:tt)*)?) => {
        $crate::__function!(async $function, $check $shared [true] $any $parts, $($($rest)*)?)
    };
    ($style:tt $function:path, $check:tt $shared:tt $restarts:tt $any:tt $parts:tt,
     origin = any $(, $($rest:tt)*)?) => {
        $crate::__function!($style $function, $check $shared $restarts [true] $parts, $($($rest)*)?)
    };
    ($style:tt $function:path, $check:tt $shared:tt $restarts:tt $any:tt $parts:tt,
     parts $(, $($rest:tt)*)?) => {
        $crate::__function!($style $function, $check $shared $restarts $any [true], $($($rest)*)?)
    };
    (async $function:path, [$($check:tt)+] [$($shared:tt)+] [$restarts:tt] [$any:tt] [$parts:tt],) => {
        $crate::__private::asynchronous::<$($shared)+, $restarts, $parts, _, _, _, _, _>(
            &$crate::__crate!($any), $function, $($check)+, $crate::__topic_callbacks!($($shared)+)
        )
    };
    (blocking $function:path, [$($check:tt)+] [$($shared:tt)+] [$restarts:tt] [$any:tt] [$parts:tt],) => {
        $crate::__private::blocking::<$($shared)+, $parts, _, _, _, _>(
            &$crate::__crate!($any), $function, $($check)+, $crate::__topic_callbacks!($($shared)+)
        )
    };
    ($style:tt $function:path, $check:tt $shared:tt $restarts:tt $any:tt $parts:tt, $($rest:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "unknown here: `", ::core::stringify!($($rest)+), "`; an async or blocking function takes \
             `handshake = FUNCTION`, `shared = TYPE`, `parts` and `origin = any`, an async one `restarts` as \
             well"
        ))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __crate {
    ($origin_any:literal) => {
        $crate::__private::Crate {
            name: ::core::env!("CARGO_PKG_NAME"),
            version: ::core::env!("CARGO_PKG_VERSION"),
            description: ::core::env!("CARGO_PKG_DESCRIPTION"),
            panic_abort: ::core::cfg!(panic = "abort"),
            origin_any: $origin_any,
        }
    };
}
