//! Which pages may open a WebSocket (RFC 6455 §10.2). This keeps the scripts of other sites out.

use crate::config::authority::Authority;
use crate::config::origin::{Origin, Pattern};
use crate::config::{Origins, SAME_HOST};

/// Whether a page of `origin` may connect to a server that the client calls `host`, by TLS if `is_tls`.
///
/// Not called for a request without an origin, which no browser makes and which is allowed.
pub(crate) fn is_allowed(origins: &Origins, origin: &str, host: &str, is_tls: bool) -> bool {
    if *origins == Origins::Any {
        return true;
    }
    let Some(origin) = Origin::parse(origin) else {
        return false;
    };
    match origins {
        Origins::Any => true,
        Origins::SameHost => is_same_host(&origin, host, is_tls),
        Origins::Listed(listed) => {
            let mut patterns = listed.iter().filter_map(|text| Pattern::parse(text));
            patterns.any(|pattern| match pattern {
                Pattern::SameHost => is_same_host(&origin, host, is_tls),
                pattern => pattern.means(&origin),
            })
        }
    }
}

/// The list that allows `origin` and everything that is allowed now; `None` where the configuration
/// takes no such origin.
pub(crate) fn allowing<'a>(origins: &'a Origins, origin: &'a str) -> Option<Vec<&'a str>> {
    Origin::parse(origin)?;
    let mut all = match origins {
        Origins::Any => return None,
        Origins::SameHost => vec![SAME_HOST],
        Origins::Listed(listed) => listed.iter().map(String::as_str).collect(),
    };
    all.push(origin);
    Some(all)
}

fn is_same_host(origin: &Origin<'_>, host: &str, is_tls: bool) -> bool {
    let Some((page, port)) = origin.web() else {
        return false; // `null`, an app
    };
    let Some(server) = Authority::parse(host) else {
        return false;
    };
    // Without TLS a proxy may have ended it, so that the port of the page's scheme is the one that counts.
    let default_port = match is_tls {
        true => Some(HTTPS_PORT),
        false => origin.default_port(),
    };
    let same_port = Some(port) == server.port.or(default_port);
    let same = page.host.eq_ignore_ascii_case(server.host) && same_port;
    same || page.is_loopback() && server.is_loopback()
}

/// The port of https:// and wss:// where none is written.
const HTTPS_PORT: u16 = 443;

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
            ("http://foo.localhost:3000", "localhost:9998"),
            ("http://localhost", "foo.localhost:9998"),
            ("https://example.com:443", "example.com"),
            ("http://example.com", "example.com."),
        ] {
            assert!(
                is_allowed(&Origins::SameHost, origin, host, false),
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
            let allowed = is_allowed(&Origins::SameHost, origin, "example.com:80", false);
            assert!(!allowed, "{origin}");
        }
        assert!(!is_allowed(
            &Origins::SameHost,
            "http://localhost.evil.com",
            "localhost:9998",
            false
        ));
    }

    #[test]
    fn over_tls_a_host_without_a_port_has_the_port_of_https() {
        for (origin, host, expected) in [
            ("https://example.com", "example.com", true),
            ("https://example.com", "example.com:443", true),
            ("https://example.com:9998", "example.com:9998", true),
            ("http://example.com", "example.com", false),
            ("http://example.com", "example.com:443", false),
            ("https://example.com:9998", "example.com", false),
            ("http://localhost:5173", "localhost:9998", true),
        ] {
            let found = is_allowed(&Origins::SameHost, origin, host, true);
            assert_eq!(found, expected, "{origin} to {host}");
        }
    }

    #[test]
    fn a_list_takes_only_whole_origins() {
        let listed = Origins::Listed(vec!["https://example.com".into(), "null".into()]);
        assert!(!is_allowed(&listed, "http://x", "x", false));
        assert!(is_allowed(&listed, "https://example.com", "x", false));
        assert!(is_allowed(&listed, "null", "x", false));
        assert!(!is_allowed(
            &listed,
            "https://example.com.evil.com",
            "x",
            false
        ));
    }

    #[test]
    fn what_allows_one_more_origin_allows_the_others_still() {
        assert_eq!(
            allowing(&Origins::SameHost, "null"),
            Some(vec!["same-host", "null"])
        );
        let listed = Origins::Listed(vec!["same-host".into(), "null".into()]);
        assert_eq!(
            allowing(&listed, "http://a"),
            Some(vec!["same-host", "null", "http://a"])
        );
        assert_eq!(allowing(&listed, "http://a b"), None);
        assert!(is_allowed(&listed, "null", "x", false));
        assert!(is_allowed(&listed, "http://x", "x", false));
        assert!(!is_allowed(&listed, "http://y", "x", false));
    }
}
