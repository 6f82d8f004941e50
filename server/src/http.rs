//! HTTP/1.1 without I/O: reads a request head and its target, writes the head of a response.

pub(crate) mod head;
pub(crate) mod response;
pub(crate) mod target;
