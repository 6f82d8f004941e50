//! Memory that connections share, so that an idle one holds none.
//!
//! [`pool`] has buffers for one message each, [`event_buffers`] what one readiness event needs, and
//! [`record_buffers`] what TLS needs besides.

pub(crate) mod event_buffers;
pub(crate) mod pool;
pub(crate) mod record_buffers;
