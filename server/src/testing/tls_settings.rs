//! What a server offers TLS clients in tests.

use std::sync::Arc;

use super::certificates::Authority;
use crate::config::{CertificatePair, Config, TlsConfig};
use crate::transport::settings::TlsSettings;

/// Settings with a certificate for `localhost` that this CA has signed, after a change.
pub(crate) fn of_localhost(
    authority: &Authority,
    change: impl FnOnce(&mut TlsConfig),
) -> Arc<TlsSettings> {
    let directory = tempfile::tempdir().expect("a directory");
    let issued = authority.server(&["localhost"]);
    let (certificate, key) = issued.write(directory.path(), "server");
    let mut tls = TlsConfig {
        certificates: vec![CertificatePair { certificate, key }],
        ..TlsConfig::default()
    };
    change(&mut tls);
    let config = Config {
        tls,
        ..Config::default()
    };
    TlsSettings::read(&config).expect("settings")
}
