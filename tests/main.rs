//! Everything that is claimed of a running server, through real sockets, directories and libraries.

mod configuration;
mod harness;
mod loading;
mod model;
mod names;
mod refused_plugins;
mod signals;
mod styles;
