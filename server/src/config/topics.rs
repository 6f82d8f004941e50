//! What the server keeps and tells of topics, by patterns like `chat/*`: the table `[topics]`.
//!
//! A topic has the policy of the longest pattern that matches it, and of that one only.

pub(super) mod pattern;
pub(super) mod table;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use self::pattern::Pattern;
use super::Place;

/// The policies of all topics. A change of the configuration makes new ones.
#[derive(Debug, Default, PartialEq)]
pub struct Topics {
    /// By the name of the handler that the topics belong to. A publication looks here, and the few names that a file
    /// has are compared faster than one of them is hashed.
    handlers: BTreeMap<Box<str>, Policies>,
    /// Of the server's own topics, whose names begin with `/`.
    shared: Policies,
}

/// What holds for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPolicy {
    /// How much of what was published is kept; `None` keeps nothing.
    pub history: Option<HistoryBounds>,
    /// Whether sessions can enter the topic, so that its members can be listed.
    pub presence: bool,
    /// The handlers that may use the topic, for a topic of the server's own; `None` is all handlers.
    pub handlers: Option<Vec<String>>,
}

/// How much history a topic has. Each bound holds; one that is not given is the maximum of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryBounds {
    /// The number of publications, at least 1.
    pub count: usize,
    /// The age of the oldest publication.
    pub age_ms: u64,
    /// The memory of all publications together.
    pub bytes: usize,
}

/// A place where `[topics]` names a handler, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedHandler {
    /// The pattern, as written.
    pub pattern: String,
    /// The handler's name.
    pub name: String,
    /// Where it is written.
    pub place: Place,
}

/// The policies of one owner's topics.
#[derive(Debug, Default, PartialEq)]
struct Policies {
    /// Of single topics, by their names.
    exact: HashMap<Box<str>, TopicPolicy>,
    /// Of all topics whose names begin with a text, by that text.
    prefixes: BTreeMap<Box<str>, TopicPolicy>,
}

impl Topics {
    /// The policy of the topic `name` of the handler `owner`.
    ///
    /// The owner of a topic that begins with `/` does not matter, since that topic is the server's own.
    pub fn policy(&self, owner: &str, name: &str) -> &TopicPolicy {
        let policies = match name.starts_with('/') {
            true => Some(&self.shared),
            false => self.handlers.get(owner),
        };
        let policy = policies.and_then(|policies| policies.find(name));
        policy.unwrap_or(&TopicPolicy::DEFAULT)
    }

    /// Whether there is no pattern, so that each topic has the default policy.
    pub fn is_plain(&self) -> bool {
        self.handlers.is_empty() && self.shared.is_empty()
    }

    /// Topics with these patterns, for tests.
    #[cfg(test)]
    pub(crate) fn of(policies: &[(&str, TopicPolicy)]) -> Topics {
        let mut topics = Topics::default();
        for (text, policy) in policies {
            let pattern = Pattern::parse(text).unwrap_or_else(|why| panic!("{text}: {why:?}"));
            topics.insert(&pattern, policy.clone());
        }
        topics
    }

    /// Sets the policy of what the pattern matches.
    fn insert(&mut self, pattern: &Pattern, policy: TopicPolicy) {
        let policies = match &pattern.owner {
            Some(owner) => self.handlers.entry(owner.as_str().into()).or_default(),
            None => &mut self.shared,
        };
        let name = pattern.name.as_str().into();
        match pattern.is_prefix {
            true => policies.prefixes.insert(name, policy),
            false => policies.exact.insert(name, policy),
        };
    }
}

impl Policies {
    fn find(&self, name: &str) -> Option<&TopicPolicy> {
        // No prefix is longer than the whole name.
        self.exact
            .get(name)
            .or_else(|| self.with_longest_prefix(name))
    }

    fn with_longest_prefix(&self, name: &str) -> Option<&TopicPolicy> {
        let mut rest = name;
        loop {
            // Prefixes of a text are not greater than the text, and the longest is the greatest of them.
            let not_greater = (Bound::Unbounded, Bound::Included(rest));
            let (greatest, policy) = self.prefixes.range::<str, _>(not_greater).next_back()?;
            if rest.starts_with(&**greatest) {
                return Some(policy);
            }
            // What is a prefix and less than `greatest` is a prefix of both.
            rest = common_prefix(rest, greatest);
        }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }
}

/// The longest text with which both begin.
fn common_prefix<'a>(one: &'a str, other: &str) -> &'a str {
    let pairs = one.chars().zip(other.chars());
    let equal = pairs.take_while(|(one, other)| one == other);
    let len = equal.map(|(one, _)| one.len_utf8()).sum();
    &one[..len]
}

impl TopicPolicy {
    /// The policy of a topic that no pattern matches.
    pub const DEFAULT: TopicPolicy = TopicPolicy {
        history: None,
        presence: true,
        handlers: None,
    };

