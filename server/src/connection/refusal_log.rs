//! The lines in the log for requests that get no session, limited in rate.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Display;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::auth::network::Network;
use crate::config::authority::Authority;
use crate::config::{self, Config, DecidedBy, Hosts};
use crate::connection::files::UnreadFile;
use crate::connection::log_rate::LogRateLimit;
use crate::connection::origin;
use crate::connection::reply::{FullOf, OriginRefusal, Reply};
use crate::http::head::Head;
use crate::metrics::Meters;
use crate::sessions::peer::Peer;
use crate::sessions::trace::TraceId;
use crate::transport::tls::HandshakeFault;

/// Logs and counts refused requests.
#[derive(Debug)]
pub(crate) struct RefusalLog {
    lines: Arc<LogRateLimit>,
    /// Lines for connections of addresses that have too many, and for those of which the server has too many. A flood
    /// causes one line a second, and hides no other refusal.
    of_addresses: Arc<LogRateLimit>,
    of_all: Arc<LogRateLimit>,
    warnings: Arc<LogRateLimit>,
    unread_clients: Arc<LogRateLimit>,
    /// The newest warnings and when they were logged. A page that tries again and again causes one
    /// warning in a while.
    warned: Mutex<VecDeque<(String, Instant)>>,
    meters: Arc<Meters>,
}

/// What the log says of a request that is refused.
#[derive(Debug)]
pub(crate) struct RefusedRequest {
    pub(crate) path: String,
    /// The trace that it is part of.
    pub(crate) trace: Option<TraceId>,
}

/// How a connection ends whose peer gets no answer of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnansweredEnd {
    /// The peer is told by an alert of TLS that the server gives up.
    Alert,
    /// The connection ends, and that is all.
    Silent,
}

impl RefusedRequest {
    /// The request with this head, for `path`.
    pub(crate) fn new(head: &Head, path: String) -> RefusedRequest {
        let trace = trace_of(head);
        RefusedRequest { path, trace }
    }
}

/// The trace that a request is part of, if its head says one as it should be.
pub(crate) fn trace_of(head: &Head) -> Option<TraceId> {
    head.value("traceparent")
        .ok()
        .flatten()
        .and_then(TraceId::of)
}

impl RefusalLog {
    pub(crate) fn new(meters: Arc<Meters>) -> RefusalLog {
        RefusalLog {
            lines: LogRateLimit::new(LINES_MAX),
            of_addresses: LogRateLimit::new(1),
            of_all: LogRateLimit::new(1),
            warnings: LogRateLimit::new(LINES_MAX),
            unread_clients: LogRateLimit::new(1),
            warned: Mutex::default(),
            meters,
        }
    }

    /// Logs why `peer` gets `reply`. Where the configuration decides, says what to write to allow it. There
    /// is no request where it could not be read. `meant` is the path that the peer probably meant.
    pub(crate) fn log(
        &self,
        peer: &Peer,
        request: Option<&RefusedRequest>,
        reply: &Reply,
        meant: &dyn Fn() -> Option<String>,
        config: &Config,
    ) {
        self.count(reply);
        self.log_line(
            self.lines_of(reply),
            peer,
            request,
            Some(reply.status()),
            || {
                let reason = reply.reason();
                match (reply, meant()) {
                    (Reply::NoRoute, Some(meant)) => {
                        format!("{reason}; did you mean `{meant}`?").into()
                    }
                    _ => reason,
                }
            },
        );
        let way_out = match reply {
            Reply::OriginRefused(refusal) => origin_way_out(refusal, config),
            Reply::HostRefused(host) => host_way_out(host, config),
            Reply::Full(FullOf::Address { network, .. }) => address_way_out(*network, config),
            _ => return,
        };
        if self.is_new(&way_out) {
            let line = || warn_of(reply, &way_out);
            self.warnings.log(line, |refused| {
                warn!(refused, "more origins, hosts or addresses refused")
            });
        }
    }

