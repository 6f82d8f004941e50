//! Memory for messages: a pool that all sessions of a plugin share, and queues over it.

pub(crate) mod byte_queue;
pub(crate) mod message_queue;
pub(crate) mod pool;
