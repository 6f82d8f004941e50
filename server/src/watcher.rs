//! Hints that something changed in a set of directories. Never more than a hint: who gets one looks
//! again, and looks every few seconds besides.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::warn;

/// Watches directories, each by itself.
pub(crate) struct Watcher {
    /// `None` where the system has no events to give.
    events: Option<RecommendedWatcher>,
    /// What is watched, and which directory was there when that began.
    watched: HashMap<PathBuf, (u64, u64)>,
    is_blind: bool,
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
            // A directory that was removed and made again is another one.
            let stays = directories.contains(path) && inode_of(path) == Some(*inode);
            if !stays {
                // Whether it was watched does not matter any more.
                let _ = events.unwatch(path);
            }
            stays
        });
        let mut failure = None;
        for path in directories {
            let Some(inode) = inode_of(path) else {
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
        self.is_blind
    }

    fn go_blind(&mut self, error: &notify::Error) {
        if !self.is_blind {
            self.is_blind = true;
            warn!(%error, "cannot watch every directory; looking for changes twice a second instead");
        }
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

fn inode_of(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
