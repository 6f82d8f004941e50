//! What is logged about a scan: each fact once, as long as it holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::scan::Scan;
use crate::config::Config;
use crate::plugin::refusal::Refusal;

/// The facts that were logged and still hold.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// Files that the scan refuses, with the reasons.
    refused: HashMap<PathBuf, Refusal>,
    /// Paths that cannot be read, with the system's errors.
    unreadable: BTreeMap<PathBuf, String>,
    is_directory_gone: bool,
    is_empty: bool,
}

impl Notices {
    /// Warns that there is no handlers directory.
    pub(super) fn tell_directory_gone(&mut self, path: &Path, error: &io::Error) {
        if !std::mem::replace(&mut self.is_directory_gone, true) {
            let path = path.display();
            warn!(%path, %error, "handlers directory is gone, waiting for it");
        }
    }

    /// Notes that there is a handlers directory.
    pub(super) fn note_directory(&mut self) {
        self.is_directory_gone = false;
    }

    /// Notes what a scan refuses. Returns the paths that are not refused any more, and the refusals that were
    /// not told yet.
    pub(super) fn note_refused<'a>(
        &mut self,
        scan: &'a Scan,
    ) -> (Vec<PathBuf>, Vec<&'a (PathBuf, Refusal)>) {
        let refused: HashSet<&Path> = scan.refused.iter().map(|(path, _)| &**path).collect();
        let mut passed = Vec::new();
        self.refused.retain(|path, _| {
            let stays = refused.contains(&**path) || scan.is_unknown(path);
            if !stays {
                passed.push(path.clone());
            }
            stays
        });
        let mut new = Vec::new();
        for found in &scan.refused {
            let (path, refusal) = found;
            if self.refused.get(path) != Some(refusal) {
                self.refused.insert(path.clone(), refusal.clone());
                new.push(found);
            }
        }
        (passed, new)
    }

    /// Logs why a path cannot be read, and when it can be read again. True if that is so for any path.
    pub(super) fn tell_unreadable(&mut self, scan: &Scan) -> bool {
        for (path, error) in &scan.unreadable {
            let told = self.unreadable.insert(path.clone(), error.clone());
            if told.as_ref() != Some(error) {
                warn!(path = %path.display(), error, "cannot be read; what was loaded from there keeps serving");
            }
        }
        let before = self.unreadable.len();
        self.unreadable.retain(|path, _| {
            let stays = scan.is_unknown(path);
            if !stays {
                tell_readable(path);
            }
            stays
        });
        self.unreadable.len() < before
    }

    /// Logs that there is nothing to serve yet. `is_any_known` says whether a plugin's file is known.
    pub(super) fn tell_empty(&mut self, scan: &Scan, is_any_known: bool, config: &Config) {
        let is_empty = !is_any_known && scan.refused.is_empty() && scan.unreadable.is_empty();
        let was_empty = std::mem::replace(&mut self.is_empty, is_empty);
        if !is_empty || was_empty || self.is_directory_gone {
            return;
        }
        let path = config.handlers_dir.display();
        if scan.has_crates {
            warn!(%path, "there are crates of handlers and no libraries; `wshd dev {path}` builds and serves them");
        } else if let Some(python) = &scan.python_handler {
            let found = python.display();
            warn!(%path, %found, "there are handlers of pywebsocket, in Python; here they are compiled, and `wshd new NAME` makes one to begin with");
        } else {
            info!(%path, "no handler is there yet, waiting for files named `…_wsh.so`");
        }
    }
}

fn tell_readable(path: &Path) {
    let (path, is_there) = (path.display(), path.exists());
    if is_there {
        info!(%path, "can be read again");
    } else {
        info!(%path, "could not be read and is gone now");
    }
}
