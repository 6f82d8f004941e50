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

    /// What `becomes` makes of it, now or later.
    pub(crate) fn map<U: 'static>(self, becomes: fn(T) -> U) -> Soon<U> {
        match self {
            Soon::Now(value) => Soon::Now(becomes(value)),
            Soon::Later(value) => Soon::later(async move { becomes(value.await) }),
        }
    }

    /// The value, when it is there.
    pub(crate) async fn get(self) -> T {
        match self {
            Soon::Now(value) => value,
            Soon::Later(value) => value.await,
        }
    }
}
