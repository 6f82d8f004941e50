//! Memory that connections share, so that an idle one holds none.

pub(crate) mod rooms;
pub(crate) mod scratch;
