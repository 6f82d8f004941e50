//! `wshd check`: whether a server would start, and every plugin in the handlers directory could be served.

mod places;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::border::handler_context::Rights;
use crate::border::trial::{self, Bounds};
use crate::config::{CheckedReading, Config, WrittenPaths};
use crate::plugin::inspect::inspect;
use crate::plugin::refusal::Refusal;
use crate::plugin::stage::Stage;
use crate::plugin::trust;
use crate::process::identity::{Identity, IdentityError};
use crate::process::machine;
use crate::reload::StartError;
use crate::reload::content::read;
use crate::reload::load::{self, Job};
use crate::reload::scan::{self, Found, Scan, Scope};
use crate::shared::Shared;

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// The plugins that can be served, in the order of files.
    pub good: Vec<GoodPlugin>,
    /// A sentence for each fault, as the server would say it.
    pub bad: Vec<String>,
    /// Why files of TLS cannot be used, which a server does not start with.
    pub bad_tls: Vec<String>,
    /// The names of handlers whose plugin exists and cannot be served.
    pub refused: Vec<String>,
    /// A sentence where the handlers directory has no plugin, good or bad.
    pub emptiness: Option<String>,
    /// A sentence for each thing that a server starts with, and that an operator may not have meant.
    pub notes: Vec<String>,
}

/// A plugin that can be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoodPlugin {
    /// The handler's name.
    pub name: String,
    /// The plugin's file.
    pub path: PathBuf,
    /// What the handler is; empty if the plugin does not say.
    pub description: String,
}

/// Looks for all that would keep a server from its start, and tries every plugin in a process of its own. Where the system
/// has no such process, it loads the plugin, tells it that no traffic follows, and shuts it down again.
///
/// Where the configuration has an error, no plugin is tried: what is configured for it may be what is wrong.
pub fn check(reading: &CheckedReading) -> CheckReport {
    let CheckedReading { config, places, .. } = reading;
    let mut report = CheckReport {
        notes: config.long_messages(machine::memory_bytes()),
        ..CheckReport::default()
    };
    report.judge_tls(config, places);
    report.judge_places(config, places);
    let (user, group) = (config.user.as_deref(), config.group.as_deref());
    match Identity::wanted(user, group) {
        // What follows is judged as the server will find it, and no handler is tried with root's rights.
        Ok(Some(identity)) => {
            trial::end_helper();
            if let Err(error) = identity.assume() {
                report.bad.push(error.to_string());
                return report;
            }
            trial::start_helper_again();
        }
        Ok(None) => {}
        // Who checks need not be root.
        Err(error @ IdentityError::NotRoot { .. }) => report.notes.push(error.to_string()),
        Err(error) => report.bad.push(error.to_string()),
    }
    report.judge_files(config, places);
    report.notes.extend(config.tls.remarks(&config.listen));
    if let Some(auth) = &config.auth {
        report.notes.extend(auth.remarks.iter().cloned());
    }
    if !reading.is_handlers_dir_known {
        return report;
    }
    match (scan::scan(&Scope::of(config)), &reading.error) {
        (Err(source), _) => {
            let path = config.handlers_dir.clone();
            let error = StartError::NoDirectory { path, source };
            let sentence = places.locate(&config.handlers_dir, &error);
            report.bad.push(sentence);
        }
        (Ok(_), Some(_)) => report.notes.push(NOT_TRIED.to_owned()),
        (Ok(scan), None) => report.try_plugins(config, places, &scan),
    }
    report
}

impl CheckReport {
    /// Tries what was found in the handlers directory.
    fn try_plugins(&mut self, config: &Config, places: &WrittenPaths, scan: &Scan) {
        trust::tell(config.trust);
        let stage = match Stage::of_check(config.stage_dir.as_deref()) {
            Ok(stage) => Arc::new(stage),
            Err(error) => {
                let path = config.stage_dir.as_deref().unwrap_or(Path::new(""));
                return self.bad.push(places.locate(path, &error));
            }
        };
        stage.set_trust(config.trust);
        let shared = Shared::new(Arc::new(ArcSwap::from_pointee(config.clone())));
        for (path, refusal) in &scan.refused {
            self.refused.extend(scan::name_at(path, config));
            self.bad
                .push(refusal.sentence(&scan::relative(path, config)));
        }
        for (path, error) in &scan.unreadable {
            let path = path.display();
            self.bad.push(format!("cannot read `{path}`: {error}"));
        }
        let mut taken: Vec<&Found> = Vec::new();
        for found in &scan.plugins {
            let outcome = match taken.iter().find(|other| other.name == found.name) {
                Some(other) => Err(Refusal::RouteTaken {
                    route: format!("/{}", found.name),
                    by: scan::relative(&other.path, config),
                }),
                None => try_load(found, config, &shared, &stage),
            };
            match outcome {
                Ok(description) => {
                    taken.push(found);
                    self.good.push(GoodPlugin {
                        name: found.name.clone(),
                        path: found.path.clone(),
                        description,
                    });
                }
                Err(refusal) => {
                    self.refused.push(found.name.clone());
                    self.bad
                        .push(refusal.sentence(&scan::relative(&found.path, config)));
                }
            }
        }
        stage.remove();
        let is_empty = scan.plugins.is_empty() && scan.refused.is_empty();
        if is_empty && scan.unreadable.is_empty() {
            self.emptiness = Some(emptiness(config, scan));
        }
    }
}

/// The sentence for a handlers directory without plugins.
fn emptiness(config: &Config, scan: &Scan) -> String {
    let path = config.handlers_dir.display();
    if scan.has_crates {
        format!(
            "there are crates of handlers and no libraries in `{path}`; `wshd dev {path}` builds and serves them"
        )
    } else if let Some(python) = &scan.python_handler {
        let found = scan::relative(python, config);
        let found = found.display();
        format!(
            "`{found}` in `{path}` is a handler of pywebsocket, in Python; here handlers are compiled, and `wshd new NAME` \
             makes one to begin with"
        )
    } else {
        format!("no handler is in `{path}` yet: there are no files named `…_wsh.so`")
    }
}

/// Answers the description of a plugin that could be loaded.
fn try_load(
    found: &Found,
    config: &Config,
    shared: &Arc<Shared>,
    stage: &Arc<Stage>,
) -> Result<String, Refusal> {
    let content = read(&found.path)?;
    let settings = config.handler(&found.name);
    let about = inspect(&content.bytes)?;
    let description = about.description.clone();
    let job = Job {
        name: found.name.clone(),
        number: 1,
        path: found.path.clone(),
        about,
        bytes: content.bytes,
        hash: content.hash,
        config_json: settings.config.to_string(),
        rights: Rights::of(settings),
        bounds: Bounds::of(config, settings),
    };
    let (sender, finished) = mpsc::channel();
    let loading = load::check(job, shared, stage, move |outcome| {
        drop(sender.send(outcome));
    })?;
    let limit = Duration::from_millis(settings.limits.init_timeout_ms);
    loop {
        match finished.recv_timeout(LOOK) {
            Ok(outcome) => return outcome.map(|()| description),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(refusal) = loading.overdue(limit) {
                    return Err(refusal);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                let why = "its thread ended".to_owned();
                return Err(Refusal::Unstaged(why));
            }
        }
    }
}

const NOT_TRIED: &str = "no handler was tried; that is done when the configuration has no error";
const LOOK: Duration = Duration::from_millis(100);
