//! Performs what becomes of a file: reads it, loads it, refuses it, removes its handler.
//!
//! Whether and when is decided by the file's [`Belief`](crate::reload::belief::Belief).

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::info;

use super::Reconciler;
use crate::border::handler_context::Rights;
use crate::border::trial::Bounds;
use crate::config::Config;
use crate::plugin::inspect::{PluginInfo, inspect};
use crate::plugin::refusal::Refusal;
use crate::process::regular_file::NotRead;
use crate::reload::Order;
use crate::reload::belief::{FileAction, Observation, ReadResult, RouteState, Turn};
use crate::reload::content::PluginContent;
use crate::reload::load::{self, Job};
use crate::reload::scan::{self, Stamp};

impl Reconciler {
    /// Gives a file its turn. `Break` when no further load can begin now.
    pub(super) fn give_turn(
        &mut self,
        path: &Path,
        config: &Config,
        now: Instant,
    ) -> ControlFlow<()> {
        let Some(file) = self.files.get(path) else {
            return ControlFlow::Continue(());
        };
        let turn = Turn {
            is_eager: self.waiters.are_there(),
            age: age(&file.belief.stamp()),
            route: self.route_of(path, &file.name, config, now),
        };
        match self.observe(path, &Observation::Turn(turn), now) {
            // The end of a load is a reason to go on.
            FileAction::Read if self.loads_under_way() >= LOADS_MAX => {
                return ControlFlow::Break(());
            }
            FileAction::Read => self.read(path, config, now),
            action => self.perform(path, action, now),
        }
        ControlFlow::Continue(())
    }

    /// What the file at `path` finds at the route of its handler.
    fn route_of(&self, path: &Path, name: &str, config: &Config, now: Instant) -> RouteState {
        let deployment = self.deployments.get(name);
        if deployment.is_some_and(|it| it.loading.is_some()) {
            return RouteState::Loading;
        }
        if let Some(until) = self.waiters.moves_until(name, now) {
            return RouteState::Moving { until };
        }
        let owner = deployment.and_then(|it| it.path.as_deref());
        match owner.filter(|owner| *owner != path) {
            // This file may be gone, and its removal not be believed yet.
            Some(owner) => RouteState::Taken(Refusal::RouteTaken {
                route: format!("/{name}"),
                by: scan::relative(owner, config),
            }),
            None => RouteState::Free,
        }
    }

    /// Reads a file, and loads it if that serves something new.
    fn read(&mut self, path: &Path, config: &Config, now: Instant) {
        let Some(file) = self.files.get(path) else {
            return;
        };
        let (name, stamp) = (file.name.clone(), file.belief.stamp());
        let Some(read) = self.reading.of(path, stamp.bytes, &self.orders) else {
            return; // the end of the reading is a reason to go on
        };
        // Whatever is decided of its content now, it was looked at anew.
        let is_wanted_anew = self.to_load_anew.remove(&name);
        let mut fit = None;
        let result = match read {
            Err(NotRead::Io(error)) if error.kind() == io::ErrorKind::NotFound => ReadResult::Gone,
            Err(error) => ReadResult::Failed(error.into()),
            Ok(content) if content.stamp != stamp => ReadResult::Changed,
            Ok(content) if !is_wanted_anew && self.serves_content(&name, &content, config) => {
                ReadResult::Serving
            }
            Ok(mut content) => {
                let about = content.about.take();
                match about.unwrap_or_else(|| inspect(&content.bytes)) {
                    Ok(about) => {
                        fit = Some((content, about));
                        ReadResult::Fit
                    }
                    Err(refusal) => ReadResult::Unfit(refusal),
                }
            }
        };
        let action = self.observe(path, &Observation::Read(result), now);
        match (action, fit) {
            (FileAction::Load, Some((content, about))) => {
                self.load(path, &name, content, about, config, now);
            }
            (action, _) => self.perform(path, action, now),
        }
    }

