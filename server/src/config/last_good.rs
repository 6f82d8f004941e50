//! The files that a configuration is read from, each as it is now or, where that is broken, as it was when it was last
//! right. So a broken file holds no change of another file back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Config;
use super::error::ConfigError;
use super::source::{BYTES_MAX, Source};
use crate::process::regular_file::{self, Content, Links, NotRead};

/// What a configuration was made of.
#[derive(Debug, Default)]
pub struct LastGood {
    /// The configuration file; the inner `None` where there was none. `None` before the first reading.
    pub(super) base: Option<BaseFile>,
    /// The files that it names, by path.
    pub(super) named: BTreeMap<PathBuf, Arc<Content>>,
}

/// The configuration file and its text, if there is one.
pub(super) type BaseFile = Option<(PathBuf, Arc<Source>)>;

impl LastGood {
    /// The configuration file that was read now. Many programs empty a file before they write it, and some do not come to
    /// that, as on a full disk. So where there was something before, nothing is no configuration.
    ///
    /// # Errors
    ///
    /// It is empty, and was not before.
    pub(super) fn unless_emptied(&self, base: BaseFile) -> Result<BaseFile, ConfigError> {
        let is_empty = |source: &Source| source.text().trim().is_empty();
        let was_empty = (self.base.iter().flatten()).all(|(_, source)| is_empty(source));
        match base {
            Some((path, source)) if is_empty(&source) && !was_empty => {
                Err(ConfigError::Emptied { path })
            }
            base => Ok(base),
        }
    }
}

/// A configuration, and the files of which it has what they said before.
#[derive(Debug)]
pub struct Reading {
    /// The configuration.
    pub config: Config,
    /// The files that are broken now.
    pub refused: Vec<RefusedFile>,
}

/// A file that is broken, so that what it said before counts.
#[derive(Debug)]
pub struct RefusedFile {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub error: ConfigError,
}

/// The files that a configuration names, while it is read.
pub(super) struct NamedContents<'a> {
    /// As they were when they were last right.
    last: &'a BTreeMap<PathBuf, Arc<Content>>,
    /// What the configuration is made of.
    pub(super) used: BTreeMap<PathBuf, Arc<Content>>,
    pub(super) refused: Vec<RefusedFile>,
}

impl<'a> NamedContents<'a> {
    pub(super) fn new(last: &'a BTreeMap<PathBuf, Arc<Content>>) -> NamedContents<'a> {
        NamedContents {
            last,
            used: BTreeMap::new(),
            refused: Vec::new(),
        }
    }

    /// Reads a file and has it parsed. Where one of both fails, what the file had before is parsed instead.
    ///
    /// # Errors
    ///
    /// The file is broken, and was not read before.
    pub(super) fn parse<T>(
        &mut self,
        path: &Path,
        unreadable: impl Fn(NotRead) -> ConfigError,
        parse: impl Fn(&Content) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        let read = regular_file::read(path, Links::Followed, BYTES_MAX);
        let parsed = read.map_err(unreadable).and_then(|content| {
            let parsed = parse(&content)?;
            Ok((parsed, Arc::new(content)))
        });
        let (parsed, content) = match (parsed, self.last.get(path)) {
            (Ok(parsed), _) => parsed,
            (Err(error), None) => return Err(error),
            (Err(error), Some(last)) => {
                let parsed = parse(last)?;
                let path = path.to_owned();
                self.refused.push(RefusedFile { path, error });
                (parsed, last.clone())
            }
        };
        self.used.insert(path.to_owned(), content);
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Reads the file as text. A text with `broken` in it has a fault.
    fn read(named: &mut NamedContents<'_>, path: &Path) -> Result<String, ConfigError> {
        let unreadable = |error: NotRead| ConfigError::NoCredentials {
            place: None,
            path: path.to_owned(),
            source: error.into(),
        };
        named.parse(path, unreadable, |content| {
            let text = String::from_utf8_lossy(&content.bytes).into_owned();
            match text.contains("broken") {
                true => Err(ConfigError::BadSingleUser),
                false => Ok(text),
            }
        })
    }

    #[test]
    fn what_a_broken_file_said_before_counts_until_it_is_used_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let [users, tokens] = ["users", "tokens"].map(|name| directory.path().join(name));
        let mut last = BTreeMap::new();
        for (of_users, of_tokens, reads_users, expected, refused) in [
            (Some("u1"), Some("t1"), true, Some(("u1", "t1")), 0),
            (Some("broken"), Some("t2"), true, Some(("u1", "t2")), 1),
            (None, Some("broken"), true, Some(("u1", "t2")), 2),
            (Some("u2"), None, true, Some(("u2", "t2")), 1),
            // The configuration names other users for a while.
            (Some("u2"), Some("t3"), false, Some(("", "t3")), 0),
            (Some("broken"), Some("t4"), true, None, 0),
            (Some("u3"), Some("t4"), true, Some(("u3", "t4")), 0),
        ] {
            for (path, text) in [(&users, of_users), (&tokens, of_tokens)] {
                match text {
                    Some(text) => fs::write(path, text).unwrap(),
                    None => fs::remove_file(path).unwrap(),
                }
            }
            let mut named = NamedContents::new(&last);
            let found_users = match reads_users {
                true => read(&mut named, &users),
                false => Ok(String::new()),
            };
            let found = found_users.and_then(|of_users| Ok((of_users, read(&mut named, &tokens)?)));
            let found = found.ok();
            let found = found.as_ref().map(|(one, other)| (&**one, &**other));
            assert_eq!(found, expected, "{of_users:?} {of_tokens:?}");
            assert_eq!(named.refused.len(), refused, "{of_users:?} {of_tokens:?}");
            if found.is_some() {
                last = named.used;
            }
        }
    }
}
