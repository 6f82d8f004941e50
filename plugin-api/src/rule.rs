//! Which rule of [`abi`](crate::abi) a refused call broke: which argument, what was found, what was wanted.

use std::fmt;

use crate::{
    abi::{self, Status},
    rules,
};

/// The rule that a call broke, and by what: inside [`Refused`](crate::Refused).
///
/// ```
/// # use wsh::prelude::*;
/// # fn end(conn: &Conn) {
/// if let Err(refused) = conn.close(999, "") {
///     // `code` is 999, wanted 1000 to 1003, 1007 to 1014 or 3000 to 4999, or 0 without a reason
///     wsh::warn!("not closed: {refused}");
/// }
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    text: &'static Text,
    found: u64,
}

#[derive(PartialEq, Eq)]
struct Text {
    argument: &'static str,
    found: Found,
    wanted: &'static str,
}

/// What the number that was found stands for.
#[derive(PartialEq, Eq)]
enum Found {
    Number,
    Bytes,
    OneTooMany,
}

impl Rule {
    /// The name of the argument, as it stands in the signature: `code`.
    #[must_use]
    pub fn argument(&self) -> &'static str {
        self.text.argument
    }

    /// What the rule allows: `at most 125`.
    #[must_use]
    pub fn wanted(&self) -> &'static str {
        self.text.wanted
    }

    pub(crate) fn close(status: Status, code: u32, reason: &str) -> Rule {
        match status {
            abi::TOO_BIG => REASON.bytes(reason.len()),
            _ if code == 0 => NO_REASON.bytes(reason.len()),
            _ => CODE.number(code.into()),
        }
    }

    pub(crate) fn ping(data: &[u8]) -> Rule {
        PING.bytes(data.len())
    }

    pub(crate) fn topic(status: Status, topic: &str) -> Rule {
        match (status, rules::topic(topic)) {
            (abi::TOO_BIG, Ok(_)) => TOPICS.number(0),
            _ => TOPIC.bytes(topic.len()),
        }
    }

    pub(crate) fn publish(topic: &str, message: &[u8]) -> Rule {
        match rules::topic(topic) {
            Ok(_) => Rule::message(message),
            Err(_) => TOPIC.bytes(topic.len()),
        }
    }

    pub(crate) fn message(message: &[u8]) -> Rule {
        Rule::message_bytes(message.len())
    }

    pub(crate) fn message_bytes(bytes: usize) -> Rule {
        MESSAGE.bytes(bytes)
    }

    pub(crate) fn room(max: usize) -> Rule {
        MAX.number(max as u64)
    }

    pub(crate) fn timers() -> Rule {
        TIMERS.number(0)
    }

    pub(crate) fn watermark(low: u64) -> Rule {
        LOW.number(low)
    }

    pub(crate) fn threads() -> Rule {
        JOB.number(0)
    }

    pub(crate) fn header(status: Status, name: &str, value: &[u8]) -> Rule {
        match (status, rules::header(name, b"", 0)) {
            (abi::TOO_BIG, _) => HEADERS.bytes(value.len()),
            (_, Err(_)) => NAME.bytes(name.len()),
            (_, Ok(())) => VALUE.bytes(value.len()),
        }
    }

    pub(crate) fn protocol(name: &str) -> Rule {
        PROTOCOL.bytes(name.len())
    }

    pub(crate) fn rejection(status: Status, http: u16, body: &[u8]) -> Rule {
        match status {
            abi::TOO_BIG => BODY.bytes(body.len()),
            _ => STATUS.number(http.into()),
        }
    }

    pub(crate) fn raw_answer(status: Status, bytes: &[u8], linger: u32) -> Rule {
        match status {
            abi::TOO_BIG if linger as usize <= bytes.len() => RAW_BYTES.bytes(bytes.len()),
            abi::TOO_BIG => RAW_LINGER.number(linger.into()),
            _ => LINGER.number(linger.into()),
        }
    }

    /// Of a call that no argument can be wrong with, as far as is known here.
    pub(crate) fn unknown() -> Rule {
        UNKNOWN.number(0)
    }
}

impl Text {
    fn number(&'static self, found: u64) -> Rule {
        Rule { text: self, found }
    }