    /// Whether the generation that serves was made from this content, with this configuration.
    fn serves_content(&self, name: &str, content: &PluginContent, config: &Config) -> bool {
        let settings = config.handler(name);
        let config_json = settings.config.to_string();
        let deployment = self.deployments.get(name);
        let serving = deployment.and_then(|it| it.serving.as_ref());
        serving.is_some_and(|serving| {
            let from = &serving.provenance;
            from.hash == content.hash
                && from.config_json == config_json
                && serving.context.rights.raw == settings.raw
                && !serving.is_quarantined()
        })
    }

    /// Begins to load a content.
    fn load(
        &mut self,
        path: &Path,
        name: &str,
        content: PluginContent,
        about: PluginInfo,
        config: &Config,
        now: Instant,
    ) {
        let settings = config.handler(name);
        let deployment = self.deployments.entry(name.to_owned()).or_default();
        let job = Job {
            name: name.to_owned(),
            number: deployment.next_number(),
            path: path.to_path_buf(),
            bytes: content.bytes,
            hash: content.hash,
            about,
            config_json: settings.config.to_string(),
            rights: Rights::of(settings),
            bounds: Bounds::of(config, settings),
        };
        let orders = self.orders.clone();
        let done = move |finished| drop(orders.send(Order::Loaded(finished)));
        match load::start(job, &self.shared, &self.stage, done) {
            Ok(loading) => {
                deployment.path = Some(path.to_path_buf());
                deployment.loading = Some(loading);
                self.due(now + LOOK_AT_LOADS);
            }
            Err(refusal) => self.refuse(Some(name), path, &refusal, now),
        }
    }

    /// Performs the action that follows from an observation. What is told of it counts its time from
    /// `began`.
    pub(super) fn perform(&mut self, path: &Path, action: FileAction, began: Instant) {
        let name = || Some(self.files.get(path)?.name.clone());
        match action {
            FileAction::Nothing | FileAction::NoteChange => {}
            FileAction::Wait { until } | FileAction::AwaitReturn { until } => self.due(until),
            FileAction::Remove => self.remove(path),
            FileAction::Keep { has_passed } => {
                if let Some(name) = name() {
                    if has_passed {
                        self.tell_passed(&name, path);
                    }
                    self.tell_whole(&name, path);
                }
            }
            FileAction::TellPassed => {
                if let Some(name) = name() {
                    self.tell_passed(&name, path);
                }
            }
            FileAction::Refuse(refuse) => {
                self.tell_refusal(name().as_deref(), path, &refuse, began)
            }
            // `give_turn` and `read` perform these, because they have what that takes.
            FileAction::Read | FileAction::Load => {}
        }
    }

    /// Forgets a file, and removes the handler that was loaded from it.
    pub(super) fn remove(&mut self, path: &Path) {
        let Some(file) = self.files.remove(path) else {
            return;
        };
        let name = file.name;
        self.forget_refusal(&name, path);
        let Some(deployment) = self.deployments.get_mut(&name) else {
            return;
        };
        if deployment.path.as_deref() == Some(path) {
            deployment.path = None;
            if let Some(old) = deployment.serving.take() {
                self.swap_table();
                self.shared.meters.handler_loads.count("removed");
                info!(handler = %name, generation = old.number, sessions = old.sessions(), "handler removed");
                self.supersede(&name, old);
            }
        }
    }
}

/// How long ago a file was last written to, by the clock of the system.
fn age(stamp: &Stamp) -> Duration {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall = wall.map_or(0, |wall| wall.as_nanos() as i128);
    u64::try_from(wall - stamp.modified).map_or(Duration::ZERO, Duration::from_nanos)
}

/// The number of loads at a time: more would only wait for the processor. Loads that wait for their plugin
/// do not count.
const LOADS_MAX: usize = 8;
/// How often loads under way are held against their deadlines.
pub(super) const LOOK_AT_LOADS: Duration = Duration::from_millis(200);
