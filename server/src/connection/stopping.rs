//! The stop of the server, as its connections hear of it.

use tokio::sync::watch;

/// Hears that the server stops.
#[derive(Clone, Debug)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// One that hears what its other end says, and takes the loss of that for a stop.
    pub(crate) fn new() -> (watch::Sender<bool>, Stopping) {
        let (stop, stopping) = watch::channel(false);
        (stop, Stopping(stopping))
    }

    /// Ends when the server stops, at once if it does already.
    pub(crate) async fn begun(&self) {
        let mut stopping = self.0.clone();
        let _ = stopping.wait_for(|stops| *stops).await;
    }

    /// What `work` answers; `None` if the server stops before that.
    pub(crate) async fn unless_begun<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // What has come to its end counts.
            biased;
            done = work => Some(done),
            () = self.begun() => None,
        }
    }
}
