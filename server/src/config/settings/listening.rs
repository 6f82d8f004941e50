//! What `--port` and `--server-host` make of that which the file listens on.

use std::path::Path;

use super::{ConfigDraft, PlacedEndpoint};
use crate::config::endpoint::Endpoint;
use crate::config::listen_address::ListenEntry;

/// Gives this port to every address, but to those with TLS only where there are no others. Where there are no
/// addresses at all, the default ones are listened on too.
pub(super) fn set_port(draft: &mut ConfigDraft, port: u16) {
    if draft
        .listen
        .iter()
        .all(|it| it.endpoint.address().is_none())
    {
        draft.listen.extend(ConfigDraft::default().listen);
    }
    let is_plain = |it: &PlacedEndpoint| matches!(it.endpoint, Endpoint::Plain(_));
    let has_plain = draft.listen.iter().any(is_plain);
    for it in &mut draft.listen {
        if !has_plain || is_plain(it) {
            it.endpoint = it.endpoint.with_port(port);
        }
    }
    each_once(&mut draft.listen);
}

/// Replaces all that is listened on. An address without a port gets that of the first one until now, of the first
/// one with TLS if it has TLS.
pub(super) fn set_interfaces(
    draft: &mut ConfigDraft,
    entries: Vec<ListenEntry>,
    working_dir: &Path,
) {
    let until_now = |entry: &ListenEntry| {
        let like_it = |it: &&PlacedEndpoint| it.endpoint.is_tls() == entry.is_tls();
        let address = |it: &PlacedEndpoint| it.endpoint.address();
        let (mut alike, mut all) = (draft.listen.iter().filter(like_it), draft.listen.iter());
        let first = alike.find_map(address).or_else(|| all.find_map(address));
        first.map_or(DEFAULT_PORT, |address| address.port())
    };
    let endpoints = entries
        .iter()
        .flat_map(|entry| entry.endpoints(until_now(entry), working_dir));
    let mut listen = endpoints.map(PlacedEndpoint::from).collect();
    each_once(&mut listen);
    draft.listen = listen;
}

/// Removes repetitions: two addresses may become equal when they get one port.
fn each_once(listen: &mut Vec<PlacedEndpoint>) {
    let mut once: Vec<Endpoint> = Vec::new();
    listen.retain(|it| {
        let is_new = !once.contains(&it.endpoint);
        once.push(it.endpoint.clone());
        is_new
    });
}

/// The port of an address without one, where nothing but Unix sockets was listened on until now.
const DEFAULT_PORT: u16 = 9998;
