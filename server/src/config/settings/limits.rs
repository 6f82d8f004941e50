//! Every key under `[limits]`.
//!
//! One entry defines a limit: its field, documentation, key, default, unit, range, and when a change
//! applies. `as` gives the key another name than the field.

use std::ops::RangeInclusive;

use super::{Applies, Limit};
use crate::config::{OutboundPolicy, RatePolicy};

/// Makes a struct of limits, its `Default`, and `KEYS`, the table of its keys.
macro_rules! limits {
    (
        $(#[$struct_doc:meta])+
        pub struct $name:ident {
            $( $(#[$field_doc:meta])+ $field:ident: $field_type:ty = $field_default:expr, )*
            limits {
                $(
                    $(#[doc = $doc:literal])+
                    $limit:ident $(as $key:literal)?: $type:ty = $default:expr, $unit:literal, $range:expr, $applies:ident;
                )+
            }
        }
    ) => {
        $(#[$struct_doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_doc])+ pub $field: $field_type, )*
            $( $(#[doc = $doc])+ pub $limit: $type, )+
        }

        impl Default for $name {
            fn default() -> $name {
                $name {
                    $( $field: $field_default, )*
                    $( $limit: Amount::of($default), )+
                }
            }
        }

        impl $name {
            /// The keys that these limits have in config.toml.
            pub(in crate::config) const KEYS: &[Limit<$name>] = &[$(
                Limit {
                    name: key!($limit $($key)?),
                    about: concat!($($doc),+),
                    default: $default,
                    unit: $unit,
                    range: $range,
                    applies: Applies::$applies,
                    set: |limits, number| limits.$limit = Amount::of(number),
                },
            )+];
        }
    };
}

macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

limits! {
    /// Limits of the server as a whole.
    pub struct Limits {
        limits {
            /// Open connections. One more takes the place of the oldest idle one, or is answered 503.
            connections_max: usize = 65_536, "connections", COUNTS, AtOnce;
            /// Open connections of one address, in IPv6 of a /64; one more is answered 503. 0 is a quarter of all for each
            /// address that is not loopback, and no more than are still free.
            connections_per_address_max: Option<usize> = 0, "connections", 0..=10_000_000, AtOnce;
            /// Connections that have not finished their opening handshake.
            pending_handshakes_max: usize = 1_024, "connections", COUNTS, AtOnce;
            /// Connections that may begin in a second, a second's worth of them at once; one more is answered 503. 0 is any
            /// number.
            handshakes_per_s_max: Option<u64> = 0, "connections", 0..=10_000_000, AtOnce;
            /// Connections that one address, in IPv6 a /64, may begin in a second; one more is answered 429. 0 is any
            /// number.
            handshakes_per_address_per_s_max: Option<u64> = 0, "connections", 0..=10_000_000, AtOnce;
            /// The time from accept to the end of the opening handshake, a handler's late answer included.
            handshake_timeout_ms: u64 = 10_000, "ms", 1..=DAY_MS, NextConnection;
            /// Bytes of a head that give it one second more than `handshake_timeout_ms`, at most as much again. 0 gives none.
            header_bytes_per_s_min: Option<u64> = 500, "bytes", 0..=MIB, NextConnection;
            /// The head of a request; a larger one is answered 431 or 414.
            header_bytes_max: usize = 16 * KIB, "bytes", 512..=MIB, NextConnection;
            /// The head of a request; a longer one is answered 431.
            header_lines_max: usize = 100, "lines", 8..=10_000, NextConnection;
            /// What compression may keep between two events, in all sessions together.
            deflate_contexts_bytes_max: usize = 256 * MIB, "bytes", 0..=TIB, AtOnce;
            /// What sessions hold of messages that are incomplete or not sent, all of them together, in bytes of more than 16 KiB
            /// each. What others have sent to a session counts once that has taken it. 0 is a quarter of the memory that there is.
            buffered_bytes_max: u64 = 0, "bytes", 0..=TIB, AtOnce;
            /// Memory of the process at which the server is overloaded. 0 is the limit of its control group, or none.
            memory_bytes_max: u64 = 0, "bytes", 0..=TIB, AtOnce;
            /// Memory that the histories of all topics may take together.
            history_bytes_max: usize = 64 * MIB, "bytes", 0..=TIB, AtOnce;
            /// Memory that the members of all topics may take together.
            presence_bytes_max: usize = 16 * MIB, "bytes", 0..=TIB, AtOnce;
            /// The value of one member of a topic.
            presence_value_bytes_max: usize = KIB, "bytes", 0..=MIB, AtOnce;
            /// The time from the signal to the end of accepting, in which the server says that it is not ready.
            stop_delay_ms: u64 = 0, "ms", 0..=DAY_MS, AtOnce;
            /// The time from the end of accepting to the end of the process.
            stop_timeout_ms: u64 = 30_000, "ms", 0..=DAY_MS, AtOnce;
            /// The time in which another process that takes the place of this one has to be ready.
            upgrade_timeout_ms: u64 = 60_000, "ms", 1..=DAY_MS, AtOnce;
            /// Sessions that are told to close every two seconds while the server stops, each at a random moment.
            stop_batch_sessions: usize = 10_000, "sessions", COUNTS, AtOnce;
        }
    }
}

limits! {
    /// Limits of one handler.
    pub struct HandlerLimits {
        limits {
            /// How long a replaced version of a handler may keep its sessions. 0 is as long as they last.
            drain_timeout_s: Option<u64> = 0, "s", 0..=30 * DAY_MS / 1_000, NextVersion;
            /// Versions of a handler that may have sessions at a time, the newest included.
            generations_max: usize = 8, "versions", 1..=64, AtOnce;
            /// Panics within `panics_window_ms` that put the handler out of service.
            panics_max: u32 = 5, "panics", 1..=1_000_000, AtOnce;
            /// The window of `panics_max`.
            panics_window_ms: u64 = 10_000, "ms", 1..=DAY_MS, AtOnce;
            /// How long a handler that is out of service is left alone before one session is let in.
            quarantine_ms: u64 = 5_000, "ms", 1..=DAY_MS, AtOnce;
            /// Open sessions of a handler, with opening handshakes that it was asked about; one more is answered 503. 0 is no
            /// limit.
            sessions_max: Option<u64> = 0, "sessions", 0..=10_000_000, AtOnce;
            /// Open sessions of a handler in the blocking style; one more is answered 503.
            blocking_sessions_max: usize = 256, "sessions", 1..=65_536, AtOnce;
            /// Threads that a version of the handler may have from the server (`wsh::spawn`, blocking sessions).
            threads_max: usize = 1_024, "threads", 1..=65_536, NextLoad;
            /// The time for each of `init`, `self_test` and `shutdown`, and for each step of a trial.
            init_timeout_ms: u64 = 10_000, "ms", 1..=DAY_MS, NextLoad;
            /// Memory that a trial can write to. 0 is half of what the machine has.
            trial_memory_bytes_max: u64 = 0, "bytes", 0..=TIB, NextLoad;
            /// Memory that the handler's store may take, with its keys.
            store_bytes_max: usize = 16 * MIB, "bytes", 0..=TIB, AtOnce;
            /// One value in the handler's store.
            store_value_bytes_max: usize = 64 * KIB, "bytes", 1..=16 * MIB, AtOnce;
            /// Questions of a version of the handler to the engine, asked for no session, that wait for their answers.
            asks_max: usize = 1_024, "asks", COUNTS, AtOnce;
            /// The state of one session that moves to a new version.
            snapshot_bytes_max: usize = MIB, "bytes", 1_024..=256 * MIB, NextVersion;
        }
    }
}

limits! {
    /// Limits of one session.
    pub struct SessionLimits {
        /// Compression.
        deflate: Deflate = Deflate::default(),
        /// What happens to a session whose peer sends more than the rate.
        rate_policy: RatePolicy = RatePolicy::Pause,
        /// What happens to a message that passes `outbound_bytes_max`.
        outbound_policy: OutboundPolicy = OutboundPolicy::Close,
        limits {
            /// One message after inflation. In a handler that takes messages in parts, one part, which has at most
            /// 64 KiB.
            message_bytes_max: usize = MIB, "bytes", 1..=1_024 * MIB, NextSession;
            /// Frames of one message, and one more for each 16 KiB of it.
            fragments_max: usize = 4_096, "frames", COUNTS, NextSession;
            /// Messages that a peer may send in a second, Pings and Pongs included. 0 is no limit.
            messages_per_s_max: u64 = 0, "messages", 0..=10_000_000, NextSession;
            /// Bytes of messages, after inflation, that a peer may send in a second. 0 is no limit.
            bytes_per_s_max: u64 = 0, "bytes", 0..=TIB, NextSession;
            /// Bytes that are accepted for sending and that the kernel has not taken yet. What a session has missed of a
            /// topic that it joins must fit here, and into 1 MiB.
            outbound_bytes_max: usize = MIB, "bytes", 1_024..=1_024 * MIB, NextSession;
            /// A session ends when what it sends makes no progress for this long.
            outbound_timeout_ms: u64 = 90_000, "ms", 1..=DAY_MS, NextSession;
            /// The time that a message may take from its first byte to its last, once more for each 64 KiB
            /// of it. 0 is for ever.
            message_timeout_ms: u64 = 60_000, "ms", 0..=DAY_MS, NextSession;
            /// Silence after which a Ping is sent, give or take a tenth. 0 is never.
            ping_interval_ms: u64 = 25_000, "ms", 0..=DAY_MS, NextSession;
            /// A session ends in which no message has come or gone for this long. 0 is never.
            idle_timeout_ms: u64 = 0, "ms", 0..=365 * DAY_MS, NextSession;
            /// How long nothing may come from the peer after a Ping.
            pong_timeout_ms: u64 = 10_000, "ms", 1..=DAY_MS, NextSession;
            /// The time from the server's Close frame to the peer's.
            close_timeout_ms: u64 = 5_000, "ms", 1..=DAY_MS, NextSession;
            /// Timers that run at a time.
            timers_max: usize = 64, "timers", 0..=65_536, NextSession;
            /// Topics that the session is subscribed to at a time, and topics that it has entered.
            topics_max: usize = 256, "topics", 0..=65_536, NextSession;
            /// Questions of the session to the engine that wait for their answers.
            session_asks_max: usize = 64, "asks", 1..=65_535, AtOnce;
        }
    }
}

limits! {
    /// permessage-deflate (RFC 7692), with a client that offers it.
    pub struct Deflate {
        /// Whether it is agreed to.
        enabled: bool = true,
        /// Whether the server's messages may refer to earlier ones; it takes memory for each session.
        context_takeover: bool = false,
        limits {
            /// Messages shorter than this are sent as they are, and so are those of more than 4 MiB.
            bytes_min as "deflate_bytes_min": usize = 1_024, "bytes", 0..=16 * MIB, NextSession;
            /// The level of zlib. A higher one makes messages smaller and takes longer.
            level as "deflate_level": u8 = 2, "", 1..=9, NextSession;
            /// How far back messages may refer: 2 to the power of this many bytes.
            window_bits as "deflate_window_bits": u8 = 15, "bits", 9..=15, NextSession;
        }
    }
}

/// The type of a limit's field.
trait Amount {
    /// Converts a number of the file. The range of its key fits into the type.
    fn of(number: u64) -> Self;
}

impl Amount for u64 {
    fn of(number: u64) -> u64 {
        number
    }
}

impl Amount for usize {
    /// Where a `usize` has 32 bits, a larger number is the largest of them.
    fn of(number: u64) -> usize {
        usize::try_from(number).unwrap_or(usize::MAX)
    }
}

impl Amount for u32 {
    fn of(number: u64) -> u32 {
        u32::try_from(number).unwrap_or(u32::MAX)
    }
}

impl Amount for u8 {
    fn of(number: u64) -> u8 {
        u8::try_from(number).unwrap_or(u8::MAX)
    }
}

/// 0 in the file is no limit.
impl Amount for Option<u64> {
    fn of(number: u64) -> Option<u64> {
        (number > 0).then_some(number)
    }
}

/// 0 in the file is no limit.
impl Amount for Option<usize> {
    fn of(number: u64) -> Option<usize> {
        (number > 0).then(|| usize::of(number))
    }
}

const COUNTS: RangeInclusive<u64> = 1..=10_000_000;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const TIB: u64 = 1024 * 1024 * MIB;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
