//! Reads addresses to listen on: `127.0.0.1`, `::1`, `[::1]:9998`, `localhost:9998`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// An address to listen on, or `localhost` for both loopback addresses, with or without a port.
///
/// No other name is looked up: what a server listens on must not depend on a resolver at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenAddress {
    addresses: Vec<IpAddr>,
    port: Option<u16>,
}

impl ListenAddress {
    /// The addresses to bind, with `port` where none was written.
    pub(super) fn with_port(&self, port: u16) -> impl Iterator<Item = SocketAddr> + '_ {
        let port = self.port.unwrap_or(port);
        self.addresses
            .iter()
            .map(move |address| SocketAddr::new(*address, port))
    }

    /// The addresses to bind, if a port was written.
    pub(super) fn complete(&self) -> Option<impl Iterator<Item = SocketAddr> + '_> {
        self.port.map(|port| self.with_port(port))
    }
}

/// The text is not a [`ListenAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wants {LISTEN_ADDRESS_WANTED}")]
pub(super) struct NotAListenAddress;

/// What `--server-host` wants, in words.
pub(super) const LISTEN_ADDRESS_WANTED: &str =
    "an address like `127.0.0.1`, `::1`, `0.0.0.0` or `localhost`, with or without a port";

impl FromStr for ListenAddress {
    type Err = NotAListenAddress;

    fn from_str(text: &str) -> Result<ListenAddress, NotAListenAddress> {
        let one = |address: IpAddr, port| ListenAddress {
            addresses: vec![address],
            port,
        };
        // An IPv6 address is full of colons, so the whole is tried as an address first.
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(one(address, None));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(one(address.ip(), Some(address.port())));
        }
        if let Some(inner) = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            let address: Ipv6Addr = inner.parse().map_err(|_| NotAListenAddress)?;
            return Ok(one(address.into(), None));
        }
        let (name, port) = match text.split_once(':') {
            // `parse` would take a plus sign too.
            Some((_, port)) if port.starts_with('+') => return Err(NotAListenAddress),
            Some((name, port)) => (name, Some(port.parse().map_err(|_| NotAListenAddress)?)),
            None => (text, None),
        };
        if !name.eq_ignore_ascii_case("localhost") {
            return Err(NotAListenAddress);
        }
        // Browsers resolve it to either address.
        let addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        Ok(ListenAddress { addresses, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(text: &str) -> Vec<String> {
        let host: ListenAddress = text.parse().expect(text);
        host.with_port(1)
            .map(|address| address.to_string())
            .collect()
    }

    #[test]
    fn an_address_is_written_with_or_without_brackets_and_port() {
        for (text, addresses) in [
            ("127.0.0.1", ["127.0.0.1:1"].as_slice()),
            ("0.0.0.0:80", &["0.0.0.0:80"]),
            ("::1", &["[::1]:1"]),
            ("[::1]", &["[::1]:1"]),
            ("[::]:80", &["[::]:80"]),
            ("localhost", &["127.0.0.1:1", "[::1]:1"]),
            ("LocalHost:0", &["127.0.0.1:0", "[::1]:0"]),
        ] {
            assert_eq!(bound(text), addresses, "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_address() {
        for text in [
            "",
            " ",
            "*",
            "9998",
            ":9998",
            "9998x",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "127.0.0.1:-1",
            "127.1",
            "256.0.0.1",
            "[::1",
            "::1]",
            "[127.0.0.1]",
            "[::1]:",
            "localhost:",
            "localhost:+80",
            "example.com",
            "http://127.0.0.1",
            "127.0.0.1 ",
        ] {
            assert_eq!(
                text.parse::<ListenAddress>(),
                Err(NotAListenAddress),
                "{text}"
            );
        }
    }
}
