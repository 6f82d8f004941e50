//! From a request to the next step: which handler, file or document of the server's own it is for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::authentication::{Compared, PendingComparison, Verdict};
use super::built_in_pages::BuiltInPage;
use super::cross_origin::{AllowedPage, Preflight};
use super::handshake::{self, UpgradeRequest};
use super::health::{Probe, READ_METHODS};
use super::host;
use super::next_step::{Fallback, FileRequest, NextStep};
use super::overlay::{self, Overlay};
use super::refusal_log::RefusedRequest;
use super::reply::{Denial, FullOf, Reply};
use super::request::HttpRequest;
use super::server::Server;
use crate::auth::Auth;
use crate::config::{AddressRefusal, Caller, Config, Metrics};
use crate::listing::engine::EngineReport;
use crate::listing::is_from_here;
use crate::router::RouteError;
use crate::sessions::peer::Peer;
use crate::sessions::permits::Permit;
use crate::sessions::topics::SERVER;
use crate::shared::overload::OverloadLevel;

/// Judges a request. The permit is that of an opening handshake, and is kept while one is under way. `compared` is
/// what was found for its password, where that was compared.
pub(super) fn route(
    request: HttpRequest,
    peer: &Peer,
    permit: Permit,
    server: &Server,
    compared: Option<Compared>,
) -> NextStep {
    let host = match host::of(&request.head, &request.target) {
        Ok(host) => host,
        Err(reply) => return request.refuse(reply),
    };
    // Before anything that a load balancer does not know: the host, and who may enter.
    if let Some(probe) = Probe::of(&request) {
        return answer_probe(probe, request, &host, peer, server);
    }
    if server.stopping.has_begun() {
        return request.refuse(Reply::Stopping);
    }
    let config = server.config.load();
    // Before anything is said of hosts, users and paths.
    if let Some(refusal) = refused_address(&request, peer, &config, server) {
        let reply = Reply::AddressRefused(Box::new(refusal));
        return request.refuse(reply);
    }
    // Before the question of the host: where a validation host is wanted, another one is answered as pywebsocket does.
    if !host::is_valid_target(&request.target, &config) && request.wants_upgrade() {
        return request.refuse(Reply::InvalidTarget);
    }
    if !serves_host(&request, &host, peer, &config, server) {
        let reply = Reply::HostRefused(host.into());
        return request.refuse(reply);
    }
    let user = match &config.auth {
        None => None,
        // Before anything is said of the path: a peer that may not enter is not told what is there.
        Some(auth) => match judge(&request, peer, auth, &config, server, compared) {
            Verdict::Enter(user) => user,
            Verdict::Refuse(reply) => return refuse_unauthorized(request, reply),
            Verdict::Compare(comparison) => {
                return NextStep::ComparePassword(Box::new(RequestWithPassword {
                    request,
                    permit,
                    comparison,
                }));
            }
        },
    };
    drop(config);
    route_entered(request, host, user, peer, permit, server)
}

/// Whether the server answers for the host of this request.
fn serves_host(
    request: &HttpRequest,
    host: &str,
    peer: &Peer,
    config: &Config,
    server: &Server,
) -> bool {
    let is_loopback_only =
        server.is_loopback_only.load(Ordering::Relaxed) && !request.is_of_no_browser(peer);
    host::is_validation_host(&request.target, config)
        || host::is_served(&config.hosts, is_loopback_only, host)
}

/// Answers a probe, whatever its host. A page may read the answer if it may connect, and so by a host that is served only.
fn answer_probe(
    probe: Probe,
    request: HttpRequest,
    host: &str,
    peer: &Peer,
    server: &Server,
) -> NextStep {
    let config = server.config.load();
    let is_served = serves_host(&request, host, peer, &config, server);
    let origins = is_served.then_some(&config.defaults.origins);
    if let Some(preflight) = origins.and_then(|it| Preflight::of(&request, host, it)) {
        return NextStep::Reply(Reply::Preflight(preflight));
    }
    match probe.answer(&request, server.readiness.now()) {
        Some(answer) => {
            let reader = origins.and_then(|it| AllowedPage::of(&request, host, it));
            NextStep::Reply(Reply::Health(answer.readable_for(reader)))
        }
        None => {
            let reply = Reply::MethodNotAllowed {
                allowed: READ_METHODS,
            };
            request.refuse(reply)
        }
    }
}

