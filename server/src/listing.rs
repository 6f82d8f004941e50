//! The list of handlers with their generations, for operators and for the index page.

pub(crate) mod engine;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::border::quarantine::QuarantineStatus;
use crate::config::authority::Authority;
use crate::engine::Usage;
use crate::generation::Generation;
use crate::http::head::Head;
use crate::sessions::peer::Peer;

/// All handlers, in the order of their names. A list never changes; a change makes a new one. The
/// numbers of sessions, topics, members, bytes and keys are those of the moment at which they are read.
#[derive(Debug, Default)]
pub(crate) struct Listing(Vec<Listed>);

/// One handler.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    /// The generation that new connections begin on.
    pub(crate) serving: Option<Arc<Generation>>,
    /// Older generations that may not be gone yet, the oldest first.
    pub(crate) old: Vec<Arc<Generation>>,
    /// The number of generations that are gone.
    pub(crate) retired: usize,
    /// Why its file is not what serves.
    pub(crate) refusal: Option<String>,
    /// Whether its file is that of a directory, so that it answers at its path with a slash at the end as well.
    pub(crate) is_of_directory: bool,
}

impl Listing {
    pub(crate) fn new(handlers: Vec<Listed>) -> Listing {
        Listing(handlers)
    }

    /// The name of each handler, also of those whose file is refused.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|listed| listed.name.clone()).collect()
    }

    /// Whether the file of this handler is refused, and no older generation serves in its place.
    /// How many handlers are served, and how many are not, because their files are refused.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let is_refused = |it: &&Listed| it.serving.is_none() && it.refusal.is_some();
        let served = self.0.iter().filter(|it| it.serving.is_some()).count();
        (served, self.0.iter().filter(is_refused).count())
    }

    pub(crate) fn is_refused(&self, name: &str) -> bool {
        let listed = self.find(name);
        listed.is_some_and(|it| it.serving.is_none() && it.refusal.is_some())
    }

    /// The name of the handler that has `path` as its own, if it is listed.
    pub(crate) fn name_at(&self, path: &str) -> Option<&str> {
        let name = path.strip_prefix('/')?;
        let of_directory = || {
            let found = self.find(name.strip_suffix('/')?);
            found.filter(|listed| listed.is_of_directory)
        };
        let listed = self.find(name).or_else(of_directory)?;
        Some(&listed.name)
    }

    /// All handlers, in the order of their names.
    pub(crate) fn all(&self) -> &[Listed] {
        &self.0
    }

    /// The handler of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Listed> {
        let at = self
            .0
            .binary_search_by(|listed| listed.name.as_str().cmp(name));
        at.ok().map(|at| &self.0[at])
    }

    /// The list as JSON. `usage` says what is kept under the name of a handler.
    ///
    /// Reasons, versions, and how much is kept, which are for operators, are in it only if the reader `is_here`: on
    /// this machine.
    pub(crate) fn json(&self, is_here: bool, usage: impl Fn(&str) -> Usage) -> String {
        self.document(is_here, usage).to_string()
    }

    /// What [`json`](Self::json) writes.
    pub(crate) fn document(&self, is_here: bool, usage: impl Fn(&str) -> Usage) -> Value {
        let shown = self
            .0
            .iter()
            .filter(|listed| is_here || listed.serving.is_some());
        let shown = shown.map(|listed| listed.json(is_here, &usage(&listed.name)));
        Value::from(shown.collect::<Vec<_>>())
    }
}

/// Whether the request of `peer` for `host` was made on this machine.
///
/// A proxy on this machine has an address of this machine, whatever client it serves. It shows by a header
/// that it adds, by HTTP/1.0, which nginx speaks by default, or by the public name in `Host`.
pub(crate) fn is_from_here(peer: &Peer, head: &Head, host: &str) -> bool {
    let is_near = match peer.ip() {
        Some(address) => address.is_loopback(),
        None => is_of_an_operator(peer),
    };
    is_near
        && peer.is_known()
        && head.is_http_1_1()
        && Authority::parse(host).is_some_and(|host| host.is_loopback())
        && !is_through_a_proxy(head)
}

