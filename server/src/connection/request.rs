//! The request that a connection begins with.

use super::next_step::NextStep;
use super::refusal_log::RefusedRequest;
use super::reply::Reply;
use crate::config::Limits;
use crate::http::head::{Head, HeadFault};
use crate::http::target::Target;
use crate::sessions::peer::Peer;
use crate::transport::tls::TlsInfo;

/// A request whose head and target can be read, and how it came.
pub(super) struct HttpRequest {
    pub(super) head: Head,
    pub(super) target: Target,
    /// `None` where it came without TLS.
    pub(super) tls: Option<Box<TlsInfo>>,
    /// There where a proxy says which client it is of.
    pub(super) proxied: Option<Box<Proxied>>,
}

/// What is known of a request that comes through a trusted proxy.
#[derive(Debug)]
pub(super) struct Proxied {
    /// The proxy: the far end of the connection.
    pub(super) by: Peer,
    /// Whether the client speaks TLS with the proxy, if the proxy says it.
    pub(super) is_tls: Option<bool>,
    /// Whether the proxy speaks the PROXY protocol.
    pub(super) has_header: bool,
}

impl Proxied {
    /// What comes through this proxy, of which nothing more is known.
    pub(super) fn by(proxy: Peer) -> Proxied {
        Proxied {
            by: proxy,
            is_tls: None,
            has_header: false,
        }
    }
}

impl HttpRequest {
    /// Parses a whole head, of a request that came without TLS. The error is the reply.
    pub(super) fn parse(head: Vec<u8>, limits: &Limits) -> Result<HttpRequest, Reply> {
        let head = match Head::parse(head.into_boxed_slice(), limits.header_lines_max) {
            Ok(head) => head,
            Err(HeadFault::Malformed) => return Err(Reply::Malformed("the request is malformed")),
            Err(HeadFault::NotARequest(what)) => return Err(Reply::NotARequest(what)),
            Err(HeadFault::TooManyLines) => return Err(Reply::HeadTooLarge),
        };
        let target = match (head.method(), head.target()) {
            (b"OPTIONS", b"*") => Some(Target::whole_server()),
            (_, target) => Target::parse(target),
        };
        match target {
            Some(target) => Ok(HttpRequest {
                head,
                target,
                tls: None,
                proxied: None,
            }),
            None => Err(Reply::Malformed("the request's target is malformed")),
        }
    }

    /// The step that refuses it with `reply`.
    pub(super) fn refuse(self, reply: Reply) -> NextStep {
        NextStep::refuse(reply, RefusedRequest::new(&self.head, self.target.path))
    }

    /// Whether its client speaks TLS, with this server or with a trusted proxy.
    pub(super) fn is_of_tls(&self) -> bool {
        let at_proxy = self.proxied.as_ref().and_then(|proxied| proxied.is_tls);
        self.tls.is_some() || at_proxy == Some(true)
    }

    /// Whether no browser can have connected, whatever name led it: to a Unix socket, or with a header of the PROXY
    /// protocol. `peer` is the request's.
    pub(super) fn is_of_no_browser(&self, peer: &Peer) -> bool {
        match &self.proxied {
            None => peer.is_unix(),
            Some(proxied) => proxied.by.is_unix() || proxied.has_header,
        }
    }

    /// Whether it asks for a WebSocket (RFC 6455 §4.1).
    pub(super) fn wants_upgrade(&self) -> bool {
        let mut protocols = self.head.elements("upgrade");
        protocols.any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
    }
}
