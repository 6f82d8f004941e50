//! A pattern of `[topics]`: the handler, then the beginning or the whole of its topics' names.
//!
//! - `chat/lobby` is one topic of the handler `chat`, and `chat/*` all of them.
//! - `rooms/chat//lobby` is a topic of the handler `rooms/chat`. What stands before the first `//` is the
//!   handler's name, else what stands before the first `/`. No name of a handler has an empty segment, and no
//!   topic of a handler begins with `/`, so each pattern has one owner.
//! - `./lobby` is a topic of the handler at the path `/`, which has an empty name.
//! - `/news` is a topic of the server's own, as is everything that begins with `/`.

use wsh::rules::TOPIC_BYTES_MAX;

use crate::config::fault::PatternFault;

/// A pattern that can match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::config) struct Pattern {
    /// The handler that the topics belong to; `None` is the server.
    pub(in crate::config) owner: Option<String>,
    /// The topic's name, or the beginning of it.
    pub(in crate::config) name: String,
    /// Whether any rest of the name is matched.
    pub(in crate::config) is_prefix: bool,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// No topic can match it, or it would mean something else than it says.
    pub(in crate::config) fn parse(text: &str) -> Result<Pattern, PatternFault> {
        if text.contains('\0') {
            return Err(PatternFault::Nul);
        }
        let (literal, is_prefix) = match text.strip_suffix('*') {
            Some(literal) => (literal, true),
            None => (text, false),
        };
        if literal.contains('*') {
            return Err(PatternFault::Star);
        }
        let (owner, name) = split(literal)?;
        if name.is_empty() && !is_prefix {
            let meant = format!("{text}*");
            return Err(PatternFault::NoTopic { meant });
        }
        if name.len() > TOPIC_BYTES_MAX {
            let bytes = name.len();
            return Err(PatternFault::TooLong { bytes });
        }
        Ok(Pattern {
            owner: owner.map(str::to_owned),
            name: name.to_owned(),
            is_prefix,
        })
    }
}

/// The owner and the name of a topic, or of topics whose names begin so.
fn split(literal: &str) -> Result<(Option<&str>, &str), PatternFault> {
    if literal.starts_with('/') {
        return Ok((None, literal));
    }
    let parts = literal.split_once("//").or(literal.split_once('/'));
    let Some((owner, name)) = parts else {
        let meant = (!literal.is_empty()).then(|| format!("{literal}/*"));
        return Err(PatternFault::NoHandler { meant });
    };
    if name.starts_with('/') {
        let meant = name.to_owned();
        return Err(PatternFault::TheServersOwn { meant });
    }
    if owner == ROOT {
        return Ok((Some(""), name));
    }
    // A file or a directory with such a name is not looked at.
    if owner.split('/').any(|segment| segment.starts_with('.')) {
        let owner = owner.to_owned();
        return Err(PatternFault::NeverAHandler { owner });
    }
    Ok((Some(owner), name))
}

/// The handler at the path `/`, whose name is empty.
const ROOT: &str = ".";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_one_owner() {
        for (text, owner, name, is_prefix) in [
            ("chat/lobby", Some("chat"), "lobby", false),
            ("chat//lobby", Some("chat"), "lobby", false),
            ("chat/*", Some("chat"), "", true),
            ("chat//*", Some("chat"), "", true),
            ("chat/a b/*", Some("chat"), "a b/", true),
            ("rooms/chat/lobby", Some("rooms"), "chat/lobby", false),
            ("rooms/chat//lobby", Some("rooms/chat"), "lobby", false),
            ("rooms/chat//a//b", Some("rooms/chat"), "a//b", false),
            ("./lobby", Some(""), "lobby", false),
            ("/news", None, "/news", false),
            ("//news", None, "//news", false),
            ("/", None, "/", false),
            ("/*", None, "/", true),
        ] {
            let expected = Pattern {
                owner: owner.map(str::to_owned),
                name: name.to_owned(),
                is_prefix,
            };
            assert_eq!(Pattern::parse(text), Ok(expected), "{text:?}");
        }
        let longest = format!("chat/{}*", "x".repeat(TOPIC_BYTES_MAX));
        assert!(Pattern::parse(&longest).is_ok());
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused() {
        let no_handler = |meant: Option<&str>| PatternFault::NoHandler {
            meant: meant.map(str::to_owned),
        };
        let no_topic = |meant: &str| PatternFault::NoTopic {
            meant: meant.to_owned(),
        };
        let never = |owner: &str| PatternFault::NeverAHandler {
            owner: owner.to_owned(),
        };
        let too_long = format!("chat/{}", "é".repeat(128));
        for (text, expected) in [
            ("", no_handler(None)),
            ("*", no_handler(None)),
            ("chat", no_handler(Some("chat/*"))),
            ("chat*", no_handler(Some("chat/*"))),
            ("chat/", no_topic("chat/*")),
            ("rooms/chat//", no_topic("rooms/chat//*")),
            ("*/lobby", PatternFault::Star),
            ("chat/*/x", PatternFault::Star),
            ("chat/**", PatternFault::Star),
            ("chat/a\0", PatternFault::Nul),
            (
                "chat///news",
                PatternFault::TheServersOwn {
                    meant: "/news".to_owned(),
                },
            ),
            ("../lobby", never("..")),
            ("rooms/.hidden//lobby", never("rooms/.hidden")),
            (&too_long, PatternFault::TooLong { bytes: 256 }),
        ] {
            assert_eq!(Pattern::parse(text), Err(expected), "{text:?}");
        }
    }
}
