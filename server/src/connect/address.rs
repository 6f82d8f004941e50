//! The address that `wshd connect` is given: where to connect to, and what to ask for there.

use std::path::PathBuf;

/// What a URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) server: ServerAddress,
    /// The path and the query of the request line.
    pub(super) target: String,
    /// The value of `Host`.
    pub(super) host: String,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServerAddress {
    /// A host name or an IP address without its brackets, and a port.
    Tcp {
        host: String,
        port: u16,
        is_tls: bool,
    },
    Unix(PathBuf),
}

/// Why a text is no address of a WebSocket.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    #[error(
        "`{found}` is no URL: wants one like `ws://localhost:9998/echo` or `ws+unix:/run/wshd.sock:/echo`"
    )]
    NoUrl { found: String },
    #[error("`{scheme}` is no scheme of WebSocket: wants `ws://`, `wss://` or `ws+unix:`")]
    Scheme { scheme: String },
    #[error("`{found}` names no socket: wants `ws+unix:/run/wshd.sock:/echo`")]
    NoSocket { found: String },
    #[error(
        "there is no TLS on a Unix socket: wants `ws+unix:/run/wshd.sock:/echo`, found `{found}`"
    )]
    SocketTls { found: String },
    // It does not repeat the URL, whose password may end up in a log.
    #[error("the URL names a user: `--user NAME:PASSWORD` sends one")]
    User,
    #[error("a URL of a WebSocket has no fragment: write `%23` for the `#` in `{found}`")]
    Fragment { found: String },
}

impl Address {
    /// Reads a URL. Without a scheme it is one of `ws://`. `http://` means `ws://`, and `https://` means `wss://`, as in
    /// browsers.
    pub(super) fn parse(url: &str) -> Result<Address, AddressError> {
        let no_url = || AddressError::NoUrl {
            found: url.to_owned(),
        };
        if url.contains('#') {
            return Err(AddressError::Fragment {
                found: url.to_owned(),
            });
        }
        // Schemes know no case (RFC 3986 §3.1).
        if let Some((scheme, rest)) = url.split_once(':') {
            match &*scheme.to_ascii_lowercase() {
                "ws+unix" | "unix" => return of_socket(url, rest),
                "wss+unix" => {
                    return Err(AddressError::SocketTls {
                        found: url.to_owned(),
                    });
                }
                _ => {}
            }
        }
        let (is_tls, rest) = match url.split_once("://") {
            None => (false, url),
            Some((scheme, rest)) => match &*scheme.to_ascii_lowercase() {
                "ws" | "http" => (false, rest),
                "wss" | "https" => (true, rest),
                _ => {
                    return Err(AddressError::Scheme {
                        scheme: format!("{scheme}://"),
                    });
                }
            },
        };
        let (authority, target) = split_target(rest);
        if authority.contains('@') {
            return Err(AddressError::User);
        }
        let parsed: http::uri::Authority = authority.parse().map_err(|_| no_url())?;
        let host = parsed.host();
        if host.is_empty() || target.parse::<http::Uri>().is_err() {
            return Err(no_url());
        }
        let default_port = if is_tls { 443 } else { 80 };
        let port = match parsed.port() {
            Some(port) => port.as_str().parse().map_err(|_| no_url())?,
            // A colon without digits means the default port (RFC 3986 §3.2.3).
            None if authority.len() == host.len() || authority.ends_with(':') => default_port,
            None => return Err(no_url()),
        };
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        Ok(Address {
            server: ServerAddress::Tcp {
                host: bare.unwrap_or(host).to_owned(),
                port,
                is_tls,
            },
            target,
            host: match port {
                port if port == default_port => host.to_owned(),
                port => format!("{host}:{port}"),
            },
        })
    }
}

