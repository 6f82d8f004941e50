//! What is wrong with a configuration: data for who decides, one sentence for who reads.
//!
//! `{}` is one line, for a log; `{:#}` adds the line of the file with the place underlined.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::source::Place;

/// Why there is no `Config`.
#[derive(Debug)]
pub enum ConfigError {
    /// A file that was named, or found, cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A `WSHD_*` variable does not say what it should.
    Variable {
        /// Its name.
        name: String,
        /// What is in it.
        found: String,
        /// What it wants.
        wanted: String,
    },
    /// Names of handlers are relative to the handlers directory, so nothing outside it has one.
    ScanDirOutside {
        /// Where the scan directory is written, if it is in the file.
        place: Option<Place>,
        /// The scan directory.
        scan_dir: PathBuf,
        /// The handlers directory.
        handlers_dir: PathBuf,
    },
    /// The file says something that cannot be: all its faults, in the order of their places.
    Faults(Vec<Fault>),
}

impl ConfigError {
    /// Whether it is no fault of what is written, so that the very same file may be read later.
    pub(crate) fn is_passing(&self) -> bool {
        use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
        match self {
            // A file that is something else, or that is not there, is seen when that changes.
            ConfigError::Unreadable { source, .. } => {
                !matches!(source.kind(), InvalidInput | NotADirectory | NotFound)
            }
            _ => false,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable { path, source } => {
                write!(f, "cannot read `{}`: {source}", path.display())
            }
            ConfigError::Variable {
                name,
                found,
                wanted,
            } => {
                write!(
                    f,
                    "environment variable `{name}` wants {wanted}, found `{found}`"
                )
            }
            ConfigError::ScanDirOutside {
                place,
                scan_dir,
                handlers_dir,
            } => {
                if let Some(place) = place {
                    write!(f, "{place}: ")?;
                }
                write!(
                    f,
                    "the scan directory `{}` does not lie below the handlers directory `{}`",
                    scan_dir.display(),
                    handlers_dir.display()
                )?;
                match place {
                    Some(place) if f.alternate() => write!(f, "\n{}", place.excerpt()),
                    _ => Ok(()),
                }
            }
            ConfigError::Faults(faults) if f.alternate() => {
                for (index, fault) in faults.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{fault:#}")?;
                }
                Ok(())
            }
            ConfigError::Faults(faults) => match faults.as_slice() {
                [] => Ok(()),
                [only] => write!(f, "{only}"),
                [first, more @ ..] => write!(f, "{first} (and {} more)", more.len()),
            },
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConfigError::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it is written.
    pub place: Place,
    /// What it is.
    pub what: What,
}

impl fmt::Display for Fault {
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
    /// Bytes that are no text.
    NotUtf8,
    /// No TOML; in the words of its parser.
    Syntax(String),
    /// A key that nobody knows.
    UnknownKey {
        /// As written.
        key: String,
        /// The table it stands in, as written in brackets; empty at the top.
        table: String,
        /// What may have been meant.
        hint: Hint,
    },
    /// A value of another type or outside what is possible.
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
    /// The same address again.
    ListensTwice {
        /// The address.
        address: String,
    },
    /// A pattern of `[routes]` or a path of a map file that cannot be a route.
    BadRoute {
        /// As written.
        route: String,
        /// Why not.
        why: RouteFault,
    },
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
    /// It is a key, but of another table.
    BelongsTo(&'static str),
    /// A handler in a folder, its name not quoted.
    Quote(String),
}

/// Why a route cannot be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteFault {
    /// It does not begin with `/`.
    NoSlash,
    /// A query or a fragment is no part of a path.
    NotOnlyAPath,
    /// A brace without its twin, or a parameter without a name.
    Parameter,
    /// Two parameters between the same slashes.
    TwoParameters,
    /// A parameter's name that is no name.
    ParameterName {
        /// As written.
        name: String,
    },
    /// Two parameters of one name.
    SameParameter {
        /// Theirs.
        name: String,
    },
    /// A `*` outside of a parameter, as other servers have it for anything.
    Star,
    /// Percent-encoded; paths are compared decoded.
    Encoded {
        /// Decoded, if that is text.
        meant: Option<String>,
    },
    /// A character that no path is asked for with.
    Control,
    /// Clients make another path of it before they ask.
    NeverAsked {
        /// That one.
        meant: String,
    },
    /// Below `/.wshd/`.
    TheServersOwn,
    /// `{*rest}` before the end.
    CatchAll,
    /// Parameters as other servers write them.
    OtherSyntax {
        /// As they are written here.
        meant: String,
    },
    /// Another route would answer the same paths.
    Conflict {
        /// The other one.
        with: String,
        /// Where that is written.
        place: Option<Place>,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::NotUtf8 => write!(f, "the file is not UTF-8 text"),
            What::Syntax(message) => f.write_str(message),
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
            What::BadRoute { route, why } => match why {
                RouteFault::NoSlash => write!(
                    f,
                    "a route begins with `/`, found `{route}`; did you mean `/{route}`?"
                ),
                RouteFault::NotOnlyAPath => {
                    write!(
                        f,
                        "route `{route}` has a query or a fragment; a route is a path only"
                    )
                }
                RouteFault::Parameter => write!(
                    f,
                    "route `{route}` wants parameters like `{{name}}`, and `{{{{` or `}}}}` for a brace of its own"
                ),
                RouteFault::TwoParameters => {
                    write!(
                        f,
                        "route `{route}` has two parameters in one segment; there can be one between two slashes"
                    )
                }
                RouteFault::ParameterName { name } => write!(
                    f,
                    "route `{route}` has a parameter `{name}`; a parameter's name has letters, digits and `_`, and says nothing of what it matches"
                ),
                RouteFault::SameParameter { name } => write!(
                    f,
                    "route `{route}` has two parameters `{name}`; each has a name of its own"
                ),
                RouteFault::Star => write!(
                    f,
                    "route `{route}` has a `*`, which stands for nothing here; a parameter is `{{name}}`, and `{{*rest}}` is the rest of the path"
                ),
                RouteFault::Encoded { meant } => {
                    write!(
                        f,
                        "route `{route}` is percent-encoded; paths are compared when they are decoded"
                    )?;
                    did_you_mean(f, meant.as_deref())
                }
                RouteFault::Control => write!(
                    f,
                    "route `{}` has a control character, which a path has not",
                    route.escape_debug()
                ),
                RouteFault::NeverAsked { meant } => write!(
                    f,
                    "route `{route}` is never asked for, clients make `{meant}` of it; did you mean `{meant}`?"
                ),
                RouteFault::TheServersOwn => write!(
                    f,
                    "route `{route}` is a path of the server's own; none at or below `/.wshd` leads to a handler"
                ),
                RouteFault::CatchAll => {
                    write!(
                        f,
                        "route `{route}` has a catch-all like `{{*rest}}` before its end"
                    )
                }
                RouteFault::OtherSyntax { meant } => write!(
                    f,
                    "route `{route}` wants parameters like `{{name}}`, or `{{*rest}}` for the rest of the path; did you mean `{meant}`?"
                ),
                RouteFault::Conflict { with, place } => {
                    write!(f, "route `{route}` answers the same paths as `{with}`")?;
                    match place {
                        Some(place) => write!(f, " at {place}"),
                        None => Ok(()),
                    }
                }
            },
            What::MapLine { found } => write!(
                f,
                "a line of a map file is `alias existing`, found `{found}`"
            ),
            What::HidesHandler { route, target } => write!(
                f,
                "route `{route}` leads to `{target}`, so the handler of that path is not reached there"
            ),
            What::NoSuchHandler {
                by,
                name,
                known,
                suggestion,
            } => {
                write!(f, "{by} names handler `{name}`, which does not exist; ")?;
                match known.as_slice() {
                    [] => write!(f, "there are none")?,
                    [only] => write!(f, "there is `{only}`")?,
                    known => {
                        let shown: Vec<_> = known
                            .iter()
                            .take(KNOWN_SHOWN)
                            .map(|name| format!("`{name}`"))
                            .collect();
                        write!(f, "there are {}", shown.join(", "))?;
                        if known.len() > KNOWN_SHOWN {
                            write!(f, " and {} more", known.len() - KNOWN_SHOWN)?;
                        }
                    }
                }
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

/// A list of handlers longer than this is cut in a message.
const KNOWN_SHOWN: usize = 12;

/// The known word that was probably meant, if one comes near.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known
        .into_iter()
        .map(|one| (strsim::osa_distance(word, one), one));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    // A third of its letters may be wrong; in short words one.
    (distance <= (word.chars().count() / 3).max(1)).then_some(nearest)
}
