//! What is mostly there at once, so that nothing is allocated to wait for it.

use std::pin::Pin;

/// A value, or a wait for it.
pub(crate) enum Soon<T> {
    Now(T),
    Later(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T: 'static> Soon<T> {
    /// What has to be waited for, in a box of its own.
    pub(crate) fn later(value: impl Future<Output = T> + Send + 'static) -> Soon<T> {
        Soon::Later(Box::pin(value))
    }

    /// The value, when it is there.
    pub(crate) async fn get(self) -> T {
        match self {
            Soon::Now(value) => value,
            Soon::Later(value) => value.await,
        }
    }
}
