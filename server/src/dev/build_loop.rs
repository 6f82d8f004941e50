//! The cycle of `wshd dev`: look at the sources, build what they change, put it into the library directory, have
//! it loaded, tell how it went. One thread, one build at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use super::Dev;
use super::cargo::Cargo;
use super::cc::Cc;
use super::crates::{Crates, HandlerCrate, LOCK_FILE, Recipe};
use super::feedback::{Feedback, Questions};
use super::library_dir::LibraryDir;
use super::messages::{Artifact, Built, plain};
use super::outcome::{BuildResult, HandlerState, NotServed};
use super::report::{Address, say};
use super::sources::{Changes, Sources};
use super::tree;
use crate::connection::overlay::Overlay;
use crate::reload::Change;
use crate::reload::watcher::Watcher;

/// Everything that the cycle works with.
pub(crate) struct BuildLoop<L> {
    root: PathBuf,
    cargo: Arc<Cargo>,
    cc: Cc,
    crates: Crates,
    sources: Sources,
    feedback: Feedback,
    /// The document root, and what is in it.
    pages: Option<PathBuf>,
    page_files: Sources,
    library_dir: LibraryDir,
    overlay: Arc<Overlay>,
    address: Address,
    load: L,
    /// What became of each handler, from its first build on.
    states: BTreeMap<String, HandlerState>,
}

impl<L: FnMut() -> Vec<Change>> BuildLoop<L> {
    pub(crate) fn new(dev: Dev, port: u16, pages: Option<PathBuf>, load: L) -> BuildLoop<L> {
        // Before the first build, so that what is saved while it runs is a change.
        let sources = Sources::take(&dev.root, &dev.crates, &Sources::default());
        let address = Address {
            port,
            has_pages: pages.is_some(),
        };
        let mut build_loop = BuildLoop {
            root: dev.root,
            cargo: dev.cargo,
            cc: dev.cc,
            crates: dev.crates,
            sources,
            feedback: Feedback::new(),
            pages,
            page_files: Sources::default(),
            library_dir: dev.library_dir,
            overlay: dev.overlay,
            address,
            load,
            states: BTreeMap::new(),
        };
        build_loop.look_at_pages();
        build_loop
    }

    /// Builds everything, then what changes, until cargo is stopped.
    pub(crate) fn work(mut self, hints: SyncSender<SystemTime>, inbox: &Receiver<SystemTime>) {
        // One hint that waits is enough: it says when the first of a swarm came.
        let mut watcher = Watcher::new(move || {
            let _ = hints.try_send(SystemTime::now());
        });
        let mut watched = self.directories();
        watcher.watch(&watched, BTreeSet::new());
        self.build_all();
        let mut noticed = SystemTime::now();
        while !self.cargo.is_stopped() {
            self.look(noticed);
            self.look_at_unloaded();
            // After the build: a page that was saved with its handler is to find it there.
            self.look_at_pages();
            let directories = self.directories();
            watcher.watch(&directories, BTreeSet::new());
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
            let wanted = self.feedback.wait(Instant::now());
            noticed = wait(inbox, wanted.map_or(sweep, |wanted| wanted.min(sweep)));
        }
    }

    fn directories(&self) -> Vec<PathBuf> {
        let mut directories = self.sources.directories();
        directories.extend(self.page_files.directories());
        directories
    }

