//! The certificate of `wshd dev --tls`, for the names of this machine only.
//!
//! A CA signs it whose key is then gone, and that can sign for nothing but these names, so that it is safe to trust. Both
//! are kept for the user: what was trusted once holds for every project.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
    date_time_ymd,
};

use super::report::say;
use crate::config::{CertificatePair, Config};
use crate::transport::certificates;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be made.
    #[error("cannot make a certificate: {0}")]
    NotMade(#[from] rcgen::Error),
}

/// Where the certificate and its key are kept; `None` where neither `XDG_STATE_HOME` nor `HOME` is set.
pub fn pair() -> Option<CertificatePair> {
    let directory = directory()?;
    Some(CertificatePair {
        certificate: directory.join("localhost.pem"),
        key: directory.join("localhost.key"),
    })
}

/// Makes the certificate if `config` names it, unless it is there and can be used. What to do with a new one is said.
pub(super) fn make_if_named(config: &Config) -> Result<(), CertificateError> {
    let (Some(directory), Some(pair)) = (directory(), pair()) else {
        return Ok(());
    };
    let authority = directory.join("ca.pem");
    let is_named = config.tls.certificates.contains(&pair);
    if is_named && !(authority.exists() && certificates::is_good(&pair)) {
        make(&directory, &authority, &pair)?;
        say(how_to_trust(&authority));
    }
    Ok(())
}

/// Where programs keep what they want to find again (<https://specifications.freedesktop.org/basedir-spec/latest/>).
fn directory() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = set("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(Path::new(&set("HOME")?).join(".local/state")));
    state.map(|state| state.join("wshd"))
}

fn make(
    directory: &Path,
    authority: &Path,
    pair: &CertificatePair,
) -> Result<(), CertificateError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let today = date_time_ymd(1970, 1, 1) + now.unwrap_or_default();
    let valid = |params: &mut CertificateParams| {
        params.not_before = today - DAY;
        params.not_after = today + VALID_FOR;
    };
    let mut params = CertificateParams::default();
    valid(&mut params);
    params
        .distinguished_name
        .push(DnType::CommonName, "wshd dev on this machine");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(
                Ipv6Addr::LOCALHOST.octets(),
                128,
            )),
        ],
        excluded_subtrees: Vec::new(),
    });
    let key = KeyPair::generate()?;
    let certificate_of_authority = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);

    let mut params = CertificateParams::default();
    valid(&mut params);
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = vec![
        SanType::DnsName(Ia5String::try_from("localhost")?),
        SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
        SanType::IpAddress(Ipv6Addr::LOCALHOST.into()),
    ];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;

    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.map_err(unwritable(directory))?;
    write(&pair.key, &key.serialize_pem())?;
    write(&pair.certificate, &certificate.pem())?;
    write(authority, &certificate_of_authority.pem())
}

/// Writes a file that no other user can read, and that is whole at every moment.
fn write(path: &Path, text: &str) -> Result<(), CertificateError> {
    let hidden = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(&hidden)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    let written = written.and_then(|()| fs::rename(&hidden, path));
    written.map_err(unwritable(path))
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> CertificateError {
    let path = path.to_owned();
    move |source| CertificateError::Unwritable { path, source }
}

fn how_to_trust(authority: &Path) -> String {
    let authority = authority.display();
    format!(
        "made a certificate for localhost; clients trust it by the CA `{authority}`, whose key is gone:\n  \
         curl      --cacert '{authority}'\n  \
         Chromium  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n wshd-dev -i '{authority}'\n  \
         Firefox   Settings, Certificates, View Certificates, Authorities, Import\n  \
         Node      NODE_EXTRA_CA_CERTS='{authority}'\n"
    )
}

const DAY: Duration = Duration::from_secs(86_400);
/// The longest time that all browsers take, of a certificate whose CA a user has added.
const VALID_FOR: Duration = Duration::from_secs(820 * 86_400);
