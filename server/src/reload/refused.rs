//! Files that are refused: the reason is said once, kept as long as it holds, and taken back.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tracing::{debug, info, warn};

use super::Change;
use super::reconciler::Reconciler;
use crate::plugin::refusal::Refusal;
use crate::reload::scan::{self, Scan};

/// Why a file is not what serves.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    path: PathBuf,
    /// One sentence.
    pub(super) reason: String,
}

impl Reconciler {
    /// Says of each file that is no plugin why, once.
    pub(super) fn tell_refused(&mut self, scan: &Scan) {
        let refused: HashSet<&Path> = scan.refused.iter().map(|(path, _)| &**path).collect();
        let is_refused = |path: &PathBuf| refused.contains(&**path) || scan.is_unknown(path);
        let passed: Vec<PathBuf> = (self.told.keys())
            .filter(|path| !is_refused(path))
            .cloned()
            .collect();
        for path in passed {
            self.told.remove(&path);
            // A file that is known is looked at, and then told whole or refused again.
            if !self.files.contains_key(&path)
                && let Some(name) = self.name_at(&path)
            {
                self.forget_refusal(&name, &path);
            }
        }
        for (path, refusal) in &scan.refused {
            if self.told.get(path) != Some(refusal) {
                self.told.insert(path.clone(), refusal.clone());
                let name = self.name_at(path);
                self.refuse(name.as_deref(), path, refusal, Instant::now());
            }
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
        let judged = self.files.get(path).map(|file| file.judge(refusal));
        let refusal = judged.as_ref().unwrap_or(refusal);
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
        let handler = name.map(|name| self.deployments.entry(name.to_owned()).or_default());
        let owns = handler.filter(|handler| handler.path.as_deref().is_none_or(|p| p == path));
        if let Some(handler) = owns {
            if let Some(serving) = &handler.serving {
                reason += &format!("; generation {} keeps serving", serving.number);
            }
            handler.refusal = Some(Refused {
                path: path.to_path_buf(),
                reason: reason.clone(),
            });
            if handler.serving.is_none() && handler.loading.is_none() {
                handler.path = None;
            }
        }
        if is_news {
            warn!(error = %reason, "plugin refused");
        } else {
            debug!(error = %reason, "still in the way");
        }
        self.waiters.note(Change {
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
        if let Some(handler) = self.deployments.get_mut(name) {
            handler.refusal = None;
        }
    }

    /// Says that a file that was refused is what serves again.
    pub(super) fn tell_whole(&mut self, name: &str, path: &Path) {
        if self.take_refusal(name, path) {
            let serving = self
                .deployments
                .get(name)
                .and_then(|it| it.serving.as_ref());
            let generation = serving.map(|it| it.number);
            let path = scan::relative(path, &self.config.load());
            info!(handler = %name, generation, path = %path.display(), "plugin whole again: it is what serves");
        }
    }

    /// A file that was refused is gone, and the reason with it.
    pub(super) fn forget_refusal(&mut self, name: &str, path: &Path) {
        if self.take_refusal(name, path) {
            let path = scan::relative(path, &self.config.load());
            info!(handler = %name, path = %path.display(), "refused plugin removed");
        }
    }

    fn take_refusal(&mut self, name: &str, path: &Path) -> bool {
        let handler = self.deployments.get_mut(name);
        let refusal = handler.and_then(|it| it.refusal.take_if(|refusal| refusal.path == path));
        refusal.is_some()
    }

    /// The name of the handler in this file.
    fn name_at(&self, path: &Path) -> Option<String> {
        let known = self.files.get(path).map(|file| file.name.clone());
        known.or_else(|| scan::name_at(path, &self.config.load()))
    }
}
