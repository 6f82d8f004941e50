//! The files of TLS: seen to change, and read again when all of them were left alone.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

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
    /// What was last read; `None` if a file may have changed behind the reading.
    read: Option<Seen>,
    /// Whether they are to be read at once, changed or not.
    is_hurried: bool,
    /// What the log says of those that cannot be used now.
    told: Vec<String>,
}

/// Why the files are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhyRead {
    Changed,
    /// They may have changed behind the first reading.
    InDoubt,
    /// An operator wants it.
    Asked,
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

    /// Whether all files are there and have surely not changed since `time`.
    fn is_older_than(&self, time: SystemTime) -> bool {
        let mut stamps = self.stamps.iter();
        stamps.all(|stamp| stamp.is_some_and(|it| it.is_older_than(time)))
    }
}

impl CertificateFiles {
    /// The files of a configuration, which `settings` were read from after `began`.
    pub(super) fn new(
        config: &TlsConfig,
        settings: Arc<TlsSettings>,
        began: SystemTime,
    ) -> CertificateFiles {
        let seen = Seen::look(config);
        CertificateFiles {
            settings,
            read: Some(seen.clone()).filter(|seen| seen.is_older_than(began)),
            seen,
            since: Instant::now(),
            is_hurried: false,
            told: Vec::new(),
        }
    }

    /// What was said of those that cannot be used now.
    pub(super) fn refused(&self) -> &[String] {
        &self.told
    }

    /// Has the files read at the next look, changed or not.
    pub(super) fn hurry(&mut self) {
        self.is_hurried = true;
    }

    /// Reads the files, and logs what new connections get and what cannot be used. Each fault is logged once, or each
    /// time that an operator asks.
    fn read(&mut self, config: &TlsConfig, why: WhyRead, meters: &Meters) {
        let Renewal {
            files,
            faults,
            is_same,
        } = self.settings.renew(config);
        if why == WhyRead::InDoubt && is_same && faults.is_empty() {
            return;
        }
        let is_asked = why == WhyRead::Asked;
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
        let had_none = |read: &Seen| read.config.certificates.is_empty();
        if config.tls.certificates.is_empty() && files.read.as_ref().is_none_or(had_none) {
            files.told.clear();
            return;
        }
        let seen = Seen::look(&config.tls);
        if seen != files.seen {
            files.seen = seen;
            files.since = now;
        }
        let is_asked = std::mem::take(&mut files.is_hurried);
        if !is_asked {
            if files.read.as_ref() == Some(&files.seen) {
                return;
            }
            let left = QUIET.saturating_sub(now.saturating_duration_since(files.since));
            if !left.is_zero() {
                return self.due(now + left);
            }
        }
        let why = match (is_asked, &files.read) {
            (true, _) => WhyRead::Asked,
            (false, None) => WhyRead::InDoubt,
            (false, Some(_)) => WhyRead::Changed,
        };
        files.read = Some(files.seen.clone());
        files.read(&config.tls, why, &self.shared.meters);
    }
}

/// How long the files must have been left alone: a certificate and its key are written one after the other.
const QUIET: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn files_that_may_have_changed_behind_their_first_reading_are_in_doubt() {
        let began = UNIX_EPOCH + Duration::from_secs(5);
        let changed_at = |seconds: i128| Some(Stamp::made_up(1, 0, seconds * 1_000_000_000));
        let (old, young) = (changed_at(4), changed_at(6));
        for (stamps, expected) in [
            (vec![], true),
            (vec![old, old], true),
            (vec![old, young], false),
            (vec![old, None], false),
        ] {
            let config = TlsConfig::default();
            let seen = Seen { config, stamps };
            assert_eq!(seen.is_older_than(began), expected, "{seen:?}");
        }
    }
}
