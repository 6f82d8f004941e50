//! What an operator may ask of a server that runs, and have it do, at the admin socket.
//!
//! The socket speaks HTTP/1.1 and JSON, one request a connection. Only the server's own user and root may use it. All that
//! is done for it is bounded: connections, the bytes of a request, and the time for each step.

mod actions;
mod answers;
mod connection;
pub(crate) mod json;
pub(crate) mod network;
pub(crate) mod place;
pub(crate) mod port;
pub(crate) mod request;
pub(crate) mod socket;
pub(crate) mod upgrade;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;

use self::port::AdminPort;
use self::upgrade::BeginUpgrade;
use crate::connection::listener::Listeners;
use crate::connection::server::Server;
use crate::reload::Control;
use crate::shared::Shared;
use crate::shared::readiness::Readiness;

/// What requests of operators are answered from.
pub(crate) struct Admin {
    server: Arc<Server>,
    shared: Arc<Shared>,
    control: Arc<Control>,
    /// Where the server listens.
    listeners: Arc<Listeners>,
    /// Where this is asked.
    socket: ArcSwapOption<PathBuf>,
    port: Arc<AdminPort>,
    /// `None` in `wshd dev`.
    begin_upgrade: Option<BeginUpgrade>,
    began: Instant,
    began_at: SystemTime,
    /// How many reloads may wait for their outcome at a time: each holds a thread.
    reloads: tokio::sync::Semaphore,
}

impl Admin {
    pub(crate) fn new(
        server: Arc<Server>,
        shared: Arc<Shared>,
        control: Arc<Control>,
        listeners: Arc<Listeners>,
        socket: Option<PathBuf>,
        port: Arc<AdminPort>,
        begin_upgrade: Option<BeginUpgrade>,
    ) -> Arc<Admin> {
        Arc::new(Admin {
            server,
            shared,
            control,
            listeners,
            socket: ArcSwapOption::from_pointee(socket),
            port,
            begin_upgrade,
            began: Instant::now(),
            began_at: SystemTime::now(),
            reloads: tokio::sync::Semaphore::new(RELOADS_MAX),
        })
    }

    /// Whether the server ends, or another one has taken its place.
    fn is_draining(&self) -> bool {
        self.shared.readiness.now() == Readiness::Draining
    }
}

const RELOADS_MAX: usize = 4;
