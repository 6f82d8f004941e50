//! The suite that every engine passes, with the node side in front of it.
//!
//! A test has the number of the claim that it shows. It runs on each engine of `cluster::KINDS`, or on one of them:
//!
//! | claims | where |
//! |---|---|
//! | 1 to 4, 8 to 11, 13 to 16, 19, 31, 36, 39, 41, 43 to 48 | the engine in memory, and the test bus with five servers |
//! | 5 to 7, 12, 17, 18, 20, 22, 24 to 30, 32 to 34, 35 in part, 37, 38, 40, 42, 51, 54 in part | the test bus: they are about several servers, or about faults |
//! | 21, and 14 among threads | the engine in memory: the broker of the test bus forgets no topic, and the test bus has one thread |
//! | 3, 4, 12, 15, 17, 18, 25 to 29, 32 and 33 at once | `storm`, by seeds of faults on the test bus |
//!
//! What is shown elsewhere, or not in one process:
//!
//! | claim | where, or why not |
//! |---|---|
//! | 9, two prefixes on one broker | the name that an engine gives a topic at its broker: each one's own tests |
//! | 23, limits within 10 % | `local::memory_tests`; a broker's memory is the broker's |
//! | 30, what waits in the queue of a connection | the connection of the test bus keeps nothing back; here, that the server itself publishes nothing late |
//! | 33, `when_down = "local"` | no engine has it yet; a topic with history refuses |
//! | 35, `required` | a key of an engine that has a broker |
//! | 39, a moved session neither leaves nor joins | a move is none of the node's: here, that entering again changes nothing |
//! | 47, the limit of a handler's whole store | `local::store::tests` |
//! | 49, 50, 53: envelopes, macs, TLS | bytes on a connection to a broker; that of the test bus carries values |
//! | 52, which servers there are | no function tells it yet; 36 and 37 show when the members of one come and go |
//! | 54, over restarts | what gives a server its number; here, that ids of two servers never meet |

mod broker;
mod client;
mod cluster;
mod failure;
mod history;
mod joining;
mod policies;
mod presence;
mod session;
mod store;
mod storm;
mod ticks;
