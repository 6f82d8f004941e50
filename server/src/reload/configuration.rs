//! The configuration's file: noticed when it changes, read again, applied as far as can be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::keeper::Keeper;
use crate::config::Config;
use crate::logging;
use crate::scan::Stamp;

/// The file as it was last seen.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: Option<PathBuf>,
    stamp: Option<Stamp>,
    since: Instant,
    /// What it looked like when it was last read.
    read: Option<Stamp>,
}

impl ConfigFile {
    /// A file that was just read.
    pub(super) fn new(path: Option<PathBuf>) -> ConfigFile {
        let stamp = path.as_deref().and_then(stamp_of);
        ConfigFile {
            path,
            stamp,
            since: Instant::now(),
            read: stamp,
        }
    }
}

impl Keeper {
    /// Reads the configuration again if its file has changed and is left alone.
    pub(super) fn look_at_config(&mut self, now: Instant) {
        let file = &mut self.config_file;
        let Some(path) = &file.path else { return };
        let Some(stamp) = stamp_of(path) else {
            return; // Editors remove and make again; without a file the old configuration holds.
        };
        if file.stamp != Some(stamp) {
            file.stamp = Some(stamp);
            file.since = now;
        }
        if file.read == Some(stamp) {
            return;
        }
        let left = QUIET.saturating_sub(now.saturating_duration_since(file.since));
        if !left.is_zero() {
            return self.due(now + left);
        }
        file.read = Some(stamp);
        self.reread();
    }

    /// Reads the configuration and applies it; a broken one changes nothing.
    pub(super) fn reread(&mut self) {
        match (self.reread)() {
            Ok(config) => self.apply(config),
            Err(error) => {
                error!(error = %error, "configuration refused, the old one keeps serving");
            }
        }
    }

    fn apply(&mut self, new: Config) {
        let old = self.config.load_full();
        if new == *old {
            return;
        }
        for key in old.restart_needed(&new) {
            warn!(
                key,
                "changed in the configuration, and applies after a restart"
            );
        }
        if old.limits.connections_max != new.limits.connections_max {
            let descriptors = &self.shared.descriptors;
            descriptors.tell_if_short(new.limits.connections_max);
        }
        logging::set_level(new.log_level);
        self.shared.set_log_level(new.log_level);
        let budget = &self.shared.deflate_budget;
        budget.set_max(new.limits.deflate_contexts_bytes_max);
        for (name, handler) in &self.handlers {
            if let Some(serving) = &handler.serving {
                serving.set_settings(new.handler(name).clone());
            }
            if old.handler(name).config != new.handler(name).config
                && let Some(file) = handler
                    .path
                    .as_ref()
                    .and_then(|path| self.files.get_mut(path))
            {
                // Its own table is what a handler is built from: a new one is a new generation.
                file.forget();
            }
        }
        self.config.store(Arc::new(new));
        self.swap_table();
        info!("configuration applied");
        self.due(Instant::now());
    }
}

fn stamp_of(path: &std::path::Path) -> Option<Stamp> {
    std::fs::metadata(path)
        .ok()
        .map(|metadata| Stamp::of(&metadata))
}

/// Editors write in several steps, and half a file may be a good one.
const QUIET: Duration = Duration::from_millis(100);
