//! What holds for one handler, and for each of its sessions.

use serde_json::{Map, Value};

use super::addresses::AddressRules;
use super::settings::limits::{HandlerLimits, SessionLimits};
use super::{Access, DecidedBy};

/// What holds for one handler.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerConfig {
    /// What a new generation does with the sessions of the old one.
    pub reload: ReloadPolicy,
    /// Which pages may connect.
    pub origins: Origins,
    /// Where `origins` is decided.
    pub origins_by: DecidedBy,
    /// Who may reach it; `None` is what holds for its path.
    pub access: Option<Access>,
    /// Which addresses may reach it, of those that may connect at all.
    pub addresses: AddressRules,
    /// Whether it may write past the framing: `wsh.raw/1`.
    pub raw: bool,
    /// Limits of the handler.
    pub limits: HandlerLimits,
    /// Limits of each of its sessions.
    pub session: SessionLimits,
    /// The object that the handler itself reads: `config = {…}` in its table.
    pub config: Value,
}

impl Default for HandlerConfig {
    fn default() -> HandlerConfig {
        HandlerConfig {
            reload: ReloadPolicy::Migrate,
            origins: Origins::SameHost,
            origins_by: DecidedBy::File,
            access: None,
            addresses: AddressRules::default(),
            raw: false,
            limits: HandlerLimits::default(),
            session: SessionLimits::default(),
            config: Value::Object(Map::new()),
        }
    }
}

/// What a new generation does with the sessions of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadPolicy {
    /// Sessions move to the new code with their state; those that cannot move finish on the old code.
    Migrate,
    /// Sessions finish on the old code.
    Drain,
    /// Sessions are closed with 1012.
    Close,
}

/// Which pages may connect (RFC 6455 §10.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the request's own `Host`; between loopback names the port may differ.
    SameHost,
    /// All pages.
    Any,
    /// Pages of these origins, written as browsers write them: `https://example.com` or `null`.
    /// `https://*.example.com` is all origins below a host, and [`SAME_HOST`] the request's own `Host`.
    Listed(Vec<String>),
}

/// How much may wait for a peer, and what happens to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutboundLimit {
    pub(crate) bytes_max: usize,
    pub(crate) policy: OutboundPolicy,
}

impl SessionLimits {
    /// Whether what a peer sends in a second has a limit.
    pub(crate) fn has_rate(&self) -> bool {
        self.messages_per_s_max > 0 || self.bytes_per_s_max > 0
    }

    /// How much may wait for a peer, and what happens to more.
    pub(crate) fn outbound(&self) -> OutboundLimit {
        OutboundLimit {
            bytes_max: self.outbound_bytes_max,
            policy: self.outbound_policy,
        }
    }
}

/// A limit with the policy that closes.
impl From<usize> for OutboundLimit {
    fn from(bytes_max: usize) -> OutboundLimit {
        let policy = OutboundPolicy::Close;
        OutboundLimit { bytes_max, policy }
    }
}

/// What happens to a message that passes `outbound_bytes_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboundPolicy {
    /// Its session is closed with 1008.
    Close,
    /// It is dropped.
    DropNew,
    /// The oldest whole messages that wait are dropped, until it fits.
    DropOldest,
}

/// What happens to a session whose peer sends more than `messages_per_s_max` or `bytes_per_s_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RatePolicy {
    /// The peer is not read until it may send again.
    Pause,
    /// The session is closed with 1008.
    Close,
}

/// The word for [`Origins::SameHost`], alone or in a list.
pub const SAME_HOST: &str = "same-host";