    /// Logs that the handler has the connection of `peer` closed without an answer.
    pub(crate) fn log_abort(&self, peer: &Peer, request: &RefusedRequest) {
        self.meters.handshakes.count("handler_aborted");
        self.log_line(&self.lines, peer, Some(request), None, || {
            "the handler aborts".into()
        });
    }

    /// Logs that the handler answers `peer` in bytes of its own and wants no session.
    pub(crate) fn log_raw(&self, peer: &Peer, request: &RefusedRequest) {
        self.meters.handshakes.count("handler_answered");
        let reason = "the handler answers in bytes of its own";
        self.log_line(&self.lines, peer, Some(request), None, || reason.into());
    }

    /// Logs why the connection of `peer` ends without the answer that it would get otherwise.
    pub(crate) fn log_unanswered(&self, peer: &Peer, reply: &Reply, end: UnansweredEnd) {
        self.count(reply);
        let reason = || match end {
            UnansweredEnd::Alert => format!("ended by a TLS alert: {}", reply.reason()).into(),
            UnansweredEnd::Silent => format!("ended without an answer: {}", reply.reason()).into(),
        };
        self.log_line(self.lines_of(reply), peer, None, None, reason);
    }

    /// Logs why the connection of `peer` is closed without a byte.
    pub(crate) fn log_closed(&self, peer: &Peer, why: impl Display) {
        self.log_line(&self.lines, peer, None, None, || {
            format!("closed without an answer: {why}").into()
        });
    }

    /// Logs that `peer` gets a part of a file only, because of the file.
    pub(crate) fn log_unread_file(&self, peer: &Peer, fault: &UnreadFile) {
        let UnreadFile { path, error } = fault;
        self.warnings.log(
            || warn!(%peer, %path, %error, "a file was sent in part only"),
            |files| warn!(files, "more files were sent in part only"),
        );
    }

    /// Logs that a trusted proxy does not say in this header which client it is for. `element` is what it says instead; empty
    /// for nothing.
    pub(crate) fn log_unread_client(&self, proxy: &Peer, header: &str, element: &[u8]) {
        let found = element[..element.len().min(FOUND_BYTES_MAX)].escape_ascii();
        let found = match element {
            [] => None,
            _ => Some(tracing::field::display(found)),
        };
        let way_out = "let the proxy add the client's address to this header";
        self.unread_clients.log(
            || {
                warn!(
                    peer = %proxy, header, found,
                    "a trusted proxy says no address of its client, so the client is unknown; {way_out}"
                );
            },
            |requests| warn!(requests, "more requests of unknown clients of trusted proxies"),
        );
    }

    /// Logs why `peer` gets no further than the TLS handshake.
    pub(crate) fn log_tls(&self, peer: &Peer, fault: &HandshakeFault) {
        self.meters.handshakes.count("tls_failed");
        self.log_line(&self.lines, peer, None, None, || {
            format!("TLS: {fault}").into()
        });
    }

    /// Counts a refusal, and the limit that it is for.
    fn count(&self, reply: &Reply) {
        self.meters.handshakes.count(reply.outcome());
        if let Some(limit) = reply.limit() {
            self.meters.limits.count(limit);
        }
    }

    /// The limit of lines for this kind of refusal.
    fn lines_of(&self, reply: &Reply) -> &Arc<LogRateLimit> {
        match reply {
            Reply::Full(FullOf::Address { .. }) | Reply::TooManyHandshakes => &self.of_addresses,
            Reply::Full(FullOf::Connections | FullOf::Handshakes | FullOf::HandshakeRate) => {
                &self.of_all
            }
            _ => &self.lines,
        }
    }

