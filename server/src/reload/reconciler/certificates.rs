//! The files of TLS: seen to change, and read again when all of them were left alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::Reconciler;
use crate::config::TlsConfig;
use crate::metrics::Meters;
use crate::reload::scan::Stamp;
use crate::transport::settings::{Renewal, TlsSettings};

/// What is known of the files of TLS.
pub(super) struct CertificateFiles {
    settings: Arc<TlsSettings>,
    /// What was last seen, and since when it is so.
    seen: Seen,
    since: Instant,
    /// What was last read.
    read: Seen,
    /// Whether they are to be read at once, changed or not.
    is_hurried: bool,
    /// What the log says of those that cannot be used now.
    told: Vec<String>,
}

/// The configuration of TLS, and the stamps of its files. A file that is not there has none.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    config: TlsConfig,
    stamps: Vec<Option<Stamp>>,
}

impl Seen {
    fn look(config: &TlsConfig) -> Seen {
        let stamp = |path| Some(Stamp::of(&std::fs::metadata(path).ok()?));
        Seen {
            config: config.clone(),
            stamps: config.files().map(stamp).collect(),
        }
    }
}

impl CertificateFiles {
    /// The files of a configuration, which `settings` were just read from.
    pub(super) fn new(config: &TlsConfig, settings: Arc<TlsSettings>) -> CertificateFiles {
        let seen = Seen::look(config);
        CertificateFiles {
            settings,
            read: seen.clone(),
            seen,
            since: Instant::now(),
            is_hurried: false,
            told: Vec::new(),
        }
    }

    /// Has the files read at the next look, changed or not.
    pub(super) fn hurry(&mut self) {
        self.is_hurried = true;
    }

    /// Reads the files, and logs what new connections get and what cannot be used. Each fault is logged once, or each
    /// time that an operator asks.
    fn read(&mut self, config: &TlsConfig, is_asked: bool, meters: &Meters) {
        let Renewal { files, faults } = self.settings.renew(config);
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        for error in &faults {
            if !is_asked && self.told.contains(error) {
                continue;
            }
            meters.certificates.count("refused");
            match self.settings.has_listener() {
                true => error!(error, "certificates refused, the old ones keep serving"),
                false => warn!(error, "certificates refused, and no address speaks TLS"),
            }
        }
        self.told = faults;
        if let Some(files) = files {
            meters.certificates.count("applied");
            info!(files, "certificates applied");
        }
    }
}

impl Reconciler {
    /// Reads the files of TLS again if they have changed and were left alone since, or if that was asked for.
    pub(super) fn look_at_certificates(&mut self, now: Instant) {
        let config = self.config.load();
        let files = &mut self.certificates;
        if config.tls.certificates.is_empty() && files.read.config.certificates.is_empty() {
            return;
        }
        let seen = Seen::look(&config.tls);
        if seen != files.seen {
            files.seen = seen;
            files.since = now;
        }
        let is_asked = std::mem::take(&mut files.is_hurried);
        if !is_asked {
            if files.seen == files.read {
                return;
            }
            let left = QUIET.saturating_sub(now.saturating_duration_since(files.since));
            if !left.is_zero() {
                return self.due(now + left);
            }
        }
        files.read = files.seen.clone();
        files.read(&config.tls, is_asked, &self.shared.meters);
    }
}

/// How long the files must have been left alone: a certificate and its key are written one after the other.
const QUIET: Duration = Duration::from_millis(300);
