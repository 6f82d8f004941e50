//! Which listeners have a loop that accepts connections.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::info;

use super::super::{Listener, ListenerEnd, accept};
use crate::connection::server::Server;

/// A listener, and what ends its loop.
#[derive(Debug)]
pub(super) struct OpenListener {
    pub(super) listener: Listener,
    /// `None` while nothing is accepted.
    pub(super) end: Option<oneshot::Sender<ListenerEnd>>,
}

/// Whether connections are accepted.
pub(super) enum Accepting {
    /// Not yet: they wait.
    No,
    Yes {
        server: Arc<Server>,
        alive: mpsc::Sender<()>,
        loops: JoinSet<()>,
    },
    /// Never again.
    Ended,
}

impl OpenListener {
    /// A listener on which nothing is accepted.
    pub(super) fn of(listener: Listener) -> OpenListener {
        OpenListener {
            listener,
            end: None,
        }
    }

    pub(super) fn end(self, end: ListenerEnd) {
        if let Some(sender) = self.end {
            // A loop that has ended is what is wanted.
            let _ = sender.send(end);
        }
    }
}

impl Accepting {
    /// Accepts on this listener from now on, if connections are accepted.
    pub(super) fn begin(&mut self, it: &mut OpenListener, runtime: &Handle) {
        if let Accepting::Yes {
            server,
            alive,
            loops,
        } = self
        {
            let listener = it.listener.clone();
            info!(address = %listener.endpoint(), "listening");
            // Loops that have ended are forgotten.
            while loops.try_join_next().is_some() {}
            let (end, ended) = oneshot::channel();
            let accept = accept(listener, server.clone(), alive.clone(), ended);
            loops.spawn_on(accept, runtime);
            it.end = Some(end);
        }
    }
}

impl std::fmt::Debug for Accepting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Accepting::No => "No",
            Accepting::Yes { .. } => "Yes",
            Accepting::Ended => "Ended",
        })
    }
}
