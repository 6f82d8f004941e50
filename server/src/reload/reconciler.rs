//! The thread that makes what is served follow what lies in the handlers directory: what it knows, and
//! one look at everything.
//!
//! What becomes of a file is decided by its [`Belief`]. The reconciler observes, and performs the
//! actions that it is told (`turns`).

mod certificates;
mod configuration;
mod deployment;
mod event_loop;
mod named_files;
mod refused;
mod succession;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::trace;

use self::certificates::CertificateFiles;
use self::configuration::ConfigFile;
use self::deployment::Deployment;
use self::named_files::NamedFiles;
use super::belief::{Belief, FileAction, Observation};
use super::notices::Notices;
use super::reading::Reading;
use super::scan::{self, Scan, Scope};
use super::waiters::Waiters;
use super::watcher::{Watcher, waypoints};
use super::{Change, Order, Relisten, Rereading};
use crate::border::guards::process_state;
use crate::config::Config;
use crate::generation::Generation;
use crate::plugin::stage::Stage;
use crate::process::PROCESS_BEGAN;
use crate::router::{Router, Table};
use crate::shared::Shared;
use crate::transport::settings::TlsSettings;

/// What the reconciler's thread knows.
pub(super) struct Reconciler {
    config: Arc<ArcSwap<Config>>,
    config_file: ConfigFile,
    relisten: Relisten,
    certificates: CertificateFiles,
    named_files: NamedFiles,
    shared: Arc<Shared>,
    router: Arc<Router>,
    stage: Arc<Stage>,
    /// For threads that tell this one what they have done.
    orders: mpsc::Sender<Order>,
    watcher: Watcher,
    /// Every plugin's file that was found and whose removal is not believed yet.
    files: BTreeMap<PathBuf, KnownFile>,
    reading: Reading,
    /// By the handler's name. The entry of a handler that was removed stays, for its old generations and
    /// its numbers.
    deployments: BTreeMap<String, Deployment>,
    notices: Notices,
    /// The handlers that an operator wants loaded anew, whatever serves.
    to_load_anew: BTreeSet<String>,
    /// The scope of the last scan.
    scope: Option<Scope>,
    /// Every directory in which plugins are looked for.
    directories: Vec<PathBuf>,
    waiters: Waiters,
    /// When to look next, if nothing hints at a change before.
    next: Instant,
    /// Whether it was ever told to look at once: in `wshd dev`, whether anything was built.
    has_been_told_to_look: bool,
}

/// A plugin's file.
#[derive(Debug)]
struct KnownFile {
    /// The handler's name.
    name: String,
    belief: Belief,
}

impl Reconciler {
    pub(super) fn new(
        config: Arc<ArcSwap<Config>>,
        shared: Arc<Shared>,
        tls: Arc<TlsSettings>,
        rereading: Rereading,
        stage: Stage,
        router: Arc<Router>,
        orders: mpsc::Sender<Order>,
    ) -> Reconciler {
        let Rereading { reread, relisten } = rereading;
        let hints = orders.clone();
        let reconciler = Reconciler {
            config_file: ConfigFile::new(&config.load(), reread),
            relisten,
            certificates: CertificateFiles::new(&config.load().tls, tls, *PROCESS_BEGAN),
            named_files: NamedFiles::new(&config.load(), *PROCESS_BEGAN),
            config,
            shared,
            router,
            stage: Arc::new(stage),
            orders,
            watcher: Watcher::new(move || drop(hints.send(Order::Look))),
            files: BTreeMap::new(),
            reading: Reading::default(),
            deployments: BTreeMap::new(),
            notices: Notices::default(),
            to_load_anew: BTreeSet::new(),
            scope: None,
            directories: Vec::new(),
            waiters: Waiters::default(),
            next: Instant::now(),
            has_been_told_to_look: false,
        };
        // Routes hold before anything serves: where all files are refused, there is no other swap.
        reconciler.swap_table();
        reconciler
    }

    /// Has `waiting` told what has become of each file, once all loads have ended.
    pub(super) fn tell_when_loaded(&mut self, waiting: mpsc::Sender<Vec<Change>>) {
        self.waiters.join(waiting);
    }

