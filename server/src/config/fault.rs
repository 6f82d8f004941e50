//! What is wrong at a place of a file, as data and as a sentence for the operator.
//!
//! `{}` is one line, for a log. `{:#}` adds the line of the file, with the place underlined.

mod credential;
mod listen;
mod pattern;
mod route;

use std::fmt;

pub(super) use self::credential::CredentialFault;
pub use self::listen::{ListenFault, ListenFaultCause};
pub(super) use self::pattern::PatternFault;
pub(super) use self::route::RouteFault;
use super::endpoint::Endpoint;
use super::source::Place;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Where it is written.
    pub place: Place,
    /// What it is.
    pub what: What,
}

impl ConfigFault {
    /// The key that has no value because of this fault, where one can be told: what depends on it is not judged.
    pub(super) fn spoiled_key(&self) -> Option<&str> {
        match &self.what {
            What::Unwanted { key, .. } => Some(key),
            What::UnknownKey {
                hint: Hint::DidYouMean(key),
                ..
            } => Some(key),
            What::UnknownKey { key, .. } => Some(key),
            What::ListensTwice { .. } | What::ListensOnEvery { .. } => Some("listen"),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        if f.alternate() {
            write!(f, "\n{}", self.place.excerpt())?;
        }
        Ok(())
    }
}

/// What can be wrong at a place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The file is not UTF-8.
    NotUtf8,
    /// The file is not TOML; in the words of the parser.
    Syntax(String),
    /// A configuration of pywebsocket, which is an INI file.
    OfPywebsocket,
    /// A key that is in no table of settings.
    UnknownKey {
        /// As written.
        key: String,
        /// The table it stands in, as written in brackets; empty at the top.
        table: String,
        /// What may have been meant.
        hint: Hint,
    },
    /// A value of another type, or outside its range.
    Unwanted {
        /// The key.
        key: String,
        /// What it wants, in words.
        wanted: String,
        /// What it has, as written.
        found: String,
        /// What may have been meant.
        suggestion: Option<String>,
    },
    /// An address that `listen` names twice.
    ListensTwice {
        /// The address.
        address: String,
    },
    /// Of two entries of `listen`, one is every address, and the other one of them.
    ListensOnEvery {
        /// The endpoint at this place.
        endpoint: Endpoint,
        /// The endpoint before it.
        other: Endpoint,
    },
    /// A pattern of `[routes]` or a path of a map file that cannot be a route.
    BadRoute {
        /// As written.
        route: String,
        /// Why not.
        why: RouteFault,
    },
    /// A pattern of `[topics]` that cannot be one, or whose table cannot hold what it holds.
    BadPattern {
        /// As written.
        pattern: String,
        /// Why not.
        why: PatternFault,
    },
    /// A path of `[auth]` or `[paths]` that cannot be one.
    BadRulePath {
        /// The table.
        table: &'static str,
        /// As written.
        found: String,
    },
    /// A path of such a table with `.` or `..` in it.
    RulePathWithDots {
        /// The table.
        table: &'static str,
        /// As written.
        found: String,
    },
    /// A path of such a table that another rule has in another spelling.
    SecondOfRulePath {
        /// The table.
        table: &'static str,
        /// As written.
        found: String,
        /// The path of the other rule, as written.
        other: String,
        /// Where the other rule is written.
        place: Place,
    },
    /// A line of a file of users or tokens that is none.
    Credential(CredentialFault),
    /// A line of a map file that does not have two words.
    MapLine {
        /// As written.
        found: String,
    },
    /// A route at a handler's own path that leads to another one.
    HidesHandler {
        /// The route.
        route: String,
        /// The handler that it leads to.
        target: String,
    },
    /// Topics of the server's own that may be meant as those of a handler.
    TopicsLikeHandler {
        /// The pattern of the topics.
        pattern: String,
        /// The handler.
        handler: String,
        /// The pattern of the handler's topics.
        meant: String,
    },
    /// A table or a route that means a handler which is not there.
    NoSuchHandler {
        /// The route that names it, or the table in brackets.
        by: String,
        /// The name.
        name: String,
        /// The handlers that are there.
        known: Vec<String>,
        /// The one that may have been meant.
        suggestion: Option<String>,
    },
}

