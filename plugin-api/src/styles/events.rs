//! The events style: a type whose callbacks hear what happens to a session.

pub(crate) mod adapter;
pub(crate) mod conn;
pub(crate) mod handler;
mod send;
pub(crate) mod session;
pub(crate) mod state;
