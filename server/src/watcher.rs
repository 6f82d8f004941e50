//! Hints that something changed in a set of directories. Never more than a hint: who gets one looks
//! again, and looks every few seconds besides.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::warn;

use crate::regular_file::is_absence;

/// Watches directories, each by itself.
pub(crate) struct Watcher {
    /// `None` where the system has no events to give.
    events: Option<RecommendedWatcher>,
    /// What is watched, and which directory was there when that began.
    watched: HashMap<PathBuf, (u64, u64)>,
    is_blind: bool,
    silence: Silence,
}

/// Whether events tell of changes at all: some file systems have none, and a link may lead to where
/// nothing is watched.
#[derive(Debug, Default)]
struct Silence {
    /// Whether a hint has come since the last look.
    was_broken: bool,
    /// A change that no hint told of, and when it was found.
    unannounced: Option<(PathBuf, Instant)>,
    is_certain: bool,
}

impl Watcher {
    /// Calls `hint` from a thread of its own whenever something may have changed.
    pub(crate) fn new(hint: impl Fn() + Send + 'static) -> Watcher {
        let listener = move |event: notify::Result<Event>| {
            // An error can mean that events were lost, which is a reason to look.
            if event.is_ok_and(|event| !is_a_change(&event.kind)) {
                return;
            }
            hint();
        };
        let events = notify::recommended_watcher(listener);
        let mut watcher = Watcher {
            events: None,
            watched: HashMap::new(),
            is_blind: false,
            silence: Silence::default(),
        };
        match events {
            Ok(events) => watcher.events = Some(events),
            Err(error) => watcher.go_blind(&error),
        }
        watcher
    }

    /// Watches exactly these directories from now on. One that is not there is left out until the
    /// next call.
    pub(crate) fn watch(&mut self, directories: &[PathBuf]) {
        let Some(events) = &mut self.events else {
            return;
        };
        self.watched.retain(|path, inode| {
            // A directory that was removed and made again is another one. What cannot be looked at now
            // may be the one that is watched.
            let is_same = match inode_of(path) {
                Ok(found) => found == *inode,
                Err(error) => !is_absence(&error),
            };
            let stays = directories.contains(path) && is_same;
            if !stays {
                // Whether it was watched does not matter any more.
                let _ = events.unwatch(path);
            }
            stays
        });
        let mut failure = None;
        for path in directories {
            let Ok(inode) = inode_of(path) else {
                continue;
            };
            if self.watched.contains_key(path) {
                continue;
            }
            match events.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone(), inode);
                }
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) => self.go_blind(&error),
            None => self.is_blind = false,
        }
    }

    /// Whether some changes can only be found by looking.
    pub(crate) fn is_blind(&self) -> bool {
        self.is_blind || self.silence.is_certain
    }

    /// A hint has come.
    pub(crate) fn heard(&mut self) {
        self.silence.was_broken = true;
        self.silence.unannounced = None;
    }

    /// A look has found these changes. Answers when to look again, if it is not known yet whether a
    /// hint is still to come.
    pub(crate) fn looked(&mut self, changed: &[PathBuf], now: Instant) -> Option<Instant> {
        // What cannot be watched is known already.
        if self.is_blind() {
            return None;
        }
        let silence = &mut self.silence;
        let was_broken = std::mem::take(&mut silence.was_broken);
        if let (false, Some(path)) = (was_broken, changed.first()) {
            silence
                .unannounced
                .get_or_insert_with(|| (path.clone(), now));
        }
        let (path, since) = silence.unannounced.as_ref()?;
        if now < *since + GRACE {
            return Some(*since + GRACE);
        }
        warn!(
            path = %path.display(),
            "no event told of a change: its file system has none, or a link leads to where nothing is watched; looking for changes twice a second from now on"
        );
        silence.is_certain = true;
        None
    }

    fn go_blind(&mut self, error: &notify::Error) {
        if !self.is_blind {
            self.is_blind = true;
            let way_out = way_out(&error.kind);
            warn!(%error, "cannot watch every directory, looking for changes twice a second instead{way_out}");
        }
    }
}

/// What an operator can do about a limit of the system's.
fn way_out(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::MaxFilesWatch => "; raise the sysctl `fs.inotify.max_user_watches`",
        ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE) => {
            "; raise the sysctl `fs.inotify.max_user_instances`"
        }
        _ => "",
    }
}

/// Reading is no change; the end of a write is the best hint there is.
fn is_a_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

fn inode_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// How long an event may take to arrive.
const GRACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher() -> Watcher {
        Watcher::new(|| {})
    }

    #[test]
    fn a_change_that_is_announced_late_is_announced() {
        let (mut watcher, now) = (watcher(), Instant::now());
        let changed = [PathBuf::from("echo_wsh.so")];

        assert_eq!(watcher.looked(&changed, now), Some(now + GRACE));
        watcher.heard();
        assert_eq!(watcher.looked(&[], now + GRACE), None);

        assert!(!watcher.is_blind());
    }

    #[test]
    fn a_change_that_is_never_announced_makes_the_watcher_blind() {
        let (mut watcher, now) = (watcher(), Instant::now());
        let changed = [PathBuf::from("echo_wsh.so")];

        watcher.heard();
        assert_eq!(watcher.looked(&changed, now), None, "it was announced");
        assert_eq!(watcher.looked(&changed, now), Some(now + GRACE));
        assert_eq!(watcher.looked(&[], now + GRACE / 2), Some(now + GRACE));
        assert!(!watcher.is_blind());
        assert_eq!(watcher.looked(&[], now + GRACE), None);

        assert!(watcher.is_blind());
    }
}
