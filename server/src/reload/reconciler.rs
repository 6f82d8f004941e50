//! The thread that walks the road: what it knows, and one look at everything.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tracing::{info, trace, warn};

use super::configuration::ConfigFile;
use super::deployment::Deployment;
use super::file::{self, Content, PluginFile, Saw};
use super::load::{self, Job};
use super::reading::Reading;
use super::waiters::Waiters;
use super::{Change, Order, Reread};
use crate::border::context::Rights;
use crate::border::guards::surroundings;
use crate::border::trial::Bounds;
use crate::config::Config;
use crate::plugin::inspect::inspect;
use crate::plugin::refusal::Refusal;
use crate::plugin::stage::Stage;
use crate::process::regular_file::NotRead;
use crate::reload::scan::{self, Scan, Scope};
use crate::reload::watcher::{Watcher, waypoints};
use crate::router::{Router, Table};
use crate::sessions::shared::Shared;

/// What the thread knows.
pub(super) struct Reconciler {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) config_file: ConfigFile,
    pub(super) shared: Arc<Shared>,
    pub(super) reread: Reread,
    pub(super) router: Arc<Router>,
    pub(super) stage: Arc<Stage>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) watcher: Watcher,
    pub(super) files: BTreeMap<PathBuf, PluginFile>,
    pub(super) reading: Reading,
    /// By name. A handler that was removed stays, for its old generations and its numbers.
    pub(super) deployments: BTreeMap<String, Deployment>,
    /// What the scan refused, so that it is said once.
    pub(super) told: HashMap<PathBuf, Refusal>,
    /// What the last look could not read, and what the system said.
    pub(super) unreadable: BTreeMap<PathBuf, String>,
    /// What the last scan was of.
    scope: Option<Scope>,
    /// Every directory that plugins are looked for in.
    directories: Vec<PathBuf>,
    pub(super) is_directory_gone: bool,
    pub(super) is_empty: bool,
    /// Files are taken for whole although they are young: somebody waits, and says that they are.
    pub(super) is_eager: bool,
    pub(super) waiters: Waiters,
    /// When to look next, if nothing hints at a change before.
    pub(super) next: Instant,
}

impl Reconciler {
    pub(super) fn new(
        config: Arc<ArcSwap<Config>>,
        shared: Arc<Shared>,
        reread: Reread,
        stage: Stage,
        router: Arc<Router>,
        orders: mpsc::Sender<Order>,
        waiting: mpsc::Sender<Vec<Change>>,
    ) -> Reconciler {
        let hints = orders.clone();
        let mut waiters = Waiters::default();
        waiters.join(waiting);
        Reconciler {
            config_file: ConfigFile::new(&config.load()),
            config,
            shared,
            reread,
            router,
            stage: Arc::new(stage),
            orders,
            watcher: Watcher::new(move || drop(hints.send(Order::Look))),
            files: BTreeMap::new(),
            reading: Reading::default(),
            deployments: BTreeMap::new(),
            told: HashMap::new(),
            unreadable: BTreeMap::new(),
            scope: None,
            directories: Vec::new(),
            is_directory_gone: false,
            is_empty: false,
            is_eager: true,
            waiters,
            next: Instant::now(),
        }
    }

    /// Looks at everything once.
    pub(super) fn look(&mut self) {
        surroundings::mend_now();
        if let Some(limit) = surroundings::open_files_max() {
            let connections_max = self.config.load().limits.connections_max;
            self.shared.descriptors.follow(limit, connections_max);
        }
        let now = Instant::now();
        self.next = now + SWEEP;
        self.look_at_config(now);
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
        let mut changed = Vec::new();
        for found in &scan.plugins {
            // Its name is another one below another handlers directory.
            let known = self.files.get(&found.path);
            if known.is_some_and(|file| file.name != found.name) {
                self.remove(&found.path);
            }
            let file = self.files.entry(found.path.clone());
            let is_new = matches!(file, Entry::Vacant(_));
            let file = file.or_insert_with(|| PluginFile::new(found, now));
            if file.see(found, now) || is_new {
                changed.push(found.path.clone());
            }
        }
        let found: HashSet<&Path> = scan.plugins.iter().map(|found| &*found.path).collect();
        let others = self.files.keys().filter(|path| !found.contains(&***path));
        // Removals come before additions, so that a renamed file finds its route free.
        for path in others.cloned().collect::<Vec<_>>() {
            let mut refused = scan.refused.iter();
            let saw = if refused.any(|(refused, _)| path.starts_with(refused)) {
                Saw::BarredFile
            } else if scan.is_unknown(&path) {
                Saw::Nothing
            } else {
                Saw::Absence
            };
            if saw == Saw::Absence && !self.files[&path].is_missing() {
                changed.push(path.clone());
            }
            self.miss(&path, saw, now);
        }
        let is_readable_again = self.tell_unreadable(&scan);
        if self.is_eager || is_readable_again || is_elsewhere {
            // Whatever is found now needs no event.
            self.watcher.heard();
        }
        if let Some(again) = self.watcher.looked(&changed, now) {
            self.due(again);
        }
        if is_any_new {
            // What has changed since it was looked at, and before it was watched, is found by one more look.
            self.watcher.heard();
            self.due(now);
        }
        // No event tells that a directory can be read again.
        if self.watcher.is_blind() || !scan.unreadable.is_empty() {
            self.due(now + BLIND_SWEEP);
        }
        self.tell_empty(&scan, &config);
        trace!(plugins = scan.plugins.len(), "looked at everything");
        self.go_on();
    }

