//! What all connections share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;

use super::admission::Admission;
use super::authentication::Authenticator;
use super::overlay::Overlay;
use super::refusal_log::{RefusalLog, RefusedRequest};
use super::reply::Reply;
use super::stopping::Stopping;
use crate::config::Config;
use crate::engine::node::Node;
use crate::metrics::Meters;
use crate::router::Router;
use crate::runtime::pacer::Pacer;
use crate::sessions::peer::Peer;
use crate::sessions::registry::Registry;
use crate::shared::overload::Overload;
use crate::shared::readiness::ServerReadiness;
use crate::transport::settings::TlsSettings;

/// What every connection needs of the server.
pub(crate) struct Server {
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) router: Arc<Router>,
    /// What is kept for the handlers.
    pub(crate) node: Arc<Node>,
    pub(crate) sessions: Arc<Registry>,
    /// What is counted of the server's work.
    pub(crate) meters: Arc<Meters>,
    /// What TLS listeners offer.
    pub(crate) tls: Arc<TlsSettings>,
    /// Spreads the handshakes of TLS.
    pub(crate) tls_handshakes: Arc<Pacer>,
    pub(crate) admission: Admission,
    /// Whether new clients should come here.
    pub(crate) readiness: Arc<ServerReadiness>,
    /// How near the memory of the process is to its limit.
    pub(crate) overload: Arc<Overload>,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) refusals: RefusalLog,
    /// Whether the server listens on loopback addresses only, as it is at each moment.
    pub(crate) is_loopback_only: Arc<AtomicBool>,
    /// What pages are told of failed builds; there in `wshd dev` only.
    pub(crate) overlay: Option<Arc<Overlay>>,
    pub(crate) stopping: Stopping,
}

impl Server {
    /// Logs why `peer` gets `reply`, to this request if it could be read.
    pub(super) fn log_refusal(&self, peer: &Peer, request: Option<&RefusedRequest>, reply: &Reply) {
        let meant = || self.router.meant(&request?.path);
        self.refusals
            .log(peer, request, reply, &meant, &self.config.load());
    }
}
