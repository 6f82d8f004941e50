//! Replaces the program of a server while it serves: another process is started with its sockets, and takes over when it
//! is ready. The one before then accepts nothing more, and drains.
//!
//! Both processes have the same sockets, so a connection waits in one queue whichever of them accepts it: none is refused
//! and none is lost. If the new process is not ready in time, ends, or serves less, it is ended, and all goes on as it was.

mod channel;
mod predecessor;
mod program;
mod state;
mod successor;

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use self::channel::{ToPredecessor, ToSuccessor, UpgradeChannel};
pub use self::predecessor::{Predecessor, tell_failure};
pub use self::program::Program;
use self::state::{UpgradeAction, UpgradeEvent, UpgradeState, step};
use self::successor::{LAST_LINES, LOOK, NoSuccessor, Successor, send_sockets, wait_until_ready};
use crate::admin::port::AdminPort;
use crate::admin::upgrade::{NotUpgraded, UpgradeAsker, Upgraded};
use crate::config::Config;
use crate::connection::listener::Listeners;
use crate::process::service_manager::{Notice, service_manager};
use crate::router::Router;

/// The replacement of a server.
pub struct Upgrade {
    program: Program,
    listeners: Arc<Listeners>,
    admin_port: Arc<AdminPort>,
    router: Arc<Router>,
    config: Arc<ArcSwap<Config>>,
    /// Has this server drain, since another process has taken its place.
    drain: Box<dyn Fn() + Send + Sync>,
    progress: Mutex<Progress>,
}

/// How far it has come.
#[derive(Debug)]
struct Progress {
    state: UpgradeState,
    successor: Option<Successor>,
    /// The operator who waits for the outcome.
    asker: Option<UpgradeAsker>,
}

