//! What a server has in its configuration, as this host has it: the defaults.

/// Bytes that may wait for a peer, and in the inbox of its session.
pub(super) const OUTBOUND_BYTES_MAX: u64 = 1024 * 1024;
/// Timers of a session.
pub(super) const TIMERS_MAX: usize = 64;
/// Topics of a session.
pub(super) const TOPICS_MAX: usize = 256;
/// Threads of a handler.
pub(super) const THREADS_MAX: usize = 1024;
/// Bytes of a session's state.
pub(super) const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024;

/// The bytes of a server's frame with this payload (RFC 6455 §5.2).
pub(super) fn frame_len(payload: usize) -> u64 {
    let header = match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    };
    header + payload as u64
}
