//! The suite that every engine passes, with the node side in front of it.
//!
//! A test has the number of the claim that it shows. It runs on each engine of `cluster::KINDS`, unless it is about faults,
//! which only the test bus has. What is shown elsewhere, or not in one process:
//!
//! | claim | where, or why not |
//! |---|---|
//! | 9, two prefixes on one broker | the name that an engine gives a topic at its broker: each one's own tests |
//! | 23, limits within 10 % | `local::memory_tests`; a broker's memory is the broker's |
//! | 30, nothing later than its deadline unless acked | the connection of the test bus keeps nothing back |
//! | 35, `required` | a key of an engine that has a broker |
//! | 39, a moved session neither leaves nor joins | a move is none of the node's: here, that entering again changes nothing |
//! | 47, the limit of a handler's whole store | `local::store::tests` |
//! | 49, 50, 53: envelopes, macs, TLS | bytes on a connection to a broker |
//! | 52, which servers there are | no function tells it yet |
//! | 54, over restarts | who gives a server its number; here, that ids of two servers never meet |

mod broker;
mod client;
mod cluster;
mod failure;
mod history;
mod presence;
mod session;
mod store;
mod storm;
