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
        let name = &self.handler.name;
        let before = state.failure.take();
        let serving = state.generation;
        let (artifact, placed) = match (&self.artifact, &self.placed) {
            (Ok(artifact), Some(placed)) => (artifact, placed),
            (artifact, _) => {
                let why = artifact.as_ref().err().cloned();
                let why = why.unwrap_or_else(|| NOT_COPIED.to_owned());
                state.failure = Some(NotServed::NotBuilt(why));
                return match serving {
                    Some(generation) => Some(format!(
                        "{name}: build failed; generation {generation} keeps serving"
                    )),
                    None => saved.map(|_| format!("{name}: build failed; nothing serves it yet")),
                };
            }
        };
        match (placed, &self.change) {
            (_, Some(change)) => match &change.outcome {
                Ok(generation) => {
                    state.generation = Some(*generation);
                    let times = LiveTimes {
                        live: SystemTime::now().duration_since(saved?).unwrap_or_default(),
                        build: self.build,
                        load: change.elapsed,
                        moved: change
                            .moved
                            .and_then(|it| (it.sessions > 0).then_some(it.elapsed)),
                    };
                    let url = match serving {
                        Some(_) => String::new(),
                        None => format!(" at {}", address.handler(&self.handler.route())),
                    };
                    Some(format!("{name}: live{url} in {times}"))
                }
                Err(reason) => {
                    let failure = NotServed::NotLoaded(reason.clone());
                    let line = format!("{name}: {}", failure.text());
                    state.failure = Some(failure);
                    Some(line)
                }
            },
            // The library is unchanged, and so is the reason why the server refuses it.
            (Placed::Same, None) if matches!(before, Some(NotServed::NotLoaded(_))) => {
                let line = before.as_ref().map(|it| format!("{name}: {}", it.text()));
                state.failure = before;
                line
            }
            (Placed::Same, None) if before.is_some() => {
                let generation = serving?;
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
}

const NOT_COPIED: &str = "built, but not copied; the terminal says why";
