//! Reads where to listen: `127.0.0.1`, `[::1]:9998`, `localhost:9998`, `tls:0.0.0.0:9999`, `unix:wshd.sock`,
//! `proxy:127.0.0.1:9997`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::endpoint::Endpoint;
use super::values::absolute;

/// What an entry of `listen` or a `--server-host` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListenEntry {
    Plain(ListenAddress),
    Tls(ListenAddress),
    /// The path of a Unix socket, as written.
    Unix(PathBuf),
    /// One of the others, for connections that begin with a header of the PROXY protocol.
    Proxied(Box<ListenEntry>),
}

/// An address to listen on, or `localhost` for both loopback addresses, with or without a port.
///
/// No other name is looked up: what a server listens on must not depend on a resolver at its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenAddress {
    addresses: Vec<IpAddr>,
    port: Option<u16>,
}

impl ListenEntry {
    /// Whether nothing is missing. An address without a port is not complete.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            ListenEntry::Plain(address) | ListenEntry::Tls(address) => address.port.is_some(),
            ListenEntry::Unix(_) => true,
            ListenEntry::Proxied(inner) => inner.is_complete(),
        }
    }

    /// Whether clients speak TLS.
    pub(super) fn is_tls(&self) -> bool {
        match self {
            ListenEntry::Tls(_) => true,
            ListenEntry::Plain(_) | ListenEntry::Unix(_) => false,
            ListenEntry::Proxied(inner) => inner.is_tls(),
        }
    }

    /// Where to listen, with `port` where an address has none. A path is relative to `base`, which is absolute.
    pub(super) fn endpoints(&self, port: u16, base: &Path) -> Vec<Endpoint> {
        match self {
            ListenEntry::Plain(address) => address.with_port(port).map(Endpoint::Plain).collect(),
            ListenEntry::Tls(address) => address.with_port(port).map(Endpoint::Tls).collect(),
            ListenEntry::Unix(path) => vec![Endpoint::Unix(absolute(base, path))],
            ListenEntry::Proxied(inner) => {
                let endpoints = inner.endpoints(port, base).into_iter();
                endpoints
                    .map(|it| Endpoint::Proxied(Box::new(it)))
                    .collect()
            }
        }
    }
}

impl ListenAddress {
    /// The addresses to bind, with `port` where none was written.
    fn with_port(&self, port: u16) -> impl Iterator<Item = SocketAddr> + '_ {
        let port = self.port.unwrap_or(port);
        self.addresses
            .iter()
            .map(move |address| SocketAddr::new(*address, port))
    }
}

/// The text is not a [`ListenEntry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAListenEntry {
    #[error("wants {LISTEN_ENTRY_WANTED}")]
    Address,
    #[error("wants {UNIX_PATH_WANTED}")]
    Path,
}

/// What `--server-host` wants, in words.
pub(super) const LISTEN_ENTRY_WANTED: &str = "an address like `127.0.0.1`, `::1`, `0.0.0.0` or `localhost`, with or without a port and `tls:` before it, \
     or a path like `unix:/run/wshd.sock`, with `proxy:` before it where proxies connect";
/// What stands behind `unix:`, in words.
pub(super) const UNIX_PATH_WANTED: &str =
    "the path of a file behind `unix:`, like `unix:/run/wshd.sock`";

impl FromStr for ListenEntry {
    type Err = NotAListenEntry;

    fn from_str(text: &str) -> Result<ListenEntry, NotAListenEntry> {
        if let Some(inner) = text.strip_prefix("proxy:") {
            return match inner.starts_with("proxy:") {
                true => Err(NotAListenEntry::Address),
                false => Ok(ListenEntry::Proxied(Box::new(inner.parse()?))),
            };
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let is_file = !path.is_empty() && !path.starts_with('@') && !path.contains('\0');
            let is_named = is_file && !path.ends_with(['/', '.']);
            return match is_named {
                true => Ok(ListenEntry::Unix(path.into())),
                false => Err(NotAListenEntry::Path),
            };
        }
        let (address, is_tls) = match text.strip_prefix("tls:") {
            Some(address) => (address, true),
            None => (text, false),
        };
        let address = address.parse().map_err(|_| NotAListenEntry::Address)?;
        Ok(match is_tls {
            true => ListenEntry::Tls(address),
            false => ListenEntry::Plain(address),
        })
    }
}

/// The text is not a [`ListenAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAListenAddress;

impl FromStr for ListenAddress {
    type Err = NotAListenAddress;

    fn from_str(text: &str) -> Result<ListenAddress, NotAListenAddress> {
        // `::ffff:127.0.0.1` is 127.0.0.1 written as IPv6. A socket of IPv6 takes it only where it takes IPv4 as well.
        let one = |address: IpAddr, port| ListenAddress {
            addresses: vec![address.to_canonical()],
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
            ("::ffff:127.0.0.1", &["127.0.0.1:1"]),
            ("[::ffff:127.0.0.1]", &["127.0.0.1:1"]),
            ("[::ffff:127.0.0.1]:80", &["127.0.0.1:80"]),
            ("localhost", &["127.0.0.1:1", "[::1]:1"]),
            ("LocalHost:0", &["127.0.0.1:0", "[::1]:0"]),
        ] {
            assert_eq!(bound(text), addresses, "{text}");
        }
    }

    #[test]
    fn an_entry_is_an_address_with_or_without_tls_or_the_path_of_a_socket() {
        let endpoints = |text: &str| -> Vec<String> {
            let entry: ListenEntry = text.parse().expect(text);
            let endpoints = entry.endpoints(1, Path::new("/etc"));
            endpoints.iter().map(ToString::to_string).collect()
        };
        for (text, expected) in [
            ("127.0.0.1:2", ["127.0.0.1:2"].as_slice()),
            ("tls:0.0.0.0", &["tls:0.0.0.0:1"]),
            ("tls:[::]:443", &["tls:[::]:443"]),
            ("tls:localhost:2", &["tls:127.0.0.1:2", "tls:[::1]:2"]),
            ("unix:/run/w.sock", &["unix:/run/w.sock"]),
            ("unix:w.sock", &["unix:/etc/w.sock"]),
            ("unix:./tls:x", &["unix:/etc/tls:x"]),
            ("proxy:127.0.0.1:2", &["proxy:127.0.0.1:2"]),
            (
                "proxy:tls:localhost",
                &["proxy:tls:127.0.0.1:1", "proxy:tls:[::1]:1"],
            ),
            ("proxy:unix:w.sock", &["proxy:unix:/etc/w.sock"]),
        ] {
            assert_eq!(endpoints(text), expected, "{text}");
        }
        for (text, error) in [
            ("tls:", NotAListenEntry::Address),
            ("tls:tls:127.0.0.1", NotAListenEntry::Address),
            ("tls:unix:/a", NotAListenEntry::Address),
            ("TLS:127.0.0.1", NotAListenEntry::Address),
            ("proxy:", NotAListenEntry::Address),
            ("proxy:proxy:127.0.0.1", NotAListenEntry::Address),
            ("tls:proxy:127.0.0.1", NotAListenEntry::Address),
            ("proxy:unix:", NotAListenEntry::Path),
            ("unix", NotAListenEntry::Address),
            ("unix:", NotAListenEntry::Path),
            ("unix:@wshd", NotAListenEntry::Path),
            ("unix:/run/", NotAListenEntry::Path),
            ("unix:..", NotAListenEntry::Path),
        ] {
            assert_eq!(text.parse::<ListenEntry>(), Err(error), "{text}");
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
