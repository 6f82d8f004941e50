//! The tests that this program runs, a file for each subject.

pub(crate) mod admin;
pub(crate) mod bombs;
pub(crate) mod clock;
pub(crate) mod configs;
pub(crate) mod crowds;
pub(crate) mod descriptors;
pub(crate) mod guesses;
pub(crate) mod handlers;
pub(crate) mod heads;
pub(crate) mod lengths;
pub(crate) mod lines;
pub(crate) mod logs;
pub(crate) mod malformed;
pub(crate) mod origins;
pub(crate) mod paths;
pub(crate) mod pings;
pub(crate) mod readers;
pub(crate) mod replacements;
pub(crate) mod secure;
pub(crate) mod signals;
pub(crate) mod slow_heads;
pub(crate) mod upgrades;
pub(crate) mod vanished;
pub(crate) mod violations;
