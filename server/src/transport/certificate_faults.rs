//! What rustls finds wrong with a certificate, as a sentence for an operator.

use rustls::{CertificateError, OtherError};

/// What is wrong with a certificate. The sentence calls the certificate `it`.
pub(crate) fn sentence(fault: &CertificateError) -> String {
    match fault {
        CertificateError::UnknownIssuer => "no CA that is trusted here has signed it".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = time.as_secs().saturating_sub(not_after.as_secs());
            format!("it expired {} days ago", ago / DAY_SECONDS)
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let until = not_before.as_secs().saturating_sub(time.as_secs());
            format!("it is not valid yet, for {} days", until / DAY_SECONDS)
        }
        CertificateError::BadEncoding => "it is no certificate of X.509".to_owned(),
        CertificateError::BadSignature => {
            format!("its signature is not that of its CA's key, or is of another kind; {KINDS}")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            format!("its signature is of a kind that is not taken; {KINDS}")
        }
        CertificateError::Other(other) => match of_webpki(other) {
            Some(error) => of_x509(error),
            None => other.to_string(),
        },
        other => other.to_string(),
    }
}

/// Whether a certificate is a CA's own, and was shown as a server's.
pub(crate) fn is_of_authority(fault: &CertificateError) -> bool {
    let CertificateError::Other(other) = fault else {
        return false;
    };
    of_webpki(other) == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// What is wrong with a certificate, whatever CAs are trusted.
pub(super) fn of_x509(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnsupportedCertVersion => {
            "it is of version 1 of X.509, wants version 3; `openssl x509 -req` makes that if `-extfile` \
             names a file with a line such as `basicConstraints=CA:FALSE`"
                .to_owned()
        }
        webpki::Error::CaUsedAsEndEntity => {
            "it is a CA's own (`CA:TRUE`), and no server's".to_owned()
        }
        webpki::Error::EndEntityUsedAsCa => {
            "what has signed it is no CA's certificate (`CA:FALSE`)".to_owned()
        }
        webpki::Error::BadDer => "it is no certificate of X.509".to_owned(),
        other => format!("its X.509 is not taken ({other})"),
    }
}

/// rustls passes on what it has no variant for.
fn of_webpki(other: &OtherError) -> Option<&webpki::Error> {
    other.0.downcast_ref()
}

const DAY_SECONDS: u64 = 86_400;
const KINDS: &str =
    "wants RSA of at least 2048 bits with SHA-256 or longer, ECDSA with P-256 or P-384, or Ed25519";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_a_sentence() {
        let of = |error| CertificateError::Other(OtherError(Arc::new(error)));
        let unsupported = CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: vec![6, 8],
            public_key_algorithm_id: vec![6, 7],
        };
        for (fault, beginning) in [
            (
                CertificateError::UnknownIssuer,
                "no CA that is trusted here has signed it",
            ),
            (
                unsupported,
                "its signature is of a kind that is not taken; wants RSA ",
            ),
            (
                of(webpki::Error::UnsupportedCertVersion),
                "it is of version 1 of X.509, wants version 3; ",
            ),
            (
                of(webpki::Error::CaUsedAsEndEntity),
                "it is a CA's own (`CA:TRUE`), and no server's",
            ),
        ] {
            let said = sentence(&fault);
            assert!(said.starts_with(beginning), "{said}");
        }
    }
}
