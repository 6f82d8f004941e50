//! What was last read of each certificate, and of the CAs of clients. A part whose files cannot be used goes on with it,
//! and keeps no other part from being renewed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;

use super::certificates::{self, Certificate, TlsFault};
use rustls::pki_types::TrustAnchor;

use crate::config::{CertificatePair, ClientAuth, TlsConfig};

/// The newest content of the files of TLS that could be used.
#[derive(Debug, Default)]
pub(super) struct LastGood {
    certificates: Vec<Known<Arc<Certificate>>>,
    pub(super) clients: ClientVerification,
}

/// What is known of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known<T> {
    pair: CertificatePair,
    content: T,
}

/// Whether clients show certificates, and what signs them.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientVerification {
    pub(super) auth: ClientAuth,
    /// `None` where no certificate is asked for.
    pub(super) authorities: Option<Authorities>,
}

/// The CAs in a file.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    path: PathBuf,
    pub(super) roots: Arc<RootCertStore>,
}

/// The outcome of reading all files of a configuration.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) last_good: LastGood,
    /// Why each part that goes on as it was cannot be used.
    pub(super) faults: Vec<TlsFault>,
    /// How many files could be used, each counted once.
    pub(super) files: usize,
}

impl LastGood {
    /// Reads the files of a configuration. What cannot be used stays as it is here.
    pub(super) fn renewed(&self, config: &TlsConfig, provider: &CryptoProvider) -> Reading {
        let mut files: BTreeSet<&Path> = BTreeSet::new();
        let read = config.certificates.iter().map(|pair| {
            let read = certificates::read_pair(pair, provider).map(Arc::new);
            if read.is_ok() {
                files.extend([&*pair.certificate, &*pair.key]);
            }
            (pair.clone(), read)
        });
        let (certificates, mut faults) = replaced(&self.certificates, read.collect());
        let clients = match (config.client_auth, &config.client_ca) {
            (ClientAuth::None, _) | (_, None) => ClientVerification::default(),
            (auth, Some(path)) => match certificates::read_authorities(path) {
                Ok(roots) => {
                    files.insert(path);
                    let (path, roots) = (path.clone(), Arc::new(roots));
                    let authorities = Some(Authorities { path, roots });
                    ClientVerification { auth, authorities }
                }
                Err(fault) => {
                    faults.push(fault);
                    self.clients.with_unreadable(auth, path)
                }
            },
        };
        Reading {
            last_good: LastGood {
                certificates,
                clients,
            },
            faults,
            files: files.len(),
        }
    }

    /// The certificates to offer. The first is for clients that ask for no name.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.certificates.iter().map(|known| &known.content)
    }

    /// Whether this certificate is one of them.
    pub(super) fn has(&self, certificate: &Certificate) -> bool {
        self.certificates().any(|own| own.is_same(certificate))
    }

    /// Whether clients see no difference.
    pub(super) fn is_same(&self, other: &LastGood) -> bool {
        self.certificates.len() == other.certificates.len()
            && (self.certificates().zip(other.certificates())).all(|(one, two)| one.is_same(two))
            && self.clients.is_same(&other.clients)
    }
}

impl ClientVerification {
    /// What holds where the CAs at `path` are to be used, and cannot be read.
    fn with_unreadable(&self, auth: ClientAuth, path: &Path) -> ClientVerification {
        let known = self.authorities.as_ref().filter(|it| it.path == path);
        match known.cloned() {
            Some(known) => ClientVerification {
                auth,
                authorities: Some(known),
            },
            None => self.clone(),
        }
    }

    fn is_same(&self, other: &ClientVerification) -> bool {
        self.auth == other.auth && self.anchors() == other.anchors()
    }

    fn anchors(&self) -> Option<&[TrustAnchor<'static>]> {
        self.authorities.as_ref().map(|it| &*it.roots.roots)
    }
}

