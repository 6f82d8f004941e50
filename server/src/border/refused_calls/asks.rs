//! Which rule a refused call about what servers share broke.

use wsh::abi::answer::{KEY_BYTES_MAX, POSITION_BYTES_MAX};
use wsh::abi::{self, Status};
use wsh::rules;

use super::LentBytes;
use super::rules::{UNREADABLE, topic_rule, whole_message_rule};

/// A call of one of these functions, with the arguments that have rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskCall<'a> {
    pub(crate) name: &'static str,
    /// Whether the answer is for a session, and not for the handler itself.
    pub(crate) is_of_session: bool,
    pub(crate) topic: Option<LentBytes<'a>>,
    /// Of a message.
    pub(crate) kind: Option<u32>,
    /// A message, a member's value, or a value of the store.
    pub(crate) value: Option<LentBytes<'a>>,
    /// A key, or the beginning of keys.
    pub(crate) key: Option<LentBytes<'a>>,
    /// A position, or where a page begins.
    pub(crate) place: Option<LentBytes<'a>>,
    pub(crate) limit: Option<u64>,
}

impl<'a> AskCall<'a> {
    /// A call with an id, without arguments yet.
    pub(crate) fn of(name: &'static str, id: u64) -> AskCall<'a> {
        AskCall {
            name,
            is_of_session: id != 0,
            topic: None,
            kind: None,
            value: None,
            key: None,
            place: None,
            limit: None,
        }
    }

    /// A call with a Conn, without arguments yet.
    pub(crate) fn of_session(name: &'static str) -> AskCall<'a> {
        AskCall {
            is_of_session: true,
            ..AskCall::of(name, 0)
        }
    }

    /// The rule that an argument of the call broke, in a sentence.
    pub(super) fn broken_rule(&self, status: Status) -> Option<&'static str> {
        match status {
            abi::FULL => Some(match self.is_of_session {
                true => "at most `session_asks_max` asks of a session wait for their answers",
                false => "at most `asks_max` asks of a handler itself wait for their answers",
            }),
            abi::INVALID | abi::TOO_BIG | abi::UNSUPPORTED => self.argument_rule(status),
            _ => None,
        }
    }

    fn argument_rule(&self, status: Status) -> Option<&'static str> {
        let mut lent = [self.topic, self.value, self.key, self.place].into_iter();
        if lent.any(|lent| lent.is_some_and(|lent| !lent.is_readable())) {
            return Some(UNREADABLE);
        }
        let topic = self.topic.and_then(|topic| topic_rule(status, topic));
        let message = || {
            let kind = self.kind?;
            let is_kind = status != abi::UNSUPPORTED || rules::kind_by_id(kind).is_err();
            is_kind.then(|| whole_message_rule(status, kind, self.value?))?
        };
        topic.or_else(message).or_else(|| match status {
            abi::UNSUPPORTED => Some(self.configuration_rule()),
            abi::TOO_BIG => self.length_rule(),
            _ => self.form_rule(),
        })
    }

    /// What `[topics]` does not have for the topic.
    fn configuration_rule(&self) -> &'static str {
        match self.name {
            "history" | "publish_acked" => {
                "`[topics]` gives the topic a `history`, and lets the handler use it"
            }
            "enter" | "present" => {
                "`[topics]` gives the topic its `presence`, and lets the handler use it"
            }
            _ => LETS_USE,
        }
    }

    fn length_rule(&self) -> Option<&'static str> {
        let is_long = |lent: LentBytes<'_>| lent.len > KEY_BYTES_MAX;
        Some(match self.name {
            _ if self.key.is_some_and(is_long) => "a key has at most 255 bytes",
            "store_put" => "a value has at most `store_value_bytes_max` bytes",
            "enter" if self.value.is_some_and(|value| value.len > 0) => {
                "the value of a member has at most `presence_value_bytes_max` bytes, and a \
                 session enters at most `topics_max` topics"
            }
            _ => "a session joins at most `topics_max` topics",
        })
    }

    fn form_rule(&self) -> Option<&'static str> {
        let is_no_text = |lent: LentBytes<'_>| !lent.is_text() || lent.has_nul();
        Some(match self.name {
            _ if self.is_without_key() => "a key is not empty",
            _ if self.key.is_some_and(is_no_text) => "a key is UTF-8, and holds no NUL",
            _ if self.limit == Some(0) => "`limit` is 1 at least",
            "history" | "subscribe_from" if self.place_len() > POSITION_BYTES_MAX => {
                "a position has at most 64 bytes"
            }
            "present" | "store_list" if self.place_len() > 0 => {
                "`after` is empty, or what `next` of a page was"
            }
            "subscribe_from" => "the session has not joined the topic yet",
            _ => return None,
        })
    }

    fn is_without_key(&self) -> bool {
        self.name != "store_list" && self.key.is_some_and(|key| key.len == 0)
    }

    fn place_len(&self) -> usize {
        self.place.map_or(0, |place| place.len)
    }
}

