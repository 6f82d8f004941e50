//! A server of pluggable WebSocket handlers: a watched directory of compiled libraries, each
//! answering at a path of its own name.

pub mod config;