/// What to say about an unknown key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Nothing comes near.
    Nothing,
    /// A known key of the same table.
    DidYouMean(String),
    /// The key is known in another table.
    BelongsTo(&'static str),
    /// The table of a handler in a folder, whose name is not quoted; with the header as it should be.
    Quote(String),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::NotUtf8 => write!(f, "the file is not UTF-8 text"),
            What::Syntax(message) => f.write_str(message),
            What::OfPywebsocket => f.write_str(
                "this is a configuration of pywebsocket; wants TOML without this section, like `log_level = \"info\"`, and \
                 config/REFERENCE.md has the key of each flag",
            ),
            What::UnknownKey { key, table, hint } => {
                write!(f, "unknown key `{key}`")?;
                if !table.is_empty() {
                    write!(f, " in `{table}`")?;
                }
                match hint {
                    Hint::Nothing => Ok(()),
                    Hint::DidYouMean(known) => write!(f, "; did you mean `{known}`?"),
                    Hint::BelongsTo(place) => write!(f, "; it belongs {place}"),
                    Hint::Quote(header) => {
                        write!(f, "; the table of a nested handler is `{header}`")
                    }
                }
            }
            What::Unwanted {
                key,
                wanted,
                found,
                suggestion,
            } => {
                write!(f, "`{key}` wants {wanted}, found `{found}`")?;
                did_you_mean(f, suggestion.as_deref())
            }
            What::ListensTwice { address } => write!(f, "`listen` names `{address}` twice"),
            What::ListensOnEvery { endpoint, other } => write!(
                f,
                "`listen` names `{other}` and `{endpoint}`, and one of both is every address of this machine"
            ),
            What::BadRoute { route, why } => why.tell(route, f),
            What::BadPattern { pattern, why } => why.tell(pattern, f),
            What::BadRulePath { table, found } => write!(
                f,
                "`{table}` wants paths like `/chat`, or `/chat/*` for it and all below it, found `{found}`"
            ),
            What::RulePathWithDots { table, found } => write!(
                f,
                "`{table}` has a rule for `{found}`, and nothing lies at a path with `.` or `..`; write the path without \
                 them"
            ),
            What::SecondOfRulePath {
                table,
                found,
                other,
                place,
            } => write!(
                f,
                "`{table}` has a rule for `{found}` and one for `{other}` at {place}, which are one path; a path has one rule"
            ),
            What::Credential(why) => why.fmt(f),
            What::MapLine { found } => write!(
                f,
                "a line of a map file is `alias existing`, found `{found}`"
            ),
            What::HidesHandler { route, target } => write!(
                f,
                "route `{route}` leads to `{target}`, so the handler of that path is not reached there"
            ),
            What::TopicsLikeHandler {
                pattern,
                handler,
                meant,
            } => write!(
                f,
                "`[topics.{pattern:?}]` is for topics of the server's own, whose names begin with `/`; those of handler \
                 `{handler}` are `{meant}`"
            ),
            What::NoSuchHandler {
                by,
                name,
                known,
                suggestion,
            } => {
                let there_are = ThereAre(known);
                write!(f, "{by} names handler `{name}`, which does not exist; {there_are}")?;
                did_you_mean(f, suggestion.as_deref())
            }
        }
    }
}

fn did_you_mean(f: &mut fmt::Formatter<'_>, suggestion: Option<&str>) -> fmt::Result {
    match suggestion {
        Some(suggestion) => write!(f, "; did you mean `{suggestion}`?"),
        None => Ok(()),
    }
}

/// Says which handlers there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThereAre<'a>(pub(crate) &'a [String]);

impl fmt::Display for ThereAre<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => write!(f, "there are none"),
            [only] => write!(f, "there is `{only}`"),
            known => {
                let shown = known.iter().take(KNOWN_SHOWN);
                let shown: Vec<_> = shown.map(|name| format!("`{name}`")).collect();
                write!(f, "there are {}", shown.join(", "))?;
                match known.len().checked_sub(KNOWN_SHOWN) {
                    None | Some(0) => Ok(()),
                    Some(more) => write!(f, " and {more} more"),
                }
            }
        }
    }
}

/// How many handlers a message names at most.
const KNOWN_SHOWN: usize = 12;

/// The known word that is closest to `word`, if it is close enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known
        .into_iter()
        .map(|one| (strsim::osa_distance(word, one), one));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    // A third of its letters may be wrong; in short words one.
    (distance <= (word.chars().count() / 3).max(1)).then_some(nearest)
}
