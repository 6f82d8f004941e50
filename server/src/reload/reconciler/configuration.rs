//! The configuration file: seen to change, read again, and applied as far as a running server can.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::Reconciler;
use crate::auth;
use crate::config::document_root;
use crate::config::{Config, ConfigError, Reading};
use crate::logging;
use crate::plugin::trust;
use crate::process::PROCESS_BEGAN;
use crate::process::regular_file::is_absence;
use crate::reload::belief::Observation;
use crate::reload::scan::Stamp;
use crate::reload::{ConfigReport, ReloadOrder, Reread};

/// What is known of the configuration file.
pub(super) struct ConfigFile {
    /// Reads the configuration again, from the file, the flags and the environment.
    reread: Reread,
    /// What the server was started with, which goes on where a change applies after a restart.
    at_start: Config,
    /// The file that was read. While there is none, the first that appears at [`ConfigFile::places`] is
    /// taken.
    path: Option<PathBuf>,
    /// Where a file may appear, in this order.
    places: Vec<PathBuf>,
    /// The places of which the log has said that a second file lies there, which is not read.
    told_of: Vec<PathBuf>,
    stamp: Option<Stamp>,
    since: Instant,
    /// The stamp of what was last read.
    read: Option<Stamp>,
    presence: Presence,
    /// Whether the log says which of the handlers that the configuration names are not there.
    are_names_told: bool,
    /// The files that are broken, it or those that it names.
    refused: BTreeMap<PathBuf, ReadFailure>,
    /// Why the server does not listen as the configuration says.
    not_listened: Option<String>,
    /// When all is read again though nothing has changed.
    again: Option<Instant>,
    /// An operator's request to read it, and the time at which that is done.
    request: Option<(Arc<AtomicBool>, Instant)>,
    /// The time before which no further request is served.
    pause_until: Instant,
}

/// Why a configuration is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// Its file has changed, or may be readable again.
    Watch,
    /// A signal. Each one gets a line in the log.
    Operator,
}

/// Whether the file that was read is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    There,
    /// Nothing is said yet: editors remove a file and make it again.
    Missing {
        since: Instant,
    },
    /// The log says that it is gone.
    Gone,
}

/// What follows from a look at the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PresenceChange {
    Nothing,
    /// Look again at this time: the file is missing.
    LookAgain(Instant),
    /// Say that the file is gone.
    Gone,
    /// Say that the file is there again.
    Back,
}

impl Presence {
    /// The presence after a look, and what follows from it.
    fn step(self, is_there: bool, now: Instant) -> (Presence, PresenceChange) {
        match (self, is_there) {
            (Presence::There | Presence::Missing { .. }, true) => {
                (Presence::There, PresenceChange::Nothing)
            }
            (Presence::Gone, true) => (Presence::There, PresenceChange::Back),
            (Presence::There, false) => (
                Presence::Missing { since: now },
                PresenceChange::LookAgain(now + ABSENCE),
            ),
            (Presence::Missing { since }, false) if now < since + ABSENCE => {
                (self, PresenceChange::LookAgain(since + ABSENCE))
            }
            (Presence::Missing { .. }, false) => (Presence::Gone, PresenceChange::Gone),
            (Presence::Gone, false) => (Presence::Gone, PresenceChange::Nothing),
        }
    }
}

/// What is wrong with a file.
#[derive(Debug)]
struct ReadFailure {
    told: String,
    /// Whether it may be right without a change of the configuration file.
    is_passing: bool,
}

impl ConfigFile {
    /// The file of a configuration that was just read.
    pub(super) fn new(config: &Config, reread: Reread) -> ConfigFile {
        let path = config.file.clone();
        let stamp = path.as_deref().and_then(stamp_of);
        ConfigFile {
            reread,
            at_start: config.clone(),
            path,
            places: config.file_places.clone(),
            told_of: Vec::new(),
            stamp,
            since: Instant::now(),
            // It was read after the process began. A file that has changed since may have done so behind that.
            read: stamp.filter(|it| it.is_older_than(*PROCESS_BEGAN)),
            presence: Presence::There,
            are_names_told: false,
            refused: BTreeMap::new(),
            not_listened: None,
            again: None,
            request: None,
            pause_until: Instant::now(),
        }
    }
}

impl ConfigFile {
    /// Whether the operator has asked for a reading that has not begun.
    pub(super) fn is_asked_for(&self) -> bool {
        self.request.is_some()
    }

