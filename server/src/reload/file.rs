//! One plugin file as it was last seen, and when it is to be believed.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64;

use crate::plugin::PLUGIN_BYTES_MAX;
use crate::plugin::inspect::{About, ELF_MAGIC};
use crate::plugin::refusal::Refusal;
use crate::process::regular_file::{self, Links, NotRead};
use crate::reload::scan::{Found, Stamp};

/// What is known of a file in the handlers directory.
#[derive(Debug)]
pub(super) struct PluginFile {
    /// The handler's name.
    pub(super) name: String,
    pub(super) stamp: Stamp,
    /// Since when it has looked as it does.
    since: Instant,
    /// Whether it was written into since it was first seen, instead of being replaced.
    is_written_in_place: bool,
    sight: Sight,
    verdict: Verdict,
    trouble: Option<Trouble>,
}

/// What was decided of the content that a stamp stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing yet.
    None,
    /// It is loaded, or refused until the file changes.
    Final(Stamp),
    /// Another file answers at its route; when that one goes, this one is looked at again.
    AwaitsRoute(Stamp),
    /// Something other than the file is in the way, and may be gone by then.
    AwaitsRetry(Stamp, Instant),
}

/// What is in the way of loading a file, and is no fault of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    attempts: u32,
    told: Refusal,
    /// Trials that were this file's alone, and lost the process that tries plugins.
    helpers_lost: u32,
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
    /// What an inspection has said, if there was one already.
    pub(super) about: Option<Result<About, Refusal>>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("bytes", &self.bytes.len())
            .field("stamp", &self.stamp)
            .finish_non_exhaustive()
    }
}

