//! One build: run the compilers, put the libraries where the server loads them, and tell how it went.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::BuildLoop;
use crate::dev::crates::LOCK_FILE;
use crate::dev::feedback::Questions;
use crate::dev::handler::{HandlerSource, Recipe};
use crate::dev::messages::{Artifact, Built, plain};
use crate::dev::outcome::BuildResult;
use crate::dev::report::{say, say_line};
use crate::dev::sources::Sources;
use crate::dev::tree;
use crate::reload::Change;

impl<L: FnMut() -> Vec<Change>> BuildLoop<L> {
    /// Builds these handlers, and looks what has changed meanwhile. `saved` is when their sources were
    /// saved; `None` for the first build of all.
    pub(super) fn build(&mut self, wanted: &BTreeSet<String>, saved: Option<SystemTime>) {
        let runs = self.run(wanted, saved);
        let now = Sources::take(&self.root, &self.handlers, &self.sources);
        let changes = now.since(&self.sources);
        self.sources = now;
        let (handlers, sources) = (&self.handlers, &self.sources);
        let built = || wanted.iter().filter_map(|name| handlers.by_name.get(name));
        let has_script = built().any(|handler| handler.has_script);
        let has_macro = built().any(|handler| handler.has_macro);
        let generated = self.feedback.end_build(
            changes,
            &Questions {
                matters: &|file| tree::is_beginning(file) || !handlers.made_of(file).is_empty(),
                was_built: &|file| {
                    let mut names = handlers.made_of(file).into_iter();
                    names.any(|name| wanted.contains(name))
                },
                is_suspect: &|file| match (runs.ended, sources.saved(file)) {
                    // Cargo does not tell that a script has failed, and a macro may run until the end.
                    _ if has_macro || has_script && runs.may_have_failed => true,
                    (Some(ended), Some(saved)) => saved <= ended,
                    (Some(_), None) => true,
                    (None, _) => false,
                },
            },
            Instant::now(),
        );
        for file in generated {
            let file = file.strip_prefix(&self.root).unwrap_or(&file).display();
            say_line(format!(
                "{file} changes during each build, so the build writes it, and it starts no further one; \
                 if you have saved it, save it once more"
            ));
        }
    }

    /// Runs the C compiler once for each handler in C, then one cargo for each workspace.
    fn run(&mut self, wanted: &BTreeSet<String>, saved: Option<SystemTime>) -> ScriptRuns {
        let mut runs = ScriptRuns::default();
        let mut in_c = Vec::new();
        let mut workspaces = BTreeMap::<PathBuf, Vec<HandlerPackage>>::new();
        let known = &self.handlers.by_name;
        for handler in wanted.iter().filter_map(|name| known.get(name)) {
            match &handler.recipe {
                Recipe::Cargo { package, workspace } => {
                    let members = workspaces.entry(workspace.clone()).or_default();
                    members.push((handler.clone(), package.clone()));
                }
                Recipe::Cc { sources } => in_c.push((handler.clone(), sources.clone())),
            }
        }
        for (handler, sources) in in_c {
            let began = Instant::now();
            let artifact = self.cc.build(&handler.name, &sources);
            if self.cargo.is_stopped() {
                return runs;
            }
            self.serve(vec![(handler, artifact)], began.elapsed(), saved);
        }
        for (workspace, members) in workspaces {
            let began = Instant::now();
            let built = self.run_cargo(&workspace, &members);
            if self.cargo.is_stopped() {
                return runs;
            }
            let build = began.elapsed();
            runs.ended = runs.ended.max(built.scripts_ended);
            // Cargo writes the lock file itself, where there is none or it does not fit the manifests.
            self.sources.accept(&workspace.join(LOCK_FILE));
            let outcome = |(handler, package): HandlerPackage| {
                let artifact = built.of(&package);
                (handler, artifact)
            };
            let outcomes: Vec<_> = members.into_iter().map(outcome).collect();
            runs.may_have_failed |= outcomes.iter().any(|(_, artifact)| artifact.is_err());
            self.serve(outcomes, build, saved);
        }
        runs
    }

    /// Builds the members whose manifests cargo can read. It has told already why it cannot read others.
    fn run_cargo(&self, workspace: &Path, members: &[HandlerPackage]) -> Built {
        let is_readable = |(handler, _): &&HandlerPackage| !self.handlers.is_unreadable(handler);
        let readable = members.iter().filter(is_readable);
        let packages: Vec<&str> = readable.map(|(_, package)| package.as_str()).collect();
        if packages.is_empty() {
            return Built::nothing(&plain(&self.handlers.complaints.join("\n")));
        }
        let built = self.cargo.build(workspace, &packages);
        built.unwrap_or_else(|error| {
            say(&error);
            Built::nothing(&error.to_string())
        })
    }

    /// Puts the libraries of one build into place, has the server load them, and tells the developer.
    fn serve(
        &mut self,
        outcomes: Vec<(HandlerSource, Result<Artifact, String>)>,
        build: Duration,
        saved: Option<SystemTime>,
    ) {
        let mut finished = Vec::new();
        for (handler, artifact) in outcomes {
            let library = artifact.as_ref().ok().map(|artifact| &artifact.library);
            let placed = library.map(|library| self.library_dir.put(&handler.name, library));
            let placed = placed.transpose().unwrap_or_else(|error| {
                say_line(format!(
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
        // Also when no library has changed: one that was refused may be loaded with a changed configuration.
        if finished.iter().any(|one| one.placed.is_some()) {
            for change in (self.load)() {
                let its = finished
                    .iter_mut()
                    .find(|one| one.handler.handler() == change.handler);
                if let Some(one) = its {
                    // The last one holds: the file may have been looked at twice.
                    one.change = Some(change);
                }
            }
        }
        for one in finished {
            let state = self.states.entry(one.handler.name.clone()).or_default();
            if let Some(line) = one.conclude(state, saved, self.address) {
                say_line(line);
            }
        }
        self.show_failures();
    }
}

/// A handler of a workspace, and cargo's id of its package.
type HandlerPackage = (HandlerSource, String);

/// The build scripts of a build.
#[derive(Debug, Default)]
struct ScriptRuns {
    /// When the last of them had run, if any has.
    ended: Option<SystemTime>,
    /// Whether some crate was not built, perhaps because its script failed.
    may_have_failed: bool,
}
