//! Makes the files of Unix sockets again that were removed, as programs do that clean directories up: without its file no
//! client finds a socket, and the server would not notice.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::listeners::Listeners;

/// Looks for files that are gone, as long as the server lives.
pub(crate) async fn run(listeners: Arc<Listeners>) {
    let mut failed = BTreeSet::new();
    loop {
        tokio::time::sleep(PAUSE).await;
        if !listeners.lack_a_file() {
            failed.clear();
            continue;
        }
        let listeners = listeners.clone();
        // Another server that binds in that directory may be waited for.
        let remade = tokio::task::spawn_blocking(move || {
            remake(&listeners, &mut failed);
            failed
        });
        failed = remade.await.unwrap_or_default();
    }
}

/// Makes each file again that is gone. Each one that cannot be made is told once.
fn remake(listeners: &Listeners, failed: &mut BTreeSet<PathBuf>) {
    listeners.remake_files(|path, outcome| match outcome {
        Ok(()) => {
            failed.remove(path);
            let path = path.display();
            warn!(%path, "the file of a Unix socket was removed, and is made again");
        }
        Err(error) => {
            if failed.insert(path.to_owned()) {
                let path = path.display();
                error!(%path, %error, "the file of a Unix socket was removed, and cannot be made again");
            }
        }
    });
}

/// The time between two looks.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);