/// Puts what was read of each pair into the place of what is known of it. Returns why some could not be read as well.
///
/// A pair that cannot be read keeps what is known of it. Where nothing is, the pairs that are configured no more stand
/// in for it.
fn replaced<T: Clone>(
    known: &[Known<T>],
    read: Vec<(CertificatePair, Result<T, TlsFault>)>,
) -> (Vec<Known<T>>, Vec<TlsFault>) {
    let is_configured = |it: &&Known<T>| read.iter().any(|(pair, _)| *pair == it.pair);
    let others = known.iter().filter(|it| !is_configured(it));
    let mut others: Vec<Known<T>> = others.cloned().collect();
    let (mut replaced, mut faults) = (Vec::new(), Vec::new());
    for (pair, read) in read {
        match read {
            Ok(content) => replaced.push(Known { pair, content }),
            Err(fault) => {
                faults.push(fault);
                match known.iter().find(|it| it.pair == pair) {
                    Some(known) => replaced.push(known.clone()),
                    None => replaced.append(&mut others),
                }
            }
        }
    }
    (replaced, faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_cannot_be_read_keeps_its_own_content_and_no_other_pair_from_its_new_one() {
        let pair = |name: &str| CertificatePair {
            certificate: name.into(),
            key: name.into(),
        };
        // Each word is a pair and what is known of it, or what was read of it; `!` is a fault.
        for (known, read, expected) in [
            ("", "a1", "a1"),
            ("a1 b1", "a2 b2", "a2 b2"),
            ("a1 b1", "a2 b!", "a2 b1"),
            ("a1 b1", "a! b2", "a1 b2"),
            ("a1 b1", "a! b!", "a1 b1"),
            ("a1 b1", "b! a2", "b1 a2"),
            ("a1 b1", "a2", "a2"),
            // What was never read has those to stand in for it that it is to replace.
            ("a1 b1", "a2 c!", "a2 b1"),
            ("a1 b1", "c! b2", "a1 b2"),
            ("a1 b1", "c! d!", "a1 b1"),
            ("a1", "a2 c!", "a2"),
            ("a2 b1", "a3 c1", "a3 c1"),
        ] {
            let known = known.split_whitespace().map(|word| word.split_at(1));
            let known: Vec<_> = known
                .map(|(name, content)| Known {
                    pair: pair(name),
                    content,
                })
                .collect();
            let read = read.split_whitespace().map(|word| {
                let (name, content) = word.split_at(1);
                let read = match content {
                    "!" => Err(TlsFault::NoCertificate),
                    content => Ok(content),
                };
                (pair(name), read)
            });
            let read: Vec<_> = read.collect();
            let broken = read.iter().filter(|(_, read)| read.is_err()).count();

            let (found, faults) = replaced(&known, read);

            let found = found.iter().map(|it| {
                let name = it.pair.key.display();
                format!("{name}{}", it.content)
            });
            let found = found.collect::<Vec<_>>().join(" ");
            assert_eq!((&*found, faults.len()), (expected, broken), "{known:?}");
        }
    }

    #[test]
    fn where_the_cas_of_clients_cannot_be_read_those_of_that_file_go_on_or_all_stays() {
        let verification = |auth, path: &str| ClientVerification {
            auth,
            authorities: Some(Authorities {
                path: path.into(),
                roots: Arc::new(RootCertStore::empty()),
            }),
        };
        let optional = verification(ClientAuth::Optional, "a");
        for (known, path, expected) in [
            (&optional, "a", ClientAuth::Required),
            (&optional, "b", ClientAuth::Optional),
            (&ClientVerification::default(), "a", ClientAuth::None),
        ] {
            let found = known.with_unreadable(ClientAuth::Required, Path::new(path));
            assert_eq!(found.auth, expected, "{path}");
            let paths = [&found, known].map(|it| it.authorities.as_ref().map(|it| &it.path));
            assert_eq!(paths[0], paths[1], "{path}");
        }
    }
}
