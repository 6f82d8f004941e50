//! The cycle of `wshd dev`: look at the sources, build what they change, put it on the shelf, have
//! it loaded, tell how it went. One thread, one build at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use super::cargo::{Artifact, Cargo};
use super::crates::{Crates, HandlerCrate, LOCK_FILE};
use super::report::{Address, Times, say};
use super::shelf::{Placed, Shelf};
use super::sources::Snapshot;
use crate::reload::Change;
use crate::watcher::Watcher;

/// Everything that the cycle works with.
pub(crate) struct Workshop<L> {
    root: PathBuf,
    cargo: Arc<Cargo>,
    crates: Crates,
    sources: Snapshot,
    shelf: Shelf,
    address: Address,
    load: L,
    /// What became of each handler, from its first build on.
    states: BTreeMap<String, State>,
}

#[derive(Debug, Default)]
struct State {
    /// The generation that serves.
    generation: Option<u64>,
    /// Whether the newest sources could not be built or loaded.
    is_failed: bool,
}

/// What is known when a library is to be reported.
struct Finished<'a> {
    handler: &'a HandlerCrate,
    artifact: Option<Artifact>,
    placed: Option<Placed>,
    change: Option<Change>,
    build: Duration,
}

impl<L: FnMut() -> Vec<Change>> Workshop<L> {
    pub(crate) fn new(
        root: PathBuf,
        cargo: Arc<Cargo>,
        crates: Crates,
        shelf: Shelf,
        address: Address,
        load: L,
    ) -> Workshop<L> {
        // Before the first build, so that what is saved while it runs is a change.
        let sources = Snapshot::take(&root, &crates, &Snapshot::default());
        Workshop {
            root,
            cargo,
            crates,
            sources,
            shelf,
            address,
            load,
            states: BTreeMap::new(),
        }
    }

    /// Builds everything, then what changes, until cargo is stopped.
    pub(crate) fn work(mut self, hints: SyncSender<SystemTime>, inbox: &Receiver<SystemTime>) {
        // One hint that waits is enough: it says when the first of a swarm came.
        let mut watcher = Watcher::new(move || {
            let _ = hints.try_send(SystemTime::now());
        });
        let mut watched = self.sources.directories();
        watcher.watch(&watched);
        self.build_all();
        let mut noticed = SystemTime::now();
        while !self.cargo.is_stopped() {
            self.look(noticed);
            let directories = self.sources.directories();
            watcher.watch(&directories);
            if directories != watched {
                // Between the look and the watch something may have come into a new one.
                watched = directories;
                continue;
            }
            let sweep = if watcher.is_blind() {
                BLIND_SWEEP
            } else {
                SWEEP
            };
            noticed = wait(inbox, sweep);
        }
    }

    fn build_all(&mut self) {
        let all: BTreeSet<String> = self.crates.handlers.keys().cloned().collect();
        self.build(&all, None);
        if self.cargo.is_stopped() {
            return;
        }
        let names = self.crates.handlers.keys().map(String::len);
        let width = names.max().unwrap_or(0).max("pages".len());
        for (name, handler) in &self.crates.handlers {
            let url = self.address.handler(&handler.route());
            match self.states.get(name) {
                Some(state) if state.generation.is_some() => say(format!("{name:width$}  {url}")),
                _ => say(format!("{name:width$}  not built; will answer at {url}")),
            }
        }
        if self.address.has_pages {
            say(format!("{:width$}  {}", "pages", self.address.pages()));
        }
    }

