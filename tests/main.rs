//! Everything that is claimed of a running server, through real sockets, directories and libraries.

mod allocations;
mod c_handlers;
mod compression;
mod configuration;
mod contained;
mod dev;
mod failures;
mod features;
mod golden;
mod harness;
mod hostile;
mod lasting;
mod lifetimes;
mod loading;
mod migration;
mod model;
mod names;
mod new;
mod odd_files;
mod refused_plugins;
mod replacements;
mod signals;
mod straddling;
mod styles;
mod unreadable;
mod watching;
