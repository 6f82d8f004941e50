//! The server at one moment, in numbers: what metrics and operators' commands show.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::server::Server;
use crate::engine::Usage as EngineUsage;
use crate::listing::Listed;
use crate::logging;
use crate::metrics::HandlerMeters;
use crate::metrics::histogram::HistogramCounts;
use crate::process::clock::Moment;
use crate::process::usage::Usage;
use crate::runtime::wakes;
use crate::sessions::traffic::{HandlerTraffic, TrafficByHandler, TrafficCounts};

/// The server at one moment. Counts begin with the process; no reload sets one back.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) version: &'static str,
    /// The time since the process began.
    pub(crate) uptime_ms: u64,
    /// Open connections, those without a session included.
    pub(crate) connections: usize,
    pub(crate) connections_max: usize,
    /// What the server does against an overload: 0 is nothing, 3 is to close sessions.
    pub(crate) overload_level: u8,
    /// Opening handshakes that are under way.
    pub(crate) pending_handshakes: usize,
    /// Files that are being sent.
    pub(crate) downloads: usize,
    /// Accepted connections, by what carries them: `tcp`, `tls`, `unix`.
    pub(crate) accepted: Counts,
    /// Handshakes and other requests, by their outcome.
    pub(crate) handshakes: Counts,
    pub(crate) closes: Vec<ClosesOf>,
    /// How often each limit was reached, by its key.
    pub(crate) limits_hit: Counts,
    /// By their outcome: `loaded`, `refused`, `removed`.
    pub(crate) handler_loads: Counts,
    /// Readings by their outcome: `applied`, `refused`.
    pub(crate) configurations: Counts,
    pub(crate) certificate_readings: Counts,
    pub(crate) certificates: Vec<CertificateEnd>,
    pub(crate) log_lines_dropped: u64,
    pub(crate) process: Usage,
    /// In the order of their names.
    pub(crate) handlers: Vec<HandlerSnapshot>,
}

/// Counts under words of the server's own.
pub(crate) type Counts = Vec<(&'static str, u64)>;

/// The sessions that ended with a code, by the side that began the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ClosesOf {
    pub(crate) code: &'static str,
    pub(crate) side: &'static str,
    pub(crate) count: u64,
}

/// When a certificate that is offered expires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CertificateEnd {
    /// Its first name.
    pub(crate) name: String,
    /// In seconds since 1970.
    pub(crate) not_after: u64,
}

/// One handler at one moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HandlerSnapshot {
    pub(crate) name: String,
    /// The generation that new sessions begin on, if the handler serves.
    pub(crate) generation: Option<u64>,
    pub(crate) is_quarantined: bool,
    /// Older generations of which something still runs.
    pub(crate) draining: usize,
    /// Generations that are gone.
    pub(crate) retired: usize,
    /// Why its file is not what serves.
    pub(crate) refusal: Option<String>,
    /// Open sessions.
    pub(crate) sessions: u64,
    pub(crate) opened: u64,
    /// Sessions that are over, by their cause.
    pub(crate) ended: Counts,
    pub(crate) panics: u64,
    pub(crate) traffic: TrafficCounts,
    /// Bytes that wait to be sent to open sessions.
    pub(crate) queue_bytes: u64,
    /// Callbacks that were timed. The ranges are those of `metrics::histogram::BOUNDS`.
    pub(crate) callbacks: HistogramCounts,
    pub(crate) topics: usize,
    pub(crate) members: usize,
    /// Bytes of publications that are kept, and of values.
    pub(crate) kept_bytes: usize,
}

