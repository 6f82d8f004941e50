//! Certificates, keys and CAs as they lie in files, and which certificate a client gets.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use webpki::{EndEntityCert, KeyUsage};

use super::certificate_faults as faults;
use crate::config::CertificatePair;
use crate::process::file_mode::exposure;
use crate::process::regular_file::{self, Content, Links, NotRead};

/// Why the files of TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A file cannot be read.
    #[error("cannot read `{}`: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file has nothing of what is looked for in it.
    #[error("`{}` has no {wanted} in PEM, which begins with `-----BEGIN {wanted}-----`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The words of the section.
        wanted: &'static str,
    },
    /// A key that needs a password.
    #[error("the key `{}` is encrypted, and there is no one to ask for its password; `openssl pkey -in {} -out KEY` writes it without", path.display(), path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A file has something in PEM that cannot be used.
    #[error("cannot use `{}`: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The key belongs to another certificate.
    #[error("the key `{}` is not the key of the certificate `{}`", key.display(), certificate.display())]
    OtherKey {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// There is no certificate any more, and the server may have begun to speak TLS.
    #[error("no certificate is configured any more; TLS ends with a restart only")]
    NoCertificate,
    /// The parts cannot be put together.
    #[error("cannot use TLS: {0}")]
    Tls(String),
}

impl TlsFault {
    /// The file that it is about, if it is about one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            TlsFault::Unreadable { path, .. }
            | TlsFault::Missing { path, .. }
            | TlsFault::EncryptedKey { path }
            | TlsFault::Unusable { path, .. }
            | TlsFault::OtherKey { key: path, .. } => Some(path),
            TlsFault::NoCertificate | TlsFault::Tls(_) => None,
        }
    }
}

/// A chain of certificates with its key, and the names that it is for.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    pub(super) names: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub(crate) not_after: Option<u64>,
    /// What a client finds wrong with it, or will soon.
    pub(crate) remark: Option<Remark>,
    /// A sentence if every user of the machine can read the key.
    pub(crate) exposure: Option<String>,
}

/// What is to be said of a certificate that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    /// A sentence about the file, which begins with its path.
    pub(crate) text: String,
    /// Whether clients refuse the certificate now.
    pub(crate) is_refused: bool,
}

impl Certificate {
    /// Its first name; empty if it has none.
    pub(crate) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Whether clients get the same bytes.
    pub(super) fn is_same(&self, other: &Certificate) -> bool {
        self.key.cert == other.key.cert
    }
}

/// Reads a pair. The key is that of the certificate, which stands first in its chain.
pub(crate) fn read_pair(
    pair: &CertificatePair,
    provider: &CryptoProvider,
) -> Result<Certificate, TlsFault> {
    let chain = certificates(&pair.certificate)?;
    let (key, exposure) = key(&pair.key)?;
    let certificate = &pair.certificate;
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsFault::OtherKey {
            certificate: certificate.clone(),
            key: pair.key.clone(),
        },
        Error::InvalidCertificate(why) => unusable_certificate(certificate, faults::sentence(&why)),
        // It does not tell a damaged key from one of another kind.
        Error::General(_) => unusable(&pair.key, KEY_WANTED),
        error => unusable(&pair.key, error),
    })?;
    let invalid = |error| unusable_certificate(certificate, faults::of_x509(&error));
    for link in &key.cert {
        EndEntityCert::try_from(link).map_err(invalid)?;
    }
    let first = key
        .end_entity_cert()
        .map_err(|error| unusable_certificate(certificate, error))?;
    let first = EndEntityCert::try_from(first).map_err(invalid)?;
    let names = first
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect();
    let remark = remark(&first).map(|remark| Remark {
        text: format!("`{}` {}", certificate.display(), remark.text),
        ..remark
    });
    Ok(Certificate {
        not_after: not_after(&first),
        names,
        remark,
        exposure,
        key: Arc::new(key),
    })
}

/// Whether a pair can be used for some time.
pub(crate) fn is_good(pair: &CertificatePair) -> bool {
    let read = read_pair(pair, &rustls::crypto::ring::default_provider());
    read.is_ok_and(|certificate| certificate.remark.is_none())
}

