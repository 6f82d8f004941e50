//! The loop of `wshd dev`: look at the sources, and build what they change. One thread, one build at a
//! time.

mod build;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use super::Dev;
use super::cargo::Cargo;
use super::cc::Cc;
use super::feedback::Feedback;
use super::handler::HandlerSource;
use super::handlers::{Handlers, may_exist};
use super::library_dir::LibraryDir;
use super::outcome::{HandlerState, NotServed};
use super::report::{Address, say, say_line};
use super::sources::{Changes, Sources};
use super::tree;
use crate::connection::overlay::Overlay;
use crate::reload::Change;
use crate::reload::watcher::Watcher;

/// The state of the loop.
pub(crate) struct BuildLoop<L> {
    root: PathBuf,
    cargo: Arc<Cargo>,
    cc: Cc,
    handlers: Handlers,
    sources: Sources,
    feedback: Feedback,
    /// The document root; its files are `page_files`.
    pages: Option<PathBuf>,
    page_files: Sources,
    library_dir: LibraryDir,
    overlay: Arc<Overlay>,
    address: Address,
    load: L,
    /// The state of each handler, from its first build on.
    states: BTreeMap<String, HandlerState>,
}

impl<L: FnMut() -> Vec<Change>> BuildLoop<L> {
    pub(crate) fn new(dev: Dev, address: Address, pages: Option<PathBuf>, load: L) -> BuildLoop<L> {
        // Taken before the first build, so that a save while it runs is a change.
        let sources = Sources::take(&dev.root, &dev.handlers, &Sources::default());
        let mut build_loop = BuildLoop {
            root: dev.root,
            cargo: dev.cargo,
            cc: dev.cc,
            handlers: dev.handlers,
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
        // The channel holds one hint, which says when the first of many came.
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
            // After the build, so that a page that was saved with its handler finds the new one.
            self.look_at_pages();
            let directories = self.directories();
            watcher.watch(&directories, BTreeSet::new());
            if directories != watched {
                // A file may have come into a new directory before it was watched, so look again.
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

    /// Tells open pages the digest of the files they are made of.
    fn look_at_pages(&mut self) {
        if let Some(root) = &self.pages {
            self.page_files = Sources::of_pages(root, &self.page_files);
            self.overlay.set_pages(self.page_files.digest());
        }
    }

    fn build_all(&mut self) {
        let all: BTreeSet<String> = self.handlers.by_name.keys().cloned().collect();
        self.build(&all, None);
        if self.cargo.is_stopped() {
            return;
        }
        let names = self.handlers.by_name.keys().map(String::len);
        let width = names.max().unwrap_or(0).max("pages".len());
        for (name, handler) in &self.handlers.by_name {
            let url = self.address.handler(&handler.route());
            match self.states.get(name) {
                Some(state) if state.generation.is_some() => {
                    say_line(format!("{name:width$}  {url}"))
                }
                state => {
                    let failure = state.and_then(|state| state.failure.as_ref());
                    let why = failure.map_or("not built", NotServed::name);
                    say_line(format!("{name:width$}  {why}; will answer at {url}"));
                }
            }
        }
        if self.address.has_pages {
            say_line(format!("{:width$}  {}", "pages", self.address.pages()));
        }
    }

    /// Asks whether handlers that were built and refused are loaded by now, with a changed configuration.
    fn look_at_unloaded(&mut self) {
        let is_unloaded =
            |state: &HandlerState| matches!(state.failure, Some(NotServed::NotLoaded(_)));
        if !self.states.values().any(is_unloaded) {
            return;
        }
        for change in (self.load)() {
            let mut handlers = self.handlers.by_name.values();
            let its = handlers.find(|it| it.handler() == change.handler);
            let state = its.and_then(|it| self.states.get_mut(&it.name));
            if let (Some(handler), Some(state), Ok(generation)) = (its, state, change.outcome)
                && is_unloaded(state)
            {
                state.generation = Some(generation);
                state.failure = None;
                let url = self.address.handler(&handler.route());
                say_line(format!("{}: loaded, answers at {url}", handler.name));
            }
        }
        self.show_failures();
    }

    /// Looks once, and builds what has changed since the last look.
    fn look(&mut self, noticed: SystemTime) {
        let mut now = Sources::take(&self.root, &self.handlers, &self.sources);
        let since = now.since(&self.sources);
        let mut changes = self.feedback.begin_build(since, Instant::now());
        let mut step = changes.clone();
        let mut otherwise = BTreeSet::new();
        // Handlers that are found bring sources with them, in which there may be more to find.
        while step.has_manifest() || step.has_c() {
            otherwise.extend(if step.has_manifest() {
                self.find_again()
            } else {
                self.find_c_again(&step)
            });
            let next = Sources::take(&self.root, &self.handlers, &now);
            step = next.since(&now);
            changes = changes.and(step.clone());
            now = next;
        }
        self.sources = now;

        let mut wanted: BTreeSet<&str> = otherwise.iter().map(String::as_str).collect();
        for file in &changes.changed {
            wanted.extend(self.handlers.made_of(file));
        }
        // Saving an unchanged file of a handler that did not build asks for another try: the cause may lie
        // elsewhere.
        for file in &changes.saved_again {
            let again = self.handlers.made_of(file).into_iter();
            wanted.extend(
                again.filter(|name| self.states.get(*name).is_none_or(|s| s.failure.is_some())),
            );
        }
        let new = self.handlers.by_name.keys().map(String::as_str);
        wanted.extend(new.filter(|name| !self.states.contains_key(*name)));
        if !wanted.is_empty() {
            let wanted = wanted.into_iter().map(str::to_owned).collect();
            self.build(&wanted, Some(moment_of_save(changes.saved, noticed)));
        }
    }

    /// Asks cargo anew which crates there are. Answers the handlers that are built in another way now.
    fn find_again(&mut self) -> BTreeSet<String> {
        match Handlers::find_again(&self.root, &self.cargo, &self.handlers) {
            Ok(handlers) => self.adopt(handlers),
            Err(error) => {
                say(error);
                BTreeSet::new()
            }
        }
    }

    /// Looks anew which handlers in C there are. Answers the handlers that are built in another way now.
    fn find_c_again(&mut self, changes: &Changes) -> BTreeSet<String> {
        let mut removed = changes.changed.iter().filter(|file| !file.exists());
        if removed.any(|file| tree::is_c(file)) {
            // An editor may save a file by removing it and moving a new one into its place. A file that is
            // removed for good is still missing a moment later.
            std::thread::sleep(ABSENCE);
        }
        self.adopt(self.handlers.find_c_again(&self.root))
    }

    fn adopt(&mut self, handlers: Handlers) -> BTreeSet<String> {
        for complaint in &handlers.complaints {
            if !self.handlers.complaints.contains(complaint) {
                say(complaint);
            }
        }
        let before = std::mem::replace(&mut self.handlers, handlers);
        for handler in before.by_name.values() {
            if !self.handlers.by_name.contains_key(&handler.name) {
                self.forget(handler);
            }
        }
        self.handlers.built_otherwise(&before)
    }

    fn forget(&mut self, handler: &HandlerSource) {
        let name = &handler.name;
        self.states.remove(name);
        self.show_failures();
        match self.library_dir.remove(name) {
            Ok(true) => {
                (self.load)();
                let why = match may_exist(&handler.origin) {
                    true => "it is not built any more",
                    false => "its sources are gone",
                };
                say_line(format!("{name}: {why}, and its library removed"));
            }
            Ok(false) => {}
            Err(error) => say_line(format!("{name}: cannot remove its library: {error}")),
        }
    }

    /// Tells open pages which handlers are not what their sources say, and why.
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

/// Waits for a hint, and then for quiet, since a save is often followed by more. Answers when the first
/// hint came.
fn wait(inbox: &Receiver<SystemTime>, sweep: Duration) -> SystemTime {
    let noticed = match inbox.recv_timeout(sweep) {
        Ok(noticed) => noticed,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => SystemTime::now(),
    };
    let began = Instant::now();
    while began.elapsed() < QUIET_WAIT_MAX && inbox.recv_timeout(QUIET).is_ok() {}
    noticed
}

/// When the sources were saved: the date of the file if it is plausible, else when the hint came. A file
/// that was moved in keeps its old date, and a clock may be wrong.
fn moment_of_save(saved: Option<SystemTime>, noticed: SystemTime) -> SystemTime {
    let earliest = noticed - SAVE_TO_HINT_MAX;
    match saved {
        Some(saved) if earliest <= saved && saved <= SystemTime::now() => saved,
        _ => noticed,
    }
}

/// How long no hint comes before the sources are looked at.
const QUIET: Duration = Duration::from_millis(20);
/// From a hint to a look at the latest, however many hints follow.
const QUIET_WAIT_MAX: Duration = Duration::from_millis(500);
/// From one look to the next without a hint.
const SWEEP: Duration = Duration::from_secs(3);
/// From one look to the next where the system gives no hints.
const BLIND_SWEEP: Duration = Duration::from_millis(500);
/// How long a file is missing until it is taken for removed.
const ABSENCE: Duration = Duration::from_millis(300);
/// How far the date of a save may lie before its hint.
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
