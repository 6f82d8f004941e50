//! What TLS listeners offer from now on. It is made from the last good content of each file, and replaced as a whole
//! when one changes; a connection keeps what it began with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig};
use tracing::{info, warn};

use super::certificates::{Certificate, CertificatesByName, TlsFault};
use super::last_good::{ClientVerification, LastGood, Reading};
use crate::config::{ClientAuth, Config, Endpoint, TlsConfig};

/// The settings of all TLS listeners.
#[derive(Debug)]
pub(crate) struct TlsSettings {
    /// `None` where the configuration has no certificate.
    current: ArcSwapOption<ServerConfig>,
    /// What `current` was made from.
    last_good: Mutex<LastGood>,
    /// Whether there is a listener with TLS. It goes on with TLS, whatever the configuration says meanwhile.
    has_listener: AtomicBool,
}

/// The outcome of reading the files again.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// How many files new connections get the content of; `None` where all goes on as it was.
    pub(crate) files: Option<usize>,
    /// Why each part that goes on as it was cannot be used.
    pub(crate) faults: Vec<TlsFault>,
    /// Whether clients see no difference.
    pub(crate) is_same: bool,
}

impl TlsSettings {
    /// Reads the files of a configuration.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or two do not belong together.
    pub(crate) fn read(config: &Config) -> Result<Arc<TlsSettings>, TlsFault> {
        TlsSettings::check(config).map_err(|(first, _)| first)
    }

    /// Like [`TlsSettings::read`].
    ///
    /// # Errors
    ///
    /// Why files cannot be used: the first reason, and all others.
    pub(crate) fn check(config: &Config) -> Result<Arc<TlsSettings>, (TlsFault, Vec<TlsFault>)> {
        let provider = Arc::new(ring::default_provider());
        let mut last_good = LastGood::default();
        let mut current = None;
        if !config.tls.certificates.is_empty() {
            let reading = last_good.renewed(&config.tls, &provider);
            let mut faults = reading.faults.into_iter();
            if let Some(first) = faults.next() {
                return Err((first, faults.collect()));
            }
            last_good = reading.last_good;
            let offered = offered(&last_good, provider);
            let offered = offered.map_err(|fault| (fault, Vec::new()))?;
            current = Some(Arc::new(offered));
        }
        Ok(Arc::new(TlsSettings {
            current: ArcSwapOption::from(current),
            last_good: Mutex::new(last_good),
            has_listener: AtomicBool::new(config.listen.iter().any(Endpoint::is_tls)),
        }))
    }

    /// Reads the files of a configuration again, for connections that begin from now on. A part that cannot be used
    /// goes on as it was.
    pub(crate) fn renew(&self, config: &TlsConfig) -> Renewal {
        let mut last_good = self
            .last_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if config.certificates.is_empty() {
            if self.has_listener() {
                return Renewal::failed(TlsFault::NoCertificate);
            }
            *last_good = LastGood::default();
            self.current.store(None);
            return Renewal {
                files: Some(0),
                faults: Vec::new(),
                is_same: false,
            };
        }
        let provider = Arc::new(ring::default_provider());
        let Reading {
            last_good: renewed,
            faults,
            files,
        } = last_good.renewed(config, &provider);
        let is_same = renewed.is_same(&last_good);
        if !faults.is_empty() && is_same {
            return Renewal {
                files: None,
                faults,
                is_same,
            };
        }
        let offered = match offered(&renewed, provider) {
            Ok(offered) => offered,
            Err(fault) => return Renewal::failed(fault),
        };
        for certificate in renewed.certificates() {
            if !last_good.has(certificate) {
                tell(certificate);
            }
        }
        *last_good = renewed;
        self.current.store(Some(Arc::new(offered)));
        Renewal {
            files: Some(files),
            faults,
            is_same,
        }
    }

    /// What a connection that begins now is offered.
    pub(crate) fn current(&self) -> Option<Arc<ServerConfig>> {
        self.current.load_full()
    }

    /// Whether there is a listener with TLS.
    pub(crate) fn has_listener(&self) -> bool {
        self.has_listener.load(Ordering::Relaxed)
    }

    /// Notes whether there is one, after a change of what is listened on.
    pub(crate) fn set_has_listener(&self, has_listener: bool) {
        self.has_listener.store(has_listener, Ordering::Relaxed);
    }

    /// The certificates that are offered.
    pub(crate) fn certificates(&self) -> Vec<Arc<Certificate>> {
        let last_good = self.last_good.lock();
        let last_good = last_good.unwrap_or_else(PoisonError::into_inner);
        last_good.certificates().cloned().collect()
    }

    /// Logs which certificates are offered, and what is to be said of them.
    pub(crate) fn tell(&self) {
        for certificate in self.certificates() {
            tell(&certificate);
        }
    }
}

impl Renewal {
    fn failed(fault: TlsFault) -> Renewal {
        Renewal {
            files: None,
            faults: vec![fault],
            is_same: true,
        }
    }
}

fn tell(certificate: &Certificate) {
    let names = certificate.names.join(", ");
    match &certificate.remark {
        Some(remark) => warn!(%names, "certificate {}", remark.text),
        None => info!(%names, "certificate read"),
    }
    if let Some(exposure) = &certificate.exposure {
        warn!(error = %exposure, "a private key is not private");
    }
}

/// What clients are offered.
fn offered(last_good: &LastGood, provider: Arc<CryptoProvider>) -> Result<ServerConfig, TlsFault> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(tls)?;
    let ClientVerification { auth, authorities } = &last_good.clients;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let roots = authorities.roots.clone();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match auth {
                ClientAuth::Required => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build();
            let verifier = verifier.map_err(|error| TlsFault::Tls(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let certificates = last_good.certificates().map(|it| &**it);
    let resolver = CertificatesByName::new(certificates);
    let mut offered = builder.with_cert_resolver(Arc::new(resolver));
    // What HTTP/2 would need is not there, and a client that wants nothing else is told at once (RFC 7301 §3.2).
    offered.alpn_protocols = vec![b"http/1.1".to_vec()];
    offered.session_storage = Arc::new(NoServerSessionStorage {});
    match authorities {
        // A session is resumed by what the client keeps, so that clients take no memory here.
        None => offered.ticketer = ring::Ticketer::new().map_err(tls)?,
        // A client that resumes a session shows no certificate, and one that has expired since would let it in. Without
        // a ticketer TLS 1.2 has no tickets either.
        Some(_) => offered.send_tls13_tickets = 0,
    }
    Ok(offered)
}

fn tls(error: Error) -> TlsFault {
    TlsFault::Tls(error.to_string())
}
