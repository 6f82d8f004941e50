//! Says in the log which call of a plugin's was refused: the handler, the function, and which argument
//! breaks which rule. The status alone leaves the author of a handler in C with a guess.
//!
//! Which rule it was is found out afterwards, from what the call was given, so that a call that is
//! taken pays nothing for it.

mod raw;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;
use wsh::abi::{self, Bytes, Status};
use wsh::rules;

pub(crate) use self::raw::RawCall;
use super::context::{self, Context};
use super::guards::exits;
use crate::outbound::controls::outgoing::PAYLOAD_BYTES_MAX;

/// A function of the host table with the arguments that have rules.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HostCall<'a> {
    Send {
        kind: u32,
        payload: LentBytes<'a>,
        /// The kind of the message whose first part was sent.
        open: Option<u8>,
        bytes_max: usize,
    },
    Reserve {
        max: usize,
    },
    Commit {
        kind: u32,
        len: usize,
        /// Whether as much was reserved.
        is_reserved: bool,
        open: Option<u8>,
        bytes_max: usize,
    },
    Ping {
        payload: LentBytes<'a>,
    },
    Close {
        code: u32,
        reason: LentBytes<'a>,
    },
    Abort,
    Timer,
    Reads,
    Watermark,
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
    Wake,
    WakeAfter,
    Notify,
    Spawn {
        is_null: bool,
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
    ResponseExtensions,
    Raw(RawCall<'a>),
}

/// A pointer and a length that a plugin lends. Nothing of it is read but where a call was refused because
/// it is no text: what is too long may not be there at all.
#[derive(Clone, Copy)]
pub(crate) struct LentBytes<'a> {
    is_null: bool,
    len: usize,
    bytes: Option<&'a [u8]>,
}