/// The rule of addresses that keeps the peer from what it asks for.
fn refused_address(
    request: &HttpRequest,
    peer: &Peer,
    config: &Config,
    server: &Server,
) -> Option<AddressRefusal> {
    let caller = Caller {
        address: peer.ip(),
        is_known: peer.is_known(),
    };
    let path = &request.target.path;
    let policy = &config.addresses;
    policy
        .refuses(caller)
        .or_else(|| policy.refuses_at(path, caller))
        .or_else(|| {
            if !policy.is_of_handlers {
                return None;
            }
            let name = handler_of(path, server)?;
            let rules = &config.handler(&name).addresses;
            AddressRefusal::of_handler(&name, rules, caller)
        })
}

/// The name of the handler whose rules hold at `path`: also of one that is not there yet, or is refused.
fn handler_of(path: &str, server: &Server) -> Option<Arc<str>> {
    let found = server.router.handler_at(path);
    found.or_else(|| path.strip_prefix('/').map(Arc::from))
}

/// A request whose password is being compared, or waits for its turn.
pub(super) struct RequestWithPassword {
    pub(super) request: HttpRequest,
    pub(super) permit: Permit,
    pub(super) comparison: PendingComparison,
}

fn judge(
    request: &HttpRequest,
    peer: &Peer,
    auth: &Auth,
    config: &Config,
    server: &Server,
    compared: Option<Compared>,
) -> Verdict {
    let path = &request.target.path;
    let name = handler_of(path, server);
    let own = name.and_then(|name| config.handler(&name).access.as_ref());
    let lines = request.head.values("authorization");
    let access = auth.access(path, own);
    let authenticator = &server.authenticator;
    authenticator.judge(auth, access, lines, peer.ip(), compared)
}

/// Refuses a peer that may not enter. The log has no line for a page that is asked for without a password: browsers
/// ask the user for one after the first answer.
fn refuse_unauthorized(request: HttpRequest, reply: Reply) -> NextStep {
    let says_nothing = matches!(reply, Reply::Unauthorized(_, Denial::Nothing));
    match says_nothing && !request.wants_upgrade() {
        true => NextStep::Reply(reply),
        false => request.refuse(reply),
    }
}

/// Judges a request whose peer may have what it asks for.
fn route_entered(
    request: HttpRequest,
    host: String,
    user: Option<Box<str>>,
    peer: &Peer,
    permit: Permit,
    server: &Server,
) -> NextStep {
    if !request.wants_upgrade() {
        if let Some(preflight) = preflight(&request, &host, server) {
            return NextStep::Reply(Reply::Preflight(preflight));
        }
        let path = &request.target.path;
        let fallback = if server.router.has(path) {
            Fallback::UpgradeRequired
        } else if server.router.is_refused(path) {
            Fallback::NotLoaded
        } else {
            Fallback::NotFound
        };
        return route_to_resource(request, &host, fallback, peer, server);
    }
    if server.overload.level() >= OverloadLevel::RefuseNew {
        return request.refuse(Reply::Full(FullOf::Memory));
    }
    match server.router.enter(&request.target.path) {
        Ok(route) => handshake::begin(UpgradeRequest {
            request,
            host,
            peer,
            user,
            route,
            permit,
        }),
        // An upgrade may be ignored (RFC 9110 §7.8): the answer is what lies at the path.
        Err(RouteError::NoRoute) => {
            let fallback = match server.router.is_refused(&request.target.path) {
                true => Fallback::NotLoaded,
                false => Fallback::NoHandler,
            };
            route_to_resource(request, &host, fallback, peer, server)
        }
        Err(RouteError::Full(limit)) => request.refuse(Reply::Full(FullOf::Handler(limit))),
    }
}

