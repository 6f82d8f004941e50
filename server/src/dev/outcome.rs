//! What became of a handler in a build, and the line that tells it.

use std::time::{Duration, SystemTime};

use super::handler::HandlerSource;
use super::library_dir::Placed;
use super::messages::Artifact;
use super::report::{Address, LiveTimes};
use crate::reload::Change;

/// The state of a handler, from its first build on.
#[derive(Debug, Default)]
pub(crate) struct HandlerState {
    /// The generation that serves.
    pub(crate) generation: Option<u64>,
    /// Why the newest sources are not what serves.
    pub(crate) failure: Option<NotServed>,
}

/// Why the newest sources of a handler do not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotServed {
    /// The compiler refuses the sources; with what it says.
    NotBuilt(String),
    /// The server refuses the library; with its reason.
    NotLoaded(String),
}

impl NotServed {
    /// The words for it in a list of all handlers.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            NotServed::NotBuilt(_) => "not built",
            NotServed::NotLoaded(_) => "built, but not loaded",
        }
    }

    /// The text that open pages show.
    pub(crate) fn text(&self) -> String {
        match self {
            NotServed::NotBuilt(why) => why.clone(),
            NotServed::NotLoaded(why) => format!("{}: {why}", self.name()),
        }
    }
}

/// The result of a build, for one of its handlers.
#[derive(Debug)]
pub(crate) struct BuildResult {
    pub(crate) handler: HandlerSource,
    /// The library, or what the compiler says.
    pub(crate) artifact: Result<Artifact, String>,
    /// Whether the library differs from the one before; `None` if there is none, or it was not copied.
    pub(crate) placed: Option<Placed>,
    /// What the server did with the library, if it looked at it.
    pub(crate) change: Option<Change>,
    /// How long the whole build took.
    pub(crate) build: Duration,
}

impl BuildResult {
    /// Updates the handler's state. Answers the line to tell, if there is one. `saved` is when the sources
    /// were saved; `None` for the first build of all, which tells of all handlers together.
    pub(crate) fn conclude(
        &self,
        state: &mut HandlerState,
        saved: Option<SystemTime>,
        address: Address,
    ) -> Option<String> {
        let before = state.failure.take();
        let (Ok(artifact), Some(placed)) = (&self.artifact, &self.placed) else {
            return self.not_built(state, saved);
        };
        if let Some(change) = &self.change {
            return match &change.outcome {
                Ok(generation) => self.live(state, *generation, change, saved, address),
                Err(reason) => Some(self.not_loaded(state, reason)),
            };
        }
        let name = &self.handler.name;
        match (placed, before) {
            // The library is unchanged, and so is the reason why the server refuses it.
            (Placed::Same, Some(NotServed::NotLoaded(reason))) => {
                Some(self.not_loaded(state, &reason))
            }
            (Placed::Same, Some(NotServed::NotBuilt(_))) => {
                let generation = state.generation?;
                Some(format!(
                    "{name}: builds again, as generation {generation} that serves"
                ))
            }
            (Placed::Same, None) if artifact.is_fresh => None,
            _ => {
                let build = self.build.as_secs_f64();
                Some(format!(
                    "{name}: built in {build:.2} s, the library is what it was"
                ))
            }
        }
    }

    /// There is no new library.
    fn not_built(&self, state: &mut HandlerState, saved: Option<SystemTime>) -> Option<String> {
        let name = &self.handler.name;
        let why = self.artifact.as_ref().err().cloned();
        let why = why.unwrap_or_else(|| NOT_COPIED.to_owned());
        state.failure = Some(NotServed::NotBuilt(why));
        match state.generation {
            Some(generation) => Some(format!(
                "{name}: build failed; generation {generation} keeps serving"
            )),
            None => saved.map(|_| format!("{name}: build failed; nothing serves it yet")),
        }
    }

    /// The server refuses the library.
    fn not_loaded(&self, state: &mut HandlerState, reason: &str) -> String {
        let failure = NotServed::NotLoaded(reason.to_owned());
        let line = format!("{}: {}", self.handler.name, failure.text());
        state.failure = Some(failure);
        line
    }

