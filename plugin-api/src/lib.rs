//! Write WebSocket handlers for wshd.

pub mod abi;
