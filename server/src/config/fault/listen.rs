//! Why the server cannot listen where the configuration says.

use crate::config::endpoint::Endpoint;
use crate::config::read::SOCKET_PATH_BYTES_MAX;
use crate::config::source::Place;
use crate::config::tls::NEEDS_CERTIFICATE;

/// An endpoint that cannot be listened on, as far as the configuration alone can tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot listen on `{endpoint}`: {cause}")]
pub struct ListenFault {
    /// Where it is written, if it is in the file.
    pub place: Option<Place>,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Why it cannot be listened on.
    pub cause: ListenFaultCause,
}

/// Why an endpoint cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenFaultCause {
    /// It is for TLS, and there is no certificate.
    #[error("{NEEDS_CERTIFICATE}")]
    NoCertificates,
    /// The path of the Unix socket is too long for the system.
    #[error(
        "the path of a Unix socket has {SOCKET_PATH_BYTES_MAX} bytes at most, and this one has {bytes}"
    )]
    LongPath {
        /// The bytes of the path.
        bytes: usize,
    },
    /// It is for proxies only, and no proxy that could connect is trusted.
    #[error(
        "only connections of trusted proxies are served there, and `trusted_proxies` lists none that could connect; list it, \
         like `trusted_proxies = [\"{wanted}\"]`"
    )]
    NoProxies {
        /// An entry that would do.
        wanted: &'static str,
    },
    /// One of this endpoint and another one is every address of the machine.
    #[error("`{other}` is listened on too, and one of both is every address of this machine")]
    EveryAddress {
        /// The other endpoint.
        other: Endpoint,
    },
    /// Another endpoint has the address.
    #[error("`{other}` is listened on too, and both are one address")]
    Excluded {
        /// The other endpoint.
        other: Endpoint,
    },
}