    /// Looks at everything once.
    fn look(&mut self) {
        process_state::restore_now();
        if let Some(limit) = process_state::open_files_max() {
            let connections_max = self.config.load().limits.connections_max;
            self.shared.descriptors.follow(limit, connections_max);
        }
        let now = Instant::now();
        self.next = now + SWEEP;
        self.look_at_config(now);
        self.look_at_certificates(now);
        self.look_at_named_files(now);
        let config = self.config.load_full();
        let scope = Scope::of(&config);
        let is_elsewhere = *self.scope.get_or_insert_with(|| scope.clone()) != scope;
        if is_elsewhere {
            self.watcher.begin_anew();
        }
        let scan = self.scan(&scope);
        self.scope = Some(scope);
        let is_any_new = self.watch(&scan, &config);
        self.tell_refused(&scan);
        // Removals come before the turns below, so that a renamed file finds its route free.
        let mut changed = self.observe_found(&scan, now);
        changed.extend(self.observe_others(&scan, now));
        let is_readable_again = self.notices.tell_unreadable(&scan);
        if self.waiters.are_there() || is_readable_again || is_elsewhere {
            // No event is missed for what is found now.
            self.watcher.heard();
        }
        if let Some(again) = self.watcher.looked(&changed, now) {
            self.due(again);
        }
        if is_any_new {
            // One more look finds what has changed since the scan and before the directory was watched.
            self.watcher.heard();
            self.due(now);
        }
        // No event tells that a directory can be read again.
        if self.watcher.is_blind() || !scan.unreadable.is_empty() {
            self.due(now + BLIND_SWEEP);
        }
        self.notices
            .tell_empty(&scan, !self.files.is_empty(), &config);
        trace!(plugins = scan.plugins.len(), "looked at everything");
        self.go_on();
    }

    /// Gives each undecided file its turn, as far as there is room for loads. A change since the last look is
    /// seen when the file is read.
    fn go_on(&mut self) {
        let (now, config) = (Instant::now(), self.config.load_full());
        let wanting = self.files.iter().filter(|(_, it)| it.belief.wants_turn());
        let wanting: Vec<PathBuf> = wanting.map(|(path, _)| path.clone()).collect();
        for path in wanting {
            if self.give_turn(&path, &config, now).is_break() {
                break;
            }
        }
        self.reading.forget();
        self.advance_generations(now);
    }

    fn scan(&mut self, scope: &Scope) -> Scan {
        match scan::scan(scope) {
            Ok(scan) => {
                self.notices.note_directory();
                scan
            }
            // All files below it are gone with it.
            Err(error) => {
                let path = scope.handlers_dir();
                self.notices.tell_directory_gone(path, &error);
                Scan::default()
            }
        }
    }

    /// Watches the directories of the scan, and every name on the way to them, to the configuration and to the files
    /// that it names.
    /// Returns whether a directory is watched that was not.
    fn watch(&mut self, scan: &Scan, config: &Config) -> bool {
        let places = config.file.iter().chain(&config.file_places);
        let places = places.chain(config.files_besides());
        let names = [&config.handlers_dir, &config.scan_dir]
            .into_iter()
            .chain(places)
            .chain(&scan.links)
            .map(PathBuf::as_path)
            .chain(config.tls.files())
            .flat_map(waypoints)
            .collect();
        let mut directories = scan.directories.clone();
        // A directory that could not be read this time stays watched, so that its end is seen.
        let before = std::mem::take(&mut self.directories);
        let unknown = before.into_iter().filter(|path| scan.is_unknown(path));
        let missed: Vec<_> = unknown.filter(|path| !directories.contains(path)).collect();
        directories.extend(missed);
        let is_any_new = self.watcher.watch(&directories, names);
        self.directories = directories;
        is_any_new
    }

