//! How a client on this machine reaches the server, for the log.

use crate::config::Endpoint;

/// The beginnings of addresses, to which a path is appended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Urls {
    pub(super) sessions: String,
    pub(super) pages: String,
}

impl Urls {
    /// The URLs at a plain address, else at one with TLS, else at a Unix socket as Node.js writes one.
    pub(super) fn of<'a>(endpoints: impl Iterator<Item = &'a Endpoint> + Clone) -> Urls {
        // A client speaks no PROXY protocol.
        let endpoints = endpoints.filter(|it| !it.is_proxied());
        let has_plain = endpoints.clone().any(|it| matches!(it, Endpoint::Plain(_)));
        let mut addresses = endpoints.clone().filter(|it| has_plain != it.is_tls());
        let port = addresses.find_map(|it| Some((it.address()?.port(), it.is_tls())));
        let path = endpoints.into_iter().find_map(|it| match it {
            Endpoint::Unix(path) => Some(path.display()),
            _ => None,
        });
        let (schemes, host) = match (port, path) {
            (Some((port, false)), _) => (["ws://", "http://"], format!("localhost:{port}")),
            (Some((port, true)), _) => (["wss://", "https://"], format!("localhost:{port}")),
            (None, Some(path)) => (["ws+unix:", "http+unix:"], format!("{path}:")),
            (None, None) => (["", ""], String::new()),
        };
        let [sessions, pages] = schemes.map(|scheme| format!("{scheme}{host}"));
        Urls { sessions, pages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_address_is_shown_before_one_with_tls_and_that_before_a_unix_socket() {
        let plain = Endpoint::Plain("127.0.0.1:1".parse().expect("an address"));
        let tls = Endpoint::Tls("127.0.0.1:2".parse().expect("an address"));
        let unix = Endpoint::Unix("/run/w.sock".into());
        for (endpoints, sessions, pages) in [
            (
                vec![&unix, &tls, &plain],
                "ws://localhost:1",
                "http://localhost:1",
            ),
            (
                vec![&unix, &tls],
                "wss://localhost:2",
                "https://localhost:2",
            ),
            (
                vec![&unix],
                "ws+unix:/run/w.sock:",
                "http+unix:/run/w.sock:",
            ),
        ] {
            let urls = Urls::of(endpoints.into_iter());
            assert_eq!((&*urls.sessions, &*urls.pages), (sessions, pages));
        }
    }
}
