//! What all sessions share: how one is found, what others have for it, and what wakes it.

pub(crate) mod address_permits;
pub(crate) mod alarms;
pub(crate) mod answer;
pub(crate) mod cause;
pub(crate) mod descriptors;
pub(crate) mod held_memory;
pub(crate) mod inquiry;
pub(crate) mod mailbox;
pub(crate) mod move_tracker;
pub(crate) mod peer;
pub(crate) mod permits;
pub(crate) mod prepared_message;
pub(crate) mod registry;
pub(crate) mod timer_wheel;
pub(crate) mod topics;
pub(crate) mod trace;
pub(crate) mod traffic;