    /// Warns once of each file at a default place that is not the one that was read.
    fn tell_of_others(&mut self) {
        let Some(path) = &self.path else { return };
        let Some(own) = self.places.iter().position(|place| place == path) else {
            return; // It was named, and no other is looked for.
        };
        for (index, place) in self.places.iter().enumerate() {
            // A directory is no configuration file, and one file may have two names.
            let is_other = index != own
                && !self.told_of.contains(place)
                && std::fs::metadata(place).is_ok_and(|it| it.is_file())
                && place.canonicalize().ok() != path.canonicalize().ok();
            if !is_other {
                continue;
            }
            let (file, in_use) = (place.display(), path.display());
            if index < own {
                warn!(%file, %in_use, "another configuration file is there; it is read after a restart, and until then the one in use goes on");
            } else {
                warn!(%file, %in_use, "another configuration file is there, and is not read");
            }
            self.told_of.push(place.clone());
        }
    }
}

impl Reconciler {
    /// Notes an operator's request to read the configuration. True if it is served now. Requests that
    /// follow soon after are served together, a little later.
    pub(super) fn ask_to_reread(&mut self, asked: Arc<AtomicBool>, now: Instant) -> bool {
        let at = self.config_file.pause_until.max(now);
        self.config_file.request = Some((asked, at));
        self.due(at);
        at <= now
    }

    /// Begins what an operator wants to know the outcome of.
    pub(super) fn reload(&mut self, order: ReloadOrder) {
        let mut report = ConfigReport::default();
        match order.handler {
            None => {
                self.reread(Asker::Operator);
                self.certificates.hurry();
                self.look_at_certificates(Instant::now());
                report = self.config_report();
            }
            Some(handler) => {
                self.observe_each(&Observation::Reconfigured, |_, file| file.name == handler);
                self.to_load_anew.insert(handler);
            }
        }
        let _ = order.config.send(report);
        self.observe_each(&Observation::Hurried, |_, _| true);
        self.waiters.join(order.changes);
    }

    /// What became of the configuration that was just read.
    fn config_report(&self) -> ConfigReport {
        let refused = self.config_file.refused.values();
        let mut faults: Vec<String> = refused.map(|failure| failure.told.clone()).collect();
        // One fault may stand under the file and under its place.
        faults.dedup();
        let not_listened = self.config_file.not_listened.as_ref();
        let not_listened =
            not_listened.map(|why| format!("the addresses stay as they were: {why}"));
        let certificates = self.certificates.refused().iter();
        let certificates =
            certificates.map(|why| format!("certificates refused, the old ones go on: {why}"));
        ConfigReport {
            faults,
            hindrances: not_listened.into_iter().chain(certificates).collect(),
            wait_for_restart: (self.config_file.at_start).restart_needed(&self.config.load()),
        }
    }

    /// Has the server listen as the configuration says.
    fn relisten(&mut self) {
        self.config_file.not_listened = (self.relisten)(&self.config.load());
    }

    /// Reads the configuration again if that was asked for, or if its file has changed and was left alone
    /// since.
    pub(super) fn look_at_config(&mut self, now: Instant) {
        let request = &mut self.config_file.request;
        if let Some((asked, _)) = request.take_if(|(_, at)| *at <= now) {
            // A request from now on may mean a newer file.
            asked.store(false, Ordering::Release);
            self.config_file.pause_until = now + REQUEST_PAUSE;
            self.reread(Asker::Operator);
            self.certificates.hurry();
        } else if let Some((_, at)) = request {
            let at = *at;
            self.due(at);
        }
        self.look_for_config(now);
        self.config_file.tell_of_others();
        let file = &mut self.config_file;
        let mut candidates = match &file.path {
            Some(path) => std::slice::from_ref(path).iter(),
            None => file.places.iter(),
        };
        let Some(stamp) = candidates.find_map(|path| stamp_of(path)) else {
            return; // Editors remove and make again; without a file the old configuration holds.
        };
        if file.stamp != Some(stamp) {
            file.stamp = Some(stamp);
            file.since = now;
        }
        if file.read == Some(stamp) {
            match file.again {
                None => return,
                Some(again) if now < again => return self.due(again),
                Some(_) => {}
            }
        }
        let left = QUIET.saturating_sub(now.saturating_duration_since(file.since));
        if !left.is_zero() {
            return self.due(now + left);
        }
        file.read = Some(stamp);
        self.reread(Asker::Watch);
    }

