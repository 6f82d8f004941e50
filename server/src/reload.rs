//! The road of a change: watch, inspect, load, swap.
//!
//! One thread walks it, so changes follow one another. What takes a plugin's own time (its
//! initialisers, `init`, `self_test`) runs on other threads. When something fails, the generation that
//! serves goes on; the reason is logged once and kept.

mod belief;
pub(crate) mod content;
mod draining;
pub(crate) mod load;
mod notices;
mod reading;
mod reconciler;
mod rolling_move;
pub(crate) mod scan;
mod waiters;
pub(crate) mod watcher;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::info;

use self::load::Finished;
use self::reconciler::Reconciler;
use crate::border::guards::thread_keys;
use crate::config::{Config, ConfigError, Reading};
use crate::plugin::stage::{Stage, StageError};
use crate::plugin::trust;
use crate::process::threads::has_ended;
use crate::router::Router;
use crate::shared::Shared;
use crate::transport::settings::TlsSettings;

/// Reads the configuration again, from wherever it came.
pub type Reread = Box<dyn Fn() -> Result<Reading, ConfigError> + Send>;

/// Has the server listen as this configuration says. What cannot be bound is told in the log, and changes nothing; it is the
/// answer, too.
pub(crate) type Relisten = Box<dyn Fn(&Config) -> Option<String> + Send>;

/// How the configuration is read again, and what a change of it reaches beyond the road of changes.
pub(crate) struct Rereading {
    pub(crate) reread: Reread,
    pub(crate) relisten: Relisten,
}

/// Starts, asks and stops the thread of the road of changes.
#[derive(Debug)]
pub struct Control {
    orders: mpsc::Sender<Order>,
    /// Whether a reading of the configuration was asked for that has not begun.
    is_reread_asked: Arc<AtomicBool>,
    router: Arc<Router>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What became of a plugin's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The handler's name: its route without the leading slash.
    pub handler: String,
    /// The generation that serves now, or why the file is not loaded.
    pub outcome: Result<u64, String>,
    /// The time from the first look at the file to the swap or the refusal.
    pub elapsed: Duration,
    /// What became of the sessions of older generations, if they were asked to move.
    pub moved: Option<Moved>,
}

/// What became of a reload that an operator has asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReloadReport {
    pub(crate) config: ConfigReport,
    pub(crate) changes: Vec<Change>,
}

/// What became of the configuration in a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigReport {
    /// What is wrong with it, so that it goes on as it was before.
    pub(crate) faults: Vec<String>,
    /// A sentence for each part of it that is right and cannot be applied.
    pub(crate) hindrances: Vec<String>,
    /// The keys in which it differs from what the server was started with, and that apply after a restart only.
    pub(crate) wait_for_restart: Vec<&'static str>,
}

/// An operator's request to reload, and where the answers go.
#[derive(Debug)]
struct ReloadOrder {
    /// The handler to load anew, though its file may be what serves. `None` is all that has changed, and the configuration.
    handler: Option<String>,
    config: mpsc::Sender<ConfigReport>,
    changes: mpsc::Sender<Vec<Change>>,
}

/// Sessions that moved to newer code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Their number.
    pub sessions: usize,
    /// The time from the first question to the last answer.
    pub elapsed: Duration,
}

/// Why the road of changes cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The handlers directory is not there or cannot be read.
    #[error("cannot serve handlers from `{}`: {source}", path.display())]
    NoDirectory {
        /// The directory of the configuration.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Copies of plugins can be written nowhere.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The system has no thread left.
    #[error("cannot start the thread that loads handlers: {0}")]
    Thread(std::io::Error),
}

/// A message to the thread of the road of changes.
#[derive(Debug)]
enum Order {
    /// Something may have changed.
    Look,
    /// Files have changed and are whole. The answer says what became of them.
    LookNow(mpsc::Sender<Vec<Change>>),
    /// Read the configuration again and look at every file, or load one handler anew, and say what became of it.
    Reload(ReloadOrder),
    /// Read the configuration again, whether its file changed or not. The flag becomes false when that
    /// begins.
    Reread(Arc<AtomicBool>),
    /// Tell when all that was found is loaded or refused, and no reading of the configuration is due.
    TellWhenDone(mpsc::Sender<()>),
    /// A load has ended.
    Loaded(Finished),
    /// A large file was read.
    Read(PathBuf, reading::Read),
    /// `serving` of this generation has returned.
    Serves { handler: String, generation: u64 },
    /// The sessions of a handler have moved to this generation, or stay where they are.
    Moved {
        handler: String,
        generation: u64,
        moved: Moved,
    },
    /// Shut every generation down, and end.
    Stop,
}

