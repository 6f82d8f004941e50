//! `wshd new NAME`: makes a handler to begin with, which builds, has tests and a page.
//!
//! The SDK that it is built with lies beside it, once for all handlers there. `wshd sdk` writes the SDK
//! anew.

mod manifest;
mod name;
mod sdk;
mod style;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub use self::name::NameFault;
use self::name::name_of;
use self::sdk::{ExistingSdk, OUR_VERSION};
use crate::config::Style;

/// A handler that was made.
#[derive(Debug)]
pub struct New {
    directory: PathBuf,
    name: String,
    style: Style,
    sdk: ExistingSdk,
}

/// An SDK that was written, or found up to date.
#[derive(Debug)]
pub struct Updated {
    place: PathBuf,
    was: ExistingSdk,
    /// Where the SDK that was there before is kept.
    kept: Option<PathBuf>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// A handler cannot have this name.
    #[error(transparent)]
    Name(#[from] NameFault),
    /// The place is taken.
    #[error(
        "cannot make `{}`: it is there already, {found}; choose another name, or remove it",
        path.display()
    )]
    Taken {
        /// The place.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// The files cannot be written.
    #[error("cannot make `{}`: {source}", path.display())]
    NotWritten {
        /// The place.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes a handler in the directory `path`, whose last part is the handler's name.
///
/// # Errors
///
/// The name is not one of a handler, the directory exists and is not empty, or it cannot be written. Then
/// nothing has changed.
pub fn make(path: &Path, style: Style) -> Result<New, NewError> {
    let name = name_of(path)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(not_written(path, error)),
        Ok(found) if !found.is_dir() => return Err(taken(path, "and no directory")),
        Ok(_) => {
            let mut entries = fs::read_dir(path).map_err(|error| not_written(path, error))?;
            if entries.next().is_some() {
                return Err(taken(path, NOT_EMPTY));
            }
        }
    }
    let beside = parent(path).join(SDK);
    let sdk = ExistingSdk::at(&beside, |file| style.needs(file));
    write(path, &name, style, &sdk).map_err(|error| match error.kind() {
        // Another program has put something there meanwhile.
        ErrorKind::DirectoryNotEmpty => taken(path, NOT_EMPTY),
        _ => not_written(path, error),
    })?;
    Ok(New {
        // Without a slash at its end.
        directory: path.components().collect(),
        name,
        style,
        sdk,
    })
}

/// Writes the SDK to a directory, or replaces the SDK of another wshd.
///
/// # Errors
///
/// The directory holds something else, or it cannot be written. Then nothing has changed.
pub fn update(place: &Path) -> Result<Updated, NewError> {
    let was = ExistingSdk::at(place, |_| true);
    let mut kept = None;
    match &was {
        ExistingSdk::Ours => {}
        ExistingSdk::NoSdk => return Err(taken(place, "and no SDK")),
        ExistingSdk::Nothing | ExistingSdk::Part => {
            replace_sdk(place, |_| true, None).map_err(|error| not_written(place, error))?;
        }
        ExistingSdk::Other { is_edited, .. } => {
            let old = is_edited.then(|| place.with_extension("old"));
            if let Some(old) = old.filter(|old| fs::symlink_metadata(old).is_ok()) {
                return Err(taken(
                    &old,
                    "and what is in the SDK's place was to be kept there",
                ));
            }
            kept = is_edited.then(|| place.with_extension("old"));
            let replaced = replace_sdk(place, |_| true, kept.as_deref());
            replaced.map_err(|error| not_written(place, error))?;
        }
    }
    Ok(Updated {
        place: place.components().collect(),
        was,
        kept,
    })
}

/// A sentence about a directory that handlers are built with, if it is the SDK of another wshd.
pub(crate) fn outdated_sdk(place: &Path) -> Option<String> {
    sdk::outdated(place)
}

impl New {
    /// The text to print: what lies where, and what to do next.
    pub fn report(&self) -> String {
        let New {
            directory,
            name,
            style,
            sdk,
        } = self;
        let shared = directory.with_file_name(SDK);
        let own = directory.join(SDK);
        let place = if is_shared(sdk) { &shared } else { &own };
        let (shared, place) = (shared.display(), format!("{}/", place.display()));
        let directory = directory.display();
        let handler = format!("{directory}/{}", style.handler_file(name));
        let page = format!("{directory}/www/");
        let width = handler.len().max(page.len()).max(place.len());
        let line = |file: &str, what: &str| format!("  {file:width$}  {what}\n");
        let built_with = match sdk {
            ExistingSdk::Nothing => "what it and other handlers beside it are built with",
            ExistingSdk::Ours | ExistingSdk::Part => "what it is built with, as those beside it",
            ExistingSdk::Other { .. } | ExistingSdk::NoSdk => "what it is built with",
        };
        let update = match sdk {
            ExistingSdk::Other { version, .. } => {
                let other = ExistingSdk::other(version.as_deref());
                let point = if style.is_rust() {
                    format!(
                        " && sed -i 's|path = \"wsh\"|path = \"../wsh\"|' {directory}/Cargo.toml"
                    )
                } else {
                    String::new()
                };
                format!(
                    "`{shared}` is the SDK of {other}, and this is wshd {OUR_VERSION}, so `{name}` has its own; \
                     to have this one for all handlers beside it, and to build them again:\n  \
                     wshd sdk {shared} && rm -r {directory}/{SDK}{point}\n"
                )
            }
            _ => format!(
                "update what it is built with, when there is a newer wshd:\n  wshd sdk {}\n",
                place.trim_end_matches('/')
            ),
        };
        format!(
            "made `{name}`, {style}, which answers at /{name}\n{}{}{}\n\
             serve it, and build again what you save:\n  wshd dev {directory}\n\
             run its test:\n  cd {directory} && {}\n{update}",
            line(&handler, "the handler"),
            line(&page, "a page that talks to it"),
            line(&place, built_with),
            style.test_command(),
        )
    }
}

impl Updated {
    /// The text to print.
    pub fn report(&self) -> String {
        let place = self.place.display();
        match &self.was {
            ExistingSdk::Ours => format!("`{place}` is the SDK of wshd {OUR_VERSION} already\n"),
            ExistingSdk::Other { version, .. } => {
                let other = ExistingSdk::other(version.as_deref());
                let kept = match &self.kept {
                    Some(kept) => format!(
                        "; what was there had been changed, and is at `{}`",
                        kept.display()
                    ),
                    None => String::new(),
                };
                format!(
                    "`{place}` is the SDK of wshd {OUR_VERSION} now, and was that of {other}{kept}\n\
                     build what uses it again; CHANGELOG.md of wshd says what has to be written otherwise\n"
                )
            }
            _ => format!("wrote the SDK of wshd {OUR_VERSION} to `{place}`\n"),
        }
    }
}

/// Whether a new handler uses the SDK beside it, and does not get one of its own.
fn is_shared(sdk: &ExistingSdk) -> bool {
    match sdk {
        ExistingSdk::Nothing | ExistingSdk::Ours | ExistingSdk::Part => true,
        ExistingSdk::Other { .. } | ExistingSdk::NoSdk => false,
    }
}

/// Writes a handler into a hidden directory beside its place, and moves it there when it is whole.
fn write(place: &Path, name: &str, style: Style, sdk: &ExistingSdk) -> io::Result<()> {
    let parent = &parent(place);
    fs::create_dir_all(parent)?;
    let hidden = hidden_in(parent)?;
    // The hidden directory is private; the handler's own has the mode that the user's umask says.
    let whole = hidden.path().join(name);
    let path_of_sdk = if is_shared(sdk) { "../wsh" } else { SDK };
    for (file, text) in style.files(name, path_of_sdk) {
        put(&whole.join(file), &text)?;
    }
    let needs = |file: &str| style.needs(file);
    let beside = parent.join(SDK);
    match sdk {
        ExistingSdk::Ours => {}
        ExistingSdk::Nothing => replace_sdk(&beside, needs, None)?,
        // Only a part of the SDK is there. All of it is written, whatever this style needs.
        ExistingSdk::Part => replace_sdk(&beside, |_| true, None)?,
        ExistingSdk::Other { .. } | ExistingSdk::NoSdk => sdk::write(&whole.join(SDK), needs)?,
    }
    // The rename replaces an empty directory, and nothing else.
    fs::rename(whole, place).inspect_err(|_| {
        if *sdk == ExistingSdk::Nothing {
            let _ = fs::remove_dir_all(&beside);
        }
    })
}

/// Replaces what is at the place with the SDK. What was there is moved to `kept`, or removed.
fn replace_sdk(place: &Path, needs: impl Fn(&str) -> bool, kept: Option<&Path>) -> io::Result<()> {
    // Where the place is a link, its target is replaced.
    let place = &fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
    let parent = &parent(place);
    fs::create_dir_all(parent)?;
    let hidden = hidden_in(parent)?;
    let (whole, old) = (hidden.path().join("new"), hidden.path().join("old"));
    sdk::write(&whole, needs)?;
    let old = kept.unwrap_or(&old);
    let was_there = match fs::rename(place, old) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    fs::rename(whole, place).inspect_err(|_| {
        if was_there {
            let _ = fs::rename(old, place);
        }
    })
}

fn hidden_in(parent: &Path) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(".wshd-new-")
        .tempdir_in(parent)
}

/// The directory above a place.
fn parent(place: &Path) -> PathBuf {
    match place.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn put(file: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(file, text)
}

fn taken(path: &Path, found: &'static str) -> NewError {
    NewError::Taken {
        path: path.to_owned(),
        found,
    }
}

fn not_written(path: &Path, source: io::Error) -> NewError {
    NewError::NotWritten {
        // Absolute, since the working directory may be another one than is thought.
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        source,
    }
}

const NOT_EMPTY: &str = "and not empty";
/// The name of the SDK's directory, beside a handler or in it.
pub(crate) const SDK: &str = "wsh";
