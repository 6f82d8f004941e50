//! The rule of [`abi`](crate::abi) that a refused call broke: which argument, what was found, what was wanted.

use std::fmt;

use crate::{
    abi::{self, Status},
    rules,
};

/// The rule that a refused call broke, and the argument that broke it: part of [`Refused`](crate::Refused).
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
    // Two small fields: the answer of a call fits into two registers.
    name: RuleName,
    found: u32,
}

/// What a rule says in words.
struct RuleText {
    argument: &'static str,
    found: Found,
    wanted: &'static str,
}

/// What was found in the place of what was wanted.
enum Found {
    /// The argument is this number.
    Number,
    /// The argument has so many bytes.
    Bytes,
    /// What the argument is or does; no number says more.
    Words(&'static str),
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
            (abi::UNSUPPORTED, Ok(_)) if topic.starts_with('/') => RuleName::Shared.number(0),
            _ => Rule::topic_name(topic),
        }
    }

    fn topic_name(topic: &str) -> Rule {
        if topic.contains('\0') {
            RuleName::TopicNul.number(0)
        } else {
            RuleName::Topic.bytes(topic.len())
        }
    }

    pub(crate) fn publish(status: Status, topic: &str, message: &[u8]) -> Rule {
        match (status, rules::topic(topic)) {
            (abi::UNSUPPORTED, Ok(_)) if topic.starts_with('/') => RuleName::Shared.number(0),
            (_, Ok(_)) if message.len() > rules::MESSAGE_BYTES_MAX => {
                RuleName::LongMessage.bytes(message.len())
            }
            // A publication is otherwise refused only if its history can never have it.
            (_, Ok(_)) => RuleName::HistoryFull.number(0),
            (_, Err(_)) => Rule::topic_name(topic),
        }
    }

    pub(crate) fn publish_acked(status: Status, topic: &str, message: &[u8]) -> Rule {
        match status {
            abi::UNSUPPORTED => Rule::history(topic),
            _ => Rule::publish(status, topic, message),
        }
    }

    pub(crate) fn topics() -> Rule {
        RuleName::Topics.number(0)
    }

    pub(crate) fn subscribe_from(status: Status, topic: &str) -> Rule {
        match (status, rules::topic(topic)) {
            // A position of this library is never too long.
            (abi::INVALID, Ok(_)) => RuleName::Subscribed.number(0),
            _ => Rule::topic(status, topic),
        }
    }

    pub(crate) fn enter(status: Status, topic: &str, value: &[u8]) -> Rule {
        match (status, rules::topic(topic)) {
            (abi::UNSUPPORTED, Ok(_)) => Rule::presence(topic),
            (_, Ok(_)) => RuleName::MemberValue.bytes(value.len()),
            (_, Err(_)) => Rule::topic_name(topic),
        }
    }

    pub(crate) fn members_full() -> Rule {
        RuleName::MembersFull.number(0)
    }

    /// The rule of an ask that `[topics]` does not allow: the topic has no history, or the handler may not use it.
    pub(crate) fn history(topic: &str) -> Rule {
        match topic.starts_with('/') {
            true => RuleName::SharedHistory.number(0),
            false => RuleName::History.number(0),
        }
    }

    /// The rule of an ask that `[topics]` does not allow: the topic has no members, or the handler may not use it.
    pub(crate) fn presence(topic: &str) -> Rule {
        match topic.starts_with('/') {
            true => RuleName::SharedPresence.number(0),
            false => RuleName::Presence.number(0),
        }
    }

    pub(crate) fn history_full() -> Rule {
        RuleName::HistoryFull.number(0)
    }

    pub(crate) fn page_of_topic(status: Status, topic: &str, limit: u64) -> Rule {
        match rules::topic(topic) {
            Ok(_) => Rule::page(status, limit),
            Err(_) => Rule::topic_name(topic),
        }
    }

    pub(crate) fn page_of_keys(status: Status, prefix: &str, limit: u64) -> Rule {
        match rules::asks::key_prefix(prefix) {
            Ok(_) => Rule::page(status, limit),
            Err(_) if prefix.contains('\0') => RuleName::PrefixNul.number(0),
            Err(_) => RuleName::Prefix.bytes(prefix.len()),
        }
    }

    fn page(status: Status, limit: u64) -> Rule {
        match (status, limit) {
            (abi::INVALID, 0) => RuleName::Limit.number(0),
            (abi::INVALID, _) => RuleName::After.number(0),
            _ => Rule::unknown(),
        }
    }

    pub(crate) fn key(key: &str) -> Rule {
        if key.contains('\0') {
            RuleName::KeyNul.number(0)
        } else {
            RuleName::Key.bytes(key.len())
        }
    }

    pub(crate) fn put(status: Status, key: &str, value: &[u8]) -> Rule {
        match (status, rules::asks::key(key)) {
            (abi::TOO_BIG, Ok(_)) => RuleName::KeptValue.bytes(value.len()),
            _ => Rule::key(key),
        }
    }

    pub(crate) fn version() -> Rule {
        RuleName::Version.number(0)
    }

    pub(crate) fn store_full() -> Rule {
        RuleName::StoreFull.number(0)
    }

    pub(crate) fn message(status: Status, message: &[u8]) -> Rule {
        Rule::message_bytes(status, message.len())
    }

    /// The rule that a whole message breaks which comes between two parts of another.
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
            // A text of this library is UTF-8, and its kind is right, so only this rule is left.
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
        if status == abi::TOO_BIG {
            return RuleName::Headers.bytes(value.len());
        }
        match (rules::is_the_servers(name), rules::is_token(name)) {
            (true, _) => RuleName::OwnHeader.number(0),
            (false, false) => RuleName::Header.number(0),
            (false, true) => RuleName::Value.number(0),
        }
    }

    pub(crate) fn protocol() -> Rule {
        RuleName::Protocol.number(0)
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

    /// The rule of a call that breaks none which this library knows. It serves a new function until it has a sentence.
    pub(crate) fn unknown() -> Rule {
        RuleName::Unknown.number(0)
    }

    /// The rule of the optional table of functions that a handler has with `raw = true`.
    pub(crate) fn raw() -> Rule {
        RuleName::Raw.number(0)
    }

    /// This rule, if it says what the configuration has to allow. Otherwise the rule of a call that is not supported.
    pub(crate) fn or_unsupported(self) -> Rule {
        match self.name {
            RuleName::History
            | RuleName::SharedHistory
            | RuleName::Presence
            | RuleName::SharedPresence
            | RuleName::Shared => self,
            _ => RuleName::Unsupported.number(0),
        }
    }

    /// Too many items for one list in memory.
    pub(crate) fn long_list() -> Rule {
        RuleName::LongList.number(0)
    }
}

