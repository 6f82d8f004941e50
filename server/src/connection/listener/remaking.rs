//! Makes the files of Unix sockets again that were removed, as programs do that clean directories up: without its file no
//! client finds a socket, and the server would not notice.
//!
//! A path may also lead to the socket of a process that is gone. Where it leads to one that lives, or to another file, that
//! is left as it is, and told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::Listener;
use super::listeners::Listeners;
use super::socket_file::{FileLoss, SocketFile};

/// Looks for files that are gone, as long as the server lives.
pub(crate) async fn run(listeners: Arc<Listeners>) {
    let mut failures = Failures::default();
    loop {
        tokio::time::sleep(PAUSE).await;
        let with_files = listeners.with_files();
        if with_files.is_empty() {
            continue;
        }
        // The file system may be slow, and another server that binds in that directory may be waited for.
        let listeners = listeners.clone();
        let remade = tokio::task::spawn_blocking(move || {
            remake(&listeners, with_files, &mut failures);
            failures
        });
        failures = remade.await.unwrap_or_default();
    }
}

/// Makes each file again that is gone. Each one that cannot be made is told once.
pub(super) fn remake(listeners: &Listeners, with_files: Vec<Listener>, failures: &mut Failures) {
    for lost in with_files {
        let Some(file) = &lost.socket.file else {
            continue;
        };
        let path = file.path().display();
        match failures.attempt(file, || listeners.remake(&lost)) {
            None | Some(Ok(false)) => {}
            Some(Ok(true)) => {
                warn!(%path, "the file of a Unix socket was removed, and is made again");
            }
            Some(Err(error)) => {
                error!(%path, %error, "the file of a Unix socket was removed, and cannot be made again");
            }
        }
    }
}

/// The files that could not be made again, with what was found and when.
#[derive(Debug, Default)]
pub(crate) struct Failures(BTreeMap<PathBuf, (FileLoss, Instant)>);

impl Failures {
    /// The outcome of `remake`, which is called if the path of the file does not lead to it any more. `None` where that is
    /// not so, and where a failure was told before.
    pub(crate) fn attempt<T, E>(
        &mut self,
        file: &SocketFile,
        remake: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let Some(loss) = file.loss() else {
            self.0.remove(file.path());
            return None;
        };
        if !self.is_due(file.path(), loss, Instant::now()) {
            return None;
        }
        let made = remake();
        let is_new = match &made {
            Ok(_) => {
                self.0.remove(file.path());
                true
            }
            Err(_) => self.note(file.path().to_owned(), loss, Instant::now()),
        };
        is_new.then_some(made)
    }

    /// Whether a file is to be made now. Where another file has its place, a try may connect to another server.
    fn is_due(&self, path: &Path, loss: FileLoss, now: Instant) -> bool {
        let Some((before, at)) = self.0.get(path) else {
            return true;
        };
        let is_same = *before == loss && matches!(loss, FileLoss::Replaced(_));
        !is_same || now.duration_since(*at) >= REPLACED_PAUSE
    }

    /// Notes that a file cannot be made. Returns whether that is new.
    fn note(&mut self, path: PathBuf, loss: FileLoss, now: Instant) -> bool {
        let before = self.0.insert(path, (loss, now));
        before.is_none_or(|(before, _)| before != loss)
    }
}

/// The time between two looks.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
/// The time between two tries to take the place of one other file.
const REPLACED_PAUSE: Duration = Duration::from_secs(30);
