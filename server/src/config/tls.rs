//! What the operator decides about TLS: `[tls]` and its flags.

use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::endpoint::Endpoint;
use super::error::ConfigError;
use super::values::{FileEntry, Reader, entries};

/// TLS as the configuration has it. Paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Whether all addresses that are listened on speak TLS.
    pub every_address: bool,
    /// Certificates with their keys. The first is for clients that ask for no name, or for an unknown one.
    pub certificates: Vec<CertificatePair>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// The file with the CAs that sign certificates of clients.
    pub client_ca: Option<PathBuf>,
    /// A private key that the command line names, where there is no certificate that it could belong to.
    pub unused_key: Option<PathBuf>,
}

/// The files of a certificate and its key, which may be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePair {
    /// The certificate, and those between it and its CA behind it, in PEM.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for any.
    #[default]
    None,
    /// They may have none. One that they show must be signed by a CA of `client_ca`.
    Optional,
    /// Without one that is signed by a CA of `client_ca` they are refused.
    Required,
}

impl TlsConfig {
    /// Every file that is read for it. A file with both parts of a pair stands here twice.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.certificates.iter();
        let pairs = pairs.flat_map(|pair| [&*pair.certificate, &*pair.key]);
        pairs.chain(self.client_ca.as_deref())
    }

    /// Fails if TLS is wanted and something that it needs is not decided.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let why = if self.every_address && self.certificates.is_empty() {
            NEEDS_CERTIFICATE
        } else if self.client_auth != ClientAuth::None && self.client_ca.is_none() {
            "certificates of clients need a CA that signs them: `--tls-client-ca FILE`, or `client_ca` under `[tls]`"
        } else {
            return Ok(());
        };
        Err(ConfigError::Tls(why))
    }

    /// Fails if clients are to show certificates, and no endpoint speaks TLS: every client would come in without one.
    pub(super) fn check_endpoints(&self, endpoints: &[Endpoint]) -> Result<(), ConfigError> {
        let wants_certificates = self.client_auth != ClientAuth::None;
        match wants_certificates && !endpoints.iter().any(Endpoint::is_tls) {
            true => Err(ConfigError::Tls(CLIENTS_NEED_TLS)),
            false => Ok(()),
        }
    }

    /// A sentence for each thing that an operator may not have meant of a server that listens on `endpoints`.
    pub(crate) fn remarks(&self, endpoints: &[Endpoint]) -> Vec<String> {
        let mut remarks = Vec::new();
        if let Some(key) = &self.unused_key {
            let key = key.display();
            remarks.push(format!(
                "the private key `{key}` is not used: it is that of no certificate; `--certificate FILE` names one"
            ));
        }
        if !self.certificates.is_empty() && !endpoints.iter().any(Endpoint::is_tls) {
            remarks.push(UNUSED_CERTIFICATES.to_owned());
        }
        if self.client_auth == ClientAuth::None && self.client_ca.is_some() {
            remarks.push(UNUSED_CLIENT_CA.to_owned());
        }
        let plain = endpoints
            .iter()
            .filter(|it| !it.is_tls() && it.address().is_some());
        let plain: Vec<String> = plain.map(|endpoint| format!("`{endpoint}`")).collect();
        if self.client_auth == ClientAuth::Required && !plain.is_empty() {
            let plain = plain.join(", ");
            remarks.push(format!(
                "`client_auth` is \"required\", and clients need no certificate at {plain}: there is no TLS there"
            ));
        }
        remarks
    }
}