impl PluginFile {
    pub(super) fn new(found: &Found, now: Instant) -> PluginFile {
        PluginFile {
            name: found.name.clone(),
            stamp: found.stamp,
            since: now,
            is_written_in_place: false,
            sight: Sight::There,
            verdict: Verdict::None,
            trouble: None,
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
        if is_other {
            self.trouble = None;
        }
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

    /// Whether nothing is to be done about what it holds now.
    pub(super) fn is_decided(&self) -> bool {
        match self.verdict {
            Verdict::None | Verdict::AwaitsRetry(..) => false,
            Verdict::Final(stamp) | Verdict::AwaitsRoute(stamp) => stamp == self.stamp,
        }
    }

    /// What it holds now is loaded or refused.
    pub(super) fn decide(&mut self) {
        self.verdict = Verdict::Final(self.stamp);
    }

    /// What it holds now is not loaded while another file answers at its route.
    pub(super) fn await_route(&mut self) {
        self.verdict = Verdict::AwaitsRoute(self.stamp);
    }

    pub(super) fn is_awaiting_route(&self) -> bool {
        matches!(self.verdict, Verdict::AwaitsRoute(_))
    }

    /// What it holds now could not be loaded for a reason that may pass. Answers when it is tried again,
    /// and whether the reason is news.
    pub(super) fn defer(&mut self, refusal: &Refusal, now: Instant) -> (Instant, bool) {
        let before = self.trouble.take();
        let is_news = before.as_ref().is_none_or(|it| it.told != *refusal);
        let helpers_lost = helpers_lost_with(before.as_ref(), refusal);
        let attempts = before.map_or(0, |it| it.attempts);
        let at = now + retry_delay(attempts);
        self.trouble = Some(Trouble {
            attempts: attempts + 1,
            told: refusal.clone(),
            helpers_lost,
        });
        self.verdict = Verdict::AwaitsRetry(self.stamp, at);
        (at, is_news)
    }

    /// What this refusal comes to, after those before it: a file whose trials lose the process that tries
    /// plugins again and again is at fault itself.
    pub(super) fn judge(&self, refusal: &Refusal) -> Refusal {
        match helpers_lost_with(self.trouble.as_ref(), refusal) {
            trials @ HELPERS_LOST_MAX.. => Refusal::LostHelper { trials },
            _ => refusal.clone(),
        }
    }

    /// It is tried again without further delay, if it is to be tried again at all.
    pub(super) fn hurry(&mut self) {
        if let Verdict::AwaitsRetry(..) = self.verdict {
            self.forget();
        }
    }

    /// Nothing but the file itself decides any more. Answers whether something else was in the way.
    pub(super) fn end_trouble(&mut self) -> bool {
        self.trouble.take().is_some()
    }

    /// It is to be looked at again, whatever it holds.
    pub(super) fn forget(&mut self) {
        self.verdict = Verdict::None;
    }

    /// How long to leave it alone, because it may be being written.
    ///
    /// The wait also closes a gap: a write within the same tick of the file system's clock as the
    /// one before it would leave the stamp as it was.
    pub(super) fn wait(&self, is_eager: bool, now: Instant) -> Option<Duration> {
        if let Verdict::AwaitsRetry(stamp, at) = self.verdict
            && stamp == self.stamp
            && now < at
        {
            return Some(at - now);
        }
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

/// Trials that lost the process that tries plugins, this refusal's included.
fn helpers_lost_with(before: Option<&Trouble>, refusal: &Refusal) -> u32 {
    let lost = before.map_or(0, |it| it.helpers_lost);
    lost + u32::from(*refusal == Refusal::LosesHelper)
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
        about: None,
    })
}

/// Enough to say what a file is that is no library of this system.
const BEGINNING_BYTES: usize = 4096;
/// From a failed attempt to the next one, after so many attempts before.
fn retry_delay(attempts: u32) -> Duration {
    RETRY_DELAY_MIN
        .saturating_mul(1 << attempts.min(16))
        .min(RETRY_DELAY_MAX)
}

/// The first time: whatever was in the way may have been there for a moment only.
const RETRY_DELAY_MIN: Duration = Duration::from_millis(250);
/// An operator who has made space does not wait longer. A retry reads the file, which costs little.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(8);
/// So many trials that lose the process that tries plugins are no accident.
const HELPERS_LOST_MAX: u32 = 3;
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

    /// A plugin's file with this content, as a scan finds it.
    fn written(directory: &tempfile::TempDir, bytes: &str) -> Found {
        let path = directory.path().join("echo_wsh.so");
        std::fs::write(&path, bytes).unwrap();
        let stamp = Stamp::of(&std::fs::metadata(&path).unwrap());
        let name = "echo".to_owned();
        Found { path, name, stamp }
    }

    #[test]
    fn a_file_whose_trials_lose_the_helper_three_times_is_at_fault() {
        let directory = tempfile::tempdir().unwrap();
        let found = |bytes: &str| written(&directory, bytes);
        let now = Instant::now();
        let other = Refusal::Untried("another one's doing".to_owned());
        let mut file = PluginFile::new(&found("one"), now);

        for refusal in [&Refusal::LosesHelper, &other, &Refusal::LosesHelper] {
            assert_eq!(file.judge(refusal), *refusal);
            file.defer(refusal, now);
        }
        assert_eq!(file.judge(&other), other, "it does not count");
        let last = file.judge(&Refusal::LosesHelper);
        assert_eq!(last, Refusal::LostHelper { trials: 3 });
        assert!(!last.is_passing());

        // A new file begins anew.
        file.see(&found("another"), now);
        let first = file.judge(&Refusal::LosesHelper);
        assert_eq!(first, Refusal::LosesHelper);
    }

    #[test]
    fn what_failed_for_a_passing_reason_is_tried_again_less_and_less_often() {
        let directory = tempfile::tempdir().unwrap();
        let found = |bytes: &str| written(&directory, bytes);
        let (full, gone) = (
            Refusal::Unstaged("no space".to_owned()),
            Refusal::Unstaged("no directory".to_owned()),
        );
        let mut now = Instant::now();
        let mut file = PluginFile::new(&found("one"), now);

        let mut delays = Vec::new();
        for attempt in 0..8 {
            let (at, is_news) = file.defer(&full, now);
            assert_eq!(is_news, attempt == 0);
            assert!(!file.is_decided());
            assert_eq!(file.wait(false, now), Some(at - now));
            assert_eq!(file.wait(true, now), Some(at - now));
            delays.push((at - now).as_millis());
            now = at;
        }
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
        file.hurry();
        assert_eq!(
            file.wait(true, now),
            None,
            "a request to look is one to try"
        );
        assert!(file.defer(&gone, now).1, "another reason is news");
        assert!(file.end_trouble() && !file.end_trouble());

        // What a retry has loaded is decided, until the file changes; then all begins anew.
        file.defer(&full, now);
        file.decide();
        assert!(file.is_decided());
        assert!(file.see(&found("another"), now));
        assert!(!file.is_decided());
        let (at, is_news) = file.defer(&full, now);
        assert!(is_news);
        assert_eq!(at - now, RETRY_DELAY_MIN);
    }
}
