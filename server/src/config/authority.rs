//! `host[:port]`, as `Host`, a target, an origin and `hosts` have it (RFC 3986 §3.2).

use std::net::{Ipv4Addr, Ipv6Addr};

/// A host and the port that is written behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// A name without the dot at its end, an IPv4 address, or an IPv6 address in brackets.
    pub(crate) host: &'a str,
    pub(crate) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `None` for any other text; user information (`me@host`) is refused too.
    pub(crate) fn parse(text: &'a str) -> Option<Authority<'a>> {
        // The colons of an IPv6 address stand inside its brackets.
        let colon = text.rfind(':');
        let colon = colon.filter(|colon| !text[*colon..].contains(']'));
        let (host, port) = match colon {
            None => (text, None),
            Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        };
        let port = match port {
            None | Some("") => None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok()?)
            }
            Some(_) => return None,
        };
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(address) => {
                address?.parse::<Ipv6Addr>().ok()?;
                host
            }
            // The root of all names may be written (`localhost.`).
            None => host.strip_suffix('.').unwrap_or(host),
        };
        let is_address = host.starts_with('[');
        let is_name = !host.is_empty() && host.bytes().all(is_name_byte);
        (is_address || is_name).then_some(Authority { host, port })
    }

    /// Whether the host is an address. A name can be made to lead to any address.
    pub(crate) fn is_address(&self) -> bool {
        self.host.starts_with('[') || self.host.parse::<Ipv4Addr>().is_ok()
    }

    /// Whether the host always means the machine that asks (RFC 6761 §6.3).
    pub(crate) fn is_loopback(&self) -> bool {
        if self.host.eq_ignore_ascii_case("localhost") || is_below(self.host, "localhost") {
            return true;
        }
        if let Ok(address) = self.host.parse::<Ipv4Addr>() {
            return address.is_loopback();
        }
        let address = self
            .host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let address = address.and_then(|address| address.parse::<Ipv6Addr>().ok());
        address.is_some_and(|address| address.to_canonical().is_loopback())
    }
}

/// Whether `host` is `parent` with at least one label before it.
pub(crate) fn is_below(host: &str, parent: &str) -> bool {
    let Some(at) = host.len().checked_sub(parent.len()) else {
        return false;
    };
    let Some((labels, found)) = host.split_at_checked(at) else {
        return false;
    };
    found.eq_ignore_ascii_case(parent) && labels.len() > 1 && labels.ends_with('.')
}

/// Whether a registered name can have this byte. Percent-encoded bytes are left out: no client sends them.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for (text, host, port) in [
            ("example.com", "example.com", None),
            ("Example.com:80", "Example.com", Some(80)),
            ("localhost.", "localhost", None),
            ("localhost.:1", "localhost", Some(1)),
            ("localhost:", "localhost", None),
            ("127.0.0.1:0", "127.0.0.1", Some(0)),
            ("[::1]", "[::1]", None),
            ("[::1]:9998", "[::1]", Some(9998)),
            ("a_b-c.d", "a_b-c.d", None),
        ] {
            let found = Authority::parse(text);
            assert_eq!(found, Some(Authority { host, port }), "{text}");
        }
        for text in [
            "",
            ":80",
            ".",
            "a b",
            "a@b",
            "a/b",
            "a:b",
            "a:1:2",
            "a:65536",
            "a:-1",
            "[::1",
            "::1",
            "[a]",
            "[::1]x",
            "[]",
            "exämple.com",
            "a%20b",
            "http://a",
            "a\"b",
            "a\\b",
            "[127.0.0.1]",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_that_end_in_localhost_and_loopback_addresses_mean_the_machine_itself() {
        for (text, expected) in [
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("a.b.localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]", true),
            ("xlocalhost", false),
            (".localhost", false),
            ("localhost.evil.com", false),
            ("127.0.0.1.evil.com", false),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("[::2]", false),
        ] {
            let authority = Authority::parse(text).expect(text);
            assert_eq!(authority.is_loopback(), expected, "{text}");
        }
    }
}
