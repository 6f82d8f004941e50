//! The request target, which says the path (RFC 9112 §3.2).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::config::authority::Authority;

/// The parts of a target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The path, percent-decoded once: UTF-8 without NUL.
    pub(crate) path: String,
    /// What follows the first `?`, as it was sent.
    pub(crate) query: Vec<u8>,
    /// What only an absolute target has.
    pub(crate) origin: Option<TargetOrigin>,
}

/// What stands before the path of an absolute target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TargetOrigin {
    pub(crate) scheme: Scheme,
    /// Host and port, as written.
    pub(crate) authority: Box<str>,
}

/// The schemes that this server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
    Ws,
    Wss,
}

impl Scheme {
    fn parse(text: &str) -> Option<Scheme> {
        let known = [
            ("http", Scheme::Http),
            ("https", Scheme::Https),
            ("ws", Scheme::Ws),
            ("wss", Scheme::Wss),
        ];
        let found = known
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, scheme)| *scheme)
    }

    /// The port of a target that names none.
    pub(crate) fn default_port(self) -> u16 {
        match self {
            Scheme::Http | Scheme::Ws => 80,
            Scheme::Https | Scheme::Wss => 443,
        }
    }
}

impl Target {
    /// The target `*`, which means the server as a whole and nothing that lies in it. Only OPTIONS may have it
    /// (RFC 9112 §3.2.4).
    pub(crate) fn whole_server() -> Target {
        Target {
            path: "*".to_owned(),
            query: Vec::new(),
            origin: None,
        }
    }

    /// Parses a target in origin form or absolute form; `None` where it is malformed.
    pub(crate) fn parse(target: &[u8]) -> Option<Target> {
        let target = std::str::from_utf8(target).ok()?;
        // Clients must not send a fragment (RFC 6455 §3).
        if target.contains('#') {
            return None;
        }
        let (origin, from_path) = if target.starts_with('/') {
            (None, target)
        } else {
            let (scheme, authority, rest) = split_origin(target)?;
            let authority = authority.into();
            (Some(TargetOrigin { scheme, authority }), rest)
        };
        let (path, query) = from_path.split_once('?').unwrap_or((from_path, ""));
        let path = percent_decode(path.as_bytes()).decode_utf8().ok()?;
        if path.contains('\0') {
            return None;
        }
        let path = if path.is_empty() {
            "/".to_owned()
        } else {
            path.into_owned()
        };
        Some(Target {
            path,
            query: query.as_bytes().to_vec(),
            origin,
        })
    }
}

/// The path of a target, not decoded, and its query if it has one.
pub(crate) fn raw_path(target: &[u8]) -> Option<(&str, Option<&str>)> {
    let target = std::str::from_utf8(target).ok()?;
    let from_path = if target.starts_with('/') {
        target
    } else {
        split_origin(target)?.2
    };
    Some(match from_path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (from_path, None),
    })
}

/// The path as a URL has it. A target with it is parsed into the same path.
pub(crate) fn encode_path(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED_IN_PATH).to_string()
}

/// Splits an absolute target into its scheme, its authority and what follows.
fn split_origin(target: &str) -> Option<(Scheme, &str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let scheme = Scheme::parse(scheme)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    Authority::parse(authority).map(|_| (scheme, authority, rest))
}

/// Everything but the unreserved characters (RFC 3986 §2.3).
pub(crate) const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const ESCAPED_IN_PATH: &AsciiSet = &ESCAPED.remove(b'/');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_any_path_leads_to_that_path() {
        for (path, encoded) in [
            ("/", "/"),
            ("/sub/tea", "/sub/tea"),
            ("/a.b-c_d~e", "/a.b-c_d~e"),
            ("/a b", "/a%20b"),
            ("/a?b", "/a%3Fb"),
            ("/a#b", "/a%23b"),
            ("/50%25", "/50%2525"),
            ("/\u{e9}\u{202e}\n", "/%C3%A9%E2%80%AE%0A"),
        ] {
            assert_eq!(encode_path(path), encoded);
            let parsed = Target::parse(encoded.as_bytes()).expect("a target");
            assert_eq!(parsed.path, path);
        }
    }

    #[test]
    fn a_path_is_decoded_once_and_its_query_is_left_alone() {
        for (target, path, query) in [
            ("/echo", "/echo", ""),
            ("/a%20b?c=%20d?e", "/a b", "c=%20d?e"),
            ("/%2565cho", "/%65cho", ""),
            ("ws://host:9998/echo?x", "/echo", "x"),
            ("http://host", "/", ""),
            ("http://host?x", "/", "x"),
        ] {
            let found = Target::parse(target.as_bytes()).unwrap();
            assert_eq!(
                (&*found.path, &*found.query),
                (path, query.as_bytes()),
                "{target}"
            );
        }
    }

    #[test]
    fn fragments_nul_and_bytes_that_are_no_text_are_malformed() {
        for target in [
            "/echo#f",
            "/a%00b",
            "/%ff",
            "*",
            "ftp://host/",
            "ws:///echo",
            "http://user@host/",
            "http://host:x/",
            "http://:80/",
            "echo",
        ] {
            assert_eq!(Target::parse(target.as_bytes()), None, "{target}");
        }
    }
}