impl<'a> LentBytes<'a> {
    /// What was lent, and what of it can be read.
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

/// Whose call it was.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller {
    /// The code that runs on this thread, for this session; 0 is none that is known.
    Here(u64),
    /// The handler itself, about this session; 0 is none.
    Handler(&'static Context, u64),
}

/// Says that a call was refused, if that is the plugin's fault.
#[cold]
#[inline(never)]
pub(crate) fn log_refusal(by: Caller, call: &HostCall<'_>, status: Status) {
    let Some(rule) = call.broken_rule(status) else {
        return;
    };
    let ((context, callback), session) = match by {
        Caller::Here(session) => (here(), session),
        Caller::Handler(context, session) => {
            let callback = exits::running_callback().map(|(_, callback)| callback);
            ((Some(context), callback), session)
        }
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
fn here() -> (Option<&'static Context>, Option<&'static str>) {
    match exits::running_callback() {
        Some((context, callback)) => (Some(context), Some(callback)),
        None => (context::of_this_thread(), None),
    }
}

type Key = (usize, &'static str, &'static str);

/// What was told of late.
struct LoggedRefusal {
    key: Key,
    at: Instant,
    /// Refusals since, which were not told.
    unlogged: u64,
}

/// How many refusals of this kind are to be told of now, this one included; `None` if one was told a
/// moment ago.
fn times_to_log(key: Key, now: Instant) -> Option<u64> {
    let mut told = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_recent = |it: &LoggedRefusal| now.duration_since(it.at) < LOG_INTERVAL;
    let times = match told.iter_mut().find(|it| it.key == key) {
        Some(it) if is_recent(it) => {
            it.unlogged += 1;
            return None;
        }
        Some(it) => it.unlogged + 1,
        None => 1,
    };
    told.retain(|it| it.key != key && is_recent(it));
    told.push(LoggedRefusal {
        key,
        at: now,
        unlogged: 0,
    });
    Some(times)
}

impl HostCall<'_> {
    fn name(&self) -> &'static str {
        match self {
            HostCall::Send { .. } => "send",
            HostCall::Reserve { .. } => "reserve",
            HostCall::Commit { .. } => "commit",
            HostCall::Ping { .. } => "ping",
            HostCall::Close { .. } => "close",
            HostCall::Abort => "abort",
            HostCall::Timer => "timer",
            HostCall::Reads => "reads",
            HostCall::Watermark => "watermark",
            HostCall::Subscribe { .. } => "subscribe",
            HostCall::SendTo { .. } => "send_to",
            HostCall::CloseTo { .. } => "close_to",
            HostCall::Publish { .. } => "publish",
            HostCall::Wake => "wake",
            HostCall::WakeAfter => "wake_after",
            HostCall::Notify => "notify",
            HostCall::Spawn { .. } => "spawn",
            HostCall::ResponseHeader { .. } => "response_header",
            HostCall::ResponseProtocol { .. } => "response_protocol",
            HostCall::ResponseReject { .. } => "response_reject",
            HostCall::ResponseExtensions => "response_extensions",
            HostCall::Raw(call) => call.name(),
        }
    }

    /// Which argument breaks which rule; `None` where a peer or the system is the reason.
    fn broken_rule(&self, status: Status) -> Option<&'static str> {
        if status == abi::MISUSE {
            return Some(match self {
                HostCall::SendTo { .. }
                | HostCall::CloseTo { .. }
                | HostCall::Publish { .. }
                | HostCall::Wake
                | HostCall::WakeAfter
                | HostCall::Notify
                | HostCall::Spawn { .. }
                | HostCall::Raw(RawCall::WriteTo { .. }) => "`ctx` is that of the host table",
                HostCall::ResponseHeader { .. }
                | HostCall::ResponseProtocol { .. }
                | HostCall::ResponseReject { .. }
                | HostCall::ResponseExtensions
                | HostCall::Raw(RawCall::Answer { .. } | RawCall::Accept) => {
                    "`response` is that of the `handshake` that runs"
                }
                _ => {
                    "`conn` is that of the callback that runs, on the thread of that callback, and \
                     in `snapshot` and `restore` it is only looked at"
                }
            });
        }
        if ![abi::INVALID, abi::TOO_BIG, abi::UNSUPPORTED].contains(&status) {
            return None;
        }
        match *self {
            HostCall::Send {
                kind,
                payload,
                open,
                bytes_max,
            } => message(status, kind, Some(payload), PartsRule::May(open), bytes_max),
            HostCall::Reserve { max } => {
                (max > PAYLOAD_BYTES_MAX).then_some("`max` is at most 64 MiB")
            }
            HostCall::Commit {
                is_reserved: false, ..
            } => Some("`reserve`, for as many bytes, is the call with this Conn before `commit`"),
            HostCall::Commit {
                kind,
                len,
                open,
                bytes_max,
                ..
            } if len <= bytes_max => message(status, kind, None, PartsRule::May(open), bytes_max),
            HostCall::Commit { .. } => Some(TOO_LONG),
            HostCall::Ping { payload } => Some(match payload.is_readable() {
                true => "`len` is at most 125",
                false => UNREADABLE,
            }),
            HostCall::Close { code, reason } | HostCall::CloseTo { code, reason } => {
                Some(closing(code, reason))
            }
            HostCall::Timer => Some("a session has at most `timers_max` timers"),
            HostCall::Watermark => Some("`low` is not above `high`"),
            HostCall::Subscribe { topic, on } => Some(match topic_rule(status, topic) {
                Some(rule) => rule,
                None if on > 1 => "`on` is 0 or 1",
                None => "a session joins at most `topics_max` topics",
            }),
            HostCall::SendTo { kind, payload } => message(
                status,
                kind,
                Some(payload),
                PartsRule::MayNot,
                PAYLOAD_BYTES_MAX,
            ),
            HostCall::Publish {
                topic,
                kind,
                payload,
            } => topic_rule(status, topic).or_else(|| {
                let max = PAYLOAD_BYTES_MAX;
                message(status, kind, Some(payload), PartsRule::MayNot, max)
            }),
            HostCall::Spawn { is_null: true } => Some("`run` is not NULL"),
            HostCall::Spawn { is_null: false } => {
                Some("a handler has at most `threads_max` threads")
            }
            HostCall::ResponseHeader {
                name,
                value,
                is_token,
                is_the_servers,
            } => Some(if !name.is_readable() || !value.is_readable() {
                UNREADABLE
            } else if status == abi::TOO_BIG {
                "the headers of an answer have at most 16 KiB together"
            } else if !is_token {
                "`name` is a token of RFC 9110: letters, digits and !#$%&'*+-.^_`|~"
            } else if is_the_servers {
                "`name` is no header that the server writes itself"
            } else {
                "`value` has no control characters"
            }),
            HostCall::ResponseProtocol { protocol } => Some(match protocol.is_readable() {
                true => "`protocol` is one that the client offered",
                false => UNREADABLE,
            }),
            HostCall::ResponseReject { code, body } => Some(if !body.is_readable() {
                UNREADABLE
            } else if !(300..=599).contains(&code) {
                "`status` is 300 to 599"
            } else {
                "`body` has at most 1 MiB"
            }),
            HostCall::Reads => Some("`on` is 0 or 1"),
            HostCall::Raw(call) => call.broken_rule(status),
            HostCall::Abort
            | HostCall::Wake
            | HostCall::WakeAfter
            | HostCall::Notify
            | HostCall::ResponseExtensions => None,
        }
    }
}

