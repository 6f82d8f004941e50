//! What is mostly there at once, so that nothing is allocated to wait for it.

use std::pin::Pin;

/// A value, or a wait for it.
pub(crate) enum MaybeFuture<T> {
    Ready(T),
    Waiting(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T: 'static> MaybeFuture<T> {
    /// What has to be waited for, in a box of its own.
    pub(crate) fn wait_for(value: impl Future<Output = T> + Send + 'static) -> MaybeFuture<T> {
        MaybeFuture::Waiting(Box::pin(value))
    }

    /// The value, when it is there.
    pub(crate) async fn get(self) -> T {
        match self {
            MaybeFuture::Ready(value) => value,
            MaybeFuture::Waiting(value) => value.await,
        }
    }
}
