//! What the road of changes says, each thing once, until it is otherwise.

use tracing::{info, warn};

use super::reconciler::Reconciler;
use crate::config::Config;
use crate::reload::scan::Scan;

impl Reconciler {
    /// Says of each path that cannot be read why, once, and when that ends. Answers whether it has ended
    /// for any.
    pub(super) fn tell_unreadable(&mut self, scan: &Scan) -> bool {
        for (path, error) in &scan.unreadable {
            let told = self.unreadable.insert(path.clone(), error.clone());
            if told.as_ref() != Some(error) {
                warn!(path = %path.display(), error, "cannot be read; what was loaded from there keeps serving");
            }
        }
        let told = self.unreadable.keys();
        let known: Vec<_> = told
            .filter(|path| !scan.is_unknown(path))
            .cloned()
            .collect();
        for path in &known {
            self.unreadable.remove(path);
            let (path, is_there) = (path.display(), path.exists());
            if is_there {
                info!(%path, "can be read again");
            } else {
                info!(%path, "could not be read and is gone now");
            }
        }
        !known.is_empty()
    }

    /// Says, once, that there is nothing to serve yet.
    pub(super) fn tell_empty(&mut self, scan: &Scan, config: &Config) {
        let is_empty =
            self.files.is_empty() && scan.refused.is_empty() && scan.unreadable.is_empty();
        let was_empty = std::mem::replace(&mut self.is_empty, is_empty);
        if !is_empty || was_empty || self.is_directory_gone {
            return;
        }
        let path = config.handlers_dir.display();
        if scan.has_crates {
            warn!(%path, "there are crates of handlers and no libraries; `wshd dev {path}` builds and serves them");
        } else {
            info!(%path, "no handler is there yet, waiting for files named `…_wsh.so`");
        }
    }
}