    /// Logs once that the file is gone, and once that it is there again.
    fn look_for_config(&mut self, now: Instant) {
        let file = &mut self.config_file;
        let Some(path) = &file.path else { return };
        // An error other than absence says nothing of what is there.
        let is_there = match std::fs::metadata(path) {
            Ok(_) => true,
            Err(error) if is_absence(&error) => false,
            Err(_) => return,
        };
        let (presence, seen) = file.presence.step(is_there, now);
        file.presence = presence;
        match seen {
            PresenceChange::Nothing => {}
            PresenceChange::LookAgain(at) => self.due(at),
            PresenceChange::Gone => warn!(
                file = %path.display(),
                "the configuration file is gone, what was read last goes on"
            ),
            PresenceChange::Back => {
                info!(file = %path.display(), "the configuration file is there again")
            }
        }
    }

    /// Reads the configuration and applies it. A file that is broken changes nothing of what it said before.
    pub(super) fn reread(&mut self, asker: Asker) {
        self.named_files.begin_reading();
        match (self.config_file.reread)() {
            Ok(Reading { config, refused }) => {
                let of_file = refused.into_iter().map(|it| (it.path, it.error));
                self.note_refused(of_file.collect(), asker);
                let told = self.config.load().restart_needed(&config);
                let is_applied = self.apply(config);
                if asker == Asker::Operator {
                    self.tell_what_waits(&told);
                    if !is_applied {
                        // What could not be bound may be free by now.
                        self.relisten();
                    }
                }
            }
            Err(error) => {
                let file = self.config.load().file_to_write().map(Path::to_owned);
                self.note_refused(vec![(file.unwrap_or_default(), error)], asker);
            }
        }
    }

    /// Logs once what is wrong with each file, and has those read again that may be right without a change.
    fn note_refused(&mut self, refused: Vec<(PathBuf, ConfigError)>, asker: Asker) {
        let before = std::mem::take(&mut self.config_file.refused);
        self.config_file.again = None;
        if !refused.is_empty() {
            self.shared.meters.configurations.count("refused");
        }
        for (path, error) in refused {
            let told = error.to_string();
            let is_passing = error.is_passing();
            if is_passing {
                let again = Instant::now() + RETRY_DELAY;
                self.config_file.again = Some(again);
                self.due(again);
            }
            let is_news = before.get(&path).is_none_or(|before| before.told != told);
            if is_news || asker == Asker::Operator {
                error!(
                    file = %path.display(),
                    error = told,
                    "configuration refused, the old one keeps serving"
                );
            }
            let failure = ReadFailure { told, is_passing };
            self.config_file.refused.insert(path, failure);
        }
        let refused = &self.config_file.refused;
        let is_mended = |(path, failure): (&PathBuf, &ReadFailure)| {
            failure.is_passing && !refused.contains_key(path)
        };
        if before.iter().any(is_mended) {
            info!("the configuration can be read again");
        }
    }

    /// Warns once of the handlers that a new configuration names and that are not there.
    pub(super) fn tell_names(&mut self) {
        if std::mem::replace(&mut self.config_file.are_names_told, true) {
            return;
        }
        // Refused handlers are known too; the log has said why.
        let mut known = self.router.listing().names();
        let found = self.files.values().map(|file| &file.name);
        known.extend(found.cloned());
        known.sort();
        known.dedup();
        let config = self.config.load();
        let unknown = config.unknown_handlers(&known).into_iter();
        for fault in unknown.chain(config.topics_without_handler(&known)) {
            // The handler may be put there later.
            warn!(error = %fault, "configured, and not there yet");
        }
        for fault in config.topics_like_handlers(&known) {
            warn!(error = %fault, "topics may be meant as those of a handler");
        }
        for error in config.rules_without_handler(&known) {
            warn!(error, "a rule may be meant for another path");
        }
        for fault in config.hidden_handlers(&known) {
            warn!(error = %fault, "a route hides a handler");
        }
    }

    /// Logs each change of a key that applies after a restart, and what is to be said of TLS from now on.
    fn tell_of_restart(&self, old: &Config, new: &Config) {
        let at_start = &self.config_file.at_start;
        let needed = at_start.restart_needed(new);
        for key in old.restart_needed(new) {
            match needed.contains(&key) {
                true => warn!(
                    key,
                    "changed in the configuration, and applies after a restart"
                ),
                false => info!(key, "changed back in the configuration to what runs"),
            }
        }
        let before = old.tls.remarks(&old.listen);
        for remark in new.tls.remarks(&new.listen) {
            if !before.contains(&remark) {
                warn!(error = %remark, "TLS may not be what is meant");
            }
        }
    }

