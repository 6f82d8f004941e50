//! The blocking style: a function that serves one session on a thread of its own.

pub(crate) mod adapter;
mod asks;
pub(crate) mod channel;
pub(crate) mod command;
pub(crate) mod conn;
pub(crate) mod outbox;
pub(crate) mod recv;
