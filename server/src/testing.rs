//! What tests, fuzz targets and the bench share, and their entries to private parts of the server.
//!
//! The program that is built to serve has none of it.

#[cfg(feature = "bench")]
pub mod border_bench;
#[cfg(any(test, fuzzing))]
pub(crate) mod certificates;
#[cfg(any(test, fuzzing))]
pub(crate) mod client_frame;
#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(test)]
pub(crate) mod seeds;
#[cfg(any(test, fuzzing))]
pub(crate) mod tls_settings;
