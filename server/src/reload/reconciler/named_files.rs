//! The files that the configuration names: aliases, users and tokens. A change of one has the configuration read again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Reconciler;
use super::configuration::{Asker, stamp_of};
use crate::config::Config;
use crate::reload::scan::Stamp;

/// What is known of these files.
pub(super) struct NamedFiles {
    /// As the last look has found them. A file that is not there has no stamp.
    seen: Stamps,
    /// When they were found otherwise than before.
    since: Instant,
    /// As they were when the configuration was read.
    read: Stamps,
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// What follows from a look at the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamedFilesChange {
    Nothing,
    /// Look again at this time: they have just changed.
    LookAgain(Instant),
    Read,
}

impl NamedFiles {
    /// The files of a configuration that was just read.
    pub(super) fn new(config: &Config) -> NamedFiles {
        let stamps = stamps_of(config);
        NamedFiles {
            seen: stamps.clone(),
            since: Instant::now(),
            read: stamps,
        }
    }

    /// Notes what a look has found, and tells what follows.
    fn step(&mut self, found: Stamps, now: Instant) -> NamedFilesChange {
        if found != self.seen {
            self.seen = found;
            self.since = now;
        }
        // Only of files that were named before a change can be told.
        let is_changed = |(path, stamp)| self.read.get(path).is_some_and(|read| read != stamp);
        if !self.seen.iter().any(is_changed) {
            self.read = self.seen.clone();
            return NamedFilesChange::Nothing;
        }
        let at = self.since + QUIET;
        if now < at {
            return NamedFilesChange::LookAgain(at);
        }
        self.read = self.seen.clone();
        NamedFilesChange::Read
    }
}

impl Reconciler {
    /// Reads the configuration again if a file that it names has changed and was left alone since.
    pub(super) fn look_at_named_files(&mut self, now: Instant) {
        let found = stamps_of(&self.config.load());
        match self.named_files.step(found, now) {
            NamedFilesChange::Nothing => {}
            NamedFilesChange::LookAgain(at) => self.due(at),
            NamedFilesChange::Read => self.reread(Asker::Watch),
        }
    }
}

fn stamps_of(config: &Config) -> Stamps {
    let files = config.files_besides();
    files.map(|path| (path.clone(), stamp_of(path))).collect()
}

/// How long the files must have been left alone, also by programs that remove a file and make it again.
const QUIET: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;

    #[test]
    fn a_change_is_read_once_after_the_files_were_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (users, map) = (directory.path().join("users"), directory.path().join("map"));
        let stamp = |text: &str| {
            fs::write(&users, text).unwrap();
            stamp_of(&users)
        };
        let (old, new) = (stamp("old"), stamp("a new one"));
        let of = |stamp| Stamps::from([(users.clone(), stamp)]);
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut files = NamedFiles {
            seen: of(old),
            since: start,
            read: of(old),
        };
        let with_map = |stamp| Stamps::from([(users.clone(), stamp), (map.clone(), old)]);
        for (millis, found, expected) in [
            (0, of(old), NamedFilesChange::Nothing),
            // It is removed and made again.
            (1_000, of(None), NamedFilesChange::LookAgain(at(1_200))),
            (1_100, of(new), NamedFilesChange::LookAgain(at(1_300))),
            (1_300, of(new), NamedFilesChange::Read),
            (1_400, of(new), NamedFilesChange::Nothing),
            // A file that is named from now on was read with the configuration.
            (2_000, with_map(new), NamedFilesChange::Nothing),
            (
                3_000,
                with_map(None),
                NamedFilesChange::LookAgain(at(3_200)),
            ),
            (3_200, with_map(None), NamedFilesChange::Read),
            (4_000, of(None), NamedFilesChange::Nothing),
            (5_000, Stamps::new(), NamedFilesChange::Nothing),
        ] {
            assert_eq!(files.step(found, at(millis)), expected, "at {millis} ms");
        }
    }
}