/// A topic of the server's own can be for some handlers only.
pub(super) const LETS_USE: &str = "`[topics]` lets the handler use the topic";

#[cfg(test)]
mod tests {
    use wsh::abi::Bytes;

    use super::*;

    fn lent(bytes: &[u8]) -> Option<LentBytes<'_>> {
        let raw = Bytes {
            ptr: bytes.as_ptr(),
            len: bytes.len(),
        };
        Some(LentBytes::new(raw, Some(bytes)))
    }

    #[test]
    fn each_refusal_names_the_argument_and_its_rule() {
        let (topic, long) = (lent(b"t"), [b'x'; 300]);
        let null = Bytes {
            ptr: std::ptr::null(),
            len: 3,
        };
        let unreadable = Some(LentBytes::new(null, None));
        let of_topic = |name| AskCall {
            topic,
            ..AskCall::of(name, 1)
        };
        let placed = |name, place| AskCall {
            place,
            ..of_topic(name)
        };
        let sent = |kind, value| AskCall {
            kind: Some(kind),
            value,
            ..of_topic("publish_acked")
        };
        let keyed = |name, key| AskCall {
            key,
            ..AskCall::of(name, 0)
        };
        let listed = AskCall {
            limit: Some(0),
            ..keyed("store_list", lent(b""))
        };
        for (call, status, told) in [
            (of_topic("present"), abi::FULL, Some("`session_asks_max`")),
            (
                AskCall::of_session("enter"),
                abi::FULL,
                Some("`session_asks_max`"),
            ),
            (AskCall::of("present", 0), abi::FULL, Some("`asks_max`")),
            (of_topic("history"), abi::GONE, None),
            (
                placed("history", unreadable),
                abi::INVALID,
                Some("is not NULL"),
            ),
            (
                AskCall {
                    topic: lent(b""),
                    ..of_topic("leave")
                },
                abi::INVALID,
                Some("`topic` is not empty"),
            ),
            (
                AskCall {
                    topic: lent(&long),
                    ..of_topic("leave")
                },
                abi::TOO_BIG,
                Some("`topic` has at most"),
            ),
            (of_topic("history"), abi::UNSUPPORTED, Some("a `history`")),
            (
                of_topic("present"),
                abi::UNSUPPORTED,
                Some("its `presence`"),
            ),
            (
                of_topic("subscribe_from"),
                abi::UNSUPPORTED,
                Some("lets the handler use"),
            ),
            (sent(1, lent(b"x")), abi::UNSUPPORTED, Some("a `history`")),
            (
                sent(2049, lent(b"x")),
                abi::UNSUPPORTED,
                Some("`kind` has no other bits"),
            ),
            (sent(1, lent(b"\xff")), abi::INVALID, Some("are UTF-8")),
            (
                placed("history", lent(&long)),
                abi::INVALID,
                Some("at most 64 bytes"),
            ),
            (
                placed("present", lent(b"x")),
                abi::INVALID,
                Some("what `next` of a page was"),
            ),
            (
                of_topic("subscribe_from"),
                abi::INVALID,
                Some("not joined the topic yet"),
            ),
            (
                of_topic("subscribe_from"),
                abi::TOO_BIG,
                Some("`topics_max`"),
            ),
            (of_topic("enter"), abi::TOO_BIG, Some("`topics_max`")),
            (
                AskCall {
                    value: lent(&long),
                    ..of_topic("enter")
                },
                abi::TOO_BIG,
                Some("`presence_value_bytes_max`"),
            ),
            (listed, abi::INVALID, Some("`limit` is 1 at least")),
            (
                keyed("store_get", lent(b"")),
                abi::INVALID,
                Some("not empty"),
            ),
            (
                keyed("store_get", lent(b"\xff")),
                abi::INVALID,
                Some("a key is UTF-8"),
            ),
            (
                keyed("store_list", lent(b"a\0")),
                abi::INVALID,
                Some("holds no NUL"),
            ),
            (
                keyed("store_put", lent(&long)),
                abi::TOO_BIG,
                Some("255 bytes"),
            ),
            (
                keyed("store_put", lent(b"k")),
                abi::TOO_BIG,
                Some("`store_value_bytes_max`"),
            ),
        ] {
            let rule = call.broken_rule(status);
            let is_told = told.is_none_or(|told| rule.is_some_and(|rule| rule.contains(told)));
            assert!(
                is_told && rule.is_some() == told.is_some(),
                "{call:?} {status}: {rule:?}"
            );
        }
    }
}
