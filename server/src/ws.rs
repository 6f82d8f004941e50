//! The protocol of RFC 6455 and RFC 7692: bytes in, messages out; messages in, bytes out.
//!
//! It has no socket and waits for nothing, so that it can be fuzzed and compared. Its buffers come from a pool,
//! which it goes without while another thread has the pool's lock.

pub(crate) mod close;
pub(crate) mod closing;
pub(crate) mod decoder;
pub(crate) mod deflate;
pub(crate) mod extension;
pub(crate) mod frame;
mod mask;
#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
pub(crate) mod violation;
