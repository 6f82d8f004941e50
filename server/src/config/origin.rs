//! Origins (RFC 6454), and the patterns of the list `origins`.

use super::SAME_HOST;
use super::authority::{Authority, is_below};

/// An origin as a browser sends it, taken apart so that two ways to write one are equal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// `http` and `https` stand for `ws` and `wss` too. Empty for `null`.
    scheme: &'a str,
    /// What follows `://`, without the port of a web page.
    host: &'a str,
    /// The port of a web page; the default of the scheme where none is written.
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// `None` where no browser sends such a text.
    pub(crate) fn parse(text: &'a str) -> Option<Origin<'a>> {
        if text == "null" {
            return Some(Origin {
                scheme: "",
                host: text,
                port: None,
            });
        }
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme_of(scheme)?;
        let Some(default_port) = default_port(scheme) else {
            // An extension's id, an app's name, or nothing (`file://`).
            let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\,*`".contains(&byte);
            return rest.bytes().all(is_plain).then_some(Origin {
                scheme,
                host: rest,
                port: None,
            });
        };
        let authority = Authority::parse(rest)?;
        // No browser writes a colon without a port, and none a comma in a host.
        let is_plain = !rest.ends_with(':') && !rest.contains([',', '*', '\'']);
        is_plain.then_some(Origin {
            scheme,
            host: authority.host,
            port: Some(authority.port.unwrap_or(default_port)),
        })
    }

    /// The host and the port, if it is a page of the web.
    pub(crate) fn web(&self) -> Option<(Authority<'a>, u16)> {
        let port = self.port?;
        let authority = Authority {
            host: self.host,
            port: self.port,
        };
        Some((authority, port))
    }

    /// The port that a `Host` without one means for this page.
    pub(crate) fn default_port(&self) -> Option<u16> {
        default_port(self.scheme)
    }
}

impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Origin<'_>) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
    }
}

/// One entry of the list `origins`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pattern<'a> {
    /// Pages of the request's own `Host`.
    SameHost,
    One(Origin<'a>),
    /// `https://*.example.com`: all hosts below this one, and not the host itself.
    Below(Origin<'a>),
    /// `moz-extension://*`: all origins of a scheme that is not the web's.
    Scheme(&'a str),
}

impl<'a> Pattern<'a> {
    /// `None` for a text that cannot stand in the list.
    pub(crate) fn parse(text: &'a str) -> Option<Pattern<'a>> {
        if text == SAME_HOST {
            return Some(Pattern::SameHost);
        }
        if let Some(origin) = Origin::parse(text) {
            return Some(Pattern::One(origin));
        }
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme_of(scheme)?;
        let Some(default_port) = default_port(scheme) else {
            return (rest == "*").then_some(Pattern::Scheme(scheme));
        };
        let parent = rest.strip_prefix("*.")?;
        let authority = Authority::parse(parent)?;
        let is_plain = !rest.ends_with(':') && !parent.contains(['*', ',', '\'']);
        (is_plain && !authority.is_address()).then_some(Pattern::Below(Origin {
            scheme,
            host: authority.host,
            port: Some(authority.port.unwrap_or(default_port)),
        }))
    }

    /// Whether this origin matches. False for [`Pattern::SameHost`]: the request's `Host` is not known here.
    pub(crate) fn means(&self, origin: &Origin<'_>) -> bool {
        match self {
            Pattern::SameHost => false,
            Pattern::One(one) => one == origin,
            Pattern::Below(parent) => {
                parent.scheme.eq_ignore_ascii_case(origin.scheme)
                    && parent.port == origin.port
                    && is_below(origin.host, parent.host)
            }
            Pattern::Scheme(scheme) => scheme.eq_ignore_ascii_case(origin.scheme),
        }
    }
}

/// The scheme, if it can be one (RFC 3986 §3.1). The scheme of a WebSocket becomes that of its page.
fn scheme_of(text: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_scheme = text.starts_with(|first: char| first.is_ascii_alphabetic());
    if !is_scheme || !text.bytes().all(is_plain) {
        return None;
    }
    Some(match () {
        () if text.eq_ignore_ascii_case("ws") => "http",
        () if text.eq_ignore_ascii_case("wss") => "https",
        () => text,
    })
}

/// The port of a scheme of the web.
fn default_port(scheme: &str) -> Option<u16> {
    match () {
        () if scheme.eq_ignore_ascii_case("http") => Some(80),
        () if scheme.eq_ignore_ascii_case("https") => Some(443),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(pattern: &str, origin: &str) -> bool {
        let pattern = Pattern::parse(pattern).unwrap_or_else(|| panic!("{pattern}"));
        Origin::parse(origin).is_some_and(|origin| pattern.means(&origin))
    }

    #[test]
    fn an_origin_is_the_same_however_it_is_written() {
        for (pattern, origin) in [
            ("https://example.com", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("https://example.com", "https://example.com:443"),
            ("HTTP://Example.com:80", "http://example.com"),
            ("http://example.com.", "http://example.com"),
            ("ws://example.com", "http://example.com"),
            ("wss://example.com:443", "https://example.com"),
            ("http://[::1]:80", "http://[::1]"),
            ("null", "null"),
            ("file://", "file://"),
            ("file:///", "file:///"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("tauri://localhost", "tauri://localhost"),
            ("app://obsidian.md", "app://obsidian.md"),
            ("vscode-webview://1b-2", "vscode-webview://1b-2"),
            ("moz-extension://*", "moz-extension://8b1e-22"),
            ("https://*.example.com", "https://a.example.com"),
            ("https://*.example.com:443", "https://a.b.Example.com"),
            ("wss://*.example.com", "https://a.example.com"),
            ("http://*.example.com:8080", "http://a.example.com:8080"),
        ] {
            assert!(means(pattern, origin), "{pattern} {origin}");
        }
    }

    #[test]
    fn no_other_origin_is_meant() {
        for (pattern, origin) in [
            ("https://example.com", "http://example.com"),
            ("https://example.com", "https://example.com:444"),
            ("https://example.com", "https://a.example.com"),
            ("https://example.com", "https://example.com.evil.com"),
            ("https://*.example.com", "https://example.com"),
            ("https://*.example.com", "https://.example.com"),
            ("https://*.example.com", "https://xexample.com"),
            ("https://*.example.com", "https://a.example.com.evil.com"),
            ("https://*.example.com", "http://a.example.com"),
            ("https://*.example.com", "https://a.example.com:444"),
            ("https://*.example.com", "https://evil.com/a.example.com"),
            ("https://*.example.com", "https://evil.com#.example.com"),
            ("https://*.example.com", "https://evil.com\\.example.com"),
            ("https://*.example.com", "https://x@a.example.com"),
            ("moz-extension://*", "https://a"),
            ("moz-extension://*", "chrome-extension://a"),
            ("null", "null://"),
            ("file://", "null"),
        ] {
            assert!(!means(pattern, origin), "{pattern} {origin}");
        }
    }

    #[test]
    fn what_no_browser_writes_stands_in_no_list() {
        for text in [
            "",
            "*",
            "any",
            "example.com",
            "https://",
            "https://example.com/",
            "https://example.com:",
            "https://*",
            "https://*:443",
            "https://*.",
            "https://*.1.2.3.4",
            "https://a.*.com",
            "https://*a.com",
            "https://*.a*.com",
            "https://exämple.com",
            "https://a b",
            "://a",
            "1a://b",
            "app://a\"b",
            "app://a,b",
            "http://a'b",
        ] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }
}