/// The preflight that a request is, if the page may reach what lies at the path.
fn preflight(request: &HttpRequest, host: &str, server: &Server) -> Option<Preflight> {
    let config = server.config.load();
    let name = handler_of(&request.target.path, server);
    let settings = name.map_or(&config.defaults, |name| config.handler(&name));
    Preflight::of(request, host, &settings.origins)
}

/// Judges a request that asks for no upgrade, or asks for one where there is no handler.
fn route_to_resource(
    request: HttpRequest,
    host: &str,
    fallback: Fallback,
    peer: &Peer,
    server: &Server,
) -> NextStep {
    // What a proxy says of its machine is not true of this one.
    let is_proxied = request.proxied.is_some();
    let HttpRequest { head, target, .. } = request;
    let path = target.path;
    let is_for_options = head.method() == b"OPTIONS";
    if is_for_options && fallback == Fallback::UpgradeRequired {
        let allowed = READ_METHODS;
        return NextStep::Reply(Reply::Options { allowed });
    }
    // Files are only read; any other method on a handler's path is meant for the handler.
    let is_for_files = is_for_options || matches!(head.method(), b"GET" | b"HEAD");
    if !is_for_files && fallback != Fallback::NotFound {
        return NextStep::refuse(fallback.reply(), RefusedRequest::new(&head, path));
    }
    let is_here = || !is_proxied && is_from_here(peer, &head, host);
    let served = Served {
        metrics: match server.config.load().metrics {
            Metrics::Local => is_here(),
            Metrics::Any => true,
            Metrics::Off => false,
        },
        listing: server.config.load().handlers_json,
        pages: fallback == Fallback::NotFound && server.config.load().has_built_in_pages(),
        overlay: server.overlay.as_ref(),
    };
    let resource = Resource::at(&path, &served);
    if let Some(allowed) = resource.methods() {
        if is_for_options {
            return NextStep::Reply(Reply::Options { allowed });
        }
        if !allowed.iter().any(|it| it.as_bytes() == head.method()) {
            return NextStep::refuse(
                Reply::MethodNotAllowed { allowed },
                RefusedRequest::new(&head, path),
            );
        }
    }
    match resource {
        Resource::Listing => {
            let usage = |handler: &str| server.node.usage(handler);
            let listing = server.router.listing();
            NextStep::Reply(Reply::Json(listing.json(is_here(), usage)))
        }
        Resource::Engine => {
            let report = EngineReport {
                status: server.node.status(),
                shared: server.node.usage(SERVER),
                total: server.node.total_usage(),
            };
            let limits = &server.config.load().limits;
            NextStep::Reply(Reply::Json(report.json(is_here(), limits)))
        }
        Resource::Metrics => NextStep::Measure,
        Resource::DevScript => NextStep::Reply(Reply::Script(overlay::SCRIPT)),
        Resource::DevEvents(overlay) => NextStep::StreamEvents(overlay.clone()),
        Resource::Page(page) => {
            let addition = server.overlay.as_ref().map(|overlay| overlay.tag());
            NextStep::Reply(Reply::Page(page.answer(&head, addition)))
        }
        Resource::File => NextStep::FindFile(FileRequest {
            head,
            path,
            fallback,
        }),
    }
}

/// What lies at a path that leads to no handler.
#[derive(Debug)]
enum Resource<'a> {
    /// The list of handlers.
    Listing,
    /// What the engine keeps.
    Engine,
    /// The server in numbers.
    Metrics,
    /// The script in pages of `wshd dev`.
    DevScript,
    /// The stream of events that this script listens to.
    DevEvents(&'a Arc<Overlay>),
    /// A page that is part of the program.
    Page(&'static BuiltInPage),
    /// A file, or nothing.
    File,
}

/// Which resources of its own the server has for a request.
struct Served<'a> {
    /// The server in numbers.
    metrics: bool,
    /// The list of handlers and the engine's report.
    listing: bool,
    /// The pages that are part of the program.
    pages: bool,
    /// There in `wshd dev` only.
    overlay: Option<&'a Arc<Overlay>>,
}

