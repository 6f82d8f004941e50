//! What TLS listeners offer from now on. It is made as a whole from the files of the configuration, and replaced as
//! a whole when they change; a connection keeps what it began with.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig};
use tracing::{info, warn};

use super::certificates::{self, CertificatesByName, TlsFault};
use crate::config::{ClientAuth, TlsConfig};

/// The settings of all TLS listeners; none where the configuration has no certificate.
#[derive(Debug, Default)]
pub(crate) struct TlsSettings(ArcSwapOption<ServerConfig>);

impl TlsSettings {
    /// Reads the files of a configuration.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or two do not belong together.
    pub(crate) fn read(config: &TlsConfig) -> Result<Arc<TlsSettings>, TlsFault> {
        let settings = Arc::new(TlsSettings::default());
        settings.renew(config)?;
        Ok(settings)
    }

    /// Reads the files of a configuration again, for connections that begin from now on.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or two do not belong together. What was read before goes on.
    pub(crate) fn renew(&self, config: &TlsConfig) -> Result<(), TlsFault> {
        let offered = offered(config)?;
        // A listener that has begun with TLS goes on with it, whatever the configuration says meanwhile.
        if offered.is_none() && self.current().is_some() {
            return Err(TlsFault::NoCertificate);
        }
        self.0.store(offered);
        Ok(())
    }

    /// What a connection that begins now is offered.
    pub(crate) fn current(&self) -> Option<Arc<ServerConfig>> {
        self.0.load_full()
    }
}

/// What clients are offered; `None` without a certificate.
fn offered(config: &TlsConfig) -> Result<Option<Arc<ServerConfig>>, TlsFault> {
    if config.certificates.is_empty() {
        return Ok(None);
    }
    let provider = Arc::new(ring::default_provider());
    let mut read = Vec::new();
    for pair in &config.certificates {
        read.push(certificates::read_pair(pair, &provider)?);
    }
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(tls)?;
    let verifier = match (config.client_auth, &config.client_ca) {
        (ClientAuth::None, _) | (_, None) => None,
        (auth, Some(path)) => {
            let roots = Arc::new(certificates::read_authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match auth {
                ClientAuth::Required => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            Some(
                verifier
                    .build()
                    .map_err(|error| TlsFault::Tls(error.to_string()))?,
            )
        }
    };
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    for certificate in &read {
        match &certificate.remark {
            Some(remark) => warn!(names = %certificate.names.join(", "), "certificate {remark}"),
            None => info!(names = %certificate.names.join(", "), "certificate read"),
        }
        if let Some(exposure) = &certificate.exposure {
            warn!(error = %exposure, "a private key is not private");
        }
    }
    let mut offered = builder.with_cert_resolver(Arc::new(CertificatesByName::new(read)));
    // What HTTP/2 would need is not there, and a client that wants nothing else is told at once (RFC 7301 §3.2).
    offered.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session is resumed by what the client keeps, so that clients take no memory here. The keys are new ones each
    // time: a ticket that was given under another CA must not let its client in.
    offered.ticketer = ring::Ticketer::new().map_err(tls)?;
    offered.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Some(Arc::new(offered)))
}

fn tls(error: Error) -> TlsFault {
    TlsFault::Tls(error.to_string())
}
