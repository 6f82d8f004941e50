//! Who may enter: the rules for paths and handlers, users and tokens, and what a request says of itself.
//!
//! Nothing here reads a file or a socket. `config` reads the files of users and tokens, and `connection` asks here.

pub(crate) mod access;
pub(crate) mod authorization;
pub(crate) mod comparison_queue;
pub(crate) mod credentials;
pub(crate) mod guess_rate;
pub(crate) mod network;
pub(crate) mod password_hash;
pub(crate) mod verified;

use tracing::{info, warn};

use self::access::{Access, PathRules};
use self::credentials::Credentials;

/// What the operator has decided of who may enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub(crate) credentials: Credentials,
    /// The rules for paths. A handler's own rule comes before them.
    pub(crate) paths: PathRules,
    /// A sentence for each thing that makes this less safe than it looks, or that may be a typing error.
    pub(crate) remarks: Vec<String>,
}

impl Auth {
    /// Who may have what lies at `path`, where `own` is the rule of the handler that answers there.
    pub(crate) fn access<'a>(&'a self, path: &str, own: Option<&'a Access>) -> &'a Access {
        own.unwrap_or_else(|| self.paths.access(path))
    }
}

/// Logs how many users and tokens there are, and what is remarkable about who may enter: secrets that others can read or
/// hear are part of it.
pub(crate) fn tell(auth: Option<&Auth>) {
    let Some(auth) = auth else {
        return info!("every peer may enter");
    };
    let (users, tokens) = auth.credentials.counts();
    info!(
        users,
        tokens, "only users may enter, where no rule says otherwise"
    );
    for remark in &auth.remarks {
        warn!(error = %remark, "who may enter may be other than is meant");
    }
}