/// Reads `certificates = [{ certificate = "cert.pem", key = "key.pem" }]`. Without `key` the certificate's file has it.
pub(super) fn certificates(
    reader: &mut Reader<'_>,
    entry: FileEntry<'_>,
) -> Option<Vec<CertificatePair>> {
    let DeValue::Array(items) = entry.value.get_ref() else {
        reader.wrong_type(entry, CERTIFICATES_WANTED);
        return None;
    };
    let mut pairs = Vec::new();
    for value in items.iter() {
        let DeValue::Table(table) = value.get_ref() else {
            reader.wrong_type(FileEntry { value, ..entry }, CERTIFICATES_WANTED);
            continue;
        };
        let (mut certificate, mut key) = (None, None);
        for entry in entries(table) {
            match entry.key {
                "certificate" => certificate = reader.path(entry, PEM_WANTED),
                "key" => key = reader.path(entry, PEM_WANTED),
                _ => reader.wrong_type(entry, "`certificate` and `key` only"),
            }
        }
        match certificate {
            Some(certificate) => {
                let key = key.unwrap_or_else(|| certificate.clone());
                pairs.push(CertificatePair { certificate, key });
            }
            None => reader.wrong_type(FileEntry { value, ..entry }, CERTIFICATES_WANTED),
        }
    }
    Some(pairs)
}

/// What is said where TLS is wanted and there is no certificate.
pub(super) const NEEDS_CERTIFICATE: &str = "TLS needs a certificate and its key: `--certificate FILE --private-key FILE`, or `certificates` under `[tls]`";
/// What is said where certificates are configured, and no endpoint speaks TLS.
const UNUSED_CERTIFICATES: &str = "a certificate is configured, and no address that is listened on speaks TLS: `--tls`, or `tls:` before an address, has it used";
/// What is said where a CA of clients is configured, and every client comes in without a certificate.
const UNUSED_CLIENT_CA: &str = "a CA of clients is configured, and no client is asked for a certificate: `--tls-client-auth`, or `client_auth = \"required\"` under `[tls]`, refuses those without one";
/// What is said where clients are to show certificates, and nothing speaks TLS.
const CLIENTS_NEED_TLS: &str = "clients show certificates over TLS only, and no address that is listened on speaks it: wants `--tls`, or `tls:` before an address";
const CERTIFICATES_WANTED: &str =
    "a list like `[{ certificate = \"cert.pem\", key = \"key.pem\" }]`";
/// What is said where `wshd dev` is to make a certificate, and has no directory for it.
pub(super) const NO_STATE_DIRECTORY: &str = "`wshd dev` makes a certificate for localhost and keeps it below `XDG_STATE_HOME` or `HOME`, of which neither is set; set one, or name a certificate: `--certificate FILE --private-key FILE`";
/// What a key with a file of TLS wants, in words.
pub(super) const PEM_WANTED: &str = "a file in PEM like `\"cert.pem\"`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_nothing_uses_and_addresses_that_ask_for_none_are_remarked() {
        let plain = |text: &str| Endpoint::Plain(text.parse().expect(text));
        let (one, other) = (plain("127.0.0.1:1"), plain("127.0.0.2:1"));
        let tls = Endpoint::Tls("127.0.0.1:2".parse().expect("an address"));
        let unix = Endpoint::Unix("/a".into());
        let required = "`client_auth` is \"required\", and clients need no certificate at `127.0.0.1:1`, `127.0.0.2:1`: there is no TLS there";
        let asked_by_nothing = TlsConfig {
            client_ca: Some("ca".into()),
            ..TlsConfig::default()
        };
        assert_eq!(asked_by_nothing.remarks(&[]), [UNUSED_CLIENT_CA]);
        for (certificates, client_auth, endpoints, expected) in [
            (0, ClientAuth::None, vec![one.clone()], &[][..]),
            (1, ClientAuth::None, vec![one.clone(), tls.clone()], &[]),
            (
                1,
                ClientAuth::None,
                vec![one.clone()],
                &[UNUSED_CERTIFICATES],
            ),
            (1, ClientAuth::Required, vec![tls.clone(), unix], &[]),
            (1, ClientAuth::Optional, vec![tls.clone(), one.clone()], &[]),
            (1, ClientAuth::Required, vec![tls, one, other], &[required]),
        ] {
            let pair = CertificatePair {
                certificate: "a".into(),
                key: "a".into(),
            };
            let config = TlsConfig {
                certificates: vec![pair; certificates],
                client_auth,
                client_ca: (client_auth != ClientAuth::None).then(|| "ca".into()),
                ..TlsConfig::default()
            };
            assert_eq!(config.remarks(&endpoints), expected, "{endpoints:?}");
        }
    }
}
