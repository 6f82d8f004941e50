#![forbid(unsafe_code)]
//! Sends every message back.
