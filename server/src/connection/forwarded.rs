//! What proxies say in a request of the client that it is of.
//!
//! A client can send these headers too, so only what a trusted proxy adds counts. Each proxy adds an element at the end of the
//! list, so the list is read from its end, and no further than the first address that is no trusted proxy. An element before that
//! may be anything; it is not looked at.
//!
//! Elements are parted at every comma, in quotes too: an unfinished quotation of the client must not hide what the proxy adds
//! behind it. An element that a proxy adds has no comma.
//!
//! What names no address never leaves the proxy in the client's place.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use wsh::rules::is_token_byte;

use crate::config::ForwardedHeader;
use crate::http::head::Head;
use crate::listing;

/// What trusted proxies say of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Forwarded {
    /// Nothing: the request is of the proxy itself.
    Nothing,
    /// Nothing, though another header tells that the request came through a proxy, or this one is empty.
    Missing,
    Client {
        /// Port 0 where they say none.
        address: SocketAddr,
    },
    /// They hide the client: `unknown`, or a name that begins with `_` (RFC 7239 §6).
    Hidden,
    /// An element that a trusted proxy has added cannot be read.
    Unreadable(Vec<u8>),
}

/// Reads the header in which trusted proxies say which client the request is of.
pub(crate) fn client(
    head: &Head,
    header: ForwardedHeader,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Forwarded {
    let node: fn(&[u8]) -> Option<Node> = match header {
        ForwardedHeader::XForwardedFor => |element| node(without_quotes(element)?),
        ForwardedHeader::Forwarded => |element| node(parameter(element, b"for")??),
    };
    let mut nearest_client = Forwarded::Nothing;
    for element in from_the_end(head, header.name()) {
        match node(element) {
            Some(Node::Address(address)) => {
                nearest_client = Forwarded::Client { address };
                if !is_trusted(address.ip()) {
                    break;
                }
            }
            Some(Node::Hidden) => return Forwarded::Hidden,
            None => return Forwarded::Unreadable(element.to_vec()),
        }
    }
    match nearest_client {
        Forwarded::Nothing if listing::is_through_a_proxy(head) => Forwarded::Missing,
        client => client,
    }
}

/// Whether the client speaks TLS with the proxy that is nearest to the server; `None` where that says nothing of it.
pub(crate) fn is_tls(head: &Head, header: ForwardedHeader) -> Option<bool> {
    let scheme = match header {
        ForwardedHeader::XForwardedFor => from_the_end(head, "x-forwarded-proto").next()?,
        ForwardedHeader::Forwarded => {
            let last = from_the_end(head, header.name()).next()?;
            parameter(last, b"proto")??
        }
    };
    let is = |known: &str| scheme.eq_ignore_ascii_case(known.as_bytes());
    if is("https") || is("wss") {
        Some(true)
    } else if is("http") || is("ws") {
        Some(false)
    } else {
        None
    }
}

impl ForwardedHeader {
    /// The header's name, in lower case.
    pub(super) fn name(self) -> &'static str {
        match self {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        }
    }
}

/// The elements of all lines with this name as one list, the last one first. Empty ones are left out (RFC 9110 §5.6.1).
fn from_the_end<'a>(head: &'a Head, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let lines: Vec<&[u8]> = head.values(name).collect();
    let elements = lines.into_iter().rev().flat_map(|line| {
        let elements = line.rsplit(|byte| *byte == b',');
        elements.map(<[u8]>::trim_ascii)
    });
    elements.filter(|element| !element.is_empty())
}

/// What a proxy calls the client.
#[derive(Debug, PartialEq, Eq)]
enum Node {
    Address(SocketAddr),
    Hidden,
}

/// Reads `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]:4711`, `unknown` or `_name`.
fn node(text: &[u8]) -> Option<Node> {
    let text = std::str::from_utf8(text).ok()?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']')?;
            let host: Ipv6Addr = without_zone(host)?.parse().ok()?;
            let port = match behind {
                "" => 0,
                behind => port(behind.strip_prefix(':')?)?,
            };
            return Some(Node::Address(address(host.into(), port)));
        }
        // More than one colon is an IPv6 address without brackets, which has no port.
        None => match text.split_once(':') {
            Some((host, behind)) if !behind.contains(':') => (host, port(behind)?),
            _ => (text, 0),
        },
    };
    if host.eq_ignore_ascii_case("unknown") || is_obfuscated(host) {
        return Some(Node::Hidden);
    }
    let ip: IpAddr = match host.split_once('%') {
        None => host.parse().ok()?,
        Some(_) => IpAddr::V6(without_zone(host)?.parse().ok()?),
    };
    Some(Node::Address(address(ip, port)))
}

