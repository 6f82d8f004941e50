//! Logs which call of a plugin was refused: the handler, the function, and which argument broke which [rule](rules).
//!
//! The status alone leaves the author of a handler in C guessing. The rule is found out after the refusal, from the arguments
//! of the call, so that a call that succeeds pays nothing for it.

mod asks;
mod raw;
mod rules;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;
use wsh::abi::{self, Bytes, Status};

pub(crate) use self::asks::AskCall;
pub(crate) use self::raw::RawCall;
use super::guards::exits;
use super::handler_context::{self, HandlerContext};

/// A call of a function of the host table, with the arguments that have rules.
///
/// Only a function whose refusal depends on its arguments needs a variant of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HostCall<'a> {
    /// `rule` is told for every argument that the function refuses.
    Plain {
        name: &'static str,
        rule: &'static str,
    },
    Send {
        kind: u32,
        payload: LentBytes<'a>,
        /// The kind of the message whose first part was sent.
        open: Option<u8>,
    },
    Reserve {
        max: usize,
    },
    Commit {
        kind: u32,
        len: usize,
        /// Whether `len` bytes or more were reserved.
        is_reserved: bool,
        open: Option<u8>,
    },
    Ping {
        payload: LentBytes<'a>,
    },
    Close {
        code: u32,
        reason: LentBytes<'a>,
    },
    Subscribe {
        topic: LentBytes<'a>,
        on: u32,
    },
    SendTo {
        kind: u32,
        payload: LentBytes<'a>,
    },
    CloseTo {
        code: u32,
        reason: LentBytes<'a>,
    },
    Publish {
        topic: LentBytes<'a>,
        kind: u32,
        payload: LentBytes<'a>,
    },
    ResponseHeader {
        name: LentBytes<'a>,
        value: LentBytes<'a>,
        is_token: bool,
        is_the_servers: bool,
    },
    ResponseProtocol {
        protocol: LentBytes<'a>,
    },
    ResponseReject {
        code: u32,
        body: LentBytes<'a>,
    },
    Raw(RawCall<'a>),
    Ask(AskCall<'a>),
}

/// A pointer and a length that a plugin gave, with the bytes behind them where these can be read.
#[derive(Clone, Copy)]
pub(crate) struct LentBytes<'a> {
    is_null: bool,
    len: usize,
    bytes: Option<&'a [u8]>,
}

impl<'a> LentBytes<'a> {
    /// `bytes` is `None` where they cannot be read, are too long, or are no text.
    pub(crate) fn new(raw: Bytes, bytes: Option<&'a [u8]>) -> LentBytes<'a> {
        LentBytes {
            is_null: raw.ptr.is_null(),
            len: raw.len,
            bytes,
        }
    }

    fn is_readable(self) -> bool {
        self.len == 0 || !self.is_null && isize::try_from(self.len).is_ok()
    }

    fn has_nul(self) -> bool {
        self.bytes.is_some_and(|bytes| bytes.contains(&0))
    }

    fn is_text(self) -> bool {
        let is_utf8 = |bytes| simdutf8::basic::from_utf8(bytes).is_ok();
        self.len == 0 || self.bytes.is_some_and(is_utf8)
    }
}

impl std::fmt::Debug for LentBytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LentBytes")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// The pointer by which a call names its session, its request or its handler.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CalledWith {
    /// The Conn of the session with this id; 0 is unknown.
    Conn(u64),
    /// The context of a handler, `None` for NULL, in a call about the session with this id; 0 is none.
    Ctx(Option<&'static HandlerContext>, u64),
    Response,
}

impl CalledWith {
    /// The rule of the pointer. A call that breaks it is answered MISUSE.
    fn rule(self) -> &'static str {
        match self {
            CalledWith::Conn(_) => {
                "`conn` is that of the callback that runs, on the thread of that callback, and \
                 in `snapshot` and `restore` it is only looked at"
            }
            CalledWith::Ctx(..) => "`ctx` is that of the host table",
            CalledWith::Response => "`response` is that of the `handshake` that runs",
        }
    }
}