    /// Logs the keys that wait for a restart, but for those that were just told.
    fn tell_what_waits(&self, told: &[&str]) {
        let waiting = (self.config_file.at_start).restart_needed(&self.config.load());
        for key in waiting.into_iter().filter(|key| !told.contains(key)) {
            warn!(
                key,
                "changed in the configuration, and applies after a restart"
            );
        }
    }

    /// Applies a configuration. False if it is the one that holds.
    fn apply(&mut self, mut new: Config) -> bool {
        let old = self.config.load_full();
        // The default places are not looked for again while a file is in use.
        new.file_places.clone_from(&old.file_places);
        if new == *old {
            return false;
        }
        if let (Some(file), None) = (&new.file, &old.file) {
            // This file stays in use, also when another appears at an earlier place.
            self.config_file.path = Some(file.clone());
            info!(file = %file.display(), "a configuration file has appeared");
        }
        self.tell_of_restart(&old, &new);
        if old.limits.connections_max != new.limits.connections_max {
            let descriptors = &self.shared.descriptors;
            descriptors.tell_if_short(new.limits.connections_max);
        }
        if new.trust != old.trust {
            trust::tell(new.trust);
            self.stage.set_trust(new.trust);
        }
        if let Err(error) = document_root::check(&new) {
            warn!(%error, "no page is served until it is there");
        }
        if new.auth != old.auth {
            auth::tell(new.auth.as_deref());
        }
        logging::set_level(new.log_level);
        if !new.has_log_files_of(&old)
            && let Err(error) = logging::set_files(&new)
        {
            error!(%error, "the log goes on where it went before");
        }
        for (name, handler) in &self.deployments {
            if let Some(serving) = &handler.serving {
                serving.set_settings(new.handler(name).clone());
            }
        }
        self.observe_each(&Observation::Reconfigured, |this, file| {
            let [before, after] = [&*old, &new].map(|it| it.handler(&file.name));
            let deployment = this.deployments.get(&file.name);
            let is_refused = deployment.is_some_and(|it| it.refusal.is_some());
            // A handler is built from its own table, so a changed table makes a new generation. A file
            // that was refused may have been refused for any key.
            let is_built_otherwise = before.config != after.config || before.raw != after.raw;
            is_built_otherwise || is_refused && before != after
        });
        self.config.store(Arc::new(new));
        self.config_file.are_names_told = false;
        self.shared.apply();
        self.swap_table();
        self.relisten();
        self.shared.meters.configurations.count("applied");
        info!("configuration applied");
        self.due(Instant::now());
        true
    }
}

/// What tells one version of a file from another; `None` if it cannot be looked at.
pub(super) fn stamp_of(path: &std::path::Path) -> Option<Stamp> {
    std::fs::metadata(path)
        .ok()
        .map(|metadata| Stamp::of(&metadata))
}

/// The least time between two readings that operators ask for.
const REQUEST_PAUSE: Duration = Duration::from_millis(250);
/// The time until a file that could not be read is read again.
const RETRY_DELAY: Duration = Duration::from_secs(2);
/// How long the file is missing until the log says that it is gone.
const ABSENCE: Duration = Duration::from_secs(1);
/// How long the file must have been left alone: editors write in several steps, and half a file may be
/// valid.
const QUIET: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_gone_after_a_second_and_each_change_is_said_once() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut presence = Presence::There;
        for (millis, is_there, wanted) in [
            (0, true, PresenceChange::Nothing),
            // An editor saves.
            (100, false, PresenceChange::LookAgain(at(1100))),
            (200, true, PresenceChange::Nothing),
            // It is removed.
            (1000, false, PresenceChange::LookAgain(at(2000))),
            (1500, false, PresenceChange::LookAgain(at(2000))),
            (2000, false, PresenceChange::Gone),
            (2100, false, PresenceChange::Nothing),
            (3000, true, PresenceChange::Back),
            (3100, true, PresenceChange::Nothing),
        ] {
            let (next, seen) = presence.step(is_there, at(millis));
            assert_eq!(seen, wanted, "at {millis} ms");
            presence = next;
        }
    }
}