/// An IPv6 address without a zone like that of `fe80::1%eth0`, or of `fe80::1%25eth0` as in a URI (RFC 6874). The zone is a
/// link of the proxy's machine, and means nothing here.
fn without_zone(host: &str) -> Option<&str> {
    let Some((ip, zone)) = host.split_once('%') else {
        return Some(host);
    };
    let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (!zone.is_empty() && zone.bytes().all(is_of_one)).then_some(ip)
}

/// An IPv4 address is one in whichever form it is written.
fn address(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

/// A port, or 0 for a name in its place (RFC 7239 §6.2).
fn port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match is_number {
        true => text.parse().ok(),
        false => is_obfuscated(text).then_some(0),
    }
}

/// Whether it is a name that stands for an address or a port (RFC 7239 §6.3).
fn is_obfuscated(text: &str) -> bool {
    let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.strip_prefix('_')
        .is_some_and(|name| !name.is_empty() && name.bytes().all(is_of_one))
}

/// The value of a parameter of one element of `Forwarded`, without its quotes. `Some(None)` where the element has no such
/// parameter; `None` where it is no element, or has the parameter twice.
fn parameter<'a>(element: &'a [u8], wanted: &[u8]) -> Option<Option<&'a [u8]>> {
    let mut found = None;
    for pair in element.split(|byte| *byte == b';') {
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], unquoted(&pair[equals + 1..])?);
        if name.is_empty() || !name.iter().all(|byte| is_token_byte(*byte)) {
            return None;
        }
        if name.eq_ignore_ascii_case(wanted) && found.replace(value).is_some() {
            return None;
        }
    }
    Some(found)
}

/// A value without its quotes. Brackets and colons of an address are taken without quotes too, as some proxies write them.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let is_plain = |byte: &u8| is_token_byte(*byte) || b"[]:".contains(byte);
    match value {
        [] => None,
        [b'"', ..] => without_quotes(value),
        plain => plain.iter().all(is_plain).then_some(plain),
    }
}

