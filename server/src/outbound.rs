//! What a session sends: messages and control frames, the socket's queue, and the progress of both.

pub(crate) mod controls;
pub(crate) mod flow;
pub(crate) mod wire;