impl RuleName {
    /// A number above the range of `u32` is shown as the largest in it.
    fn number(self, found: u64) -> Rule {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        Rule { name: self, found }
    }

    fn bytes(self, found: usize) -> Rule {
        self.number(found as u64)
    }
}

/// Writes a sentence like `` `code` is 999, wanted 1000 to 1003, … ``.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, found) = (self.name.text(), self.found);
        write!(f, "`{}` ", text.argument)?;
        match text.found {
            Found::Number => write!(f, "is {found}")?,
            Found::Bytes => write!(f, "has {found} bytes")?,
            Found::Words(words) => f.write_str(words)?,
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
    ($($(#[$if:meta])* $name:ident: $argument:literal $found:expr, $wanted:literal;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq)]
        enum RuleName {
            $($(#[$if])* $name,)*
        }

        impl RuleName {
            fn text(self) -> RuleText {
                match self {
                    $($(#[$if])* RuleName::$name => RuleText {
                        argument: $argument,
                        found: $found,
                        wanted: $wanted,
                    },)*
                }
            }
        }
    };
}

texts! {
    Code: "code" Found::Number, "1000 to 1003, 1007 to 1014 or 3000 to 4999, or 0 without a reason";
    Reason: "reason" Found::Bytes, "at most 123";
    NoReason: "reason" Found::Bytes, "none with `code` 0";
    Ping: "data" Found::Bytes, "at most 125";
    Topic: "topic" Found::Bytes, "1 to 255 bytes without NUL";
    TopicNul: "topic" Found::Words("contains NUL"), "1 to 255 bytes without NUL";
    Topics: "topic" ONE_TOO_MANY, "at most `topics_max` topics of one session";
    Subscribed: "topic" Found::Words("is one that the session has joined"), "another, or `unsubscribe` first";
    MemberValue: "value" Found::Words("or the number of topics is past its limit"),
        "at most `presence_value_bytes_max` bytes, on at most `topics_max` topics";
    MembersFull: "value" Found::Words("does not fit beside those of other members"),
        "at most `presence_bytes_max` in all";
    History: "topic" Found::Words("has no history"), "a `history` in its table of `[topics]` in config.toml";
    SharedHistory: "topic" Found::Words("has no history, or is not for this handler"),
        "a `history`, and the handler among the `handlers`, in its table of `[topics]` in config.toml";
    Presence: "topic" Found::Words("may have no members"),
        "no `presence = false` in its table of `[topics]` in config.toml";
    SharedPresence: "topic" Found::Words("may have no members, or is not for this handler"),
        "no `presence = false`, and the handler among the `handlers`, in its table of `[topics]` in config.toml";
    Shared: "topic" Found::Words("is not for this handler"),
        "the handler among the `handlers` in its table of `[topics]` in config.toml";
    HistoryFull: "message" Found::Words("is larger than its history may be"),
        "at most `bytes` of the topic, and `history_bytes_max` in all";
    Limit: "limit" Found::Number, "at least 1";
    After: "after" Found::Words("begins no page of this list"), "what an earlier page of it says is `next`";
    Prefix: "prefix" Found::Bytes, "at most 255 bytes without NUL";
    PrefixNul: "prefix" Found::Words("contains NUL"), "at most 255 bytes without NUL";
    Key: "key" Found::Bytes, "1 to 255 bytes without NUL";
    KeyNul: "key" Found::Words("contains NUL"), "1 to 255 bytes without NUL";
    KeptValue: "value" Found::Bytes, "at most `store_value_bytes_max`";
    Version: "version" Found::Words("is `u64::MAX`, which no value has"),
        "the version of an answer, or 0 for no value";
    StoreFull: "value" Found::Words("does not fit beside what the handler keeps"),
        "at most `store_bytes_max` in all";
    Message: "message" Found::Bytes, "no more than `outbound_bytes_max` allows, with what waits for the peer";
    LongMessage: "message" Found::Bytes, "at most 1 GiB";
    BetweenParts: "message" Found::Words("comes between the parts of another"),
        "the last part of that one first, by `send_part`";
    Part: "part" Found::Words("is of another kind than the parts before it"),
        "text or binary for all of a message";
    Max: "max" Found::Number, "room for all that is written";
    Timers: "token" ONE_TOO_MANY, "at most `timers_max` timers of one session";
    Low: "low" Found::Number, "not more than `high`";
    Job: "job" ONE_TOO_MANY, "at most `threads_max` threads of one handler";
    Header: "name" Found::Words("is no token"), "a token (RFC 9110 §5.6.2)";
    OwnHeader: "name" Found::Words("is a header of the handshake itself"), "any other";
    Value: "value" Found::Words("contains a control character"), "none but the tab";
    Headers: "value" Found::Bytes, "at most 16 KiB in all header lines";
    Protocol: "name" Found::Words("was not offered"), "a subprotocol that the client offers";
    Status: "status" Found::Number, "300 to 599";
    Body: "body" Found::Bytes, "at most 1 MiB";
    RawBytes: "bytes" Found::Bytes, "at most 1 MiB";
    RawLinger: "linger" Found::Number, "at most 1 MiB";
    Linger: "linger" Found::Number, "0 where a session follows";
    #[cfg(feature = "serde")]
    Json: "value" Found::Words("cannot be said in JSON"),
        "maps whose keys are strings or numbers, and no error of its own `Serialize`";
    LongList: "list" Found::Words("has too many items for one answer"), "at most 1048576, or a page at a time";
    Raw: "call" Found::Words("is not allowed to this handler"), "`raw = true` in the handler's table";
    Unsupported: "call" Found::Words("is not known to this server, or not allowed to this handler"),
        "a newer server, or another configuration";
    Unknown: "argument" Found::Words("was refused"), "what the server allows";
}

const ONE_TOO_MANY: Found = Found::Words("is one too many");

#[cfg(test)]
mod tests;
