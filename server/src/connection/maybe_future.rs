//! A value that often is there at once. Then no allocation is made to wait for it.

use std::pin::Pin;

/// A value, or a future of it.
pub(super) enum MaybeFuture<T> {
    Ready(T),
    Waiting(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T: 'static> MaybeFuture<T> {
    /// A value that has to be waited for, in a box of its own.
    pub(super) fn wait_for(value: impl Future<Output = T> + Send + 'static) -> MaybeFuture<T> {
        MaybeFuture::Waiting(Box::pin(value))
    }
}
