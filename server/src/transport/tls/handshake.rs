//! The TLS handshake of a connection, before its first byte of HTTP.

use std::io::ErrorKind;

use rustls::unbuffered::ConnectionState;

use super::client_hello::{ClientHello, HANDSHAKE};
use super::{TlsStream, encode};
use crate::buffers::pool::Buffer;
use crate::transport::certificate_faults::{self, is_of_authority};
use crate::transport::certificates::take_requested_name;

/// Why a TLS handshake is not completed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeFault {
    /// The peer has ended the connection, and has said nothing.
    #[error("the peer has ended the connection")]
    Gone,
    /// The peer has ended the connection after it had begun.
    #[error("the peer has ended the connection before the handshake was complete")]
    BrokenOff,
    /// The first byte of the peer begins no TLS record.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The peer breaks a rule of TLS, or refuses what the server offers.
    #[error("{}", explain(.0))]
    Refused(#[from] rustls::Error),
    #[error("a message of the handshake has more than {HANDSHAKE_BYTES_MAX} bytes")]
    TooLong,
}

/// What a handshake waits for.
enum Progress {
    ForBytes,
    Done,
}

impl TlsStream {
    /// Waits until the first message of the peer is whole, or cannot become one.
    pub(crate) async fn hear(&mut self) -> Result<(), HandshakeFault> {
        let mut hello = ClientHello::default();
        while !hello.is_decided(&self.incoming) {
            self.receive_more().await?;
        }
        Ok(())
    }

    /// Whether a handshake has begun that is not complete: the peer has said something.
    pub(crate) fn is_amid_handshake(&self) -> bool {
        let has_heard = !self.incoming.is_empty() || !self.unsent.is_empty() || self.taken > 0;
        self.is_handshaking() && has_heard
    }

    /// Completes the handshake. What the peer has sent behind it is put into `received`.
    pub(crate) async fn handshake(&mut self, received: &mut Vec<u8>) -> Result<(), HandshakeFault> {
        self.hear().await?;
        if self.incoming.first() != Some(&HANDSHAKE) {
            return Err(HandshakeFault::NotTls);
        }
        loop {
            let progress = self.advance(received);
            if progress.is_err() {
                self.queue_alert();
            }
            self.push_all().await?;
            match progress? {
                Progress::Done => {
                    if self.incoming.is_empty() {
                        self.incoming = Buffer::default();
                    }
                    return Ok(());
                }
                Progress::ForBytes => self.receive_more().await?,
            }
        }
    }

    /// Takes the handshake as far as the bytes that have come lead.
    fn advance(&mut self, received: &mut Vec<u8>) -> Result<Progress, rustls::Error> {
        loop {
            let status = self.connection.process_tls_records(&mut self.incoming);
            if let Some(name) = take_requested_name() {
                self.requested_name = Some(name);
            }
            let mut discard = status.discard;
            let mut progress = None;
            let mut is_established = false;
            match status.state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        received.extend_from_slice(record.payload);
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, &mut self.unsent)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.has_ended = true,
                ConnectionState::WriteTraffic(_) | ConnectionState::Closed => is_established = true,
                _ => progress = Some(Progress::ForBytes),
            }
            self.incoming.drain(..discard);
            if is_established {
                return Ok(match self.is_handshaking() {
                    true => Progress::ForBytes,
                    false => Progress::Done,
                });
            }
            if let Some(progress) = progress {
                return Ok(progress);
            }
        }
    }

    async fn push_all(&mut self) -> Result<(), HandshakeFault> {
        while !self.unsent.is_empty() {
            match self.push() {
                Ok(true) => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    return Err(HandshakeFault::BrokenOff);
                }
                _ => {
                    let writable = self.socket.writable().await;
                    writable.map_err(|_| HandshakeFault::BrokenOff)?;
                }
            }
        }
        Ok(())
    }

    async fn receive_more(&mut self) -> Result<(), HandshakeFault> {
        if self.incoming.len() >= HANDSHAKE_BYTES_MAX {
            return Err(HandshakeFault::TooLong);
        }
        loop {
            let readable = self.socket.readable().await;
            readable.map_err(|_| self.end_of_peer())?;
            self.incoming.reserve(READ_BYTES);
            match self.socket.try_read_buf(&mut *self.incoming) {
                Ok(0) => return Err(self.end_of_peer()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(self.end_of_peer()),
            }
        }
    }

    /// The fault of a peer that ends the connection now.
    fn end_of_peer(&self) -> HandshakeFault {
        match self.is_amid_handshake() {
            true => HandshakeFault::BrokenOff,
            false => HandshakeFault::Gone,
        }
    }
}

/// The error in words of an operator.
fn explain(error: &rustls::Error) -> String {
    use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};
    match error {
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown,
        ) => "the client does not trust the server's certificate".to_owned(),
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the client finds the server's certificate expired".to_owned()
        }
        Error::NoCertificatesPresented => {
            "the client has no certificate, and `client_auth` requires one".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => "the client's certificate, or one between it and its CA, has a key or a signature of a kind that is not \
              taken; those are RSA, ECDSA with P-256 or P-384, and Ed25519"
            .to_owned(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no CA of `client_ca` has signed the client's certificate".to_owned()
        }
        Error::InvalidCertificate(fault) if is_of_authority(fault) => {
            "the client's certificate is a CA's own (`CA:TRUE`), and no client's".to_owned()
        }
        Error::InvalidCertificate(fault) => {
            let why = certificate_faults::sentence(fault);
            format!("the client's certificate is not taken: {why}")
        }
        Error::NoApplicationProtocol => {
            "the client speaks other protocols only, by ALPN; wanted is `http/1.1`".to_owned()
        }
        // Clients of TLS 1.1 and older do not have the extension.
        Error::PeerIncompatible(
            PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => "the client speaks TLS 1.1 or older only; wanted is TLS 1.2 or 1.3".to_owned(),
        other => other.to_string(),
    }
}

/// The longest message of a handshake: a chain of client certificates.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// Bytes that one read of a handshake asks for at least.
const READ_BYTES: usize = 2 * 1024;