    /// Looks once, and builds what has changed since the last look.
    fn look(&mut self, noticed: SystemTime) {
        let mut now = Snapshot::take(&self.root, &self.crates, &self.sources);
        let mut changes = now.since(&self.sources);
        if changes.has_manifest() {
            self.find_again();
            now = Snapshot::take(&self.root, &self.crates, &now);
            changes = now.since(&self.sources);
        }
        self.sources = now;

        let mut wanted = BTreeSet::new();
        for file in &changes.changed {
            wanted.extend(self.crates.made_of(file));
        }
        // Who saves again what did not build wants another try: the cause may lie elsewhere.
        for file in &changes.saved_again {
            let again = self.crates.made_of(file).into_iter();
            wanted.extend(again.filter(|name| self.states.get(*name).is_none_or(|s| s.is_failed)));
        }
        let new = self.crates.handlers.keys().map(String::as_str);
        wanted.extend(new.filter(|name| !self.states.contains_key(*name)));
        if !wanted.is_empty() {
            let wanted = wanted.into_iter().map(str::to_owned).collect();
            self.build(&wanted, Some(moment_of_save(changes.saved, noticed)));
        }
    }

    /// Asks cargo anew which crates there are.
    fn find_again(&mut self) {
        let crates = match Crates::find_again(&self.root, &self.cargo, &self.crates) {
            Ok(crates) => crates,
            Err(error) => return say(error),
        };
        for complaint in &crates.complaints {
            if !self.crates.complaints.contains(complaint) {
                say(complaint);
            }
        }
        let gone: Vec<String> = self.crates.handlers.keys().cloned().collect();
        for name in gone {
            if !crates.handlers.contains_key(&name) {
                self.forget(&name);
            }
        }
        self.crates = crates;
    }

    fn forget(&mut self, name: &str) {
        self.states.remove(name);
        match self.shelf.remove(name) {
            Ok(true) => {
                (self.load)();
                say(format!(
                    "{name}: the crate is gone, and its library removed"
                ));
            }
            Ok(false) => {}
            Err(error) => say(format!("{name}: cannot remove its library: {error}")),
        }
    }

    /// Builds these handlers, one cargo a workspace. `saved` is when their sources were, unless it
    /// is the first build of all.
    fn build(&mut self, wanted: &BTreeSet<String>, saved: Option<SystemTime>) {
        let mut workspaces = BTreeMap::<PathBuf, Vec<HandlerCrate>>::new();
        for handler in wanted
            .iter()
            .filter_map(|name| self.crates.handlers.get(name))
        {
            let members = workspaces.entry(handler.workspace.clone()).or_default();
            members.push(handler.clone());
        }
        for (workspace, handlers) in workspaces {
            // Cargo has said already what it cannot read.
            let readable = handlers.iter().filter(|h| !self.crates.is_unreadable(h));
            let packages: Vec<&str> = readable.map(|h| h.package.as_str()).collect();
            let began = Instant::now();
            let mut artifacts = BTreeMap::new();
            if !packages.is_empty() {
                artifacts = self
                    .cargo
                    .build(&workspace, &packages)
                    .unwrap_or_else(|error| {
                        say(error);
                        BTreeMap::new()
                    });
            }
            if self.cargo.is_stopped() {
                return;
            }
            let build = began.elapsed();
            // Cargo writes it where there is none, or where it does not fit the manifests.
            self.sources.accept(&workspace.join(LOCK_FILE));
            self.serve(&handlers, artifacts, build, saved);
        }
    }

    /// Has loaded what came out of one build.
    fn serve(
        &mut self,
        handlers: &[HandlerCrate],
        mut artifacts: BTreeMap<String, Artifact>,
        build: Duration,
        saved: Option<SystemTime>,
    ) {
        let mut finished = Vec::new();
        for handler in handlers {
            let artifact = artifacts.remove(&handler.package);
            let put = artifact
                .as_ref()
                .map(|artifact| self.shelf.put(&handler.name, &artifact.library));
            let placed = put.transpose().unwrap_or_else(|error| {
                say(format!(
                    "{}: cannot copy its library: {error}",
                    handler.name
                ));
                None
            });
            finished.push(Finished {
                handler,
                artifact,
                placed,
                change: None,
                build,
            });
        }
        if finished
            .iter()
            .any(|one| one.placed == Some(Placed::Changed))
        {
            for change in (self.load)() {
                let its = finished
                    .iter_mut()
                    .find(|one| one.handler.handler() == change.handler);
                if let Some(one) = its {
                    // The last one holds: a file may have been looked at before.
                    one.change = Some(change);
                }
            }
        }
        for one in finished {
            if let Some(line) = self.conclude(&one, saved) {
                say(line);
            }
        }
    }

