//! The opening handshake (RFC 6455 §4): the client's request, and the handler's answer.

pub(crate) mod pending;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod sleep;
