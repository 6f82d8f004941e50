//! The limits of the host of a test: the defaults of a server's configuration.

/// How many bytes may wait for a peer, and in the mailbox of its session.
pub(super) const OUTBOUND_BYTES_MAX: u64 = 1024 * 1024;
/// How many timers a session may have.
pub(super) const TIMERS_MAX: usize = 64;
/// How many topics a session may have.
pub(super) const TOPICS_MAX: usize = 256;
/// How many threads a handler may have.
pub(super) const THREADS_MAX: usize = 1024;
/// How many bytes a session's state may have.
pub(super) const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024;

/// How many asks of a session may wait for their answers.
pub(super) const SESSION_ASKS_MAX: usize = 64;
/// How many asks of the handler itself may wait for their answers.
pub(super) const ASKS_MAX: usize = 1024;
/// How many bytes of keys and values a handler may keep.
pub(super) const STORE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many bytes one kept value may have.
pub(super) const STORE_VALUE_BYTES_MAX: usize = 64 * 1024;
/// How many bytes a member may say of itself.
pub(super) const PRESENCE_VALUE_BYTES_MAX: usize = 1024;
/// How many bytes all members may say of themselves.
pub(super) const PRESENCE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The length of a server's frame with a payload of this length (RFC 6455 §5.2).
pub(super) fn frame_len(payload: usize) -> u64 {
    let header = match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    header + payload as u64
}
