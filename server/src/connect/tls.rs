//! The TLS of `wshd connect`: which servers are trusted, and what is wrong where one is not.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, InvalidMessage, RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::ConnectOptions;

/// Why there is no TLS with a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("cannot use `{}`: {why}", .path.display())]
    Authority { path: PathBuf, why: String },
    #[error("this machine has no certificates of CAs: `--ca FILE` names some")]
    NoAuthorities,
    #[error("`{host}` is no name that a certificate can have")]
    Name { host: String },
    #[error(
        "its certificate is not trusted: {why}; `--ca FILE` names another CA, `--insecure` takes any certificate"
    )]
    Untrusted { why: String },
    #[error("it does not speak TLS there; `ws://` is plain HTTP")]
    NotTls,
    #[error("no TLS with it: {source}")]
    Handshake { source: io::Error },
}

/// Makes the TLS handshake with the server `host`.
pub(super) async fn connect(
    stream: TcpStream,
    host: &str,
    options: &ConnectOptions,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name {
        host: host.to_owned(),
    })?;
    let connector = TlsConnector::from(Arc::new(client_config(options)?));
    connector.connect(name, stream).await.map_err(meaning)
}

fn client_config(options: &ConnectOptions) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need");
    let mut config = if options.is_insecure {
        let verifier = Arc::new(AnyCertificate(provider));
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        builder.with_no_client_auth()
    } else {
        let roots = roots(options.ca.as_deref())?;
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The CAs of a file, or else of the system.
fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        // The system's may have some that rustls cannot read, which costs those.
        let found = rustls_native_certs::load_native_certs();
        let (read, _) = roots.add_parsable_certificates(found.certs);
        return match read {
            0 => Err(TlsError::NoAuthorities),
            _ => Ok(roots),
        };
    };
    let wrong = |why: String| TlsError::Authority {
        path: path.to_owned(),
        why,
    };
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| wrong(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(wrong("it has no certificate in PEM".to_owned())),
        false => Ok(roots),
    }
}

/// What a failed handshake means.
fn meaning(source: io::Error) -> TlsError {
    let error = source.get_ref().and_then(|it| it.downcast_ref::<Error>());
    match error {
        Some(Error::InvalidCertificate(why)) => TlsError::Untrusted {
            why: why.to_string(),
        },
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => TlsError::NotTls,
        _ => TlsError::Handshake { source },
    }
}

/// Takes any certificate. The server still proves that it has the certificate's key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.0.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