    fn log_line(
        &self,
        lines: &Arc<LogRateLimit>,
        peer: &Peer,
        request: Option<&RefusedRequest>,
        status: Option<u16>,
        reason: impl FnOnce() -> Cow<'static, str>,
    ) {
        let line = || {
            info!(
                %peer,
                path = request.map(|it| tracing::field::display(&it.path)),
                status,
                reason = &*reason(),
                trace = request.and_then(|it| it.trace).map(tracing::field::display),
                "handshake refused"
            );
        };
        lines.log(line, |refused| info!(refused, "more handshakes refused"));
    }

    /// Whether this warning was not logged within the last seconds.
    fn is_new(&self, way_out: &str) -> bool {
        let now = Instant::now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.retain(|(_, said)| now.saturating_duration_since(*said) < SAID_FOR);
        if warned.iter().any(|(known, _)| known == way_out) {
            return false;
        }
        if warned.len() == WARNED_MAX {
            warned.pop_front();
        }
        warned.push_back((way_out.to_owned(), now));
        true
    }
}

fn warn_of(reply: &Reply, way_out: &str) {
    match reply {
        Reply::OriginRefused(refusal) => warn!(
            handler = %refusal.handler,
            origin = %refusal.origin,
            host = %refusal.host,
            "origin refused; {way_out}"
        ),
        Reply::HostRefused(host) => warn!(host = %host, "host refused; {way_out}"),
        Reply::Full(FullOf::Address { network, max }) => warn!(
            address = %network,
            connections = max,
            "an address has as many connections as it may; {way_out}"
        ),
        _ => {}
    }
}

/// What allows this origin, or why nothing does.
fn origin_way_out(refusal: &OriginRefusal, config: &Config) -> String {
    let Some(allowing) = origin::allowing(&refusal.origins, &refusal.origin) else {
        return format!("no browser writes `{}`", refusal.origin.escape_debug());
    };
    let table = (refusal.by == DecidedBy::Table).then_some(&*refusal.handler);
    advice("origins", &allowing, refusal.by, table, config)
}

/// What allows this host, or why nothing does.
fn host_way_out(host: &str, config: &Config) -> String {
    let name = Authority::parse(host).map(|authority| authority.host);
    let Some(name) = name.filter(|name| config::is_host(name)) else {
        return format!("`{}` is no name that `hosts` can list", host.escape_debug());
    };
    let mut hosts: Vec<&str> = match &config.hosts {
        Hosts::Local | Hosts::Any => Vec::new(),
        Hosts::Listed(listed) => listed.iter().map(String::as_str).collect(),
    };
    hosts.push(name);
    advice("hosts", &hosts, config.hosts_by, None, config)
}

/// What lets an address have more connections.
fn address_way_out(network: Network, config: &Config) -> String {
    let file = config.file_to_write().unwrap_or(Path::new("config.toml"));
    let file = file.display();
    format!("if {network} is to have more: connections_per_address_max under [limits] in {file}")
}

/// What to write, and where: on the layer of the configuration that decides now.
fn advice(
    key: &str,
    values: &[&str],
    by: DecidedBy,
    table: Option<&str>,
    config: &Config,
) -> String {
    match by {
        DecidedBy::Flag => return format!("to allow it: --{key} {}", values.join(",")),
        DecidedBy::Variable => {
            return format!(
                "to allow it: WSHD_{}={}",
                key.to_uppercase(),
                values.join(",")
            );
        }
        DecidedBy::File | DecidedBy::Table => {}
    }
    let place = match table {
        None => "above the first table of".to_owned(),
        Some(handler) => format!("under {} in", config::handler_table(handler)),
    };
    let file = config.file_to_write().unwrap_or(Path::new("config.toml"));
    format!("to allow it: {key} = {values:?} {place} {}", file.display())
}

/// Bytes of a header that are logged.
const FOUND_BYTES_MAX: usize = 100;
/// Lines that are logged in one second.
const LINES_MAX: u32 = 20;
/// How long a warning is not logged again.
const SAID_FOR: Duration = Duration::from_secs(10);
/// Warnings that are remembered.
const WARNED_MAX: usize = 32;
