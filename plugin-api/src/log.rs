//! Lines of a handler in the server's log.
//!
//! A line from a callback or an async function belongs to the running session, which the host knows. The function of a
//! blocking session has a thread of its own, so the thread keeps the session's number.

#[cfg(feature = "tracing")]
pub(crate) mod forward;

use std::{
    cell::Cell,
    fmt::{self, Display},
};

use crate::border::runtime;

/// Whether the host logs lines of this level now.
#[doc(hidden)]
#[inline]
#[must_use]
pub fn enabled(level: u32) -> bool {
    runtime::current().is_some_and(|runtime| runtime.host.logs(level))
}

#[doc(hidden)]
pub fn write(
    level: u32,
    target: &str,
    message: fmt::Arguments<'_>,
    fields: &[(&str, &dyn Display)],
) {
    if let Some(runtime) = runtime::current() {
        runtime.host.log(level, target, message, fields);
    }
}

/// The session whose blocking function this thread runs; 0 if it runs none.
pub(crate) fn session() -> u64 {
    SESSION.get()
}

/// Makes this thread that of a session's blocking function: the lines that it logs are about the session.
pub(crate) fn enter_session(id: u64) {
    SESSION.set(id);
}

thread_local! {
    static SESSION: Cell<u64> = const { Cell::new(0) };
}

/// Collects the fields of a line, which precede its message: `name = value`, `name = ?value` for a value that is `Debug`
/// only, or `name` for a variable of that name.
#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:expr, [$($fields:tt)*] $message:literal $($arguments:tt)*) => {
        if $crate::__private::log::enabled($level) {
            $crate::__private::log::write(
                $level,
                ::core::module_path!(),
                ::core::format_args!($message $($arguments)*),
                &[$($fields)*],
            );
        }
    };
    ($level:expr, [$($fields:tt)*] $name:ident = ?$value:expr, $($rest:tt)+) => {
        $crate::__log!(
            $level,
            [$($fields)* (::core::stringify!($name), &::core::format_args!("{:?}", $value)),]
            $($rest)+
        )
    };
    ($level:expr, [$($fields:tt)*] $name:ident = $value:expr, $($rest:tt)+) => {
        $crate::__log!($level, [$($fields)* (::core::stringify!($name), &$value),] $($rest)+)
    };
    ($level:expr, [$($fields:tt)*] $name:ident, $($rest:tt)+) => {
        $crate::__log!($level, [$($fields)* (::core::stringify!($name), &$name),] $($rest)+)
    };
}

/// Logs at level error: the operator must act. It is written like [`info!`](crate::info).
///
/// ```
/// wsh::error!(disk = "/var/lib/chat", "messages are not stored any more");
/// ```
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::__log!($crate::abi::LOG_ERROR, [] $($line)+) };
}

/// Logs at level warn: something was refused, or the handler goes on without it. It is written like
/// [`info!`](crate::info).
///
/// ```
/// # let error = "no such room";
/// wsh::warn!(error, "a link to a room is stale");
/// ```
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::__log!($crate::abi::LOG_WARN, [] $($line)+) };
}

/// Logs at level info: what an operator wants to know. Fields come first, then a format string.
///
/// A line whose level is not logged costs one load and evaluates nothing.
///
/// The log adds the handler's name and generation to each line. A line from a callback of a session, from its opening
/// handshake, or from the function that serves it also has the session's number, as `session`. A line from a thread of
/// [`spawn`](crate::spawn) has no such number, and may give one itself.
///
/// ```
/// # let (code, name) = (1000, "ann");
/// wsh::info!("{name} left");
/// wsh::info!(code = 1000 + 1, name = ?name, "left");
/// wsh::info!(code, "{} left", name);
/// ```
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::__log!($crate::abi::LOG_INFO, [] $($line)+) };
}

/// Logs at level debug: the steps of one session. It is written like [`info!`](crate::info).
///
/// ```
/// wsh::debug!(room = "tea", "subscribed");
/// ```
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::__log!($crate::abi::LOG_DEBUG, [] $($line)+) };
}

/// Logs at level trace: the steps of one message. It is written like [`info!`](crate::info).
///
/// ```
/// # let message = wsh::Message::Text("hello");
/// wsh::trace!(bytes = message.len(), "received");
/// ```
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => { $crate::__log!($crate::abi::LOG_TRACE, [] $($line)+) };
}
