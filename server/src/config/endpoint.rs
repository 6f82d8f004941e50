//! Where the server listens: an address, plain or with TLS, or a Unix socket, each for clients or for proxies.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::listen_address::ListenEntry;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address, without TLS.
    Plain(SocketAddr),
    /// An address, with TLS.
    Tls(SocketAddr),
    /// The path of a Unix socket, absolute.
    Unix(PathBuf),
    /// One of the others, where each connection begins with a header of the PROXY protocol.
    Proxied(Box<Endpoint>),
}

impl Endpoint {
    /// The endpoint that `listen` would write so, with a port or a whole path.
    pub(crate) fn written(text: &str) -> Option<Endpoint> {
        let entry: ListenEntry = text.parse().ok()?;
        let endpoints = entry
            .is_complete()
            .then(|| entry.endpoints(0, Path::new("/")));
        endpoints?.into_iter().next()
    }

    /// The address; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Endpoint::Plain(address) | Endpoint::Tls(address) => Some(*address),
            Endpoint::Unix(_) => None,
            Endpoint::Proxied(inner) => inner.address(),
        }
    }

    /// The path of a Unix socket; `None` for an address.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Endpoint::Plain(_) | Endpoint::Tls(_) => None,
            Endpoint::Unix(path) => Some(path),
            Endpoint::Proxied(inner) => inner.path(),
        }
    }

    /// Whether only this machine reaches it.
    pub(crate) fn is_loopback(&self) -> bool {
        let address = self.address();
        address.is_none_or(|address| address.ip().to_canonical().is_loopback())
    }

    /// Whether clients speak TLS.
    pub fn is_tls(&self) -> bool {
        match self {
            Endpoint::Tls(_) => true,
            Endpoint::Plain(_) | Endpoint::Unix(_) => false,
            Endpoint::Proxied(inner) => inner.is_tls(),
        }
    }

    /// Whether each connection begins with a header of the PROXY protocol.
    pub(crate) fn is_proxied(&self) -> bool {
        matches!(self, Endpoint::Proxied(_))
    }

    /// This endpoint with TLS. A Unix socket has none.
    pub(super) fn with_tls(&self) -> Endpoint {
        match self {
            Endpoint::Plain(address) => Endpoint::Tls(*address),
            Endpoint::Tls(_) | Endpoint::Unix(_) => self.clone(),
            Endpoint::Proxied(inner) => Endpoint::Proxied(Box::new(inner.with_tls())),
        }
    }

    /// Whether a port that any may be is one port for both.
    pub(crate) fn shares_port(&self, other: &Endpoint) -> bool {
        self.is_tls() == other.is_tls() && self.is_proxied() == other.is_proxied()
    }

    /// This endpoint with another port. A Unix socket has none.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Endpoint {
        let mut moved = self.clone();
        match &mut moved {
            Endpoint::Plain(address) | Endpoint::Tls(address) => address.set_port(port),
            Endpoint::Unix(_) => {}
            Endpoint::Proxied(inner) => **inner = inner.with_port(port),
        }
        moved
    }

    /// Why both cannot be listened on; `None` where they can.
    pub(super) fn clash(&self, other: &Endpoint) -> Option<EndpointClash> {
        let (Some(one), Some(two)) = (self.address(), other.address()) else {
            return (self.path() == other.path()).then_some(EndpointClash::Equal);
        };
        // A port that is still to be found is one for all plain addresses, and another one for all with TLS. Addresses
        // for proxies have ports of their own.
        let is_one_port = match one.port() {
            0 => two.port() == 0 && self.shares_port(other),
            port => two.port() == port,
        };
        let is_every = one.ip().is_unspecified() || two.ip().is_unspecified();
        if !is_one_port {
            None
        } else if one == two {
            Some(EndpointClash::Equal)
        } else {
            // Beside an IPv4 address, `[::]` takes IPv6 only.
            (is_every && one.is_ipv4() == two.is_ipv4()).then_some(EndpointClash::EveryAddress)
        }
    }
}

/// Why two endpoints cannot both be listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndpointClash {
    /// Both are one address, or one path.
    Equal,
    /// One of them is every address of the machine, so that it takes the connections of both.
    EveryAddress,
}

impl Display for Endpoint {
    /// Writes it as `listen` does.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Plain(address) => address.fmt(f),
            Endpoint::Tls(address) => write!(f, "tls:{address}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
            Endpoint::Proxied(inner) => write!(f, "proxy:{inner}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_endpoints_clash_where_they_are_one_address_or_one_path_or_one_is_every_address() {
        use EndpointClash::{Equal, EveryAddress};
        let plain = |text: &str| Endpoint::Plain(text.parse().expect(text));
        let tls = |text: &str| Endpoint::Tls(text.parse().expect(text));
        let unix = |path: &str| Endpoint::Unix(path.into());
        let proxied = |inner| Endpoint::Proxied(Box::new(inner));
        for (one, other, expected) in [
            (plain("127.0.0.1:1"), plain("127.0.0.1:1"), Some(Equal)),
            (plain("127.0.0.1:1"), tls("127.0.0.1:1"), Some(Equal)),
            (plain("127.0.0.1:1"), tls("127.0.0.1:2"), None),
            (plain("127.0.0.1:0"), plain("127.0.0.1:0"), Some(Equal)),
            (plain("127.0.0.1:0"), tls("127.0.0.1:0"), None),
            (plain("127.0.0.1:1"), plain("[::1]:1"), None),
            (plain("0.0.0.0:1"), plain("127.0.0.1:1"), Some(EveryAddress)),
            (plain("0.0.0.0:1"), tls("127.0.0.1:1"), Some(EveryAddress)),
            (plain("0.0.0.0:1"), plain("127.0.0.1:2"), None),
            (plain("0.0.0.0:0"), plain("127.0.0.1:0"), Some(EveryAddress)),
            (plain("0.0.0.0:0"), tls("127.0.0.1:0"), None),
            (plain("0.0.0.0:0"), plain("127.0.0.1:1"), None),
            (plain("[::]:1"), plain("[::1]:1"), Some(EveryAddress)),
            (plain("[::]:1"), plain("127.0.0.1:1"), None),
            (plain("[::]:1"), plain("0.0.0.0:1"), None),
            (
                proxied(plain("127.0.0.1:1")),
                plain("127.0.0.1:1"),
                Some(Equal),
            ),
            (proxied(plain("127.0.0.1:0")), plain("127.0.0.1:0"), None),
            (
                proxied(plain("127.0.0.1:0")),
                proxied(plain("127.0.0.1:0")),
                Some(Equal),
            ),
            (proxied(unix("/a")), unix("/a"), Some(Equal)),
            (unix("/a"), unix("/a"), Some(Equal)),
            (unix("/a"), unix("/b"), None),
            (unix("/a"), plain("127.0.0.1:1"), None),
        ] {
            assert_eq!(one.clash(&other), expected, "{one} {other}");
            assert_eq!(other.clash(&one), expected, "{other} {one}");
        }
    }
}
