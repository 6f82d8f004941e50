//! The end of all sessions: tells each to close, and waits for all of them, for a bounded time.

use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::closing_plan::{ClosingPace, ClosingPlan};
use crate::config::Config;
use crate::connection::server::Server;
use crate::sessions::mailbox::dismissal::Dismissal;
use crate::shared::Shared;

/// Closes every session, in batches so that their peers do not all come back at one moment. `ended` ends with the last
/// connection.
///
/// Connections without a session see the stop by themselves. A request that is not complete has a moment more, and a new
/// one or a handshake that waits for its handler is answered 503. A download ends when it makes no progress.
pub(super) async fn drain(
    dismissal: Dismissal,
    shared: &Shared,
    server: &Server,
    ended: &mut mpsc::Receiver<()>,
) {
    let began = Instant::now();
    let config = server.config.load_full();
    let deadline = began + Duration::from_millis(config.limits.stop_timeout_ms);
    let told = async {
        tell_to_close(dismissal, shared, &config, began).await;
        loop {
            sleep(LATECOMERS).await;
            // A handshake that was pending may have become a session since.
            for mailbox in shared.sessions.list(|_, _| true) {
                mailbox.dismiss(dismissal);
            }
        }
    };
    tokio::select! {
        _ = ended.recv() => {}
        () = told => {}
        () = sleep_until(deadline) => {
            let sessions = shared.sessions.list(|_, _| true).len();
            let downloads = server.admission.downloads();
            let others = ended.sender_strong_count().saturating_sub(sessions + downloads);
            warn!(sessions, downloads, others, "stopped waiting for connections: `stop_timeout_ms` is over");
        }
    }
    info!(elapsed_ms = began.elapsed().as_millis(), "stopped");
}

/// Waits until every connection is a session or a download, or has ended: as long as a request may take to come, and at
/// most half of what a stop may take.
pub(super) async fn answer_all(
    connections: &mpsc::WeakSender<()>,
    shared: &Shared,
    server: &Server,
) {
    let limits = &server.config.load_full().limits;
    let longest_ms = limits.handshake_timeout_ms.min(limits.stop_timeout_ms / 2);
    let deadline = Instant::now() + Duration::from_millis(longest_ms);
    while Instant::now() < deadline {
        let sessions = shared.sessions.list(|_, _| true).len();
        if connections.strong_count() <= sessions + server.admission.downloads() {
            return;
        }
        sleep(ANSWERED_PAUSE).await;
    }
}

/// Tells each session that is open to close.
async fn tell_to_close(dismissal: Dismissal, shared: &Shared, config: &Config, began: Instant) {
    let mut random = Rng::new();
    let mut open = shared.sessions.list(|_, _| true);
    // Clients of one place have sessions of near ids.
    random.shuffle(&mut open);
    let pace = ClosingPace::of(config);
    let plan = ClosingPlan::new(open.len(), pace, &mut random);
    info!(
        sessions = open.len(),
        within_ms = plan.time().as_millis(),
        "stopping"
    );
    if plan.is_hurried {
        warn!(
            "more than `stop_batch_sessions` are told to close every two seconds, for the end of `stop_timeout_ms`"
        );
    }
    let mut rest = &open[..];
    for (after, count) in plan.groups() {
        sleep_until(began + after).await;
        let (now, later) = rest.split_at(count);
        for mailbox in now {
            mailbox.dismiss(dismissal);
        }
        rest = later;
    }
}

impl ClosingPace {
    /// What the configuration says of a stop. The last session still has time for its closing handshake.
    fn of(config: &Config) -> ClosingPace {
        let limits = &config.limits;
        let close_ms = config.defaults.session.close_timeout_ms;
        let last_ms = close_ms.min(limits.stop_timeout_ms / 2);
        ClosingPace {
            batch_max: limits.stop_batch_sessions,
            time_max: Duration::from_millis(limits.stop_timeout_ms - last_ms),
        }
    }
}

/// How often connections without a session are counted.
const ANSWERED_PAUSE: Duration = Duration::from_millis(100);
const LATECOMERS: Duration = Duration::from_millis(500);
