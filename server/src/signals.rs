//! What the operator says with signals.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::plugin::library;
use crate::reload::Control;

/// The signals that this process listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Listens from now on; until it is waited for, nothing happens.
    ///
    /// # Errors
    ///
    /// The system does not give a signal, or this is no runtime with I/O.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Ends with the first SIGTERM or Ctrl-C; from then on a second one ends the process at once.
    /// Until then every SIGHUP reads the configuration again.
    pub async fn stop(mut self, control: Arc<Control>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break info!("SIGTERM, stopping"),
                _ = self.interrupt.recv() => break info!("Ctrl-C, stopping"),
                _ = self.hang_up.recv() => {
                    info!("SIGHUP, reading the configuration again");
                    control.reread();
                }
            }
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            warn!("a second signal, leaving at once");
            crate::logging::flush(std::time::Duration::from_millis(200));
            library::leave(FORCED);
        });
    }
}

/// What a shell says of a process that a signal ended: it was not in good order.
const FORCED: u8 = 130;