    /// Observes the files that a scan has found. Returns those that have changed.
    fn observe_found(&mut self, scan: &Scan, now: Instant) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for found in &scan.plugins {
            let known = self.files.get(&found.path);
            // Below another handlers directory the file has another name.
            if known.is_some_and(|file| file.name != found.name) {
                self.remove(&found.path);
            }
            if self.files.contains_key(&found.path) {
                let observation = Observation::Found(found.stamp);
                changed.extend(self.observe_look(&found.path, &observation, now));
            } else {
                let file = KnownFile {
                    name: found.name.clone(),
                    belief: Belief::new(found.stamp, now),
                };
                self.files.insert(found.path.clone(), file);
                changed.push(found.path.clone());
            }
        }
        changed
    }

    /// Observes the known files that a scan has not found. Returns those that have changed.
    fn observe_others(&mut self, scan: &Scan, now: Instant) -> Vec<PathBuf> {
        let found: HashSet<&Path> = scan.plugins.iter().map(|found| &*found.path).collect();
        let others = self.files.keys().filter(|path| !found.contains(&***path));
        let others: Vec<PathBuf> = others.cloned().collect();
        let mut changed = Vec::new();
        for path in others {
            let mut refused = scan.refused.iter();
            let observation = if refused.any(|(refused, _)| path.starts_with(refused)) {
                Observation::Barred
            } else if scan.is_unknown(&path) {
                Observation::Hidden
            } else {
                Observation::Absent
            };
            changed.extend(self.observe_look(&path, &observation, now));
        }
        changed
    }

    /// Observes what a look has seen of a known file, and performs what follows. Returns the path if the
    /// file has changed.
    fn observe_look(
        &mut self,
        path: &Path,
        observation: &Observation,
        now: Instant,
    ) -> Option<PathBuf> {
        let action = self.observe(path, observation, now);
        let is_change = action.is_change();
        self.perform(path, action, now);
        is_change.then(|| path.to_owned())
    }

    /// Notes an observation of a file. Returns what is to be done: nothing if the file is not known.
    fn observe(&mut self, path: &Path, observation: &Observation, now: Instant) -> FileAction {
        let Some(file) = self.files.get_mut(path) else {
            return FileAction::Nothing;
        };
        let (belief, action) = file.belief.after(observation, now);
        file.belief = belief;
        action
    }

    /// Notes an observation of every file that `is_meant`, and performs what follows.
    fn observe_each(
        &mut self,
        observation: &Observation,
        is_meant: impl Fn(&Self, &KnownFile) -> bool,
    ) {
        let now = Instant::now();
        let meant = self.files.iter().filter(|(_, file)| is_meant(self, file));
        let meant: Vec<PathBuf> = meant.map(|(path, _)| path.clone()).collect();
        for path in meant {
            let action = self.observe(&path, observation, now);
            self.perform(&path, action, now);
        }
    }

    /// Replaces the table of routes by one of the generations that serve now.
    fn swap_table(&self) {
        let handlers = self.deployments.iter().filter_map(|(name, deployment)| {
            let serving = deployment.serving.clone()?;
            Some((Arc::from(&**name), serving))
        });
        let handlers: BTreeMap<Arc<str>, Arc<Generation>> = handlers.collect();
        let is_of_directory =
            |(_, serving): &(_, &Arc<Generation>)| scan::is_of_directory(&serving.provenance.path);
        let of_directories = handlers.iter().filter(is_of_directory);
        let of_directories: Vec<Arc<str>> = of_directories.map(|(name, _)| name.clone()).collect();
        let routes = &self.config.load().routes;
        self.router
            .swap(Table::new(handlers, &of_directories, routes));
    }

    /// Has the next look come at this time at the latest.
    fn due(&mut self, at: Instant) {
        self.next = self.next.min(at);
    }

    /// Tells what is known when nothing is under way: which names lead nowhere, and what the requests that wait ask for.
    fn answer(&mut self) {
        let is_loading = self.deployments.values().any(|it| it.loading.is_some());
        let is_loading = is_loading || self.reading.is_under_way();
        let is_to_be_built = self.config.load().handlers_are_built && !self.has_been_told_to_look;
        if !is_loading && !is_to_be_built {
            self.tell_names();
        }
        let is_any_open = || self.files.values().any(|it| it.belief.is_open());
        if !is_loading && !self.config_file.is_asked_for() && !is_any_open() {
            self.waiters.answer_patient();
        }
        if let Some(again) = self.waiters.answer(is_loading, Instant::now()) {
            self.due(again);
        }
    }
}

/// How often everything is looked at: events get lost, and some file systems have none.
const SWEEP: Duration = Duration::from_secs(2);
/// How often everything is looked at where directories cannot be watched.
const BLIND_SWEEP: Duration = Duration::from_millis(500);
/// How long the end of the process waits for `shutdown` of all plugins, at most.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(5);
