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
///
/// ```
/// # use wsh::prelude::*;
/// #[derive(Default)]
/// struct Pings;
///
/// impl Session for Pings {
///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
///         if let Err(Refused::TooBig(rule)) = conn.ping(message.as_bytes()) {
///             conn.send(format!("{} has {}", rule.argument(), rule.wanted()))?;
///         }
///         Ok(())
///     }
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(Pings));
/// # client.send("x".repeat(126));
/// # assert!(client.receive().unwrap().to_string().contains("125"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    // Small: what a call answers is two registers then.
    name: RuleName,
    found: u32,
}

struct RuleText {
    argument: &'static str,
    found: Found,
    wanted: &'static str,
}

/// What the number that was found stands for.
enum Found {
    Number,
    Bytes,
    OneTooMany,
    OtherKind,
    BetweenParts,
    #[cfg(feature = "serde")]
    NoJson,
}

impl Rule {
    /// The name of the argument, as it stands in the signature: `code`.
    #[must_use]
    pub fn argument(&self) -> &'static str {
        self.name.text().argument
    }

    /// What the rule allows: `at most 125`.
    #[must_use]
    pub fn wanted(&self) -> &'static str {
        self.name.text().wanted
    }

    pub(crate) fn close(status: Status, code: u32, reason: &str) -> Rule {
        match status {
            abi::TOO_BIG => RuleName::Reason.bytes(reason.len()),
            _ if code == 0 => RuleName::NoReason.bytes(reason.len()),
            _ => RuleName::Code.number(code.into()),
        }
    }

    pub(crate) fn ping(data: &[u8]) -> Rule {
        RuleName::Ping.bytes(data.len())
    }

    pub(crate) fn topic(status: Status, topic: &str) -> Rule {
        match (status, rules::topic(topic)) {
            (abi::TOO_BIG, Ok(_)) => RuleName::Topics.number(0),
            _ => RuleName::Topic.bytes(topic.len()),
        }
    }

    pub(crate) fn publish(topic: &str, message: &[u8]) -> Rule {
        match rules::topic(topic) {
            Ok(_) => Rule::message(abi::TOO_BIG, message),
            Err(_) => RuleName::Topic.bytes(topic.len()),
        }
    }

    pub(crate) fn message(status: Status, message: &[u8]) -> Rule {
        Rule::message_bytes(status, message.len())
    }

    /// Of a whole message while one in parts is open.
    pub(crate) fn between_parts() -> Rule {
        RuleName::BetweenParts.number(0)
    }

    pub(crate) fn part(status: Status, bytes: usize) -> Rule {
        match status {
            abi::INVALID => RuleName::Part.number(0),
            _ => Rule::message_bytes(status, bytes),
        }
    }

    pub(crate) fn message_bytes(status: Status, bytes: usize) -> Rule {
        if status == abi::INVALID {
            // Texts are UTF-8 here, and the kind is one of two.
            return Rule::between_parts();
        }
        if bytes > rules::MESSAGE_BYTES_MAX {
            return RuleName::LongMessage.bytes(bytes);
        }
        RuleName::Message.bytes(bytes)
    }

    pub(crate) fn room(max: usize) -> Rule {
        RuleName::Max.number(max as u64)
    }

    pub(crate) fn timers() -> Rule {
        RuleName::Timers.number(0)
    }

    pub(crate) fn watermark(low: u64) -> Rule {
        RuleName::Low.number(low)
    }

    pub(crate) fn threads() -> Rule {
        RuleName::Job.number(0)
    }

    pub(crate) fn header(status: Status, name: &str, value: &[u8]) -> Rule {
        match (status, rules::header(name, b"", 0)) {
            (abi::TOO_BIG, _) => RuleName::Headers.bytes(value.len()),
            (_, Err(_)) => RuleName::Header.bytes(name.len()),
            (_, Ok(())) => RuleName::Value.bytes(value.len()),
        }
    }

    pub(crate) fn protocol(name: &str) -> Rule {
        RuleName::Protocol.bytes(name.len())
    }

    pub(crate) fn rejection(status: Status, http: u16, body: &[u8]) -> Rule {
        match status {
            abi::TOO_BIG => RuleName::Body.bytes(body.len()),
            _ => RuleName::Status.number(http.into()),
        }
    }

    pub(crate) fn raw_answer(status: Status, bytes: &[u8], linger: u32) -> Rule {
        match status {
            abi::TOO_BIG if linger as usize <= bytes.len() => RuleName::RawBytes.bytes(bytes.len()),
            abi::TOO_BIG => RuleName::RawLinger.number(linger.into()),
            _ => RuleName::Linger.number(linger.into()),
        }
    }

    #[cfg(feature = "serde")]
    pub(crate) fn json() -> Rule {
        RuleName::Json.number(0)
    }

    /// Of a call that no argument can be wrong with, as far as is known here.
    pub(crate) fn unknown() -> Rule {
        RuleName::Unknown.number(0)
    }
}