impl Control {
    /// Starts the thread. Returns when every handler that can be loaded is loaded.
    ///
    /// # Errors
    ///
    /// There is no handlers directory, no place for copies of plugins, or no thread. A refused plugin is no
    /// error.
    pub(crate) fn start(
        config: Arc<ArcSwap<Config>>,
        shared: Arc<Shared>,
        tls: Arc<TlsSettings>,
        rereading: Rereading,
    ) -> Result<Control, StartError> {
        let now = config.load();
        let no_directory = |source| StartError::NoDirectory {
            path: now.handlers_dir.clone(),
            source,
        };
        std::fs::read_dir(&now.handlers_dir).map_err(no_directory)?;
        if !thread_keys::are_tracked() {
            info!(
                "thread keys of retired handlers stay taken here; a few hundred loads need a restart"
            );
        }
        shared.lifecycle.start().map_err(StartError::Thread)?;
        trust::tell(now.trust);
        let stage = Stage::new(now.stage_dir.as_deref(), now.keeps_staged_copies)?;
        stage.set_trust(now.trust);
        let router = Arc::new(Router::default());
        let (orders, inbox) = mpsc::channel();
        let (first, loaded) = mpsc::channel();
        let mut reconciler = Reconciler::new(
            config.clone(),
            shared,
            tls,
            rereading,
            stage,
            router.clone(),
            orders.clone(),
        );
        reconciler.tell_when_loaded(first);
        let thread = std::thread::Builder::new().name("control".to_owned());
        let thread = thread
            .spawn(move || reconciler.run(&inbox))
            .map_err(StartError::Thread)?;
        // Clients are to find every route from the first connection on.
        let _ = loaded.recv();
        let thread = Mutex::new(Some(thread));
        Ok(Control {
            orders,
            is_reread_asked: Arc::default(),
            router,
            thread,
        })
    }

    pub(crate) fn router(&self) -> Arc<Router> {
        self.router.clone()
    }

    /// Has everything looked at now, with every file taken for whole. Returns what became of the files
    /// that changed, once all loads have ended and all sessions have moved.
    pub fn rescan(&self) -> Vec<Change> {
        let (reply, changes) = mpsc::channel();
        let _ = self.orders.send(Order::LookNow(reply));
        changes.recv().unwrap_or_default()
    }

    /// Has the configuration read again and every file looked at, or the one handler loaded anew. Returns what became of it,
    /// once all loads have ended and all sessions have moved.
    pub(crate) fn reload(&self, handler: Option<String>) -> ReloadReport {
        let (config, configured) = mpsc::channel();
        let (changes, changed) = mpsc::channel();
        let _ = self.orders.send(Order::Reload(ReloadOrder {
            handler,
            config,
            changes,
        }));
        ReloadReport {
            config: configured.recv().unwrap_or_default(),
            changes: changed.recv().unwrap_or_default(),
        }
    }

    /// Has the configuration read again, and every file looked at. False if a request before this one is
    /// not served yet. Requests are served a few times a second at most.
    pub fn reread(&self) -> bool {
        let is_news = !self.is_reread_asked.swap(true, Ordering::AcqRel);
        if is_news {
            let order = Order::Reread(self.is_reread_asked.clone());
            let _ = self.orders.send(order);
        }
        is_news
    }

    /// Waits until what [`reread`](Self::reread) has asked for is done, and every file that was found is loaded or refused.
    /// False if that takes longer than `limit`.
    pub(crate) fn wait_until_done(&self, limit: Duration) -> bool {
        let (reply, done) = mpsc::channel();
        let _ = self.orders.send(Order::TellWhenDone(reply));
        done.recv_timeout(limit).is_ok()
    }

    /// Shuts every handler down and ends the thread, in bounded time. False if the thread does not end,
    /// because something outside the process holds it.
    pub(crate) fn stop(&self) -> bool {
        let _ = self.orders.send(Order::Stop);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        thread.is_none_or(|thread| has_ended(&thread, reconciler::STOP_LIMIT + STOP_SPARE))
    }
}

/// The time that the thread may take to end, beside the time that plugins may take.
const STOP_SPARE: Duration = Duration::from_secs(1);