impl<'a> Resource<'a> {
    /// What lies at `path`.
    fn at(path: &str, served: &Served<'a>) -> Resource<'a> {
        match (path, served.overlay) {
            (LISTING_PATH, _) if served.listing => return Resource::Listing,
            (ENGINE_PATH, _) if served.listing => return Resource::Engine,
            (METRICS_PATH, _) if served.metrics => return Resource::Metrics,
            (overlay::SCRIPT_PATH, Some(_)) => return Resource::DevScript,
            (overlay::EVENTS_PATH, Some(overlay)) => return Resource::DevEvents(overlay),
            _ => {}
        }
        let page = served.pages.then(|| BuiltInPage::at(path)).flatten();
        page.map_or(Resource::File, Resource::Page)
    }

    /// The methods that it takes; `None` where that depends on the file.
    fn methods(&self) -> Option<&'static [&'static str]> {
        match self {
            Resource::Listing
            | Resource::Engine
            | Resource::Metrics
            | Resource::DevScript
            | Resource::Page(_) => Some(READ_METHODS),
            // A stream has no end, and so no length that an answer to HEAD could say.
            Resource::DevEvents(_) => Some(&["GET", "OPTIONS"]),
            Resource::File => None,
        }
    }
}

/// Where the list of handlers is, for the pages that show it and for operators.
const LISTING_PATH: &str = "/.wshd/handlers.json";
/// Where the engine's report is, for the same readers.
const ENGINE_PATH: &str = "/.wshd/engine.json";
/// Where metrics are, for Prometheus.
const METRICS_PATH: &str = "/.wshd/metrics";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_at_a_path_depends_on_the_configuration_and_on_wshd_dev() {
        let overlay = Overlay::new();
        for (path, listing, is_dev, pages, expected, methods) in [
            (
                LISTING_PATH,
                true,
                false,
                true,
                "Listing",
                "GET, HEAD, OPTIONS",
            ),
            (LISTING_PATH, false, false, true, "File", ""),
            (LISTING_PATH, false, true, true, "File", ""),
            (
                ENGINE_PATH,
                true,
                false,
                true,
                "Engine",
                "GET, HEAD, OPTIONS",
            ),
            (ENGINE_PATH, false, true, true, "File", ""),
            (
                METRICS_PATH,
                true,
                false,
                true,
                "Metrics",
                "GET, HEAD, OPTIONS",
            ),
            (METRICS_PATH, false, true, true, "File", ""),
            (
                overlay::SCRIPT_PATH,
                true,
                true,
                true,
                "DevScript",
                "GET, HEAD, OPTIONS",
            ),
            (overlay::SCRIPT_PATH, true, false, true, "File", ""),
            (
                overlay::EVENTS_PATH,
                false,
                true,
                true,
                "DevEvents",
                "GET, OPTIONS",
            ),
            (overlay::EVENTS_PATH, false, false, true, "File", ""),
            ("/", true, true, false, "File", ""),
            ("/", false, false, true, "Page", "GET, HEAD, OPTIONS"),
            (
                "/style.css",
                true,
                false,
                true,
                "Page",
                "GET, HEAD, OPTIONS",
            ),
            ("/other.css", true, false, true, "File", ""),
            ("/.wshd/other", true, true, true, "File", ""),
        ] {
            let served = Served {
                metrics: listing,
                listing,
                pages,
                overlay: is_dev.then_some(&overlay),
            };
            let found = Resource::at(path, &served);
            let taken = found.methods().unwrap_or_default().join(", ");
            let found = format!("{found:?}");
            assert!(found.starts_with(expected), "{path}: {found}");
            assert_eq!(taken, methods, "{path}");
        }
    }
}
