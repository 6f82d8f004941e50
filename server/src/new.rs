//! `wshd new NAME`: a handler to begin with, which builds, has a test and a page, and needs no other
//! place than its own directory: the SDK lies in it.

mod manifest;
mod name;
mod sdk;
mod style;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

pub use self::name::NameFault;
use self::name::name_of;
use self::sdk::Sdk;
use crate::config::Style;

/// What was made.
#[derive(Debug)]
pub struct New {
    directory: PathBuf,
    name: String,
    style: Style,
    sdk: Sdk,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// The name cannot be one of a handler.
    #[error(transparent)]
    Name(#[from] NameFault),
    /// There is something already.
    #[error(
        "cannot make `{}`: it is there already, {found}; choose another name, or remove it",
        path.display()
    )]
    Taken {
        /// Where the handler was to be.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// The system refuses.
    #[error("cannot make `{}`: {source}", path.display())]
    NotWritten {
        /// Where the handler was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes a handler in the directory `path`, whose last part is the handler's name.
///
/// # Errors
///
/// The name is none, the directory is there with something in it, or it cannot be written. Then
/// nothing has changed.
pub fn make(path: &Path, style: Style) -> Result<New, NewError> {
    let name = name_of(path)?;
    let not_written = |source| NewError::NotWritten {
        // The working directory is what people mistake.
        path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        source,
    };
    let taken = |found| NewError::Taken {
        path: path.to_owned(),
        found,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(not_written(error)),
        Ok(found) if !found.is_dir() => return Err(taken("and no directory")),
        Ok(_) => {
            if fs::read_dir(path).map_err(not_written)?.next().is_some() {
                return Err(taken("and not empty"));
            }
        }
    }
    let sdk = Sdk::beside(&parent(path), style);
    write(path, &name, style, sdk).map_err(|error| match error.kind() {
        // Somebody has put something there in between.
        ErrorKind::DirectoryNotEmpty => taken("and not empty"),
        _ => not_written(error),
    })?;
    Ok(New {
        // Without a slash at its end.
        directory: path.components().collect(),
        name,
        style,
        sdk,
    })
}

impl New {
    /// What to say of it: what lies where, and what to do next.
    pub fn report(&self) -> String {
        let New {
            directory,
            name,
            style,
            sdk,
        } = self;
        let shared = directory.with_file_name(SDK);
        let shared = shared.display();
        let directory = directory.display();
        let handler = style.handler_file(name);
        let width = format!("{directory}/{handler}").len();
        let line = |file: &str, what: &str| {
            let file = format!("{directory}/{file}");
            format!("  {file:width$}  {what}\n")
        };
        let built_with = match sdk {
            Sdk::Own | Sdk::OwnBesideAnother => line("wsh/", "what it is built with"),
            Sdk::Shared => format!("  {:width$}  what it is built with\n", format!("{shared}/")),
        };
        let advice = match sdk {
            Sdk::OwnBesideAnother => format!(
                "\n`{shared}` is of another wshd, so `{name}` has its own; to have one of this wshd for all \
                 handlers beside it:\n  rm -r {shared} && mv {directory}/{SDK} {shared}\n"
            ),
            Sdk::Own | Sdk::Shared => String::new(),
        };
        format!(
            "made `{name}`, {style}, which answers at /{name}\n{}{}{built_with}\n\
             serve it, and build again what you save:\n  wshd dev {directory}\n\
             run its test:\n  cd {directory} && {}\n",
            line(&handler, "the handler"),
            line("www/", "a page that talks to it"),
            style.test_command(),
        ) + &advice
    }
}

/// Writes it beside its place, and moves it there when it is whole.
fn write(place: &Path, name: &str, style: Style, sdk: Sdk) -> io::Result<()> {
    let parent = &parent(place);
    fs::create_dir_all(parent)?;
    let hidden = tempfile::Builder::new()
        .prefix(".wshd-new-")
        .tempdir_in(parent)?;
    // The temporary directory is private, and what is made is as the user's umask says.
    let whole = hidden.path().join(name);
    for (file, text) in style.files(name) {
        put(&whole.join(file), &text)?;
    }
    for (file, text) in sdk::files() {
        if sdk != Sdk::Shared && style.needs(file) {
            put(&whole.join(SDK).join(file), &text)?;
        }
    }
    // Takes the place of an empty directory, and of nothing else.
    fs::rename(whole, place)
}

/// The directory that a handler is to lie in.
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

/// Where the SDK lies, in the directory of a handler or beside it.
const SDK: &str = "wsh";