/// Reads the certificates of CAs.
pub(crate) fn read_authorities(path: &Path) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| match error {
            Error::InvalidCertificate(why) => unusable_certificate(path, faults::sentence(&why)),
            error => unusable_certificate(path, error),
        })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let pem = read(path)?.bytes;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| unusable(path, explain(&error)))?;
    if chain.is_empty() {
        let (path, wanted) = (path.to_owned(), "CERTIFICATE");
        return Err(TlsFault::Missing { path, wanted });
    }
    Ok(chain)
}

/// A private key, and a sentence if every user of the machine can read it.
fn key(path: &Path) -> Result<(PrivateKeyDer<'static>, Option<String>), TlsFault> {
    let Content { bytes, metadata } = read(path)?;
    let pem = bytes;
    let has = |words: &[u8]| pem.windows(words.len()).any(|it| it == words);
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        let path = path.to_owned();
        return Err(TlsFault::EncryptedKey { path });
    }
    let key = PrivateKeyDer::pem_slice_iter(&pem).next();
    let key = key.transpose();
    let key = key.map_err(|error| unusable(path, explain(&error)))?;
    let key = key.ok_or_else(|| TlsFault::Missing {
        path: path.to_owned(),
        wanted: "PRIVATE KEY",
    })?;
    Ok((key, exposure(path, &metadata)))
}

fn read(path: &Path) -> Result<Content, TlsFault> {
    let read = regular_file::read(path, Links::Followed, FILE_BYTES_MAX);
    let mut content = read.map_err(|error: NotRead| TlsFault::Unreadable {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    if UTF_16_MARKS.iter().any(|it| content.bytes.starts_with(it)) {
        return Err(unusable(path, UTF_16));
    }
    // Editors of Windows put it before the first line, which would begin no section then.
    if content.bytes.starts_with(UTF_8_MARK) {
        content.bytes.drain(..UTF_8_MARK.len());
    }
    Ok(content)
}

/// The byte order mark of UTF-8.
const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";
/// The byte order marks of UTF-16.
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
const UTF_16: &str = "it is text in UTF-16, as PowerShell's `>` writes; wanted is PEM in ASCII or UTF-8, as `iconv -f UTF-16 -t ASCII` makes";

fn unusable(path: &Path, why: impl fmt::Display) -> TlsFault {
    TlsFault::Unusable {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// Says that a certificate in a file, which is PEM as it should be, is not one that is known here.
fn unusable_certificate(path: &Path, why: impl fmt::Display) -> TlsFault {
    let why = format!("a certificate in it cannot be read: {why}");
    unusable(path, why)
}

/// The error in words of an operator.
fn explain(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let end = String::from_utf8_lossy(end_marker);
            format!("it ends before the line `-----END {end}-----`")
        }
        pem::Error::IllegalSectionStart { line } => {
            let line = String::from_utf8_lossy(line);
            let line = line.trim_end();
            format!(
                "the line `{}` begins no section of PEM",
                line.escape_debug()
            )
        }
        pem::Error::Base64Decode(_) => "a section of it is no base64".to_owned(),
        other => other.to_string(),
    }
}

/// When a certificate expires, in seconds since 1970.
fn not_after(certificate: &EndEntityCert<'_>) -> Option<u64> {
    // webpki tells it in the error of a certificate that has expired, and nowhere else.
    let then = UnixTime::since_unix_epoch(Duration::from_secs(u64::from(u32::MAX) * 64));
    let usage = KeyUsage::server_auth();
    match certificate.verify_for_usage(&[], &[], &[], then, usage, None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Some(not_after.as_secs()),
        _ => None,
    }
}

/// What a client finds wrong with a certificate whatever CAs it trusts, or will within two weeks.
fn remark(certificate: &EndEntityCert<'_>) -> Option<Remark> {
    let now = UnixTime::now();
    let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + EXPIRES_SOON);
    let fault = |time| {
        // Without a CA the path always ends in an unknown issuer, after all that does not depend on one.
        let usage = KeyUsage::server_auth();
        let verified = certificate.verify_for_usage(&[], &[], &[], time, usage, None, None);
        verified.err()
    };
    let days = |later: UnixTime, earlier: UnixTime| {
        later.as_secs().saturating_sub(earlier.as_secs()) / 86_400
    };
    let refused = match fault(now) {
        Some(webpki::Error::CertExpired { not_after, .. }) => {
            format!("has expired, {} days ago", days(now, not_after))
        }
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => {
            format!("is not valid yet, for {} days", days(not_before, now))
        }
        Some(webpki::Error::RequiredEkuNotFoundContext(_)) => {
            "is not for servers (extended key usage)".to_owned()
        }
        _ => {
            let Some(webpki::Error::CertExpired { not_after, .. }) = fault(soon) else {
                return None;
            };
            return Some(Remark {
                text: format!("expires in {} days", days(not_after, now)),
                is_refused: false,
            });
        }
    };
    Some(Remark {
        text: format!("{refused}; clients will refuse it"),
        is_refused: true,
    })
}

/// Finds the certificate for the name that a client asks for (RFC 6066 §3).
#[derive(Debug)]
pub(super) struct CertificatesByName {
    all: Vec<Arc<CertifiedKey>>,
    /// Which of `all` are for a name, such as `example.com` or `*.example.com`.
    by_name: HashMap<String, Vec<usize>>,
}

impl CertificatesByName {
    /// Of certificates in the order of the configuration. The first is for clients that ask for no name, or for
    /// one that no certificate has.
    pub(super) fn new<'a>(
        certificates: impl IntoIterator<Item = &'a Certificate>,
    ) -> CertificatesByName {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        let mut all = Vec::new();
        for certificate in certificates {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_default().push(all.len());
            }
            all.push(certificate.key.clone());
        }
        CertificatesByName { all, by_name }
    }

    /// The certificates for a name, by the name itself or by a wildcard for its first label.
    fn find(&self, name: &str) -> &[usize] {
        let name = name.to_ascii_lowercase();
        let found = self.by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        });
        found.map_or(&[], Vec::as_slice)
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        REQUESTED_NAME.set(hello.server_name().map(Into::into));
        let named = hello.server_name().map_or(&[][..], |name| self.find(name));
        // A name may have certificates of several kinds of keys, for clients of several ages.
        let schemes = hello.signature_schemes();
        let mut fit = named.iter().filter_map(|index| self.all.get(*index));
        let fit = fit.find(|it| it.key.choose_scheme(schemes).is_some());
        fit.or(self.all.first()).cloned()
    }
}

