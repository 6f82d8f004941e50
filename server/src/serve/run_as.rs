//! From root to another user: what is done while the server still is root, the change, and what the new user lacks.
//!
//! The helper that tries plugins is root's too, and code in the server could ask it for a trial. So it ends first, and
//! another one begins as the new user.

use std::io;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::geteuid;
use tracing::{info, warn};

use super::ServeError;
use crate::admin::place;
use crate::admin::socket::AdminListener;
use crate::border::trial;
use crate::config::document_root;
use crate::config::{AdminSocket, Config};
use crate::connection::listener::Listeners;
use crate::logging;
use crate::process::identity::Identity;

/// Becomes `identity`. What is bound already is given to it, and log files are opened by it.
///
/// # Errors
///
/// The system refuses it, or the user cannot reach what the server needs.
pub(super) fn begin(
    identity: &Identity,
    config: &Config,
    listeners: &Listeners,
    admin_listener: Option<&AdminListener>,
) -> Result<(), ServeError> {
    let (user, group) = identity.numbers();
    let given = listeners.give_files_to(user, group);
    let given = given.and_then(|()| match admin_listener {
        Some(listener) => listener.give_file_to(user, group),
        None => Ok(()),
    });
    given.map_err(ServeError::GiveFile)?;
    if config.admin_socket == AdminSocket::Automatic {
        place::make_service_directory(user, group);
    }
    trial::end_helper();
    identity.assume()?;
    trial::start_helper_again();
    logging::set_files(config)?;
    info!(
        user = identity.name(),
        uid = user,
        gid = group,
        "root's rights are given up"
    );
    document_root::check(config)?;
    tell_unreadable(identity, config);
    Ok(())
}

/// Warns if the server and its handlers run as root, and nothing says that they are to.
pub(super) fn tell_root(config: &Config) {
    if config.user.is_none() && geteuid().is_root() {
        warn!(
            "the server and its handlers run as root; `user` names a user to become as soon as the addresses are bound, and `root` says that this is meant"
        );
    }
}

/// Warns of each file that root has read and that the user cannot read again.
fn tell_unreadable(identity: &Identity, config: &Config) {
    let own = config.file.iter().chain(config.files_besides());
    let files = own.map(std::path::PathBuf::as_path);
    let mut told: Vec<&Path> = Vec::new();
    for path in files.chain(config.tls.files()) {
        let Err(error) = accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS) else {
            continue;
        };
        if !told.contains(&path) {
            told.push(path);
            let error = io::Error::from(error);
            warn!(
                file = %path.display(), user = identity.name(), %error,
                "the user cannot read this file again: changes of it do not apply, and SIGUSR2 fails; let the user read it"
            );
        }
    }
}
