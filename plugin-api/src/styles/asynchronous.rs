//! The async style: an `async fn` that serves one session.

pub(crate) mod adapter;
mod asks;
pub(crate) mod channel;
pub(crate) mod conn;
pub(crate) mod migration;
pub(crate) mod recv;
pub(crate) mod send;
pub(crate) mod session;
pub(crate) mod state;
