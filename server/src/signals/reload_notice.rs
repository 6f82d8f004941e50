//! Tells the service manager when a reload begins and when it is over, so that `systemctl reload` returns then.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, TryRecvError};
use std::time::Duration;

use crate::process::service_manager::{Notice, ServiceManager};
use crate::reload::Control;

/// Starts the thread that tells. Each message is a reload that was asked for; those that follow soon after are told as one.
///
/// # Errors
///
/// The system has no thread left.
pub(super) fn start(
    manager: &'static ServiceManager,
    control: Arc<Control>,
) -> io::Result<mpsc::Sender<()>> {
    let (ask, asked) = mpsc::channel();
    let tell = move || {
        let mut is_asked = asked.recv().is_ok();
        while is_asked {
            while asked.try_recv().is_ok() {}
            manager.tell(&[Notice::reloading_now()]);
            control.wait_until_done(RELOAD_LIMIT);
            // A reload that was asked for meanwhile is not over.
            is_asked = match asked.try_recv() {
                Ok(()) => true,
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {
                    manager.tell(&[Notice::Ready]);
                    asked.recv().is_ok()
                }
            };
        }
    };
    let thread = std::thread::Builder::new().name("reload-notice".to_owned());
    thread.spawn(tell)?;
    Ok(ask)
}

/// How long a file that goes on changing, or a handler that takes its time, may hold the end of a reload up. It is less than
/// systemd waits for it.
const RELOAD_LIMIT: Duration = Duration::from_secs(60);