impl Snapshot {
    /// The server now. Other tasks run in between, since there may be many sessions.
    pub(crate) async fn take(server: &Server) -> Snapshot {
        let mut traffic = TrafficByHandler::new();
        let mut part = 0;
        while server.sessions.add_traffic(part, &mut traffic) {
            part += 1;
            wakes::yield_now().await;
        }
        let meters = &server.meters;
        let closes = meters.closes.counts().into_iter();
        Snapshot {
            version: env!("CARGO_PKG_VERSION"),
            uptime_ms: Moment::now().ms_since(Moment::ORIGIN),
            connections: server.admission.open_connections(),
            connections_max: server
                .admission
                .connections_max(&server.config.load().limits),
            overload_level: server.overload.level() as u8,
            pending_handshakes: server.admission.pending_handshakes(),
            downloads: server.admission.downloads(),
            accepted: meters.connections.counts(),
            handshakes: meters.handshakes.counts(),
            closes: closes
                .map(|(code, side, count)| ClosesOf { code, side, count })
                .collect(),
            limits_hit: meters.limits.counts(),
            handler_loads: meters.handler_loads.counts(),
            configurations: meters.configurations.counts(),
            certificate_readings: meters.certificates.counts(),
            certificates: certificate_ends(server),
            log_lines_dropped: logging::dropped_lines(),
            process: Usage::now(),
            handlers: handlers(server, &traffic),
        }
    }
}

fn certificate_ends(server: &Server) -> Vec<CertificateEnd> {
    let certificates = server.tls.certificates();
    let ends = certificates.iter().filter_map(|it| {
        Some(CertificateEnd {
            name: it.name().to_owned(),
            not_after: it.not_after?,
        })
    });
    // Two certificates may have one name, with keys of two kinds. The first to expire counts.
    let mut first: BTreeMap<String, u64> = BTreeMap::new();
    for end in ends {
        let known = first.entry(end.name).or_insert(end.not_after);
        *known = end.not_after.min(*known);
    }
    let ends = first.into_iter();
    ends.map(|(name, not_after)| CertificateEnd { name, not_after })
        .collect()
}

/// The handlers that are listed, and those of which something was counted before they were removed.
fn handlers(server: &Server, traffic: &TrafficByHandler) -> Vec<HandlerSnapshot> {
    let listing = server.router.listing();
    let meters = server.meters.handlers();
    let listed = listing.all().iter().map(|listed| &*listed.name);
    let mut names: Vec<&str> = listed.chain(meters.keys().map(|name| &**name)).collect();
    names.sort_unstable();
    names.dedup();
    let of_name = |name: &str| {
        let traffic = traffic.get(name).copied().unwrap_or_default();
        let usage = server.node.usage(name);
        let meters = meters.get(name).map(|meters| &**meters);
        HandlerSnapshot::new(name, listing.find(name), meters, traffic, &usage)
    };
    names.into_iter().map(of_name).collect()
}

impl HandlerSnapshot {
    fn new(
        name: &str,
        listed: Option<&Listed>,
        meters: Option<&HandlerMeters>,
        traffic: HandlerTraffic,
        usage: &EngineUsage,
    ) -> HandlerSnapshot {
        let serving = listed.and_then(|it| it.serving.as_ref());
        let old = listed.map_or(&[][..], |it| &it.old);
        let gone = old.iter().filter(|generation| generation.is_gone()).count();
        let callbacks = meters.map_or_else(HistogramCounts::default, |it| it.callbacks.counts());
        HandlerSnapshot {
            name: name.to_owned(),
            generation: serving.map(|generation| generation.number),
            is_quarantined: serving.is_some_and(|generation| generation.is_quarantined()),
            draining: old.len() - gone,
            retired: listed.map_or(0, |it| it.retired) + gone,
            refusal: listed.and_then(|it| it.refusal.clone()),
            sessions: meters.map_or(0, HandlerMeters::sessions),
            opened: meters.map_or(0, |it| it.opened.load(Ordering::Relaxed)),
            ended: meters.map_or_else(Vec::new, |it| it.ended.counts()),
            panics: meters.map_or(0, |it| it.panics.load(Ordering::Relaxed)),
            traffic: traffic.counts,
            queue_bytes: traffic.queue_bytes,
            callbacks,
            topics: usage.topics,
            members: usage.members,
            kept_bytes: usage.history_bytes + usage.store_bytes,
        }
    }
}