/// Reads what follows `ws+unix:`: the path of a socket, and behind a colon the path of a handler.
fn of_socket(url: &str, rest: &str) -> Result<Address, AddressError> {
    // `ws+unix:///run/x.sock` is `ws+unix:/run/x.sock`.
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, target) = match rest.split_once(":/") {
        Some((path, target)) => (path, format!("/{target}")),
        None => (rest, "/".to_owned()),
    };
    if path.is_empty() {
        return Err(AddressError::NoSocket {
            found: url.to_owned(),
        });
    }
    if target.parse::<http::Uri>().is_err() {
        return Err(AddressError::NoUrl {
            found: url.to_owned(),
        });
    }
    Ok(Address {
        server: ServerAddress::Unix(PathBuf::from(path)),
        target,
        host: "localhost".to_owned(),
    })
}

/// Splits `host:port/path?query` before its path. Without a path it is `/`.
fn split_target(rest: &str) -> (&str, String) {
    match rest.find(['/', '?']) {
        None => (rest, "/".to_owned()),
        Some(at) if rest[at..].starts_with('/') => (&rest[..at], rest[at..].to_owned()),
        Some(at) => (&rest[..at], format!("/{}", &rest[at..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_to_connect_what_to_ask_for_and_the_host() {
        for (url, host, port, target, host_field) in [
            (
                "ws://localhost:9998/echo",
                "localhost",
                9998,
                "/echo",
                "localhost:9998",
            ),
            (
                "localhost:9998/echo",
                "localhost",
                9998,
                "/echo",
                "localhost:9998",
            ),
            ("http://a.example", "a.example", 80, "/", "a.example"),
            (
                "ws://a.example:80/a?b=c",
                "a.example",
                80,
                "/a?b=c",
                "a.example",
            ),
            ("ws://a.example?b", "a.example", 80, "/?b", "a.example"),
            ("wss://a.example/x", "a.example", 443, "/x", "a.example"),
            ("https://a.example:80", "a.example", 80, "/", "a.example:80"),
            ("ws://[::1]:9998/x", "::1", 9998, "/x", "[::1]:9998"),
            ("WS://A.example/X", "A.example", 80, "/X", "A.example"),
        ] {
            let server = ServerAddress::Tcp {
                host: host.to_owned(),
                port,
                is_tls: url.starts_with("wss:") || url.starts_with("https:"),
            };
            let expected = Address {
                server,
                target: target.to_owned(),
                host: host_field.to_owned(),
            };
            assert_eq!(Address::parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn a_unix_socket_stands_before_the_path_of_its_handler() {
        for (url, path, target) in [
            ("ws+unix:/run/w.sock:/echo?a", "/run/w.sock", "/echo?a"),
            ("ws+unix:///run/w.sock:/echo", "/run/w.sock", "/echo"),
            ("unix:w.sock", "w.sock", "/"),
            ("WS+Unix:w.sock", "w.sock", "/"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.server, ServerAddress::Unix(path.into()), "{url}");
            assert_eq!(address.target, target, "{url}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_websocket_is_refused_in_a_sentence() {
        for (url, error) in [
            (
                "ftp://a/",
                "`ftp://` is no scheme of WebSocket: wants `ws://`, `wss://` or `ws+unix:`",
            ),
            (
                "ws://a:99999/",
                "`ws://a:99999/` is no URL: wants one like `ws://localhost:9998/echo` or \
                 `ws+unix:/run/wshd.sock:/echo`",
            ),
            (
                "ws+unix::/echo",
                "`ws+unix::/echo` names no socket: wants `ws+unix:/run/wshd.sock:/echo`",
            ),
            (
                "wss+unix:/run/w.sock:/echo",
                "there is no TLS on a Unix socket: wants `ws+unix:/run/wshd.sock:/echo`, found \
                 `wss+unix:/run/w.sock:/echo`",
            ),
            (
                "ws://ann:pw@a/",
                "the URL names a user: `--user NAME:PASSWORD` sends one",
            ),
            (
                "ws://a/b#c",
                "a URL of a WebSocket has no fragment: write `%23` for the `#` in `ws://a/b#c`",
            ),
        ] {
            assert_eq!(Address::parse(url).unwrap_err().to_string(), error);
        }
        for url in ["", "ws://", "ws://a b/", "ws:///x", "ws://a/\u{1}"] {
            let error = Address::parse(url).unwrap_err();
            assert!(matches!(error, AddressError::NoUrl { .. }), "{url}");
        }
    }
}