    /// Notes how it went, and answers what is to be said of it.
    fn conclude(&mut self, one: &Finished<'_>, saved: Option<SystemTime>) -> Option<String> {
        let name = &one.handler.name;
        let state = self.states.entry(name.clone()).or_default();
        let was_failed = std::mem::replace(&mut state.is_failed, false);
        let serving = state.generation;
        let is_stale = one
            .artifact
            .as_ref()
            .is_some_and(|artifact| artifact.is_fresh);
        match (&one.placed, &one.change) {
            (None, _) => {
                state.is_failed = true;
                let Some(generation) = serving else {
                    // The first build tells of all together.
                    return saved.map(|_| format!("{name}: build failed; nothing serves it yet"));
                };
                Some(format!(
                    "{name}: build failed; generation {generation} keeps serving"
                ))
            }
            (Some(Placed::Changed), Some(change)) => match &change.outcome {
                Ok(generation) => {
                    state.generation = Some(*generation);
                    let times = Times {
                        live: SystemTime::now().duration_since(saved?).unwrap_or_default(),
                        build: one.build,
                        load: change.elapsed,
                    };
                    let url = match serving {
                        Some(_) => String::new(),
                        None => format!(" at {}", self.address.handler(&one.handler.route())),
                    };
                    Some(format!("{name}: live{url} in {times}"))
                }
                Err(reason) => {
                    state.is_failed = true;
                    Some(format!("{name}: built, but not loaded: {reason}"))
                }
            },
            (Some(Placed::Same), _) if was_failed => {
                let generation = serving?;
                Some(format!(
                    "{name}: builds again, as generation {generation} that serves"
                ))
            }
            (Some(Placed::Same), _) if is_stale => None,
            (Some(_), _) => {
                let build = one.build.as_secs_f64();
                Some(format!(
                    "{name}: built in {build:.2} s, the library is what it was"
                ))
            }
        }
    }
}

/// Waits for a hint, and then for quiet: who saves one file often saves more. Answers when the
/// first hint came.
fn wait(inbox: &Receiver<SystemTime>, sweep: Duration) -> SystemTime {
    let noticed = match inbox.recv_timeout(sweep) {
        Ok(noticed) => noticed,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => SystemTime::now(),
    };
    let began = Instant::now();
    while began.elapsed() < QUIET_WAIT_MAX && inbox.recv_timeout(QUIET).is_ok() {}
    noticed
}

/// When the developer pressed save: what the files say, if that can be. A file that was moved in
/// keeps its old date, and a clock may be wrong.
fn moment_of_save(saved: Option<SystemTime>, noticed: SystemTime) -> SystemTime {
    let earliest = noticed - SAVE_TO_HINT_MAX;
    match saved {
        Some(saved) if earliest <= saved && saved <= SystemTime::now() => saved,
        _ => noticed,
    }
}

/// Between a hint and a look, without a further hint.
const QUIET: Duration = Duration::from_millis(20);
/// From a hint to a look, whatever happens meanwhile.
const QUIET_WAIT_MAX: Duration = Duration::from_millis(500);
/// Between two looks without a hint.
const SWEEP: Duration = Duration::from_secs(3);
/// The same where the system gives no hints.
const BLIND_SWEEP: Duration = Duration::from_millis(500);
/// How far a file's date may lie before the hint that it gave.
const SAVE_TO_HINT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_cannot_be_gives_way_to_the_hint() {
        let noticed = SystemTime::now();
        let just_before = noticed - Duration::from_millis(3);
        assert_eq!(moment_of_save(Some(just_before), noticed), just_before);

        let years = Duration::from_secs(100_000_000);
        for impossible in [None, Some(noticed - years), Some(noticed + years)] {
            assert_eq!(moment_of_save(impossible, noticed), noticed);
        }
    }
}
