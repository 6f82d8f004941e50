//! How connections learn that the server stops.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// Tells whether the server stops.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// The receiver and the sender that begins the stop, by `true` or by being dropped.
    pub(crate) fn new() -> (watch::Sender<bool>, Stopping) {
        let (stop, stopping) = watch::channel(false);
        (stop, Stopping(stopping))
    }

    /// Ends when the server stops, at once if it stops already.
    pub(crate) async fn begun(&self) {
        let mut stopping = self.0.clone();
        let _ = stopping.wait_for(|stops| *stops).await;
    }

    /// Whether the server stops.
    pub(crate) fn has_begun(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Ends when the server has been stopping for so long, or so long after this call if it stops already.
    pub(crate) async fn begun_for(&self, time: Duration) {
        self.begun().await;
        // In a box, so that it takes no memory of connections before the stop.
        Box::pin(sleep(time)).await;
    }

    /// The result of `work`; `None` if the server stops before `work` is done.
    pub(crate) async fn unless_begun<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // The result counts where both are ready.
            biased;
            done = work => Some(done),
            () = self.begun() => None,
        }
    }
}
