//! Entries of fuzz targets and the bench to private parts of the server. A server that is built to
//! serve has none of it.

#[cfg(feature = "bench")]
pub mod border_bench;
#[cfg(fuzzing)]
pub mod fuzzing;