impl RuleName {
    /// A number that does not fit is said as the largest that does.
    fn number(self, found: u64) -> Rule {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        Rule { name: self, found }
    }

    fn bytes(self, found: usize) -> Rule {
        self.number(found as u64)
    }
}

/// `` `code` is 999, wanted 1000 to 1003, … ``
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, found) = (self.name.text(), self.found);
        write!(f, "`{}` ", text.argument)?;
        match text.found {
            Found::Number => write!(f, "is {found}")?,
            Found::Bytes => write!(f, "has {found} bytes")?,
            Found::OtherKind => f.write_str("is of another kind than the parts before it")?,
            Found::BetweenParts => f.write_str("comes between the parts of another")?,
            Found::OneTooMany => f.write_str("is one too many")?,
            #[cfg(feature = "serde")]
            Found::NoJson => f.write_str("cannot be said in JSON")?,
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
    ($($(#[$if:meta])* $name:ident: $argument:literal $found:ident, $wanted:literal;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq)]
        enum RuleName {
            $($(#[$if])* $name,)*
        }

        impl RuleName {
            fn text(self) -> RuleText {
                match self {
                    $($(#[$if])* RuleName::$name => RuleText {
                        argument: $argument,
                        found: Found::$found,
                        wanted: $wanted,
                    },)*
                }
            }
        }
    };
}

texts! {
    Code: "code" Number, "1000 to 1003, 1007 to 1014 or 3000 to 4999, or 0 without a reason";
    Reason: "reason" Bytes, "at most 123";
    NoReason: "reason" Bytes, "none with `code` 0";
    Ping: "data" Bytes, "at most 125";
    Topic: "topic" Bytes, "1 to 255, and no NUL";
    Topics: "topic" OneTooMany, "at most `topics_max` topics of one session";
    Message: "message" Bytes, "no more than `outbound_bytes_max` allows, with what waits for the peer";
    LongMessage: "message" Bytes, "at most 64 MiB, or `outbound_bytes_max` if that is more";
    BetweenParts: "message" BetweenParts, "the last part of that one first, by `send_part`";
    Part: "part" OtherKind, "text or binary for all of a message";
    Max: "max" Number, "room for all that is written";
    Timers: "token" OneTooMany, "at most `timers_max` timers of one session";
    Low: "low" Number, "not more than `high`";
    Job: "job" OneTooMany, "at most `threads_max` threads of one handler";
    Header: "name" Bytes, "a token (RFC 9110 §5.6.2) that is none of the handshake's own names";
    Value: "value" Bytes, "no CR, LF or other control character";
    Headers: "value" Bytes, "at most 16 KiB in all header lines";
    Protocol: "name" Bytes, "a subprotocol that the client offers";
    Status: "status" Number, "300 to 599";
    Body: "body" Bytes, "at most 1 MiB";
    RawBytes: "bytes" Bytes, "at most 1 MiB";
    RawLinger: "linger" Number, "at most 1 MiB";
    Linger: "linger" Number, "0 where a session follows";
    #[cfg(feature = "serde")]
    Json: "value" NoJson, "maps whose keys are strings or numbers, and no error of its own `Serialize`";
    Unknown: "argument" Number, "what the server allows";
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
                Rule::message(abi::INVALID, b"x"),
                "`message` comes between the parts of another, wanted the last part of that one first, by `send_part`",
            ),
            (
                Rule::part(abi::INVALID, 1),
                "`part` is of another kind than the parts before it, wanted text or binary for all of a message",
            ),
            (
                Rule::message(abi::TOO_BIG, b"x"),
                "`message` has 1 bytes, wanted no more than `outbound_bytes_max` allows, with what waits for the peer",
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
