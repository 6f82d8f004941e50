//! The suite that every engine passes, with the node side in front of it.

mod broker;
mod cluster;
mod session;
