//! Hints that something changed in a set of directories.
//!
//! A hint is never more than a reason to look: events get lost, and some file systems have none. So the
//! reconciler also looks every few seconds without one.

mod missing_events;
mod waypoints;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::{debug, warn};

use self::missing_events::{AfterLook, MissingEvents};
pub(crate) use self::waypoints::waypoints;
use crate::process::optional::{Optional, is_allowed};
use crate::process::regular_file::is_absence;

/// Watches directories, each by itself.
pub(crate) struct Watcher {
    /// `None` where the system has no events to give.
    events: Option<RecommendedWatcher>,
    /// The directories that are watched, by path, with the device and inode that was there at the beginning.
    watched: HashMap<PathBuf, (u64, u64)>,
    /// Which events are hints. The thread that gets the events reads it.
    interest: Arc<ArcSwap<Interest>>,
    /// Whether a directory could not be watched.
    is_blind: bool,
    missing_events: MissingEvents,
}

/// The paths whose events are hints.
#[derive(Debug, Default)]
struct Interest {
    /// Directories in which everything matters.
    whole: HashSet<PathBuf>,
    /// Names that matter in other directories.
    names: BTreeSet<PathBuf>,
}

impl Interest {
    /// Whether a change of what lies at this path matters.
    fn covers(&self, path: &Path) -> bool {
        self.names.contains(path)
            || self.whole.contains(path)
            || path.parent().is_some_and(|it| self.whole.contains(it))
    }
}

impl Watcher {
    /// Calls `hint` from a thread of its own whenever something may have changed.
    pub(crate) fn new(hint: impl Fn() + Send + 'static) -> Watcher {
        let interest = Arc::new(ArcSwap::from_pointee(Interest::default()));
        let of_listener = interest.clone();
        let listener = move |event: notify::Result<Event>| {
            // An error can mean that events were lost, which is a reason to look.
            if event.is_ok_and(|event| !is_hint(&event, &of_listener.load())) {
                return;
            }
            hint();
        };
        let events = match is_allowed(Optional::Watching) {
            true => notify::recommended_watcher(listener),
            false => Err(notify::Error::generic("a system call filter forbids it")),
        };
        let mut watcher = Watcher {
            events: None,
            watched: HashMap::new(),
            interest,
            is_blind: false,
            missing_events: MissingEvents::default(),
        };
        match events {
            Ok(events) => watcher.events = Some(events),
            Err(error) => watcher.go_blind(&error),
        }
        watcher
    }

    /// Watches exactly these directories from now on, and for `names` the directories that they lie in. A
    /// directory that is not there is left out until the next call.
    ///
    /// Returns whether a directory is watched that was not: no event tells of a change before that.
    pub(crate) fn watch(&mut self, directories: &[PathBuf], names: BTreeSet<PathBuf>) -> bool {
        let Some(events) = &mut self.events else {
            return false;
        };
        let mut wanted: Vec<PathBuf> = directories.to_vec();
        wanted.extend(
            names
                .iter()
                .filter_map(|name| name.parent())
                .map(Path::to_owned),
        );
        self.interest.store(Arc::new(Interest {
            whole: directories.iter().cloned().collect(),
            names,
        }));
        self.watched.retain(|path, inode| {
            // A directory that was removed and made again is another one. One that cannot be looked at
            // now may still be the one that is watched.
            let is_same = match inode_of(path) {
                Ok(found) => found == *inode,
                Err(error) => !is_absence(&error),
            };
            let stays = wanted.contains(path) && is_same;
            if !stays {
                // An error says that it was not watched any more.
                let _ = events.unwatch(path);
            }
            stays
        });
        let (mut failure, mut is_any_new) = (None, false);
        for path in wanted {
            let Ok(inode) = inode_of(&path) else {
                continue;
            };
            // The system has one watch for a directory, whatever its name is.
            let mut known = self.watched.iter();
            if known.any(|(other, watched)| *other == path || *watched == inode) {
                continue;
            }
            match events.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, inode);
                    is_any_new = true;
                }
                Err(error) if directories.contains(&path) || is_limit(&error.kind) => {
                    failure = Some(error);
                }
                // A directory above may be closed to the server. A change there is found by the next look.
                Err(error) => debug!(path = %path.display(), %error, "not watched"),
            }
        }
        match failure {
            Some(error) => self.go_blind(&error),
            None => self.is_blind = false,
        }
        is_any_new
    }

    /// Whether some changes can be found by looking only.
    pub(crate) fn is_blind(&self) -> bool {
        self.is_blind || self.missing_events == MissingEvents::Certain
    }

    /// Notes that a hint has come.
    pub(crate) fn heard(&mut self) {
        self.missing_events = std::mem::take(&mut self.missing_events).after_hint();
    }

    /// Forgets whether events tell of changes: other directories are looked at from now on.
    pub(crate) fn begin_anew(&mut self) {
        self.missing_events = MissingEvents::default();
    }

    /// Notes the changes that a look has found. Returns when to look again, as long as a hint may still
    /// come.
    pub(crate) fn looked(&mut self, changed: &[PathBuf], now: Instant) -> Option<Instant> {
        // There is nothing more to find out.
        if self.is_blind() {
            return None;
        }
        let missing_events = std::mem::take(&mut self.missing_events);
        let changed = changed.first().map(PathBuf::as_path);
        let (missing_events, follows) = missing_events.after_look(changed, now);
        self.missing_events = missing_events;
        match follows {
            AfterLook::Nothing => None,
            AfterLook::LookAgain(until) => Some(until),
            AfterLook::Tell(path) => {
                warn!(
                    path = %path.display(),
                    "no event told of a change: its file system has none, or a link leads to where nothing is watched; looking for changes twice a second from now on"
                );
                None
            }
        }
    }

    fn go_blind(&mut self, error: &notify::Error) {
        if !self.is_blind {
            self.is_blind = true;
            let way_out = way_out(&error.kind);
            warn!(%error, "cannot watch every directory, looking for changes twice a second instead{way_out}");
        }
    }
}

/// Whether the system has no more watches to give, for any directory.
fn is_limit(kind: &ErrorKind) -> bool {
    !way_out(kind).is_empty()
}

/// What an operator can do about a limit of the system; nothing for other errors.
fn way_out(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::MaxFilesWatch => "; raise the sysctl `fs.inotify.max_user_watches`",
        ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE) => {
            "; raise the sysctl `fs.inotify.max_user_instances`"
        }
        _ => "",
    }
}

/// Whether an event is a reason to look. An event without a path says that events were lost.
fn is_hint(event: &Event, interest: &Interest) -> bool {
    let paths = &event.paths;
    is_a_change(&event.kind) && (paths.is_empty() || paths.iter().any(|path| interest.covers(path)))
}

/// Whether an event of this kind tells of a change. The end of a write does, reading does not.
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

#[cfg(test)]
mod tests {
    use super::missing_events::GRACE;
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

    #[test]
    fn a_watcher_that_went_blind_elsewhere_sees_where_it_begins_anew() {
        let (mut watcher, now) = (watcher(), Instant::now());
        watcher.looked(&[PathBuf::from("echo_wsh.so")], now);
        watcher.looked(&[], now + GRACE);
        assert!(watcher.is_blind());

        watcher.begin_anew();

        assert!(!watcher.is_blind());
        assert_eq!(watcher.looked(&[], now + GRACE), None);
    }
}