/// Whether a request has a header that proxies add.
pub(crate) fn is_through_a_proxy(head: &Head) -> bool {
    head.lines().any(|(name, _)| is_of_a_proxy(name))
}

/// Whether the process at the far end of a Unix socket runs as the server's user or as root. A proxy
/// has a user of its own.
fn is_of_an_operator(peer: &Peer) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    matches!(peer, Peer::Unix(Some(process)) if process.uid == ours || process.uid == 0)
}

/// Whether a header of this name is one that proxies add.
fn is_of_a_proxy(name: &[u8]) -> bool {
    let begins = |prefix: &str| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    PROXY_PREFIXES.iter().any(|prefix| begins(prefix))
        || PROXY_HEADERS
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Beginnings of headers that proxies add.
const PROXY_PREFIXES: [&str; 10] = [
    "x-forwarded",
    "x-original-",
    "x-envoy-",
    "x-amz",
    "x-azure-",
    "x-appengine-",
    "x-arr-",
    "x-vercel-",
    "cf-",
    "fly-",
];
/// Headers that proxies add: by RFC 7239, by RFC 9110 §7.6.3, and by custom of servers and networks.
const PROXY_HEADERS: [&str; 12] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "fastly-client-ip",
    "do-connecting-ip",
    "x-proxyuser-ip",
    "x-remote-addr",
    "cdn-loop",
    "x-request-id",
];

impl Listed {
    /// The number of sessions of all its generations, and of opening handshakes.
    pub(crate) fn sessions(&self) -> usize {
        let all = self.serving.iter().chain(&self.old);
        all.map(|generation| generation.sessions()).sum()
    }

    fn json(&self, is_here: bool, usage: &Usage) -> Value {
        let serving = self.serving.as_ref();
        // A generation may have gone since the list was made.
        let old: Vec<_> = self.old.iter().rev().filter(|it| !it.is_gone()).collect();
        let all = serving.into_iter().chain(old.iter().copied());
        let mut value = json!({
            "path": format!("/{}", self.name),
            "name": self.name,
            "description": serving.map(|generation| &generation.provenance.about.description)
                .filter(|description| !description.is_empty()),
            "generation": serving.map(|generation| generation.number),
            "sessions": all.clone().map(|generation| generation.sessions()).sum::<usize>(),
            "topics": usage.topics,
            "members": usage.members,
        });
        if is_here {
            value["retired"] = (self.retired + self.old.len() - old.len()).into();
            value["generations"] = all.map(|it| generation_json(it)).collect();
            value["file"] = serving
                .map(|it| it.provenance.path.to_string_lossy())
                .into();
            value["refusal"] = self.refusal.clone().into();
            value["history_bytes"] = usage.history_bytes.into();
            value["store"] = json!({ "keys": usage.keys, "bytes": usage.store_bytes });
        }
        value
    }
}