    /// The library serves, as this generation.
    fn live(
        &self,
        state: &mut HandlerState,
        generation: u64,
        change: &Change,
        saved: Option<SystemTime>,
        address: Address,
    ) -> Option<String> {
        let url = match state.generation.replace(generation) {
            Some(_) => String::new(),
            None => format!(" at {}", address.handler(&self.handler.route())),
        };
        let moved = change.moved.filter(|moved| moved.sessions > 0);
        let times = LiveTimes {
            live: SystemTime::now().duration_since(saved?).unwrap_or_default(),
            build: self.build,
            load: change.elapsed,
            moved: moved.map(|moved| moved.elapsed),
        };
        Some(format!("{}: live{url} in {times}", self.handler.name))
    }
}

const NOT_COPIED: &str = "built, but not copied; the terminal says why";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::dev::handler::Recipe;

    /// A build of `echo` with a library, which is fresh or not, or with what the compiler says.
    fn result(
        artifact: Result<bool, &str>,
        placed: Option<Placed>,
        outcome: Option<Result<u64, &str>>,
    ) -> BuildResult {
        let artifact = artifact.map(|is_fresh| Artifact {
            library: "libecho_wsh.so".into(),
            is_fresh,
        });
        let change = outcome.map(|outcome| Change {
            handler: "echo".to_owned(),
            outcome: outcome.map_err(str::to_owned),
            elapsed: Duration::from_millis(2),
            moved: None,
        });
        BuildResult {
            handler: HandlerSource {
                name: "echo_wsh".to_owned(),
                recipe: Recipe::Cc {
                    sources: Vec::new(),
                },
                origin: "echo.c".into(),
                has_script: false,
                has_macro: false,
                parts: BTreeSet::new(),
                shared: Arc::default(),
            },
            artifact: artifact.map_err(str::to_owned),
            placed,
            change,
            build: Duration::from_millis(500),
        }
    }

    #[test]
    fn each_result_of_a_build_has_its_line_and_its_state() {
        let not_built = |why: &str| Some(NotServed::NotBuilt(why.to_owned()));
        let not_loaded = |why: &str| Some(NotServed::NotLoaded(why.to_owned()));
        let (same, changed) = (|| Some(Placed::Same), || Some(Placed::Changed));
        let live = "echo_wsh: live at ws://localhost:1/echo in ";
        for (before, build, line, after) in [
            // From nothing.
            (
                (None, None),
                result(Err("no"), None, None),
                "echo_wsh: build failed; nothing serves it yet",
                (None, not_built("no")),
            ),
            (
                (None, None),
                result(Ok(false), None, None),
                "echo_wsh: build failed; nothing serves it yet",
                (None, not_built(NOT_COPIED)),
            ),
            (
                (None, None),
                result(Ok(false), changed(), Some(Ok(1))),
                live,
                (Some(1), None),
            ),
            (
                (None, None),
                result(Ok(false), changed(), Some(Err("bad"))),
                "echo_wsh: built, but not loaded: bad",
                (None, not_loaded("bad")),
            ),
            // While a generation serves.
            (
                (Some(1), None),
                result(Err("no"), None, None),
                "echo_wsh: build failed; generation 1 keeps serving",
                (Some(1), not_built("no")),
            ),
            (
                (Some(1), None),
                result(Ok(false), changed(), Some(Ok(2))),
                "echo_wsh: live in ",
                (Some(2), None),
            ),
            (
                (Some(1), None),
                result(Ok(false), same(), None),
                "echo_wsh: built in 0.50 s, the library is what it was",
                (Some(1), None),
            ),
            (
                (Some(1), None),
                result(Ok(true), same(), None),
                "",
                (Some(1), None),
            ),
            // After a failure.
            (
                (Some(1), not_built("no")),
                result(Ok(true), same(), None),
                "echo_wsh: builds again, as generation 1 that serves",
                (Some(1), None),
            ),
            (
                (Some(1), not_loaded("bad")),
                result(Ok(true), same(), None),
                "echo_wsh: built, but not loaded: bad",
                (Some(1), not_loaded("bad")),
            ),
            (
                (Some(1), not_loaded("bad")),
                result(Ok(true), same(), Some(Ok(2))),
                "echo_wsh: live in ",
                (Some(2), None),
            ),
        ] {
            let (generation, failure) = before.clone();
            let mut state = HandlerState {
                generation,
                failure,
            };
            let address = Address {
                port: 1,
                is_tls: false,
                has_pages: false,
            };

            let told = build.conclude(&mut state, Some(SystemTime::now()), address);

            let told = told.unwrap_or_default();
            assert!(
                told.starts_with(line) && told.is_empty() == line.is_empty(),
                "{before:?}: {told}"
            );
            assert_eq!(
                (state.generation, state.failure),
                after,
                "{before:?}: {told}"
            );
        }
    }
}
