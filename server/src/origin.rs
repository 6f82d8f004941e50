//! Which pages may open a WebSocket (RFC 6455 §10.2): the guard against other sites' scripts.

use crate::config::{Origins, SAME_HOST};

/// Whether a page of `origin` may connect to a server that the client calls `host`.
///
/// No origin is no browser, and that is allowed before this is asked.
pub(crate) fn is_allowed(origins: &Origins, origin: &str, host: &str) -> bool {
    match origins {
        Origins::Any => true,
        Origins::SameHost => is_same_host(origin, host),
        Origins::Listed(listed) => listed.iter().any(|one| match &**one {
            SAME_HOST => is_same_host(origin, host),
            one => one.eq_ignore_ascii_case(origin),
        }),
    }
}

/// The value of `origins` that allows `origin` too, and nothing less than now.
pub(crate) fn allowing(origins: &Origins, origin: &str) -> String {
    let mut all = match origins {
        Origins::Any => return "\"any\"".into(),
        Origins::SameHost => vec![SAME_HOST],
        Origins::Listed(listed) => listed.iter().map(String::as_str).collect(),
    };
    all.push(origin);
    format!("{all:?}")
}

fn is_same_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false; // `null`
    };
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let (Some(page), Some(server)) = (split(authority, default_port), split(host, default_port))
    else {
        return false;
    };
    let same = page.0.eq_ignore_ascii_case(server.0) && page.1 == server.1;
    same || is_loopback(page.0) && is_loopback(server.0)
}

/// Host and port of `host[:port]`; `None` if it is anything else.
fn split(authority: &str, default_port: u16) -> Option<(&str, u16)> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    if authority.is_empty() || !authority.bytes().all(plain) {
        return None;
    }
    // The colons of an IPv6 address stand inside its brackets.
    let port_at = authority
        .rfind(':')
        .filter(|colon| !authority[*colon..].contains(']'));
    let (host, port) = match port_at {
        None => (authority, default_port),
        Some(colon) => {
            let digits = &authority[colon + 1..];
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            (
                &authority[..colon],
                is_number.then(|| digits.parse().ok())??,
            )
        }
    };
    (!host.is_empty()).then_some((host, port))
}

fn is_loopback(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_same_host_and_port_may_connect() {
        for (origin, host) in [
            ("http://example.com", "example.com"),
            ("http://example.com", "example.com:80"),
            ("https://example.com", "Example.com:443"),
            ("http://example.com:9998", "example.com:9998"),
            ("http://localhost:5173", "127.0.0.1:9998"),
            ("http://[::1]:9998", "localhost:9998"),
        ] {
            assert!(
                is_allowed(&Origins::SameHost, origin, host),
                "{origin} to {host}"
            );
        }
    }

    #[test]
    fn pages_of_anywhere_else_may_not() {
        for origin in [
            "null",
            "",
            "http://evil.com",
            "http://example.com.evil.com",
            "http://evil-example.com",
            "http://example.com:8080",
            "https://example.com",
            "http://example.com@evil.com",
            "http://evil.com/example.com",
            "http://evil.com#example.com",
            "http://example.com:80:80",
            "http://example.com:",
            "ftp://example.com",
            "http://exämple.com",
            "http://localhost",
        ] {
            let allowed = is_allowed(&Origins::SameHost, origin, "example.com:80");
            assert!(!allowed, "{origin}");
        }
        assert!(!is_allowed(
            &Origins::SameHost,
            "http://localhost.evil.com",
            "localhost:9998"
        ));
    }

    #[test]
    fn a_list_takes_only_whole_origins() {
        let listed = Origins::Listed(vec!["https://example.com".into(), "null".into()]);
        assert!(!is_allowed(&listed, "http://x", "x"));
        assert!(is_allowed(&listed, "https://example.com", "x"));
        assert!(is_allowed(&listed, "null", "x"));
        assert!(!is_allowed(&listed, "https://example.com.evil.com", "x"));
    }

    #[test]
    fn what_allows_one_more_origin_allows_the_others_still() {
        assert_eq!(
            allowing(&Origins::SameHost, "null"),
            r#"["same-host", "null"]"#
        );
        let listed = Origins::Listed(vec!["same-host".into(), "null".into()]);
        assert_eq!(
            allowing(&listed, "http://a"),
            r#"["same-host", "null", "http://a"]"#
        );
        assert!(is_allowed(&listed, "null", "x"));
        assert!(is_allowed(&listed, "http://x", "x"));
        assert!(!is_allowed(&listed, "http://y", "x"));
    }
}
