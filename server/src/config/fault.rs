//! What is wrong with a configuration: data for who decides, one sentence for who reads.
//!
//! `{}` is one line, for a log; `{:#}` adds the line of the file with the place underlined.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

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
    /// A flag, or the variable that stands for it, does not say what it should.
    Flag {
        /// Its name.
        flag: &'static str,
        /// What it says.
        found: String,
        /// What it wants, as a sentence without its subject.
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

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable { path, source } => {
                write!(f, "cannot read `{}`: {source}", path.display())
            }
            ConfigError::Flag {
                flag,
                found,
                wanted,
            } => {
                write!(f, "`{flag}` {wanted}, found `{found}`")
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
    /// `{*rest}` before the end.
    CatchAll,
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
                RouteFault::CatchAll => {
                    write!(
                        f,
                        "route `{route}` has a catch-all like `{{*rest}}` before its end"
                    )
                }
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

/// Where something is written: `config.toml:14:1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as messages name it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The whole line.
    pub text: String,
    /// How many characters of it are meant.
    pub width: usize,
}

impl Place {
    /// The line of the file with the place underlined.
    pub fn excerpt(&self) -> String {
        let margin = " ".repeat(self.line.to_string().len());
        // A tab stays one, so that the caret stands below what it means at any tab width.
        let is_tab = |character| if character == '\t' { '\t' } else { ' ' };
        let indent: String = self
            .text
            .chars()
            .take(self.column - 1)
            .map(is_tab)
            .collect();
        let carets = "^".repeat(self.width.max(1));
        let line = self.line;
        let text = &self.text;
        format!("{margin} |\n{line} | {text}\n{margin} | {indent}{carets}")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A file's text, and the name that messages give it.
#[derive(Debug)]
pub(super) struct Source {
    file: String,
    text: String,
}

impl Source {
    /// Reads the file; messages name it relative to the working directory if it lies below it.
    pub(super) fn read(path: &Path, working_dir: &Path) -> Result<Source, ConfigError> {
        let bytes = std::fs::read(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let shown = path.strip_prefix(working_dir).unwrap_or(path);
        let file = shown.display().to_string();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Source { file, text }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let place = Source { file, text }.place(valid..valid);
                Err(ConfigError::Faults(vec![Fault {
                    place,
                    what: What::NotUtf8,
                }]))
            }
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The place of a range of bytes; what goes on in the next line is cut.
    pub(super) fn place(&self, span: std::ops::Range<usize>) -> Place {
        let start = floor_char_boundary(&self.text, span.start);
        let line_start = self.text[..start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let rest = &self.text[line_start..];
        let line = rest.split('\n').next().unwrap_or(rest);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line_end = line_start + line.len();
        let end = floor_char_boundary(&self.text, span.end).clamp(start, line_end.max(start));
        Place {
            file: self.file.clone(),
            line: self.text[..line_start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            // A message must not steer the terminal.
            text: line.replace(
                |character: char| character.is_control() && character != '\t',
                "\u{fffd}",
            ),
            width: self.text[start..end].chars().count(),
        }
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

/// The known word that was probably meant, if one comes near.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known
        .into_iter()
        .map(|one| (strsim::osa_distance(word, one), one));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    // A third of its letters may be wrong; in short words one.
    (distance <= (word.chars().count() / 3).max(1)).then_some(nearest)
}