/// Takes the name that the client asked for whose hello the calling thread has processed last.
pub(super) fn take_requested_name() -> Option<Box<str>> {
    REQUESTED_NAME.take()
}

thread_local! {
    /// The name in the hello that this thread has processed last. rustls shows it nowhere but in the call that chooses
    /// a certificate, which is part of processing the hello.
    static REQUESTED_NAME: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// What a private key is to be, in words.
const KEY_WANTED: &str = "it is no private key that can be used; those are RSA of 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519, whole";
/// The largest file of certificates that is read. A bundle of all public CAs has a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A certificate that expires sooner is worth a warning: what renews it has not come.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::certificates::Authority;

    #[test]
    fn what_clients_will_find_wrong_with_a_certificate_is_remarked() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("a CA");
        let pair = |name: &str, issued: crate::testing::certificates::Issued| {
            let (certificate, key) = issued.write(directory.path(), name);
            CertificatePair { certificate, key }
        };
        for (name, issued, said) in [
            ("good", authority.server(&["a.example"]), None),
            (
                "expired",
                authority.server_in_years("a.example", 2000, 2001),
                Some("has expired, "),
            ),
            (
                "early",
                authority.server_in_years("a.example", 4000, 4001),
                Some("is not valid yet, for "),
            ),
            (
                "client",
                authority.client("a.example"),
                Some("is not for servers"),
            ),
        ] {
            let pair = pair(name, issued);
            let read = read_pair(&pair, &rustls::crypto::ring::default_provider()).unwrap();

            assert_eq!(is_good(&pair), said.is_none(), "{name}");
            match (read.remark, said) {
                (None, None) => {}
                (Some(Remark { text, is_refused }), Some(said)) => {
                    assert!(text.contains(said), "{text}");
                    assert!(is_refused, "{text}");
                }
                (remark, said) => panic!("{name}: {remark:?}, not {said:?}"),
            }
        }
    }

    #[test]
    fn files_of_editors_that_mark_and_end_lines_otherwise_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let issued = Authority::new("a CA").server(&["a.example"]);
        let (certificate, key) = issued.write(directory.path(), "a");
        let pair = CertificatePair { certificate, key };
        let files = [&pair.certificate, &pair.key];
        let texts = files.map(|path| std::fs::read_to_string(path).unwrap());
        let forms: [fn(&str) -> Vec<u8>; 3] = [
            |text| format!("\u{feff}{text}").into_bytes(),
            |text| text.replace('\n', "\r\n").into_bytes(),
            |text| format!("\u{feff}{}", text.replace('\n', "\r\n")).into_bytes(),
        ];
        for (number, form) in forms.iter().enumerate() {
            for (path, text) in files.iter().zip(&texts) {
                std::fs::write(path, form(text)).unwrap();
            }
            let read = read_pair(&pair, &rustls::crypto::ring::default_provider());
            assert!(read.is_ok(), "{number}: {:?}", read.err());
        }
        let wide: Vec<u8> = (std::iter::once(0xfeff).chain(texts[0].encode_utf16()))
            .flat_map(u16::to_le_bytes)
            .collect();
        std::fs::write(&pair.certificate, wide).unwrap();
        let read = read_pair(&pair, &rustls::crypto::ring::default_provider());
        let error = read.map(drop).unwrap_err().to_string();
        assert!(error.contains("it is text in UTF-16"), "{error}");
    }

    #[test]
    fn a_key_that_every_user_of_the_machine_can_read_is_remarked() {
        let directory = tempfile::tempdir().unwrap();
        let issued = Authority::new("a CA").server(&["a.example"]);
        let (certificate, key) = issued.write(directory.path(), "a");
        let pair = CertificatePair { certificate, key };
        for (mode, is_remarked) in [(0o600, false), (0o640, false), (0o644, true)] {
            let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode);
            std::fs::set_permissions(&pair.key, mode).unwrap();
            let read = read_pair(&pair, &rustls::crypto::ring::default_provider()).unwrap();

            assert_eq!(read.exposure.is_some(), is_remarked);
            // It is used nevertheless.
            assert!(is_good(&pair));
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_in_pem_is_said_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pem");
        for (text, said) in [
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n",
                "it ends before the line `-----END CERTIFICATE-----`",
            ),
            (
                "-----BEGIN CERTIFICATE\nAAAA\n",
                "the line `-----BEGIN CERTIFICATE` begins no section of PEM",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "a section of it is no base64",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "a certificate in it cannot be read: it is no certificate of X.509",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = read_authorities(&path).unwrap_err().to_string();
            assert_eq!(error, format!("cannot use `{}`: {said}", path.display()));
        }
    }

    #[test]
    fn a_name_finds_its_certificate_and_a_wildcard_stands_for_one_label() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("a CA");
        let read = |name: &str, names: &[&str]| {
            let (certificate, key) = authority.server(names).write(directory.path(), name);
            let pair = CertificatePair { certificate, key };
            read_pair(&pair, &rustls::crypto::ring::default_provider()).unwrap()
        };
        let by_name = CertificatesByName::new(&[
            read("one", &["a.example", "*.b.example"]),
            read("two", &["b.example", "c.b.example", "a.example"]),
        ]);
        for (name, expected) in [
            ("a.example", &[0, 1][..]),
            ("A.Example", &[0, 1]),
            ("x.b.example", &[0]),
            ("c.b.example", &[1]),
            ("b.example", &[1]),
            ("x.y.b.example", &[]),
            ("example", &[]),
        ] {
            assert_eq!(by_name.find(name), expected, "{name}");
        }
    }
}