    /// Goes on with what the last look found, as far as there is room. What a file has become since
    /// is seen when it is read.
    pub(super) fn go_on(&mut self) {
        let (now, config) = (Instant::now(), self.config.load_full());
        let undecided = self.files.iter().filter(|(_, file)| !file.is_decided());
        let undecided: Vec<PathBuf> = undecided.map(|(path, _)| path.clone()).collect();
        for path in undecided {
            if self.is_ready(&path, now) {
                // Each end of a load is a reason to go on.
                if self.loads_under_way() >= LOADS_MAX {
                    break;
                }
                self.consider(&path, &config, now);
            }
        }
        self.reading.forget();
        self.mind_generations(now);
    }

    fn scan(&mut self, scope: &Scope) -> Scan {
        match scan::scan(scope) {
            Ok(scan) => {
                self.is_directory_gone = false;
                scan
            }
            // What was below it is gone as well.
            Err(error) => {
                if !self.is_directory_gone {
                    self.is_directory_gone = true;
                    let path = scope.handlers_dir().display();
                    warn!(%path, %error, "handlers directory is gone, waiting for it");
                }
                Scan::default()
            }
        }
    }

    /// Watches what was looked into, and every name on the way to it and to the configuration. Answers
    /// whether something is watched that was not.
    fn watch(&mut self, scan: &Scan, config: &Config) -> bool {
        let places = config.file.iter().chain(&config.file_places);
        let names = [&config.handlers_dir, &config.scan_dir]
            .into_iter()
            .chain(places)
            .chain(&scan.links)
            .flat_map(|path| waypoints(path))
            .collect();
        let mut directories = scan.directories.clone();
        // What could not be looked at this time is watched on, or its end would be missed.
        let before = std::mem::take(&mut self.directories);
        let unknown = before.into_iter().filter(|path| scan.is_unknown(path));
        let missed: Vec<_> = unknown.filter(|path| !directories.contains(path)).collect();
        directories.extend(missed);
        let is_any_new = self.watcher.watch(&directories, names);
        self.directories = directories;
        is_any_new
    }

    /// A look has not found a file that is known. Only an absence that lasts is believed: a build removes
    /// and makes again.
    fn miss(&mut self, path: &Path, saw: Saw, now: Instant) {
        let Some(file) = self.files.get_mut(path) else {
            return;
        };
        file.note(saw, now);
        if !file.is_missing() {
            return; // What was loaded from it goes on.
        }
        if !file.is_gone(now) {
            self.due(now + file::REMOVAL_DELAY);
            return;
        }
        self.remove(path);
    }

    /// Forgets a file, and removes the handler that was loaded from it.
    fn remove(&mut self, path: &Path) {
        let Some(file) = self.files.remove(path) else {
            return;
        };
        let name = file.name;
        self.forget_refusal(&name, path);
        let Some(handler) = self.deployments.get_mut(&name) else {
            return;
        };
        if handler.path.as_deref() == Some(path) {
            handler.path = None;
            if let Some(old) = handler.serving.take() {
                self.swap_table();
                info!(handler = %name, generation = old.number, sessions = old.sessions(), "handler removed");
                self.supersede(&name, old);
            }
        }
    }

    /// Whether a file may be read and has been left alone for long enough.
    fn is_ready(&mut self, path: &Path, now: Instant) -> bool {
        let file = self.files.get(path).filter(|file| file.may_be_read());
        let wait = file.map(|file| file.wait(self.is_eager, now));
        if let Some(Some(wait)) = wait {
            self.due(now + wait);
        }
        wait == Some(None)
    }