    /// Whether this handler may publish to the topic, subscribe to it and enter it.
    pub fn allows(&self, handler: &str) -> bool {
        let listed = self.handlers.as_ref();
        listed.is_none_or(|listed| listed.iter().any(|name| name == handler))
    }
}

impl Default for TopicPolicy {
    fn default() -> TopicPolicy {
        TopicPolicy::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Topics of which each pattern keeps as many publications as its index says.
    fn topics(patterns: &[&str]) -> Topics {
        let mut topics = Topics::default();
        for (index, text) in patterns.iter().enumerate() {
            let history = HistoryBounds {
                count: index,
                age_ms: u64::MAX,
                bytes: usize::MAX,
            };
            let policy = TopicPolicy {
                history: Some(history),
                ..TopicPolicy::DEFAULT
            };
            let pattern = Pattern::parse(text).unwrap_or_else(|why| panic!("{text}: {why:?}"));
            topics.insert(&pattern, policy);
        }
        topics
    }

    #[test]
    fn the_longest_pattern_that_matches_counts() {
        let patterns = [
            "chat/*",
            "chat/room*",
            "chat/room/1",
            "chat/room/*",
            "chat/é*",
            "rooms/chat//*",
            "rooms/chat/*",
            "./*",
            "/*",
            "/news",
            "chat/room/1*",
        ];
        let topics = topics(&patterns);
        assert!(!topics.is_plain());
        for (owner, name, expected) in [
            ("chat", "lobby", Some("chat/*")),
            ("chat", "*", Some("chat/*")),
            ("chat", "roo", Some("chat/*")),
            ("chat", "room", Some("chat/room*")),
            ("chat", "roommate", Some("chat/room*")),
            ("chat", "room/", Some("chat/room/*")),
            ("chat", "room/1", Some("chat/room/1")),
            ("chat", "room/12", Some("chat/room/1*")),
            ("chat", "Room/1", Some("chat/*")),
            ("chat", "écran", Some("chat/é*")),
            ("chat", "è", Some("chat/*")),
            ("char", "lobby", None),
            ("", "lobby", Some("./*")),
            ("rooms/chat", "lobby", Some("rooms/chat//*")),
            ("rooms", "chat/lobby", Some("rooms/chat/*")),
            ("rooms", "lobby", None),
            ("", "/news", Some("/news")),
            ("chat", "/news", Some("/news")),
            ("chat", "/newspaper", Some("/*")),
            ("chat", "/", Some("/*")),
        ] {
            let history = topics.policy(owner, name).history;
            let found = history.map(|bounds| patterns[bounds.count]);
            assert_eq!(found, expected, "{owner:?} {name:?}");
        }
    }

    #[test]
    fn without_a_pattern_each_topic_has_the_default_policy() {
        let topics = Topics::default();

        assert!(topics.is_plain());
        for (owner, name) in [("chat", "lobby"), ("", "/news"), ("", "lobby")] {
            assert_eq!(topics.policy(owner, name), &TopicPolicy::DEFAULT);
        }
    }

    #[test]
    fn a_topic_of_the_servers_own_is_for_the_handlers_that_are_listed() {
        let policy = |handlers: Option<&[&str]>| TopicPolicy {
            handlers: handlers.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            ..TopicPolicy::DEFAULT
        };
        for (handlers, allowed, refused) in [
            (None, &["chat", ""][..], &[][..]),
            (Some(&["chat", ""][..]), &["chat", ""], &["news", "chat/x"]),
            (Some(&[]), &[], &["chat", ""]),
        ] {
            let policy = policy(handlers);
            assert!(allowed.iter().all(|handler| policy.allows(handler)));
            assert!(!refused.iter().any(|handler| policy.allows(handler)));
        }
    }
    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_pattern_found_is_the_longest_of_all_that_match(
            patterns in prop::collection::btree_set("chat/[aé]{0,3}[bé]{0,2}\\*?", 0..20),
            names in prop::collection::vec("[aébc]{1,6}", 1..20),
        ) {
            let patterns = patterns.iter().map(String::as_str);
            let patterns: Vec<&str> = patterns.filter(|text| *text != "chat/").collect();
            let topics = topics(&patterns);
            for name in names {
                let topic = format!("chat/{name}");
                let matches = patterns.iter().filter(|text| match text.strip_suffix('*') {
                    Some(prefix) => topic.starts_with(prefix),
                    None => topic == **text,
                });
                // A whole name counts more than the prefix that is as long.
                let longest = matches.max_by_key(|text| (text.trim_end_matches('*').len(), !text.ends_with('*')));
                let history = topics.policy("chat", &name).history;
                let found = history.map(|bounds| &patterns[bounds.count]);
                prop_assert_eq!(found, longest, "{}", name);
            }
        }
    }
}
