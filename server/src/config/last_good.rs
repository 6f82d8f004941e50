//! The files that a configuration is read from, each as it is now or, where that is broken, as it was when it was last
//! right. So a broken file holds no change of another file back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Config;
use super::fault::ConfigError;
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