/// What is between quotes, or a text that begins with none. `None` where they do not fit.
fn without_quotes(text: &[u8]) -> Option<&[u8]> {
    let inner = match text {
        [b'"', inner @ .., b'"'] => inner,
        [b'"', ..] => return None,
        plain => plain,
    };
    // No address and no scheme has a character that has to be escaped.
    (!inner.iter().any(|byte| b"\"\\".contains(byte))).then_some(inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Networks;

    fn head(lines: &str) -> Head {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
        Head::parse(text.into_bytes().into(), 64).expect("a head")
    }

    /// What is found by a server that trusts 10.0.0.0/8 and loopback.
    fn found(header: ForwardedHeader, lines: &str) -> Forwarded {
        let trusted = Networks::of(&["10.0.0.0/8", "loopback"]).expect("networks");
        client(&head(lines), header, |ip| trusted.contains(Some(ip)))
    }

    fn client_of(header: ForwardedHeader, lines: &str) -> String {
        match found(header, lines) {
            Forwarded::Client { address } => address.to_string(),
            Forwarded::Nothing => "nothing".to_owned(),
            Forwarded::Missing => "missing".to_owned(),
            Forwarded::Hidden => "hidden".to_owned(),
            Forwarded::Unreadable(element) => format!("unreadable {}", element.escape_ascii()),
        }
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_client() {
        let header = ForwardedHeader::XForwardedFor;
        for (lines, expected) in [
            ("", "nothing"),
            ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1:0"),
            ("x-forwarded-for:192.0.2.1:4711\r\n", "192.0.2.1:4711"),
            ("X-Forwarded-For: 2001:db8::1\r\n", "[2001:db8::1]:0"),
            ("X-Forwarded-For: [2001:db8::1]\r\n", "[2001:db8::1]:0"),
            ("X-Forwarded-For: [2001:db8::1]:80\r\n", "[2001:db8::1]:80"),
            ("X-Forwarded-For: ::ffff:192.0.2.1\r\n", "192.0.2.1:0"),
            ("X-Forwarded-For: 192.0.2.1, 10.0.0.9\r\n", "192.0.2.1:0"),
            (
                "X-Forwarded-For: 192.0.2.1,::ffff:10.0.0.9\r\n",
                "192.0.2.1:0",
            ),
            // What the client says of itself stands before what the proxy says.
            ("X-Forwarded-For: 127.0.0.1, 192.0.2.1\r\n", "192.0.2.1:0"),
            (
                "X-Forwarded-For: 127.0.0.1, 192.0.2.1, 10.0.0.9\r\n",
                "192.0.2.1:0",
            ),
            ("X-Forwarded-For: junk \"\\, 192.0.2.1\r\n", "192.0.2.1:0"),
            (
                "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 192.0.2.1\r\n",
                "192.0.2.1:0",
            ),
            // Nothing but trusted proxies: the request is of the first of them.
            ("X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "10.0.0.1:0"),
            (
                "X-Forwarded-For: , 192.0.2.1 , ,\t\r\nX-Forwarded-For:\r\n",
                "192.0.2.1:0",
            ),
            ("X-Forwarded-For: ,,\r\n", "missing"),
            ("X-Forwarded-For:\r\n", "missing"),
            ("X-Forwarded-For: \"192.0.2.1\"\r\n", "192.0.2.1:0"),
            (
                "X-Forwarded-For: \"[2001:db8::1]:80\"\r\n",
                "[2001:db8::1]:80",
            ),
            ("X-Forwarded-For: \"unknown\"\r\n", "hidden"),
            ("X-Forwarded-For: fe80::1%eth0\r\n", "[fe80::1]:0"),
            ("X-Forwarded-For: fe80::1%25br-lan.7\r\n", "[fe80::1]:0"),
            ("X-Forwarded-For: [fe80::1%25eth0]:80\r\n", "[fe80::1]:80"),
            ("X-Forwarded-For: [fe80::1%1]\r\n", "[fe80::1]:0"),
            ("X-Forwarded-For: ::ffff:192.0.2.1%eth0\r\n", "192.0.2.1:0"),
            ("X-Forwarded-For: unknown\r\n", "hidden"),
            ("X-Forwarded-For: 192.0.2.1, unknown\r\n", "hidden"),
            (
                "X-Forwarded-For: 192.0.2.1, _gazonk:_80, 10.0.0.1\r\n",
                "hidden",
            ),
            // The other header is the client's own word.
            (
                "Forwarded: for=127.0.0.1\r\nX-Forwarded-For: 192.0.2.1\r\n",
                "192.0.2.1:0",
            ),
            (
                "Forwarded: for=127.0.0.1\r\nX-Real-IP: 192.0.2.1\r\n",
                "missing",
            ),
            ("Via: 1.1 proxy\r\n", "missing"),
            ("X-Forwarded-Proto: https\r\n", "missing"),
            ("User-Agent: x\r\n", "nothing"),
        ] {
            assert_eq!(client_of(header, lines), expected, "{lines}");
        }
    }

    #[test]
    fn an_element_of_forwarded_has_its_client_in_for() {
        let header = ForwardedHeader::Forwarded;
        for (lines, expected) in [
            ("Forwarded: for=192.0.2.1\r\n", "192.0.2.1:0"),
            (
                "Forwarded: For=\"192.0.2.1:4711\";Proto=http\r\n",
                "192.0.2.1:4711",
            ),
            (
                "forwarded: proto=https; for=\"[2001:db8::1]:80\";by=_x\r\n",
                "[2001:db8::1]:80",
            ),
            ("Forwarded: for=\"[2001:db8::1]\"\r\n", "[2001:db8::1]:0"),
            ("Forwarded: for=192.0.2.1:4711;\r\n", "192.0.2.1:4711"),
            ("Forwarded: for=\"_gazonk\"\r\n", "hidden"),
            ("Forwarded: for=UNKNOWN\r\n", "hidden"),
            (
                "Forwarded: for=127.0.0.1, for=192.0.2.1, for=10.0.0.1\r\n",
                "192.0.2.1:0",
            ),
            (
                "Forwarded: for=127.0.0.1\r\nForwarded: for=192.0.2.1\r\n",
                "192.0.2.1:0",
            ),
            // The client's quotation does not hide what the proxy adds.
            ("Forwarded: for=\"x, for=192.0.2.1\r\n", "192.0.2.1:0"),
            (
                "Forwarded: for=127.0.0.1;x=\", for=\"[2001:db8::1]\"\r\n",
                "[2001:db8::1]:0",
            ),
            // What a client says as its host, and a proxy quotes, is no element of its own.
            (
                "Forwarded: for=192.0.2.1;host=\"a,for=127.0.0.1\"\r\n",
                "unreadable for=127.0.0.1\\\"",
            ),
            (
                "Forwarded: for=192.0.2.1;host=\"a,for=\\\"127.0.0.1\"\r\n",
                "unreadable for=\\\\\\\"127.0.0.1\\\"",
            ),
            (
                "Forwarded: for=192.0.2.1;for=127.0.0.1\r\n",
                "unreadable for=192.0.2.1;for=127.0.0.1",
            ),
            ("Forwarded: proto=https\r\n", "unreadable proto=https"),
            ("Forwarded: 192.0.2.1\r\n", "unreadable 192.0.2.1"),
            ("Forwarded: for=\r\n", "unreadable for="),
            ("Forwarded: for =192.0.2.1\r\n", "unreadable for =192.0.2.1"),
            ("Forwarded: for=\"\"\r\n", "unreadable for=\\\"\\\""),
            ("Forwarded: for=fe80::1%eth0\r\n", "[fe80::1]:0"),
            ("Forwarded: for=\"[fe80::1%25eth0]:80\"\r\n", "[fe80::1]:80"),
            ("X-Forwarded-For: 192.0.2.1\r\n", "missing"),
            ("Forwarded:\r\n", "missing"),
            ("", "nothing"),
        ] {
            assert_eq!(client_of(header, lines), expected, "{lines}");
        }
    }

    #[test]
    fn what_is_no_address_is_not_guessed_at() {
        for text in [
            "unix:",
            "localhost",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:+80",
            "192.0.2.1:80:80",
            "192.0.2",
            "0192.0.2.1",
            "0xc0.0.2.1",
            "3221225985",
            "192.0.2.1/32",
            "[192.0.2.1]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[[::1]]",
            "fe80::1%",
            "fe80::1%eth0%1",
            "fe80::1%eth 0",
            "[fe80::1%]:80",
            "192.0.2.1%eth0",
            "192.0.2.1%25eth0:80",
            "1::2::3",
            "\"192.0.2.1",
            "192.0.2.1\"",
            "\"",
            "\"\"",
            "\"\"192.0.2.1\"\"",
            "\"192.0.2.1\\\"",
            "192.0.2.1 192.0.2.2",
            "192.0.2.1;192.0.2.2",
            "_",
            "_a b",
            "%31%32%37.0.0.1",
            "\u{661}27.0.0.1",
            "127\u{3002}0.0.1",
        ] {
            let lines = format!("X-Forwarded-For: 192.0.2.9, {text}\r\n");
            let Forwarded::Unreadable(element) = found(ForwardedHeader::XForwardedFor, &lines)
            else {
                panic!("{text}");
            };
            assert_eq!(element, text.as_bytes());
        }
    }

    #[test]
    fn the_nearest_proxy_says_the_scheme() {
        use ForwardedHeader::{Forwarded, XForwardedFor};
        for (header, lines, expected) in [
            (XForwardedFor, "X-Forwarded-Proto: https\r\n", Some(true)),
            (XForwardedFor, "X-Forwarded-Proto: WSS\r\n", Some(true)),
            (XForwardedFor, "X-Forwarded-Proto: http\r\n", Some(false)),
            (
                XForwardedFor,
                "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n",
                Some(false),
            ),
            (
                XForwardedFor,
                "X-Forwarded-Proto: http,https\r\n",
                Some(true),
            ),
            (XForwardedFor, "X-Forwarded-Proto: ftp\r\n", None),
            (
                XForwardedFor,
                "Forwarded: for=1.1.1.1;proto=https\r\n",
                None,
            ),
            (XForwardedFor, "", None),
            (
                Forwarded,
                "Forwarded: for=1.1.1.1;proto=https\r\n",
                Some(true),
            ),
            (
                Forwarded,
                "Forwarded: proto=https, for=1.1.1.1;proto=\"http\"\r\n",
                Some(false),
            ),
            (Forwarded, "Forwarded: proto=https, for=1.1.1.1\r\n", None),
            (Forwarded, "X-Forwarded-Proto: https\r\n", None),
        ] {
            assert_eq!(is_tls(&head(lines), header), expected, "{header:?} {lines}");
        }
    }

    #[test]
    fn ten_kilobytes_of_elements_are_read_no_further_than_the_client() {
        let many = "127.0.0.1,".repeat(1_024);
        let lines = format!("X-Forwarded-For: {many} 192.0.2.1\r\n");
        assert_eq!(
            client_of(ForwardedHeader::XForwardedFor, &lines),
            "192.0.2.1:0"
        );
        let lines = format!("X-Forwarded-For: {many}\r\n");
        assert_eq!(
            client_of(ForwardedHeader::XForwardedFor, &lines),
            "127.0.0.1:0"
        );
    }

    proptest! {
        /// Whatever a client sends itself, what the trusted proxy adds behind it is the client.
        #[test]
        fn no_header_of_a_client_changes_its_address(
            own in proptest::collection::vec("[ -~\t]{0,60}", 0..5),
            last in "[ -~\t]{0,60}",
            is_line_of_its_own: bool,
            is_forwarded: bool,
        ) {
            let (name, added, header) = match is_forwarded {
                true => ("Forwarded", "for=\"203.0.113.5:9\"", ForwardedHeader::Forwarded),
                false => ("X-Forwarded-For", "203.0.113.5:9", ForwardedHeader::XForwardedFor),
            };
            let mut lines: String = own.iter().map(|value| format!("{name}: {value}\r\n")).collect();
            lines += &match is_line_of_its_own {
                true => format!("{name}: {last}\r\n{name}: {added}\r\n"),
                false => format!("{name}: {last}, {added}\r\n"),
            };
            prop_assert_eq!(client_of(header, &lines), "203.0.113.5:9");
        }
    }
}
