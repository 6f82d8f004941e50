//! Why there is no configuration, as data and as a sentence for the operator.
//!
//! `{}` is one line, for a log. `{:#}` adds the line of the file, with the place underlined.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::fault::{ConfigFault, ListenFault};
use super::source::Place;

/// Why there is no `Config`.
#[derive(Debug)]
pub enum ConfigError {
    /// More than one thing is wrong, in the order in which it was found.
    Several(Vec<ConfigError>),
    /// A file that was named, or found, cannot be read.
    Unreadable {
        /// Where the configuration file names it, if it does.
        place: Option<Place>,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing is in the configuration file any more: an editor, or a disk that is full, has left it so.
    Emptied {
        /// The file.
        path: PathBuf,
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
    /// The scan directory lies outside the handlers directory, to which names of handlers are relative.
    ScanDirOutside {
        /// Where the scan directory is written, if it is in the file.
        place: Option<Place>,
        /// The scan directory.
        scan_dir: PathBuf,
        /// The handlers directory.
        handlers_dir: PathBuf,
    },
    /// TLS is wanted, and something that it needs is not decided.
    Tls(&'static str),
    /// The server cannot listen where it is to.
    Listen(Box<ListenFault>),
    /// A file of users or tokens cannot be read.
    NoCredentials {
        /// Where the configuration file names it, if it does.
        place: Option<Place>,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// All faults of a file of users or tokens, in the order of their places.
    BadCredentials(Vec<ConfigFault>),
    /// `basic_auth_credential` is no name and password.
    BadSingleUser,
    /// `basic_auth` is asked for, and nothing says a password.
    NoPassword,
    /// A rule lets users in, and nothing says which there are.
    NoUsers {
        /// The table that has the rule, in brackets.
        by: String,
    },
    /// All faults of the file, in the order of their places.
    Faults(Vec<ConfigFault>),
}

impl ConfigError {
    /// All of these as one; `None` if there are none.
    pub(super) fn of(mut errors: Vec<ConfigError>) -> Option<ConfigError> {
        match errors.len() {
            0 | 1 => errors.pop(),
            _ => Some(ConfigError::Several(errors)),
        }
    }

    /// How many things are wrong.
    fn count(&self) -> usize {
        match self {
            ConfigError::Several(errors) => errors.iter().map(ConfigError::count).sum(),
            ConfigError::Faults(faults) | ConfigError::BadCredentials(faults) => faults.len(),
            _ => 1,
        }
    }

    /// Whether reading the unchanged file again later may succeed.
    pub(crate) fn is_passing(&self) -> bool {
        use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
        match self {
            // The watcher tells when a file appears, or takes the place of something else.
            ConfigError::Unreadable { source, .. } => {
                !matches!(source.kind(), InvalidInput | NotADirectory | NotFound)
            }
            // The file may be mended, and the configuration beside it stay as it is.
            ConfigError::NoCredentials { .. } | ConfigError::BadCredentials(_) => true,
            ConfigError::Several(errors) => errors.iter().all(ConfigError::is_passing),
            _ => false,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Several(errors) if f.alternate() => {
                for (index, error) in errors.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{error:#}")?;
                }
                Ok(())
            }
            ConfigError::Several(errors) => {
                let more = self.count().saturating_sub(1);
                let first: Option<&dyn fmt::Display> = match errors.first() {
                    Some(ConfigError::Faults(faults) | ConfigError::BadCredentials(faults)) => {
                        faults.first().map(|it| it as _)
                    }
                    first => first.map(|it| it as _),
                };
                match first {
                    Some(first) => write!(f, "{first} (and {more} more)"),
                    None => Ok(()),
                }
            }
            ConfigError::Unreadable {
                place,
                path,
                source,
            }
            | ConfigError::NoCredentials {
                place,
                path,
                source,
            } => {
                let what = format_args!("cannot read `{}`: {source}", path.display());
                tell_at(place.as_ref(), &what, f)
            }
            ConfigError::Emptied { path } => write!(
                f,
                "`{}` is empty, and was not before; if the defaults are meant, one line with a `#` in it says so",
                path.display()
            ),
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
            ConfigError::Tls(why) => f.write_str(why),
            ConfigError::ScanDirOutside {
                place,
                scan_dir,
                handlers_dir,
            } => {
                let (scan_dir, handlers_dir) = (scan_dir.display(), handlers_dir.display());
                let what = format_args!(
                    "the scan directory `{scan_dir}` does not lie below the handlers directory `{handlers_dir}`"
                );
                tell_at(place.as_ref(), &what, f)
            }
            ConfigError::Listen(fault) => tell_at(fault.place.as_ref(), fault, f),
            ConfigError::BadSingleUser => f.write_str(
                "`basic_auth_credential` wants `USER:PASSWORD`, neither of them empty, found something else, which is \
                 not shown",
            ),
            ConfigError::NoPassword => f.write_str(
                "`basic_auth` wants a password, and there is no default password; name a file of users by `users_file`, \
                 or give one user by `basic_auth_credential`",
            ),
            ConfigError::NoUsers { by } => write!(
                f,
                "{by} lets users in, and nothing says which there are; that is `users_file`, `tokens_file` or \
                 `basic_auth_credential`"
            ),
            ConfigError::Faults(faults) | ConfigError::BadCredentials(faults) if f.alternate() => {
                for (index, fault) in faults.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{fault:#}")?;
                }
                Ok(())
            }
            ConfigError::Faults(faults) | ConfigError::BadCredentials(faults) => match faults.as_slice() {
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
            ConfigError::Unreadable { source, .. } | ConfigError::NoCredentials { source, .. } => {
                Some(source)
            }
            _ => None,
        }
    }
}

/// Writes what is wrong at a place, if it is at one.
fn tell_at(
    place: Option<&Place>,
    what: &dyn fmt::Display,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match place {
        None => what.fmt(f),
        Some(place) if f.alternate() => write!(f, "{place}: {what}\n{}", place.excerpt()),
        Some(place) => write!(f, "{place}: {what}"),
    }
}
