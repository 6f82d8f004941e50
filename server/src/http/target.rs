//! The request target, which says the path (RFC 9112 §3.2).

use percent_encoding::percent_decode;

use crate::config::authority::Authority;

/// The parts of a target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The path, percent-decoded once: UTF-8 without NUL.
    pub(crate) path: String,
    /// What follows the first `?`, as it was sent.
    pub(crate) query: Vec<u8>,
    /// Host and port; only an absolute target has them.
    pub(crate) authority: Option<Box<str>>,
}

impl Target {
    /// Parses a target in origin form or absolute form; `None` where it is malformed.
    pub(crate) fn parse(target: &[u8]) -> Option<Target> {
        let target = std::str::from_utf8(target).ok()?;
        // Clients must not send a fragment (RFC 6455 §3).
        if target.contains('#') {
            return None;
        }
        let (authority, from_path) = if target.starts_with('/') {
            (None, target)
        } else {
            let (authority, rest) = split_authority(target)?;
            (Some(authority.into()), rest)
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
            authority,
        })
    }
}

/// The path of a target, not decoded, and its query if it has one.
pub(crate) fn raw_path(target: &[u8]) -> Option<(&str, Option<&str>)> {
    let target = std::str::from_utf8(target).ok()?;
    let from_path = if target.starts_with('/') {
        target
    } else {
        split_authority(target)?.1
    };
    Some(match from_path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (from_path, None),
    })
}

/// Splits an absolute target into its authority and what follows.
fn split_authority(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let known = ["ws", "wss", "http", "https"];
    if !known.iter().any(|one| one.eq_ignore_ascii_case(scheme)) {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    Authority::parse(authority).map(|_| (authority, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

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
