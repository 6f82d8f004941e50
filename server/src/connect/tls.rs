//! The TLS of `wshd connect`: which servers are trusted, which certificate they are shown, and what is wrong where there is no TLS.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage,
    RootCertStore, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::ConnectOptions;
use crate::transport::certificate_faults::{self, is_of_authority};
use crate::transport::certificates::{TlsFault, read_authorities, read_pair};

/// Why there is no TLS with a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error(transparent)]
    File(#[from] TlsFault),
    #[error("this machine has no certificates of CAs: `--ca FILE` names some")]
    NoAuthorities,
    #[error("`{host}` is no name that a certificate can have")]
    Name { host: String },
    #[error("its certificate is not trusted: {why}; {help}`--insecure` takes any certificate")]
    Untrusted { why: String, help: &'static str },
    #[error("it wants a certificate of the client: `--cert FILE` and `--key FILE` show one")]
    NoCertificate,
    #[error("it does not take the client's certificate: it answers with the alert {alert:?}")]
    CertificateRefused { alert: AlertDescription },
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
    let verifier = CertificateVerifier {
        trust: Trust::new(options, &provider)?,
        provider: Arc::clone(&provider),
    };
    let builder = builder.dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &options.certificate {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let own = read_pair(pair, &provider)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.key)))
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The CAs of a file, or else of the system.
fn roots(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    if let Some(path) = file {
        return Ok(read_authorities(path)?);
    }
    let mut roots = RootCertStore::empty();
    // The system's may have some that rustls cannot read, which costs those.
    let found = rustls_native_certs::load_native_certs();
    let (read, _) = roots.add_parsable_certificates(found.certs);
    match read {
        0 => Err(TlsError::NoAuthorities),
        _ => Ok(roots),
    }
}

/// What a failed handshake means.
fn meaning(source: io::Error) -> TlsError {
    match tls_error(&source) {
        Some(Error::InvalidCertificate(why)) => TlsError::Untrusted {
            why: certificate_faults::sentence(why),
            help: match why {
                CertificateError::UnknownIssuer => "`--ca FILE` names another CA, ",
                why if is_of_authority(why) => "`--ca FILE` takes it if it is in FILE, ",
                _ => "",
            },
        },
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => TlsError::NotTls,
        _ => refusal(&source).unwrap_or(TlsError::Handshake { source }),
    }
}

/// What an error of an open connection says of the client's certificate, if it does. A server of TLS 1.3 judges it
/// when the client's part of the handshake is over.
pub(super) fn refusal(source: &io::Error) -> Option<TlsError> {
    use AlertDescription as Alert;
    let Some(Error::AlertReceived(alert)) = tls_error(source) else {
        return None;
    };
    match *alert {
        Alert::CertificateRequired => Some(TlsError::NoCertificate),
        alert @ (Alert::AccessDenied
        | Alert::BadCertificate
        | Alert::CertificateExpired
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::DecryptError
        | Alert::UnknownCA
        | Alert::UnsupportedCertificate) => Some(TlsError::CertificateRefused { alert }),
        _ => None,
    }
}

fn tls_error(source: &io::Error) -> Option<&Error> {
    source.get_ref()?.downcast_ref()
}

/// Whose certificates are taken. The server proves in any case that it has the certificate's key.
#[derive(Debug)]
enum Trust {
    /// Any.
    Anyone,
    /// Those that a CA has signed.
    Authorities {
        verifier: Arc<WebPkiServerVerifier>,
        /// What `--ca` names. A certificate that stands there itself needs no CA, as with curl: `openssl req -x509` makes
        /// one that is a CA's and a server's at once, which no CA may sign.
        named: Option<Arc<RootCertStore>>,
    },
}

/// Judges the certificate of a server.
#[derive(Debug)]
struct CertificateVerifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    fn new(options: &ConnectOptions, provider: &Arc<CryptoProvider>) -> Result<Trust, TlsError> {
        if options.is_insecure {
            return Ok(Trust::Anyone);
        }
        let roots = Arc::new(roots(options.ca.as_deref())?);
        let named = options.ca.is_some().then(|| Arc::clone(&roots));
        let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
        let verifier = builder.build().map_err(|_| TlsError::NoAuthorities)?;
        Ok(Trust::Authorities { verifier, named })
    }
}

/// Whether the certificate has the name and the key of one of these. The handshake proves that the server has that key.
fn is_among(roots: &RootCertStore, certificate: &CertificateDer<'_>) -> bool {
    let anchor = webpki::anchor_from_trusted_cert(certificate);
    anchor.is_ok_and(|anchor| roots.roots.contains(&anchor))
}

impl ServerCertVerifier for CertificateVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Authorities { verifier, named } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let is_named = || (named.as_ref()).is_some_and(|named| is_among(named, certificate));
        match verifier.verify_server_cert(certificate, chain, name, ocsp, now) {
            // That a certificate is a CA's is found after its dates are, and before its name is.
            Err(Error::InvalidCertificate(why)) if is_of_authority(&why) && is_named() => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