    fn bytes(&'static self, found: usize) -> Rule {
        self.number(found as u64)
    }
}

/// `` `code` is 999, wanted 1000 to 1003, … ``
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { text, found } = self;
        write!(f, "`{}` ", text.argument)?;
        match text.found {
            Found::Number => write!(f, "is {found}")?,
            Found::Bytes => write!(f, "has {found} bytes")?,
            Found::OneTooMany => f.write_str("is one too many")?,
        }
        write!(f, ", wanted {}", text.wanted)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! texts {
    ($($name:ident: $argument:literal $found:ident, $wanted:literal;)*) => {$(
        static $name: Text = Text { argument: $argument, found: Found::$found, wanted: $wanted };
    )*};
}

texts! {
    CODE: "code" Number, "1000 to 1003, 1007 to 1014 or 3000 to 4999, or 0 without a reason";
    REASON: "reason" Bytes, "at most 123";
    NO_REASON: "reason" Bytes, "none with `code` 0";
    PING: "data" Bytes, "at most 125";
    TOPIC: "topic" Bytes, "1 to 255, and no NUL";
    TOPICS: "topic" OneTooMany, "at most `topics_max` topics of one session";
    MESSAGE: "message" Bytes, "no more than `outbound_bytes_max` allows, with what waits for the peer";
    MAX: "max" Number, "room for all that is written";
    TIMERS: "token" OneTooMany, "at most `timers_max` timers of one session";
    LOW: "low" Number, "not more than `high`";
    JOB: "job" OneTooMany, "at most `threads_max` threads of one handler";
    NAME: "name" Bytes, "a token (RFC 9110 §5.6.2) that is none of the handshake's own names";
    VALUE: "value" Bytes, "no CR, LF or other control character";
    HEADERS: "value" Bytes, "at most 16 KiB in all header lines";
    PROTOCOL: "name" Bytes, "a subprotocol that the client offers";
    STATUS: "status" Number, "300 to 599";
    BODY: "body" Bytes, "at most 1 MiB";
    RAW_BYTES: "bytes" Bytes, "at most 1 MiB";
    RAW_LINGER: "linger" Number, "at most 1 MiB";
    LINGER: "linger" Number, "0 where a session follows";
    UNKNOWN: "argument" Number, "what the server allows";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_which_argument_breaks_which_limit() {
        for (rule, sentence) in [
            (
                Rule::close(abi::INVALID, 999, ""),
                "`code` is 999, wanted 1000 to 1003, 1007 to 1014 or 3000 to 4999, or 0 without a reason",
            ),
            (
                Rule::close(abi::INVALID, 0, "bye"),
                "`reason` has 3 bytes, wanted none with `code` 0",
            ),
            (
                Rule::close(abi::TOO_BIG, 1000, &"x".repeat(124)),
                "`reason` has 124 bytes, wanted at most 123",
            ),
            (
                Rule::ping(&[0; 126]),
                "`data` has 126 bytes, wanted at most 125",
            ),
            (
                Rule::topic(abi::INVALID, ""),
                "`topic` has 0 bytes, wanted 1 to 255, and no NUL",
            ),
            (
                Rule::topic(abi::TOO_BIG, &"x".repeat(256)),
                "`topic` has 256 bytes, wanted 1 to 255, and no NUL",
            ),
            (
                Rule::topic(abi::TOO_BIG, "tea"),
                "`topic` is one too many, wanted at most `topics_max` topics of one session",
            ),
            (
                Rule::publish("a\0b", b""),
                "`topic` has 3 bytes, wanted 1 to 255, and no NUL",
            ),
            (
                Rule::watermark(7),
                "`low` is 7, wanted not more than `high`",
            ),
            (
                Rule::header(abi::INVALID, "X-A", b"a\nb"),
                "`value` has 3 bytes, wanted no CR, LF or other control character",
            ),
            (
                Rule::header(abi::INVALID, "Upgrade", b"x"),
                "`name` has 7 bytes, wanted a token (RFC 9110 §5.6.2) that is none of the handshake's own names",
            ),
            (
                Rule::rejection(abi::INVALID, 200, b""),
                "`status` is 200, wanted 300 to 599",
            ),
        ] {
            assert_eq!(rule.to_string(), sentence);
        }
    }
}