/// Whether a message may be sent in parts, and the kind of the one that is.
#[derive(Clone, Copy)]
enum PartsRule {
    May(Option<u8>),
    MayNot,
}

/// The rule of a message that was refused. `payload` is `None` where it is not there any more.
fn message(
    status: Status,
    kind: u32,
    payload: Option<LentBytes<'_>>,
    part: PartsRule,
    bytes_max: usize,
) -> Option<&'static str> {
    let opcode = kind & 0xff;
    if payload.is_some_and(|payload| !payload.is_readable()) {
        return Some(UNREADABLE);
    }
    match status {
        // Less than that is too much only beside what a slow peer has not taken.
        abi::TOO_BIG => payload
            .is_some_and(|payload| payload.len > bytes_max)
            .then_some(TOO_LONG),
        abi::UNSUPPORTED if matches!(part, PartsRule::MayNot) => {
            Some("`kind` has no other bits than WSH_NO_COMPRESS and WSH_TRUSTED_UTF8")
        }
        abi::UNSUPPORTED => Some(
            "`kind` has no other bits than WSH_MORE, WSH_NO_COMPRESS, WSH_TRUSTED_UTF8 and WSH_IF_ROOM",
        ),
        _ if opcode != abi::TEXT && opcode != abi::BINARY => {
            Some("`kind` is WSH_TEXT or WSH_BINARY, with or without flags")
        }
        _ => Some(match part {
            PartsRule::MayNot if kind & abi::MORE != 0 => {
                "`kind` is without WSH_MORE: what is sent by id or topic is a whole message"
            }
            PartsRule::May(Some(open))
                if u32::from(open) != opcode
                    && (opcode != abi::TEXT
                        || kind & abi::TRUSTED_UTF8 != 0
                        || payload.is_none_or(LentBytes::is_text)) =>
            {
                "`kind` is that of the message's first part"
            }
            _ => "the bytes of WSH_TEXT are UTF-8, in each part by itself",
        }),
    }
}

fn closing(code: u32, reason: LentBytes<'_>) -> &'static str {
    if !reason.is_readable() {
        UNREADABLE
    } else if reason.len > rules::REASON_BYTES_MAX {
        "`reason` has at most 123 bytes"
    } else if !reason.is_text() {
        "`reason` is UTF-8"
    } else if code == 0 {
        "`code` 0 is for an empty `reason`"
    } else {
        "`code` is 1000 to 1003, 1007 to 1014 or 3000 to 4999, or 0 with an empty `reason`"
    }
}

/// The rule that a topic's name breaks by itself, if any.
fn topic_rule(status: Status, topic: LentBytes<'_>) -> Option<&'static str> {
    match status {
        abi::INVALID if !topic.is_readable() => Some(UNREADABLE),
        abi::TOO_BIG if topic.len > rules::TOPIC_BYTES_MAX => Some("`topic` has at most 255 bytes"),
        abi::INVALID if topic.len == 0 => Some("`topic` is not empty"),
        abi::INVALID if !topic.is_text() => Some("`topic` is UTF-8"),
        abi::INVALID if topic.has_nul() => Some("`topic` holds no NUL"),
        _ => None,
    }
}

static LOGGED: Mutex<Vec<LoggedRefusal>> = Mutex::new(Vec::new());
/// What a handler does wrong in the same way is told once in that time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

const UNREADABLE: &str =
    "a pointer with a length above 0 is not NULL, and no length is more than memory has";
const TOO_LONG: &str = "`len` is at most 64 MiB, or `outbound_bytes_max` where that is more";

#[cfg(test)]
mod tests;