    /// Loads a file if it is new, whole and good, and its route is free.
    fn consider(&mut self, path: &Path, config: &Config, now: Instant) {
        let Some(file) = self.files.get_mut(path) else {
            return;
        };
        let name = file.name.clone();
        let handler = self.deployments.entry(name.clone()).or_default();
        if handler.loading.is_some() {
            return; // its end is a reason to look again
        }
        // So is the end of a move. Else sessions that are late, on a busy machine, would be overtaken by
        // one generation after another, and in the end be closed for being on too old a one.
        if let Some(until) = self.waiters.moves_until(&name, now) {
            return self.due(until);
        }
        if let Some(owner) = handler.path.clone().filter(|owner| owner != path) {
            // The owner may be gone and not be missed yet; then this one is looked at again.
            if let Some(file) = self.files.get_mut(path) {
                file.await_route();
            }
            let by = scan::relative(&owner, config);
            let route = format!("/{name}");
            let refusal = Refusal::RouteTaken { route, by };
            return self.refuse(Some(&name), path, &refusal, now);
        }
        let bytes = self.files.get(path).map_or(0, |file| file.stamp.bytes);
        let Some(read) = self.reading.of(path, bytes, &self.orders) else {
            return; // its end is a reason to go on
        };
        let content = match read {
            Ok(content) => content,
            // It has just gone or changed; the next look sees what it is.
            Err(NotRead::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                self.decide(path);
                return self.refuse(Some(&name), path, &error.into(), now);
            }
        };
        if content.stamp
            != self
                .files
                .get(path)
                .map_or(content.stamp, |file| file.stamp)
        {
            return self.due(now + file::QUIET);
        }
        self.take(path, &name, content, config, now);
    }

    /// Inspects what was read of a file, and loads it if that serves something new.
    fn take(&mut self, path: &Path, name: &str, content: Content, config: &Config, now: Instant) {
        let Content {
            bytes, hash, about, ..
        } = content;
        let settings = config.handler(name);
        let config_json = settings.config.to_string();
        let serving = self
            .deployments
            .get(name)
            .and_then(|handler| handler.serving.as_ref());
        let is_serving = serving.is_some_and(|serving| {
            let from = &serving.provenance;
            from.hash == hash
                && from.config_json == config_json
                && serving.context.rights.raw == settings.raw
                && !serving.is_quarantined()
        });
        if is_serving {
            self.decide(path);
            self.tell_well(name, path);
            return self.tell_whole(name, path);
        }
        let about = match about.unwrap_or_else(|| inspect(&bytes)) {
            Ok(about) => about,
            Err(refusal) => {
                let patience = self.files.get(path).and_then(|file| file.patience(now));
                if let (true, Some(patience)) = (refusal.may_be_incomplete(), patience) {
                    return self.due(now + patience);
                }
                self.decide(path);
                return self.refuse(Some(name), path, &refusal, now);
            }
        };
        self.decide(path);
        let handler = self.deployments.entry(name.to_owned()).or_default();
        let job = Job {
            name: name.to_owned(),
            number: handler.next_number(),
            path: path.to_path_buf(),
            bytes,
            hash,
            about,
            config_json,
            rights: Rights::of(settings),
            bounds: Bounds::of(config, settings),
        };
        let orders = self.orders.clone();
        let done = move |finished| drop(orders.send(Order::Loaded(finished)));
        match load::start(job, &self.shared, &self.stage, done) {
            Ok(loading) => {
                handler.path = Some(path.to_path_buf());
                handler.loading = Some(loading);
                self.due(now + LOOK_AT_LOADS);
            }
            Err(refusal) => self.refuse(Some(name), path, &refusal, now),
        }
    }

    /// From now on the table holds what serves now.
    pub(super) fn swap_table(&self) {
        let handlers = self.deployments.iter().filter_map(|(name, handler)| {
            let serving = handler.serving.clone()?;
            Some((Arc::from(&**name), serving))
        });
        self.router
            .swap(Table::new(handlers.collect(), &self.config.load().routes));
    }

    fn decide(&mut self, path: &Path) {
        if let Some(file) = self.files.get_mut(path) {
            file.decide();
        }
    }

    /// Something is to be looked at not later than then.
    pub(super) fn due(&mut self, at: Instant) {
        self.next = self.next.min(at);
    }

    /// Tells those who wait, if nothing is under way.
    pub(super) fn answer(&mut self) {
        let is_loading = self.deployments.values().any(|it| it.loading.is_some());
        let is_loading = is_loading || self.reading.is_under_way();
        match self.waiters.answer(is_loading, Instant::now()) {
            Ok(()) => self.is_eager = false,
            Err(Some(again)) => self.due(again),
            Err(None) => {}
        }
    }
}

/// Events get lost, and some file systems have none.
pub(super) const SWEEP: Duration = Duration::from_secs(2);
/// The same where directories cannot be watched.
const BLIND_SWEEP: Duration = Duration::from_millis(500);
/// Loads at a time: more would only wait for the processor. One that hangs does not count.
const LOADS_MAX: usize = 8;
pub(super) const LOOK_AT_LOADS: Duration = Duration::from_millis(200);