impl Upgrade {
    pub(super) fn new(
        program: Program,
        listeners: Arc<Listeners>,
        admin_port: Arc<AdminPort>,
        router: Arc<Router>,
        config: Arc<ArcSwap<Config>>,
        drain: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Upgrade> {
        Arc::new(Upgrade {
            program,
            listeners,
            admin_port,
            router,
            config,
            drain: Box::new(drain),
            progress: Mutex::new(Progress {
                state: UpgradeState::Idle,
                successor: None,
                asker: None,
            }),
        })
    }

    /// Begins to replace the server. An `asker` is told the outcome.
    pub(crate) fn ask(self: &Arc<Upgrade>, asker: Option<UpgradeAsker>) {
        let refuse = |asker: Option<UpgradeAsker>, why| {
            if let Some(asker) = asker {
                // The operator may be gone.
                let _ = asker.send(Err(NotUpgraded::NotBegun(why)));
            }
        };
        match self.note(UpgradeEvent::Asked) {
            UpgradeAction::Start => {
                self.lock().asker = asker;
                let own = self.clone();
                let thread = std::thread::Builder::new().name("upgrade".to_owned());
                if let Err(error) = thread.spawn(move || own.run()) {
                    self.fail(&NoSuccessor::NotStarted(error));
                }
            }
            UpgradeAction::TellUnderWay => {
                warn!("an upgrade is under way already; it ends by itself");
                refuse(asker, "an upgrade is under way already; it ends by itself");
            }
            _ => refuse(
                asker,
                "this process stops, or another one has taken its place already",
            ),
        }
    }

    /// Notes that the server stops. A process that was to take its place is ended.
    pub(crate) fn stop(&self) {
        if self.note(UpgradeEvent::Stopped) == UpgradeAction::End {
            warn!(
                "upgrade given up: the server stops, and the process that was to take its place is ended"
            );
            self.end_successor();
            let why = "the server was told to stop meanwhile".to_owned();
            self.tell(Err(NotUpgraded::Failed(why)));
        }
    }

    /// Starts the other process, and waits until it is ready.
    fn run(&self) {
        let began = Instant::now();
        let path = self.program.path().display();
        info!(program = %path, "upgrading: starting the program anew");
        let sockets = self.listeners.copies().and_then(|mut sockets| {
            sockets.extend(self.admin_port.copy()?);
            Ok(sockets)
        });
        let started = sockets.and_then(|sockets| Successor::start(&self.program, &sockets));
        let channel = match started {
            Ok((successor, channel)) => {
                let mut progress = self.lock();
                if progress.state != UpgradeState::Starting {
                    drop(progress);
                    return successor.end();
                }
                progress.successor = Some(successor);
                channel
            }
            Err(error) => return self.fail(&NoSuccessor::NotStarted(error)),
        };
        let limit = Duration::from_millis(self.config.load().limits.upgrade_timeout_ms);
        let handlers: Vec<String> = self
            .router
            .names()
            .iter()
            .map(|it| it.to_string())
            .collect();
        match wait_until_ready(&channel, limit, &handlers) {
            Ok(version) => match self.note(UpgradeEvent::Ready) {
                UpgradeAction::HandOver => self.hand_over(&channel, &version, began),
                UpgradeAction::End => self.end_successor(),
                _ => {}
            },
            // It is ending, and has closed its side of the channel first.
            Err(NoSuccessor::Ended(_)) => self.fail(&NoSuccessor::Ended(self.successors_end())),
            Err(error) => self.fail(&error),
        }
    }

    /// Waits until the other process, which is ending, has ended. `None` if that takes long, or the server stops.
    fn successors_end(&self) -> Option<ExitStatus> {
        let deadline = Instant::now() + LAST_LINES;
        loop {
            let ended = self.lock().successor.as_mut()?.exit_status();
            if ended.is_some() || Instant::now() >= deadline {
                return ended;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Leaves the sockets to the process that is ready, and drains.
    fn hand_over(&self, channel: &UpgradeChannel, version: &str, began: Instant) {
        let pid = self.lock().successor.as_ref().map_or(0, Successor::pid);
        let made_meanwhile = self.listeners.leave();
        // Before the other process accepts, so that no client becomes a session here only to be told to come back.
        self.listeners.end_within(ACCEPTING_END);
        self.admin_port.leave();
        info!(
            pid,
            version,
            elapsed_ms = began.elapsed().as_millis(),
            "upgraded: another process serves from now on, this one drains"
        );
        if let Some(manager) = service_manager() {
            manager.tell(&[Notice::MainPid(pid)]);
        }
        let told = send_sockets(channel, &made_meanwhile)
            .and_then(|()| channel.send(&ToSuccessor::Yours, &[]));
        drop(made_meanwhile);
        if let Err(error) = told {
            // It waits no longer than a few seconds for this.
            warn!(%error, "the process that takes over cannot be told that this one lets go");
        }
        (self.drain)();
        // Its end says that all is in its place there, the admin socket also.
        let deadline = Instant::now() + IN_PLACE_MAX;
        let _ = channel.receive::<ToPredecessor>(deadline);
        self.tell(Ok(Upgraded {
            pid,
            version: version.to_owned(),
            program: self.program.path().to_owned(),
        }));
    }

    /// Tells the operator who waits for it what has become of the upgrade.
    fn tell(&self, outcome: Result<Upgraded, NotUpgraded>) {
        if let Some(asker) = self.lock().asker.take() {
            // The operator may be gone.
            let _ = asker.send(outcome);
        }
    }

    fn fail(&self, error: &NoSuccessor) {
        if self.note(UpgradeEvent::Failed) == UpgradeAction::GiveUp {
            let program = self.program.path().display();
            error!(%program, %error, "upgrade failed, this process serves on");
            let why = format!("`{program}` does not take over, and the server serves on: {error}");
            self.tell(Err(NotUpgraded::Failed(why)));
            match error {
                NoSuccessor::Failed(_) => {
                    let successor = self.lock().successor.take();
                    if let Some(successor) = successor {
                        successor.end_behind_its_last_lines();
                    }
                }
                _ => self.end_successor(),
            }
        }
    }

    fn end_successor(&self) {
        let successor = self.lock().successor.take();
        if let Some(successor) = successor {
            successor.end();
        }
    }

    fn note(&self, event: UpgradeEvent) -> UpgradeAction {
        let mut progress = self.lock();
        let (state, action) = step(progress.state, event);
        progress.state = state;
        action
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgrade")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// How long another process may take to put all in its place, once it has taken over.
const IN_PLACE_MAX: Duration = Duration::from_secs(2);
/// How long the end of accepting may take. Until then, both processes accept.
const ACCEPTING_END: Duration = Duration::from_millis(500);
