//! What the service manager is told of the server's life: ready, stopping, alive, and a line for people.
//!
//! A task of the runtime tells it, so a runtime that makes no progress falls silent, and the manager's watchdog ends the
//! process. Reloads are told by `signals`.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::process::service_manager::{Notice, ServiceManager, service_manager};
use crate::router::Router;
use crate::shared::Shared;
use crate::shared::readiness::Readiness;

/// Tells the service manager, if there is one, until it is dropped.
#[derive(Debug)]
pub(super) struct Supervision(Option<JoinHandle<()>>);

/// What the manager knows.
#[derive(Debug, Default)]
struct Told {
    is_ready: bool,
    status: String,
}

impl Supervision {
    /// Tells that handlers are being loaded. To be called in the runtime.
    pub(super) fn of_start() -> Supervision {
        Supervision::of(|manager| async move {
            let status = Notice::Status("loading handlers".to_owned());
            loop {
                manager.tell(&[Notice::ExtendTimeout(EXTENSION), status.clone()]);
                sleep(TICK).await;
            }
        })
    }

    /// Tells how the server is, from the moment on at which it serves.
    pub(super) fn of_life(shared: Arc<Shared>, router: Arc<Router>) -> Supervision {
        Supervision::of(|manager| async move {
            let watchdog = manager.watchdog();
            // Three times, so that the manager hears of life in time if one comes late.
            let tick = watchdog.map_or(TICK, |watchdog| TICK.min(watchdog / 3));
            let mut changes = shared.readiness.subscribe();
            let mut told = Told::default();
            loop {
                let readiness = shared.readiness.now();
                let sessions = shared.sessions.count();
                let status = status(readiness, router.listing().counts(), sessions);
                let mut notices = told.notices(readiness, status);
                if watchdog.is_some() {
                    notices.push(Notice::Watchdog);
                }
                manager.tell(&notices);
                let _ = timeout(tick, changes.next()).await;
            }
        })
    }

    /// Tells that the server stops. At once, since a server without sessions ends before the task has its turn.
    pub(super) fn tell_stop(&self) {
        if let Some(manager) = service_manager() {
            manager.tell(&[Notice::Stopping, Notice::ExtendTimeout(EXTENSION)]);
        }
    }

    fn of<F: Future<Output = ()> + Send + 'static>(
        tell: impl FnOnce(&'static ServiceManager) -> F,
    ) -> Supervision {
        Supervision(service_manager().map(|manager| tokio::spawn(tell(manager))))
    }
}

impl Drop for Supervision {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Told {
    /// What the manager has to be told of a server that is in this state.
    fn notices(&mut self, readiness: Readiness, status: String) -> Vec<Notice> {
        let mut notices = Vec::new();
        match readiness {
            Readiness::Starting => notices.push(Notice::ExtendTimeout(EXTENSION)),
            // A server that is overloaded is up.
            Readiness::Ready | Readiness::Overloaded => {
                if !std::mem::replace(&mut self.is_ready, true) {
                    notices.push(Notice::Ready);
                }
            }
            Readiness::Draining => {
                // The configuration bounds the stop, and not the manager.
                notices.push(Notice::ExtendTimeout(EXTENSION));
            }
        }
        if self.status != status {
            self.status.clone_from(&status);
            notices.push(Notice::Status(status));
        }
        notices
    }
}

/// A line for people. `handlers` are how many are served, and how many are refused.
fn status(readiness: Readiness, handlers: (usize, usize), sessions: usize) -> String {
    let (served, refused) = handlers;
    let refused = match refused {
        0 => String::new(),
        refused => format!(" ({refused} refused)"),
    };
    let word = readiness.word();
    match readiness {
        Readiness::Draining => format!("{word}: sessions left: {sessions}"),
        _ => format!("{word}: handlers: {served}{refused}, sessions: {sessions}"),
    }
}

/// How often the manager is told how the server is.
const TICK: Duration = Duration::from_secs(5);
/// How much longer than now a start or a stop may take, as the manager is told each time.
const EXTENSION: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_and_the_time_of_a_stop_again_and_again() {
        let mut told = Told::default();
        let more_time = Notice::ExtendTimeout(EXTENSION);
        let status = |text: &str| Notice::Status(text.to_owned());
        for (readiness, text, expected) in [
            (
                Readiness::Starting,
                "a",
                vec![more_time.clone(), status("a")],
            ),
            (Readiness::Ready, "a", vec![Notice::Ready]),
            (Readiness::Ready, "b", vec![status("b")]),
            (Readiness::Overloaded, "b", vec![]),
            (Readiness::Ready, "b", vec![]),
            (
                Readiness::Draining,
                "c",
                vec![more_time.clone(), status("c")],
            ),
            (Readiness::Draining, "c", vec![more_time.clone()]),
        ] {
            let found = told.notices(readiness, text.to_owned());
            assert_eq!(found, expected, "{readiness:?} {text}");
        }
    }

    #[test]
    fn people_are_told_what_is_served_and_what_is_left() {
        for (readiness, handlers, expected) in [
            (Readiness::Ready, (2, 0), "ready: handlers: 2, sessions: 7"),
            (
                Readiness::Overloaded,
                (2, 1),
                "overloaded: handlers: 2 (1 refused), sessions: 7",
            ),
            (Readiness::Draining, (2, 0), "draining: sessions left: 7"),
        ] {
            assert_eq!(status(readiness, handlers, 7), expected);
        }
    }
}