fn generation_json(generation: &Generation) -> Value {
    let from = &generation.provenance;
    let life = generation.life();
    let seen = generation.context.quarantine_status();
    let state = if life.is_serving() {
        seen.state
    } else {
        life.name()
    };
    json!({
        "number": generation.number,
        "state": state,
        "panics": seen.panics,
        "quarantined_by": Some(&seen).filter(|_| life.is_serving()).and_then(QuarantineStatus::by),
        "next_try_ms": seen.next_try.map(|after| after.as_millis() as u64),
        "sessions": generation.sessions(),
        "file_hash": format!("{:016x}", from.hash),
        "version": from.about.version,
        "toolchain": from.about.toolchain,
        "state_schema": from.about.schema,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;
    use crate::sessions::peer::PeerProcess;

    fn is_from_here(peer: &str, request: &str) -> bool {
        let address: IpAddr = peer.parse().expect("an address");
        is_request_from_here(&SocketAddr::new(address, 1).into(), request)
    }

    fn is_request_from_here(peer: &Peer, request: &str) -> bool {
        let head = Head::parse(request.as_bytes().into(), 9).expect("a head");
        let host = head.value("host").expect("one").unwrap_or_default();
        let host = std::str::from_utf8(host).expect("text");
        super::is_from_here(peer, &head, host)
    }

    #[test]
    fn what_is_kept_for_a_handler_is_told_with_it_and_its_size_on_this_machine_only() {
        let listed = |name: &str| Listed {
            name: name.to_owned(),
            serving: None,
            old: Vec::new(),
            retired: 0,
            refusal: Some("it is broken".to_owned()),
            is_of_directory: name == "chat",
        };
        let usage = |name: &str| match name {
            "chat" => Usage {
                topics: 2,
                publications: 3,
                history_bytes: 400,
                members: 5,
                presence_bytes: 60,
                keys: 7,
                store_bytes: 800,
            },
            _ => Usage::default(),
        };
        let listing = Listing::new(vec![listed("chat"), listed("echo")]);
        assert!(listing.is_refused("echo") && !listing.is_refused("ech"));
        let names =
            ["/chat", "/chat/", "/echo", "/echo/", "chat", "/"].map(|path| listing.name_at(path));
        assert_eq!(
            names,
            [Some("chat"), Some("chat"), Some("echo"), None, None, None]
        );

        let here: Value = serde_json::from_str(&listing.json(true, usage)).expect("JSON");
        let there = listed("chat").json(false, &usage("chat"));

        assert_eq!(
            (&here[0]["topics"], &here[0]["members"]),
            (&2.into(), &5.into())
        );
        assert_eq!(here[0]["history_bytes"], 400);
        assert_eq!(here[0]["store"], json!({ "keys": 7, "bytes": 800 }));
        assert_eq!(here[1]["store"], json!({ "keys": 0, "bytes": 0 }));
        assert_eq!(
            (&there["topics"], &there["members"]),
            (&2.into(), &5.into())
        );
        assert_eq!(
            (&there["history_bytes"], &there["store"]),
            (&Value::Null, &Value::Null)
        );
    }

    #[test]
    fn over_a_unix_socket_only_the_servers_user_and_root_are_told_what_operators_are() {
        let request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let ours = rustix::process::geteuid().as_raw();
        for (uid, expected) in [(ours, true), (0, true), (ours + 1, false)] {
            let peer = Peer::Unix(Some(PeerProcess { pid: 1, uid }));
            assert_eq!(is_request_from_here(&peer, request), expected, "{uid}");
            let proxied = request.replace("localhost", "example.com");
            assert!(!is_request_from_here(&peer, &proxied), "{uid}");
        }
        assert!(!is_request_from_here(&Peer::Unix(None), request));
    }

    #[test]
    fn a_request_that_came_through_a_proxy_is_not_from_here() {
        let plain = "GET / HTTP/1.1\r\nHost: localhost:9998\r\nX-For: 1\r\n\r\n";
        for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(is_from_here(peer, plain), "{peer}");
        }
        assert!(is_from_here(
            "127.0.0.1",
            &plain.replace("localhost", "[::1]")
        ));
        assert!(!is_from_here("10.0.0.1", plain));
        for (from, to) in [
            ("X-For", "X-Forwarded-For"),
            ("X-For", "x-forwarded-proto"),
            ("X-For", "Forwarded"),
            ("X-For", "X-Real-IP"),
            ("X-For", "Via"),
            ("X-For", "CF-Connecting-IP"),
            ("X-For", "True-Client-IP"),
            ("X-For", "Fly-Client-IP"),
            ("X-For", "Fastly-Client-IP"),
            ("X-For", "X-Client-IP"),
            ("X-For", "X-Cluster-Client-IP"),
            ("X-For", "X-Appengine-User-IP"),
            ("X-For", "Do-Connecting-IP"),
            ("X-For", "X-Azure-ClientIP"),
            ("X-For", "X-Azure-SocketIP"),
            ("X-For", "X-Forwarded-Host"),
            ("X-For", "X-Original-Host"),
            ("localhost", "example.com"),
            ("localhost", "192.168.0.1"),
            ("HTTP/1.1", "HTTP/1.0"),
        ] {
            let proxied = plain.replace(from, to);
            assert!(!is_from_here("127.0.0.1", &proxied), "{proxied}");
        }
    }
}
