//! The opening handshake (RFC 6455 §4.2): from a request for an upgrade to a session, or to a refusal.
//!
//! `rules` checks what the head alone keeps or breaks. This file checks the origin, and whether the handler
//! may be asked. `pending` asks the handler, again after each `wake` while it says PENDING. `answer` turns
//! what the handler says into a 101, a refusal or the handler's own bytes.

pub(super) mod answer;
pub(super) mod pending;
pub(super) mod raw_reply;
pub(crate) mod rules;

use self::pending::PendingHandshake;
use self::rules::Checked;
use super::next_step::NextStep;
use super::origin;
use super::reply::{OriginRefusal, Reply};
use super::request::HttpRequest;
use crate::border::quarantine::NotLetIn;
use crate::config::DecidedBy;
use crate::generation::Generation;
use crate::router::RouteMatch;
use crate::sessions::peer::Peer;
use crate::sessions::permits::Permit;

/// A request for an upgrade at the path of a handler.
pub(super) struct UpgradeRequest<'a> {
    pub(super) request: HttpRequest,
    /// The host that the request is for.
    pub(super) host: String,
    pub(super) peer: &'a Peer,
    /// The user that the peer has entered with, if it had to say one.
    pub(super) user: Option<Box<str>>,
    pub(super) route: RouteMatch,
    /// Kept while the handshake is under way.
    pub(super) permit: Permit,
}

/// Checks an opening handshake and asks its handler, unless the handler is throttled.
pub(super) fn begin(upgrade: UpgradeRequest<'_>) -> NextStep {
    let generation = upgrade.route.generation_ref.generation();
    let checked = match check(&upgrade, generation) {
        Ok(checked) => checked,
        Err(reply) => return refuse(upgrade, reply),
    };
    if let Err(NotLetIn { after, by_operator }) = generation.context.let_in() {
        return refuse(upgrade, Reply::Quarantined { after, by_operator });
    }
    let is_throttled = generation.context.throttle.is_on();
    let handshake = PendingHandshake::new(upgrade, checked);
    match is_throttled {
        true => handshake.wait_for_release(),
        false => handshake.ask(),
    }
}

fn refuse(upgrade: UpgradeRequest<'_>, reply: Reply) -> NextStep {
    upgrade.request.refuse(reply)
}

fn check(upgrade: &UpgradeRequest<'_>, generation: &Generation) -> Result<Checked, Reply> {
    let head = &upgrade.request.head;
    let checked = rules::check(head)?;
    if head.values("origin").next().is_some() {
        let is_tls = upgrade.request.is_of_tls();
        check_origin(&checked.origin, &upgrade.host, is_tls, generation)?;
    }
    Ok(checked)
}

fn check_origin(
    origin: &str,
    host: &str,
    is_tls: bool,
    generation: &Generation,
) -> Result<(), Reply> {
    let settings = generation.settings();
    if generation.judges_origins() && settings.origins_by != DecidedBy::Table {
        return Ok(());
    }
    if origin::is_allowed(&settings.origins, origin, host, is_tls) {
        return Ok(());
    }
    Err(Reply::OriginRefused(Box::new(OriginRefusal {
        handler: generation.handler.clone(),
        origin: origin.to_owned(),
        host: host.to_owned(),
        origins: settings.origins.clone(),
        by: settings.origins_by,
    })))
}
