//! The files that the configuration names: aliases, users and tokens. A change of one has the configuration read again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

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
    read: BTreeMap<PathBuf, Read>,
    /// When the last reading of the configuration began.
    read_began: SystemTime,
}

/// What is known of a file at the time when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// It may have changed since.
    Unknown,
    Missing,
    As(Stamp),
}

impl Read {
    fn of(stamp: &Option<Stamp>) -> Read {
        stamp.map_or(Read::Missing, Read::As)
    }
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
    /// The files of a configuration that was read after `began`.
    pub(super) fn new(config: &Config, began: SystemTime) -> NamedFiles {
        NamedFiles::of(stamps_of(config), began)
    }

    /// The files as they were found after they were read. One that has changed since `began` may have done so behind the
    /// reading, and so counts as changed, as does one that is gone.
    fn of(found: Stamps, began: SystemTime) -> NamedFiles {
        let read = found.iter().map(|(path, stamp)| {
            let read = stamp.filter(|it| it.is_older_than(began));
            (path.clone(), read.map_or(Read::Unknown, Read::As))
        });
        NamedFiles {
            read: read.collect(),
            seen: found,
            since: Instant::now(),
            read_began: began,
        }
    }

    /// Notes that the configuration is read from now on, perhaps with files that were not named before.
    pub(super) fn begin_reading(&mut self) {
        self.read_began = SystemTime::now();
    }

    /// Notes what a look has found, and tells what follows.
    fn step(&mut self, found: Stamps, now: Instant) -> NamedFilesChange {
        if found != self.seen {
            self.seen = found;
            self.since = now;
        }
        // Only of files that were named before a change can be told.
        let is_changed = |(path, stamp): (&PathBuf, &Option<Stamp>)| {
            let read = self.read.get(path);
            read.is_some_and(|read| *read != Read::of(stamp))
        };
        if !self.seen.iter().any(is_changed) {
            self.note_read();
            return NamedFilesChange::Nothing;
        }
        let at = self.since + QUIET;
        if now < at {
            return NamedFilesChange::LookAgain(at);
        }
        self.note_read();
        NamedFilesChange::Read
    }

    /// Notes that what was last seen is what is read. A file that was not named before was read before it was seen.
    fn note_read(&mut self) {
        let seen = self.seen.iter().map(|(path, stamp)| {
            let is_sure = self.read.contains_key(path)
                || stamp.is_some_and(|it| it.is_older_than(self.read_began));
            let read = match is_sure {
                true => Read::of(stamp),
                false => Read::Unknown,
            };
            (path.clone(), read)
        });
        self.read = seen.collect();
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
    use std::time::UNIX_EPOCH;

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
            read: BTreeMap::from([(users.clone(), Read::of(&old))]),
            read_began: SystemTime::now() + Duration::from_secs(1),
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

    #[test]
    fn a_file_that_may_have_changed_behind_its_first_reading_is_read_once_more() {
        let path = PathBuf::from("/users");
        let began = UNIX_EPOCH + Duration::from_secs(5);
        let changed_at = |seconds: i128| Some(Stamp::made_up(1, 0, seconds * 1_000_000_000));
        for (stamp, is_read_again) in [(changed_at(4), false), (changed_at(6), true), (None, true)]
        {
            let found = Stamps::from([(path.clone(), stamp)]);
            let mut files = NamedFiles::of(found.clone(), began);
            let start = files.since;

            let first = files.step(found.clone(), start + QUIET);
            let second = files.step(found, start + 2 * QUIET);

            let expected = match is_read_again {
                true => NamedFilesChange::Read,
                false => NamedFilesChange::Nothing,
            };
            assert_eq!(first, expected, "{stamp:?}");
            assert_eq!(second, NamedFilesChange::Nothing, "{stamp:?}");

            // So is one that the configuration names from then on.
            let mut files = NamedFiles::of(Stamps::new(), began);
            let found = Stamps::from([(path.clone(), stamp)]);
            let start = files.since;
            let first = files.step(found.clone(), start);
            assert_eq!(first, NamedFilesChange::Nothing, "{stamp:?}");
            let second = files.step(found, start + QUIET);
            assert_eq!(second, expected, "{stamp:?}");
        }
    }
}
