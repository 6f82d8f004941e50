//! What an operator is told of an upgrade.

use std::path::PathBuf;

use serde_json::json;
use tokio::sync::oneshot;
use tracing::info;

use super::Admin;
use super::connection::Answer;

/// Begins an upgrade, and has the outcome told.
pub(crate) type BeginUpgrade = Box<dyn Fn(UpgradeAsker) + Send + Sync>;

/// How an operator is told what becomes of the upgrade.
pub(crate) type UpgradeAsker = oneshot::Sender<Result<Upgraded, NotUpgraded>>;

/// The process that has taken the place of this one.
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) program: PathBuf,
}

/// Why no process has taken the place of this one, in a sentence.
#[derive(Debug)]
pub(crate) enum NotUpgraded {
    /// None was started.
    NotBegun(&'static str),
    /// It was started, and does not take over.
    Failed(String),
}

impl Admin {
    /// Has another process take the place of this one, and says whether it does.
    pub(super) async fn upgrade(&self) -> Answer {
        let Some(begin) = &self.begin_upgrade else {
            return Answer::fault(
                409,
                "a server of `wshd dev` is not upgraded: it serves what it builds",
            );
        };
        info!("an operator upgrades");
        let (asker, told) = oneshot::channel();
        begin(asker);
        match told.await {
            Ok(Ok(upgraded)) => Answer::good(json!({
                "pid": upgraded.pid,
                "version": upgraded.version,
                "program": upgraded.program.to_string_lossy(),
                "pid_before": std::process::id(),
            })),
            Ok(Err(NotUpgraded::NotBegun(why))) => Answer::fault(409, why),
            Ok(Err(NotUpgraded::Failed(why))) => Answer::fault(500, &why),
            Err(_) => Answer::fault(500, "the upgrade itself has failed; the log says why"),
        }
    }
}
