//! One plugin file as it was last seen, and when it is to be believed.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64;

use crate::plugin::inspect::ELF_MAGIC;
use crate::regular_file::{self, Links, NotRead};
use crate::scan::{Found, PLUGIN_BYTES_MAX, Stamp};

/// What is known of a file in the handlers directory.
#[derive(Debug)]
pub(super) struct PluginFile {
    /// The handler's name.
    pub(super) name: String,
    pub(super) stamp: Stamp,
    /// Another file answers at its route; when that one goes, this one is looked at again.
    pub(super) waits_for_route: bool,
    /// Since when it has looked as it does.
    since: Instant,
    /// Whether it was written into since it was first seen, instead of being replaced.
    is_written_in_place: bool,
    /// What it looked like when it was loaded or refused.
    decided: Option<Stamp>,
    sight: Sight,
}

/// What is known of a file's presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// It is there and may be read.
    There,
    /// It is there and must not be read.
    Barred,
    /// Something on the way to it cannot be read, so that it is neither present nor gone.
    Unknown,
    /// It has not been there since then.
    Missing { since: Instant },
}

/// What one look saw at a file's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saw {
    File,
    /// A file that must not be read.
    BarredFile,
    /// Nothing can be said of it.
    Nothing,
    Absence,
}

/// What the next look makes of what was known, and whether the decision about the content still holds.
fn look_again(sight: Sight, saw: Saw, now: Instant) -> (Sight, bool) {
    match (sight, saw) {
        (_, Saw::File) => (Sight::There, true),
        // When it may be read again, it is looked at whatever it holds.
        (_, Saw::BarredFile) => (Sight::Barred, false),
        // An absence that was seen before has not lasted as far as is known.
        (_, Saw::Nothing) => (Sight::Unknown, true),
        (Sight::Missing { since }, Saw::Absence) => (Sight::Missing { since }, false),
        (_, Saw::Absence) => (Sight::Missing { since: now }, false),
    }
}

/// A file's bytes at one moment.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hash: u64,
    pub(crate) stamp: Stamp,
}

impl PluginFile {
    pub(super) fn new(found: &Found, now: Instant) -> PluginFile {
        PluginFile {
            name: found.name.clone(),
            stamp: found.stamp,
            waits_for_route: false,
            since: now,
            is_written_in_place: false,
            decided: None,
            sight: Sight::There,
        }
    }

    /// It is there, and looks like this. Answers whether something else was seen before, which
    /// events tell of where there are any: no event tells of one more hard link.
    pub(super) fn see(&mut self, found: &Found, now: Instant) -> bool {
        let was_missing = self.is_missing();
        self.note(Saw::File, now);
        if found.stamp == self.stamp {
            return was_missing;
        }
        let is_other = !found.stamp.has_same_content_as(&self.stamp);
        self.is_written_in_place = found.stamp.inode == self.stamp.inode;
        self.stamp = found.stamp;
        self.since = now;
        is_other || was_missing
    }

    /// A look has seen this at its path.
    pub(super) fn note(&mut self, saw: Saw, now: Instant) {
        let (sight, is_decision_kept) = look_again(self.sight, saw, now);
        self.sight = sight;
        if !is_decision_kept {
            self.forget();
        }
    }

    /// Whether it has been missing for so long that it is believed.
    pub(super) fn is_gone(&self, now: Instant) -> bool {
        matches!(self.sight, Sight::Missing { since } if now - since >= REMOVAL_DELAY)
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self.sight, Sight::Missing { .. })
    }

    /// Whether it is there and may be read.
    pub(super) fn may_be_read(&self) -> bool {
        self.sight == Sight::There
    }

    /// Whether what it holds now was loaded or refused already.
    pub(super) fn is_decided(&self) -> bool {
        self.decided == Some(self.stamp)
    }

    /// What it holds now is loaded or refused.
    pub(super) fn decide(&mut self) {
        self.decided = Some(self.stamp);
        self.waits_for_route = false;
    }

    /// It is to be looked at again, whatever it holds.
    pub(super) fn forget(&mut self) {
        self.decided = None;
    }

    /// How long to leave it alone, because it may be being written.
    ///
    /// The wait also closes a gap: a write within the same tick of the file system's clock as the
    /// one before it would leave the stamp as it was.
    pub(super) fn wait(&self, is_eager: bool, now: Instant) -> Option<Duration> {
        if is_eager {
            return None;
        }
        let quiet = if self.is_written_in_place {
            QUIET_IN_PLACE
        } else {
            QUIET
        };
        let seen = now.saturating_duration_since(self.since);
        // What was renamed into the directory may have been whole for long.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = wall.map_or(0, |wall| wall.as_nanos() as i128);
        let age =
            u64::try_from(wall - self.stamp.modified).map_or(Duration::ZERO, Duration::from_nanos);
        let left = quiet.saturating_sub(seen.max(age));
        (!left.is_zero()).then_some(left)
    }

    /// How much longer the rest of an incomplete file is waited for.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        let left = INCOMPLETE_DELAY.saturating_sub(now.saturating_duration_since(self.since));
        (!left.is_zero()).then_some(left)
    }
}

/// Reads a file once: these very bytes are hashed, inspected and loaded.
///
/// Of a file that does not begin as a library only the beginning is read, which is enough to refuse it.
pub(crate) fn read(path: &Path) -> Result<Content, NotRead> {
    let (file, opened) = regular_file::open(path, Links::Followed)?;
    let mut beginning = [0; BEGINNING_BYTES];
    let begun = file.read_at(&mut beginning, 0)?;
    let (bytes, stamp) = if beginning.starts_with(ELF_MAGIC) {
        let read = regular_file::read_opened(file, &opened, PLUGIN_BYTES_MAX)?;
        (read.bytes, Stamp::of(&read.metadata))
    } else {
        (beginning[..begun].to_vec(), Stamp::of(&opened))
    };
    Ok(Content {
        hash: xxh3_64(&bytes),
        bytes,
        stamp,
    })
}

/// Enough to say what a file is that is no library of this system.
const BEGINNING_BYTES: usize = 4096;
/// How long a file must have been left alone to be read.
pub(super) const QUIET: Duration = Duration::from_millis(25);
/// The same for a file that is written into: such a writer may pause.
const QUIET_IN_PLACE: Duration = Duration::from_millis(200);
/// How long a removal must last to be believed.
pub(super) const REMOVAL_DELAY: Duration = Duration::from_millis(500);
/// How long the rest of an incomplete file is waited for.
const INCOMPLETE_DELAY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_absence_that_lasts_is_a_removal() {
        let then = Instant::now();
        let now = then + REMOVAL_DELAY;
        let (missing, missing_now) = (
            Sight::Missing { since: then },
            Sight::Missing { since: now },
        );
        let all = [Sight::There, Sight::Barred, Sight::Unknown, missing];
        for sight in all {
            for (saw, next, is_decision_kept) in [
                (Saw::File, Sight::There, true),
                (Saw::BarredFile, Sight::Barred, false),
                (Saw::Nothing, Sight::Unknown, true),
                (
                    Saw::Absence,
                    if sight == missing {
                        missing
                    } else {
                        missing_now
                    },
                    false,
                ),
            ] {
                let found = look_again(sight, saw, now);
                assert_eq!(found, (next, is_decision_kept), "{sight:?} {saw:?}");
            }
        }
    }
}
