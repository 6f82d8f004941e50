//! Refused files: the reason is told once, kept as long as it holds, and then taken back.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tracing::{debug, info, warn};

use super::Reconciler;
use crate::plugin::refusal::Refusal;
use crate::reload::Change;
use crate::reload::belief::{FileAction, Observation, RefusalNotice};
use crate::reload::scan::{self, Scan};

/// Why a file is refused, for the list of handlers.
#[derive(Clone, Debug)]
pub(super) struct RefusalReason {
    pub(super) path: PathBuf,
    /// One sentence.
    pub(super) reason: String,
}

impl Reconciler {
    /// Refuses each file that the scan refuses, once.
    pub(super) fn tell_refused(&mut self, scan: &Scan) {
        let (passed, new) = self.notices.note_refused(scan);
        for path in passed {
            // A known file gets a turn, which loads it or refuses it again.
            if !self.files.contains_key(&path)
                && let Some(name) = self.name_at(&path)
            {
                self.forget_refusal(&name, &path);
            }
        }
        for (path, refusal) in new {
            let name = self.name_at(path);
            self.refuse(name.as_deref(), path, refusal, Instant::now());
        }
    }

    /// Refuses a file because of the scan, or because of a load that began at this time.
    pub(super) fn refuse(
        &mut self,
        name: Option<&str>,
        path: &Path,
        refusal: &Refusal,
        began: Instant,
    ) {
        let observation = Observation::Refused(refusal.clone());
        let refuse = match self.observe(path, &observation, Instant::now()) {
            FileAction::Refuse(refuse) => refuse,
            // The file is not known: only the scan has seen it, or it was removed.
            _ => RefusalNotice {
                refusal: refusal.clone(),
                retry: None,
                is_news: true,
            },
        };
        self.tell_refusal(name, path, &refuse, began);
    }

    /// Tells why a file is not loaded, and keeps the reason.
    pub(super) fn tell_refusal(
        &mut self,
        name: Option<&str>,
        path: &Path,
        refuse: &RefusalNotice,
        began: Instant,
    ) {
        let file = scan::relative(path, &self.config.load());
        let mut reason = refuse.refusal.sentence(&file);
        if let Some(at) = refuse.retry {
            self.due(at);
            reason += "; it is tried again until that has passed";
        }
        let deployment = name.map(|name| self.deployments.entry(name.to_owned()).or_default());
        let owns = deployment.filter(|it| it.path.as_deref().is_none_or(|its| its == path));
        let mut is_without_handler = false;
        if let Some(deployment) = owns {
            if let Some(serving) = &deployment.serving {
                reason += &format!("; generation {} keeps serving", serving.number);
            }
            deployment.refusal = Some(RefusalReason {
                path: path.to_path_buf(),
                reason: reason.clone(),
            });
            is_without_handler = deployment.serving.is_none();
            if is_without_handler && deployment.loading.is_none() {
                deployment.path = None;
            }
        }
        if refuse.is_news {
            // A reader of the line finds at the handler's path what the line says.
            if is_without_handler {
                self.publish();
            }
            self.shared.meters.handler_loads.count("refused");
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

    /// Logs that what was in the way of loading a file has passed.
    pub(super) fn tell_passed(&mut self, name: &str, path: &Path) {
        let path = scan::relative(path, &self.config.load());
        info!(handler = name, path = %path.display(), "what was in the way of loading it has passed");
        if let Some(deployment) = self.deployments.get_mut(name) {
            deployment.refusal = None;
        }
    }

    /// Logs that a file which was refused is the one that serves again.
    pub(super) fn tell_whole(&mut self, name: &str, path: &Path) {
        if self.take_refusal(name, path) {
            let deployment = self.deployments.get(name);
            let serving = deployment.and_then(|it| it.serving.as_ref());
            let generation = serving.map(|it| it.number);
            let path = scan::relative(path, &self.config.load());
            info!(handler = %name, generation, path = %path.display(), "plugin whole again: it is what serves");
        }
    }

    /// Logs that a refused file is gone, and forgets the reason.
    pub(super) fn forget_refusal(&mut self, name: &str, path: &Path) {
        if self.take_refusal(name, path) {
            let path = scan::relative(path, &self.config.load());
            info!(handler = %name, path = %path.display(), "refused plugin removed");
        }
    }

    fn take_refusal(&mut self, name: &str, path: &Path) -> bool {
        let deployment = self.deployments.get_mut(name);
        let refusal = deployment.and_then(|it| it.refusal.take_if(|refusal| refusal.path == path));
        refusal.is_some()
    }

    /// The name of the handler in this file.
    fn name_at(&self, path: &Path) -> Option<String> {
        let known = self.files.get(path).map(|file| file.name.clone());
        known.or_else(|| scan::name_at(path, &self.config.load()))
    }
}