    /// Tells the open pages what they are made of.
    fn look_at_pages(&mut self) {
        if let Some(root) = &self.pages {
            self.page_files = Sources::of_pages(root, &self.page_files);
            self.overlay.set_pages(self.page_files.digest());
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
                state => {
                    let failure = state.and_then(|state| state.failure.as_ref());
                    let why = failure.map_or("not built", NotServed::name);
                    say(format!("{name:width$}  {why}; will answer at {url}"));
                }
            }
        }
        if self.address.has_pages {
            say(format!("{:width$}  {}", "pages", self.address.pages()));
        }
    }

    /// What was built and not loaded may be loaded by now: its configuration has come.
    fn look_at_unloaded(&mut self) {
        let is_unloaded =
            |state: &HandlerState| matches!(state.failure, Some(NotServed::NotLoaded(_)));
        if !self.states.values().any(is_unloaded) {
            return;
        }
        for change in (self.load)() {
            let mut handlers = self.crates.handlers.values();
            let its = handlers.find(|it| it.handler() == change.handler);
            let state = its.and_then(|it| self.states.get_mut(&it.name));
            if let (Some(handler), Some(state), Ok(generation)) = (its, state, change.outcome)
                && is_unloaded(state)
            {
                state.generation = Some(generation);
                state.failure = None;
                let url = self.address.handler(&handler.route());
                say(format!("{}: loaded, answers at {url}", handler.name));
            }
        }
        self.show_failures();
    }

    /// Looks once, and builds what has changed since the last look.
    fn look(&mut self, noticed: SystemTime) {
        let mut now = Sources::take(&self.root, &self.crates, &self.sources);
        let since = now.since(&self.sources);
        let mut changes = self.feedback.begin_build(since, Instant::now());
        let mut step = changes.clone();
        let mut otherwise = BTreeSet::new();
        // What is found is looked at too, and meanwhile there may be more to find.
        while step.has_manifest() || step.has_c() {
            otherwise.extend(if step.has_manifest() {
                self.find_again()
            } else {
                self.find_c_again(&step)
            });
            let next = Sources::take(&self.root, &self.crates, &now);
            step = next.since(&now);
            changes = changes.and(step.clone());
            now = next;
        }
        self.sources = now;

        let mut wanted: BTreeSet<&str> = otherwise.iter().map(String::as_str).collect();
        for file in &changes.changed {
            wanted.extend(self.crates.made_of(file));
        }
        // Who saves again what did not build wants another try: the cause may lie elsewhere.
        for file in &changes.saved_again {
            let again = self.crates.made_of(file).into_iter();
            wanted.extend(
                again.filter(|name| self.states.get(*name).is_none_or(|s| s.failure.is_some())),
            );
        }
        let new = self.crates.handlers.keys().map(String::as_str);
        wanted.extend(new.filter(|name| !self.states.contains_key(*name)));
        if !wanted.is_empty() {
            let wanted = wanted.into_iter().map(str::to_owned).collect();
            self.build(&wanted, Some(moment_of_save(changes.saved, noticed)));
        }
    }

    /// Asks cargo anew which crates there are; answers which are built otherwise now.
    fn find_again(&mut self) -> BTreeSet<String> {
        match Crates::find_again(&self.root, &self.cargo, &self.crates) {
            Ok(crates) => self.adopt(crates),
            Err(error) => {
                say(error);
                BTreeSet::new()
            }
        }
    }

    /// Looks anew which handlers in C there are; answers as the other.
    fn find_c_again(&mut self, changes: &Changes) -> BTreeSet<String> {
        let mut removed = changes.changed.iter().filter(|file| !file.exists());
        if removed.any(|file| tree::is_c(file)) {
            // An editor may save a file by moving a new one into its place; what is meant to be gone is
            // gone a moment later, too.
            std::thread::sleep(ABSENCE);
        }
        self.adopt(self.crates.find_c_again(&self.root))
    }

    fn adopt(&mut self, crates: Crates) -> BTreeSet<String> {
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
        let otherwise = crates.built_otherwise(&self.crates);
        self.crates = crates;
        otherwise
    }

    fn forget(&mut self, name: &str) {
        self.states.remove(name);
        self.show_failures();
        match self.library_dir.remove(name) {
            Ok(true) => {
                (self.load)();
                say(format!(
                    "{name}: its sources are gone, and its library removed"
                ));
            }
            Ok(false) => {}
            Err(error) => say(format!("{name}: cannot remove its library: {error}")),
        }
    }

    /// Builds these handlers, and sees what has changed meanwhile. `saved` is when their sources were,
    /// unless it is the first build of all.
    fn build(&mut self, wanted: &BTreeSet<String>, saved: Option<SystemTime>) {
        let ran = self.run_build(wanted, saved);
        let now = Sources::take(&self.root, &self.crates, &self.sources);
        let changes = now.since(&self.sources);
        self.sources = now;
        let (crates, sources) = (&self.crates, &self.sources);
        let built = wanted.iter().filter_map(|name| crates.handlers.get(name));
        let (has_script, has_macro) = built.fold((false, false), |(script, mac), handler| {
            (script || handler.has_script, mac || handler.has_macro)
        });
        let generated = self.feedback.end_build(
            changes,
            &Questions {
                matters: &|file| tree::is_beginning(file) || !crates.made_of(file).is_empty(),
                was_built: &|file| {
                    let mut names = crates.made_of(file).into_iter();
                    names.any(|name| wanted.contains(name))
                },
                is_suspect: &|file| match (ran.scripts_ended, sources.saved(file)) {
                    // Cargo does not say when a script has failed, and a macro runs until the end.
                    _ if has_macro || has_script && ran.has_failed => true,
                    (Some(ended), Some(saved)) => saved <= ended,
                    (Some(_), None) => true,
                    (None, _) => false,
                },
            },
            Instant::now(),
        );
        for file in generated {
            let file = file.strip_prefix(&self.root).unwrap_or(&file).display();
            say(format!(
                "{file} changes during each build, so the build writes it, and it starts no further one; \
                 if you have saved it, save it once more"
            ));
        }
    }

    /// Runs one cargo a workspace.
    fn run_build(&mut self, wanted: &BTreeSet<String>, saved: Option<SystemTime>) -> ScriptRuns {
        let mut ran = ScriptRuns::default();
        let mut workspaces = BTreeMap::<PathBuf, Vec<(HandlerCrate, String)>>::new();
        let mut c_handlers = Vec::new();
        let known = &self.crates.handlers;
        for handler in wanted.iter().filter_map(|name| known.get(name)) {
            match &handler.recipe {
                Recipe::Cargo { package, workspace } => {
                    let members = workspaces.entry(workspace.clone()).or_default();
                    members.push((handler.clone(), package.clone()));
                }
                Recipe::Cc { sources } => c_handlers.push((handler.clone(), sources.clone())),
            }
        }
        for (handler, sources) in c_handlers {
            let began = Instant::now();
            let artifact = self.cc.build(&handler.name, &sources);
            if self.cargo.is_stopped() {
                return ran;
            }
            self.serve(vec![(handler, artifact)], began.elapsed(), saved);
        }
        for (workspace, members) in workspaces {
            // Cargo has said already what it cannot read.
            let readable = members
                .iter()
                .filter(|(handler, _)| !self.crates.is_unreadable(handler));
            let packages: Vec<&str> = readable.map(|(_, package)| package.as_str()).collect();
            let began = Instant::now();
            let built = if packages.is_empty() {
                Built::nothing(&plain(&self.crates.complaints.join("\n")))
            } else {
                let built = self.cargo.build(&workspace, &packages);
                built.unwrap_or_else(|error| {
                    say(&error);
                    Built::nothing(&error.to_string())
                })
            };
            if self.cargo.is_stopped() {
                return ran;
            }
            let build = began.elapsed();
            ran.scripts_ended = ran.scripts_ended.max(built.scripts_ended);
            // Cargo writes it where there is none, or where it does not fit the manifests.
            self.sources.accept(&workspace.join(LOCK_FILE));
            let outcome = |(handler, package): (HandlerCrate, String)| {
                let artifact = built.of(&package);
                (handler, artifact)
            };
            let outcomes: Vec<_> = members.into_iter().map(outcome).collect();
            ran.has_failed |= outcomes.iter().any(|(_, artifact)| artifact.is_err());
            self.serve(outcomes, build, saved);
        }
        ran
    }

    /// Has loaded what came out of one build, and tells the developer.
    fn serve(
        &mut self,
        outcomes: Vec<(HandlerCrate, Result<Artifact, String>)>,
        build: Duration,
        saved: Option<SystemTime>,
    ) {
        let mut finished = Vec::new();
        for (handler, artifact) in outcomes {
            let library = artifact.as_ref().ok().map(|artifact| &artifact.library);
            let placed = library.map(|library| self.library_dir.put(&handler.name, library));
            let placed = placed.transpose().unwrap_or_else(|error| {
                say(format!(
                    "{}: cannot copy its library: {error}",
                    handler.name
                ));
                None
            });
            finished.push(BuildResult {
                handler,
                artifact,
                placed,
                change: None,
                build,
            });
        }
        // A library that is what it was may have been loaded since, when its configuration came.
        if finished.iter().any(|one| one.placed.is_some()) {
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
            let state = self.states.entry(one.handler.name.clone()).or_default();
            if let Some(line) = one.conclude(state, saved, self.address) {
                say(line);
            }
        }
        self.show_failures();
    }

    /// Tells the open pages.
    fn show_failures(&self) {
        let failed = |(name, state): (&String, &HandlerState)| {
            let failure = state.failure.as_ref()?;
            Some((name.clone(), failure.text()))
        };
        let failures: Vec<_> = self.states.iter().filter_map(failed).collect();
        let shown = failures
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()));
        self.overlay.show(&shown.collect());
    }
}

/// What is known of the code that ran in a build.
#[derive(Debug, Default)]
struct ScriptRuns {
    /// When the last build script had run, if any has.
    scripts_ended: Option<SystemTime>,
    /// Whether some crate was not built.
    has_failed: bool,
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
/// How long a file is missing until it is taken for removed.
const ABSENCE: Duration = Duration::from_millis(300);
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
