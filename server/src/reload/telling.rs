//! What the road of changes says, each thing once, until it is otherwise.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use tracing::{debug, info, warn};

use super::Change;
use super::keeper::Keeper;
use crate::config::Config;
use crate::plugin::refusal::Refusal;
use crate::scan::{self, Scan};

impl Keeper {
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

    /// Says of each file that is no plugin why, once.
    pub(super) fn tell_refused(&mut self, scan: &Scan) {
        let refused: HashSet<&Path> = scan.refused.iter().map(|(path, _)| &**path).collect();
        self.told
            .retain(|path, _| refused.contains(&**path) || scan.is_unknown(path));
        for (path, refusal) in &scan.refused {
            if self.told.get(path) != Some(refusal) {
                self.told.insert(path.clone(), refusal.clone());
                let name = self.files.get(path).map(|file| file.name.clone());
                self.refuse(name.as_deref(), path, refusal, Instant::now());
            }
        }
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

    /// Says why a file is not loaded, and keeps the reason.
    pub(super) fn refuse(
        &mut self,
        name: Option<&str>,
        path: &Path,
        refusal: &Refusal,
        began: Instant,
    ) {
        let mut reason = refusal.sentence(&scan::relative(path, &self.config.load()));
        let mut is_news = true;
        if let Some(file) = self.files.get_mut(path) {
            if refusal.is_passing() {
                let again;
                (again, is_news) = file.defer(refusal, Instant::now());
                self.due(again);
                reason += "; it is tried again until that has passed";
            } else {
                file.end_trouble();
            }
        }
        let handler = name.and_then(|name| self.handlers.get_mut(name));
        let owns = handler.filter(|handler| handler.path.as_deref().is_none_or(|p| p == path));
        if let Some(handler) = owns {
            if let Some(serving) = &handler.serving {
                reason += &format!("; generation {} keeps serving", serving.number);
            }
            handler.refusal = Some(reason.clone());
            if handler.serving.is_none() && handler.loading.is_none() {
                handler.path = None;
            }
        }
        if is_news {
            warn!(error = %reason, "plugin refused");
        } else {
            debug!(error = %reason, "still in the way");
        }
        self.audience.note(Change {
            handler: name.unwrap_or_default().to_owned(),
            outcome: Err(reason),
            elapsed: began.elapsed(),
            moved: None,
        });
    }

    /// Says that what was in the way of a file has passed, if something was.
    pub(super) fn tell_well(&mut self, name: &str, path: &Path) {
        let Some(file) = self.files.get_mut(path) else {
            return;
        };
        if !file.end_trouble() {
            return;
        }
        let path = scan::relative(path, &self.config.load());
        info!(handler = name, path = %path.display(), "what was in the way of loading it has passed");
        if let Some(handler) = self.handlers.get_mut(name) {
            handler.refusal = None;
        }
    }
}
