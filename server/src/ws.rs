//! The protocol of RFC 6455 and RFC 7692: bytes in, messages out; messages in, bytes out.
//!
//! It knows no socket, takes no lock and waits for nothing, so that it can be fuzzed and compared.

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
