//! Where the server listens: an address, plain or with TLS, or a Unix socket.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address, without TLS.
    Plain(SocketAddr),
    /// An address, with TLS.
    Tls(SocketAddr),
    /// The path of a Unix socket, absolute.
    Unix(PathBuf),
}

impl Endpoint {
    /// The address; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Endpoint::Plain(address) | Endpoint::Tls(address) => Some(*address),
            Endpoint::Unix(_) => None,
        }
    }

    /// Whether clients speak TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Endpoint::Tls(_))
    }

    /// This endpoint with another port. A Unix socket has none.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Endpoint {
        let mut moved = self.clone();
        if let Endpoint::Plain(address) | Endpoint::Tls(address) = &mut moved {
            address.set_port(port);
        }
        moved
    }

    /// Whether both cannot be listened on. Two ports that are still to be found may be two ports.
    pub(super) fn excludes(&self, other: &Endpoint) -> bool {
        let port = self.address().map(|address| address.port());
        self == other || port.is_some_and(|port| port != 0) && self.address() == other.address()
    }
}

impl Display for Endpoint {
    /// Writes it as `listen` does.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Plain(address) => address.fmt(f),
            Endpoint::Tls(address) => write!(f, "tls:{address}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_endpoints_exclude_each_other_where_they_are_one_address_or_one_path() {
        let plain = |text: &str| Endpoint::Plain(text.parse().expect(text));
        let tls = |text: &str| Endpoint::Tls(text.parse().expect(text));
        let unix = |path: &str| Endpoint::Unix(path.into());
        for (one, other, expected) in [
            (plain("127.0.0.1:1"), plain("127.0.0.1:1"), true),
            (plain("127.0.0.1:1"), tls("127.0.0.1:1"), true),
            (plain("127.0.0.1:1"), tls("127.0.0.1:2"), false),
            (plain("127.0.0.1:0"), plain("127.0.0.1:0"), true),
            (plain("127.0.0.1:0"), tls("127.0.0.1:0"), false),
            (plain("127.0.0.1:1"), plain("[::1]:1"), false),
            (unix("/a"), unix("/a"), true),
            (unix("/a"), unix("/b"), false),
            (unix("/a"), plain("127.0.0.1:1"), false),
        ] {
            assert_eq!(one.excludes(&other), expected, "{one} {other}");
            assert_eq!(other.excludes(&one), expected, "{other} {one}");
        }
    }
}
