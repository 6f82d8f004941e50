//! The text of a file, and places in it that a message can show.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use super::error::ConfigError;
use super::fault::{ConfigFault, What};
use crate::process::file_mode::exposure;
use crate::process::regular_file::{self, Content, Links};

/// Where something is written: `config.toml:14:1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as messages name it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The text of the whole line.
    pub text: String,
    /// How many characters of the line are meant.
    pub width: usize,
}

impl Place {
    /// The line of the file, with carets below the place.
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
    /// Where each line begins. It is kept, since each key asks for its place.
    lines: Vec<usize>,
    /// A sentence if every user of the machine can read it.
    exposure: Option<String>,
}

impl Source {
    fn new(file: String, text: String) -> Source {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(after_newlines).collect();
        Source {
            file,
            text,
            lines,
            exposure: None,
        }
    }

    /// Reads a file.
    pub(super) fn read(path: &Path, working_dir: &Path) -> Result<Source, ConfigError> {
        let read = regular_file::read(path, Links::Followed, BYTES_MAX);
        let content = read.map_err(|error| ConfigError::Unreadable {
            place: None,
            path: path.to_owned(),
            source: error.into(),
        })?;
        Source::of(&content, path, working_dir)
    }

    /// The text of a file that was read. Messages name it relative to the working directory, if it lies below that.
    pub(super) fn of(
        content: &Content,
        path: &Path,
        working_dir: &Path,
    ) -> Result<Source, ConfigError> {
        let file = shown(path, working_dir).display().to_string();
        match String::from_utf8(content.bytes.clone()) {
            Ok(text) => Ok(Source {
                exposure: exposure(path, &content.metadata),
                ..Source::new(file, text)
            }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let place = Source::new(file, text).place(valid..valid);
                Err(ConfigError::Faults(vec![ConfigFault {
                    place,
                    what: What::NotUtf8,
                }]))
            }
        }
    }

    /// A sentence if every user of the machine can read the file.
    pub(super) fn exposure(&self) -> Option<&str> {
        self.exposure.as_deref()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The place of a range of bytes. It ends with its first line at the latest.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let start = floor_char_boundary(&self.text, span.start);
        let line_number = self.lines.partition_point(|line| *line <= start);
        let line_start = self.lines[line_number - 1];
        let rest = &self.text[line_start..];
        let line = rest.split('\n').next().unwrap_or(rest);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line_end = line_start + line.len();
        let end = floor_char_boundary(&self.text, span.end).clamp(start, line_end.max(start));
        let shown = without_secret(line);
        Place {
            file: self.file.clone(),
            line: line_number,
            column: self.text[line_start..start].chars().count() + 1,
            // A message must not steer the terminal.
            text: shown.replace(
                |character: char| character.is_control() && character != '\t',
                "\u{fffd}",
            ),
            // Of a secret, its length is not shown either.
            width: match shown {
                Cow::Borrowed(_) => self.text[start..end].chars().count(),
                Cow::Owned(_) => 1,
            },
        }
    }
}

/// A file as messages name it: relative to the working directory, if it lies below that. Everything lies below `/`, in
/// which a service manager starts a server, so there it is the whole path.
pub(super) fn shown<'a>(path: &'a Path, working_dir: &Path) -> &'a Path {
    match working_dir.parent() {
        Some(_) => path.strip_prefix(working_dir).unwrap_or(path),
        None => path,
    }
}

/// The line without what follows its `=`, if its key may be that of a secret, however it is spelled.
fn without_secret(line: &str) -> Cow<'_, str> {
    let secret = line
        .split_once('=')
        .filter(|(key, _)| key.to_ascii_lowercase().contains("cred"));
    match secret {
        Some((key, _)) => format!("{key}= …").into(),
        None => line.into(),
    }
}

/// How large a configuration or a file that it names may be.
pub(super) const BYTES_MAX: u64 = 4 * 1024 * 1024;

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_from_the_working_directory_unless_that_is_the_root() {
        for (working_dir, expected) in [
            ("/etc", "wshd/config.toml"),
            ("/srv", "/etc/wshd/config.toml"),
            ("/", "/etc/wshd/config.toml"),
        ] {
            let shown = shown(Path::new("/etc/wshd/config.toml"), Path::new(working_dir));
            assert_eq!(shown, Path::new(expected), "{working_dir}");
        }
    }
}
