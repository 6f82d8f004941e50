//! Reading a request head: bytes in, a head or an error out. Without I/O.

pub(crate) mod head;
pub(crate) mod target;
