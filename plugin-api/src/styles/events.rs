//! The events style: a type with a callback for each kind of event of a session.

pub(crate) mod adapter;
mod asks;
pub(crate) mod conn;
pub(crate) mod handler;
mod send;
pub(crate) mod session;
pub(crate) mod state;