/// Logs that a call was refused, if that is the plugin's fault.
#[cold]
#[inline(never)]
pub(crate) fn log_refusal(with: CalledWith, call: &HostCall<'_>, status: Status) {
    let rule = match status {
        abi::MISUSE => Some(with.rule()),
        _ => call.broken_rule(status),
    };
    let Some(rule) = rule else {
        return;
    };
    let ((context, callback), session) = match with {
        CalledWith::Ctx(Some(context), session) => {
            let callback = exits::running_callback().map(|(_, callback)| callback);
            ((Some(context), callback), session)
        }
        CalledWith::Conn(session) | CalledWith::Ctx(None, session) => (running_handler(), session),
        CalledWith::Response => (running_handler(), 0),
    };
    let function = call.name();
    let key = (
        context.map_or(0, |context| std::ptr::from_ref(context).addr()),
        function,
        rule,
    );
    let Some(times) = times_to_log(key, Instant::now()) else {
        return;
    };
    let error = match status {
        abi::TOO_BIG => "too big",
        abi::FULL => "too many wait",
        abi::UNSUPPORTED if call.is_about_configuration(rule) => "not configured",
        abi::UNSUPPORTED => "this server does not know it",
        abi::MISUSE => "called at the wrong time or on the wrong thread",
        _ => "an argument breaks its rule",
    };
    let session = (session != 0).then_some(session);
    let times = (times > 1).then_some(times);
    match context {
        Some(context) => {
            let (handler, generation) = (&*context.handler, context.generation);
            warn!(
                handler,
                generation,
                session,
                callback,
                call = function,
                error,
                rule,
                times,
                "call refused"
            );
        }
        None => warn!(
            call = function,
            error, rule, times, "call of a handler on a thread of its own refused"
        ),
    }
}

/// The handler whose code runs on this thread, and in which callback.
fn running_handler() -> (Option<&'static HandlerContext>, Option<&'static str>) {
    match exits::running_callback() {
        Some((context, callback)) => (Some(context), Some(callback)),
        None => (handler_context::of_this_thread(), None),
    }
}

/// The kind of a refusal: the address of the handler's context, the function and the rule.
pub(super) type Key = (usize, &'static str, &'static str);

/// A refusal that was logged a short time ago.
struct LoggedRefusal {
    key: Key,
    at: Instant,
    /// Further refusals of its kind, which were not logged.
    unlogged: u64,
}

/// How many refusals of a kind the next line stands for, this one included. `None` if one was logged less than
/// [`LOG_INTERVAL`] ago.
pub(super) fn times_to_log(key: Key, now: Instant) -> Option<u64> {
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_recent = |it: &LoggedRefusal| now.duration_since(it.at) < LOG_INTERVAL;
    let times = match logged.iter_mut().find(|it| it.key == key) {
        Some(it) if is_recent(it) => {
            it.unlogged += 1;
            return None;
        }
        Some(it) => it.unlogged + 1,
        None => 1,
    };
    logged.retain(|it| it.key != key && is_recent(it));
    logged.push(LoggedRefusal {
        key,
        at: now,
        unlogged: 0,
    });
    Some(times)
}

impl HostCall<'_> {
    /// A call of a function that has no sentence for its arguments: the log refers to the header.
    pub(crate) fn named(name: &'static str) -> HostCall<'static> {
        let rule = "the arguments are as wsh.h says of the function";
        HostCall::Plain { name, rule }
    }

    /// The name of the function.
    fn name(&self) -> &'static str {
        match self {
            HostCall::Plain { name, .. } => name,
            HostCall::Send { .. } => "send",
            HostCall::Reserve { .. } => "reserve",
            HostCall::Commit { .. } => "commit",
            HostCall::Ping { .. } => "ping",
            HostCall::Close { .. } => "close",
            HostCall::Subscribe { .. } => "subscribe",
            HostCall::SendTo { .. } => "send_to",
            HostCall::CloseTo { .. } => "close_to",
            HostCall::Publish { .. } => "publish",
            HostCall::ResponseHeader { .. } => "response_header",
            HostCall::ResponseProtocol { .. } => "response_protocol",
            HostCall::ResponseReject { .. } => "response_reject",
            HostCall::Raw(call) => call.name(),
            HostCall::Ask(call) => call.name,
        }
    }
}

/// Global, because a call with a wrong pointer leads to no handler, and so to nothing that could hold it.
static LOGGED: Mutex<Vec<LoggedRefusal>> = Mutex::new(Vec::new());
/// How often a kind of refusal is logged at most.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misuse_names_the_pointer_of_the_call() {
        for (with, told) in [
            (CalledWith::Conn(7), "`conn` is that of the callback"),
            (CalledWith::Ctx(None, 7), "`ctx` is that of the host table"),
            (
                CalledWith::Response,
                "`response` is that of the `handshake`",
            ),
        ] {
            assert!(with.rule().contains(told), "{with:?}: {}", with.rule());
        }
    }

    #[test]
    fn a_repeated_refusal_is_logged_with_its_count_after_a_while() {
        let (key, start) = ((1, "a call of this test", "a rule"), Instant::now());
        assert_eq!(times_to_log(key, start), Some(1));
        for _ in 0..5 {
            assert_eq!(times_to_log(key, start), None);
        }
        assert_eq!(times_to_log((2, key.1, key.2), start), Some(1), "another");
        assert_eq!(times_to_log(key, start + LOG_INTERVAL), Some(6));
    }
}
