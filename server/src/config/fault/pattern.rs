//! Why a pattern of `[topics]` cannot be one.

use std::fmt;

use super::did_you_mean;
use crate::config::source::Place;

/// Why a pattern cannot be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternFault {
    /// No slash parts the handler's name from the topic's.
    NoHandler {
        /// The pattern of all topics of that handler, if there is a name.
        meant: Option<String>,
    },
    /// The topic has no name.
    NoTopic {
        /// The pattern of all topics of the handler.
        meant: String,
    },
    /// A `*` before the end.
    Star,
    /// A NUL, which no topic has.
    Nul,
    /// A topic's name that is longer than a topic can be.
    TooLong {
        /// The length of the topic's name.
        bytes: usize,
    },
    /// A topic that begins with `/`, which no handler owns.
    TheServersOwn {
        /// The pattern of that topic.
        meant: String,
    },
    /// No handler can have that name.
    NeverAHandler {
        /// The name.
        owner: String,
    },
    /// Another pattern for just these topics.
    Duplicate {
        /// The other pattern.
        of: String,
        /// Where the other pattern is written.
        place: Place,
    },
    /// `handlers` in the table of topics that belong to one handler.
    NotShared,
}

impl PatternFault {
    /// Writes the sentence that names the pattern and says why it cannot be one.
    pub(super) fn tell(&self, pattern: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternFault::NoHandler { meant } => {
                write!(
                    f,
                    "a pattern of topics is a handler's name, `/` and a topic like `chat/*`, or begins with `/`, found `{pattern}`"
                )?;
                did_you_mean(f, meant.as_deref())
            }
            PatternFault::NoTopic { meant } => {
                write!(
                    f,
                    "pattern `{pattern}` names no topic; did you mean `{meant}`?"
                )
            }
            PatternFault::Star => write!(
                f,
                "pattern `{pattern}` has a `*` before its end; `*` stands for any rest, and nothing follows it"
            ),
            PatternFault::Nul => write!(
                f,
                "pattern `{}` has a NUL, which no topic has",
                pattern.escape_debug()
            ),
            PatternFault::TooLong { bytes } => write!(
                f,
                "pattern `{pattern}` names a topic of {bytes} bytes; a topic has at most {}",
                wsh::rules::TOPIC_BYTES_MAX
            ),
            PatternFault::TheServersOwn { meant } => write!(
                f,
                "pattern `{pattern}` matches nothing, since a topic that begins with `/` belongs to no handler; did you mean `{meant}`?"
            ),
            PatternFault::NeverAHandler { owner } => write!(
                f,
                "pattern `{pattern}` matches nothing, since no handler can be named `{owner}`"
            ),
            PatternFault::Duplicate { of, place } => write!(
                f,
                "pattern `{pattern}` matches the same topics as `{of}` at {place}"
            ),
            PatternFault::NotShared => write!(
                f,
                "`handlers` is for topics that begin with `/`; those of pattern `{pattern}` are of one handler"
            ),
        }
    }
}
