//! What the handler of tests/fixtures/c/hostile.c sends. Integration tests and tests/abuse share it.

/// When a session opens: what it is told of the pointer of its handshake.
pub(crate) const SAID_AT_OPEN: &str = "the response of a handshake that is over: MISUSE";
/// For a message: the calls that it makes, each with its status.
pub(crate) const SAID: [&str; 16] = [
    "nothing: MISUSE",
    "a copy: MISUSE",
    "a number: MISUSE",
    "one byte off: MISUSE",
    "of another session, or one that is gone: MISUSE",
    "of an earlier callback of another session: MISUSE",
    "on another thread: MISUSE",
    "what is not the room: OK",
    "commit after another call: INVALID",
    "commit of nothing: INVALID",
    "nothing with a length: INVALID",
    "more than there is: TOO_BIG",
    "a topic with NUL: INVALID",
    "reads 2: INVALID",
    "a code of 32 bits: INVALID",
    "a kind of a later minor: UNSUPPORTED",
];
