//! Counts what passes between sessions and their peers: messages, and bytes with the framing.
//!
//! A session's counts lie in its mailbox. The thread that has the right to send or to receive for the session changes them
//! by a load and a store, so that a message pays for no lock. Only messages that are dropped are counted by any thread. Any
//! thread reads the counts. What sessions have counted that are over is kept in the registry, by handler.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// The counts of one session.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    messages_in: AtomicU64,
    messages_out: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    messages_dropped: AtomicU64,
}

/// Counts as they are at one moment, of one session or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TrafficCounts {
    /// Whole messages that the peer has sent.
    pub(crate) messages_in: u64,
    /// Whole messages that were queued for the peer.
    pub(crate) messages_out: u64,
    /// Bytes that came from the peer, framing included; with TLS the plaintext.
    pub(crate) bytes_in: u64,
    /// Bytes that the kernel has taken for the peer.
    pub(crate) bytes_out: u64,
    /// Whole messages that the policy of the outbound limit has dropped, of them those that were queued before.
    pub(crate) messages_dropped: u64,
}

/// The counts of one handler's sessions, those that are over included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HandlerTraffic {
    pub(crate) counts: TrafficCounts,
    /// Bytes that wait to be sent to open sessions.
    pub(crate) queue_bytes: u64,
}

/// The traffic of each handler.
pub(crate) type TrafficByHandler = BTreeMap<Arc<str>, HandlerTraffic>;

impl Traffic {
    /// Counts messages that came.
    #[inline]
    pub(crate) fn add_messages_in(&self, messages: u64) {
        add(&self.messages_in, messages);
    }

    /// Counts messages that were queued or sent.
    #[inline]
    pub(crate) fn add_messages_out(&self, messages: u64) {
        add(&self.messages_out, messages);
    }

    /// Counts bytes that another thread has sent in the session's place.
    #[inline]
    pub(crate) fn add_bytes_out(&self, bytes: u64) {
        add(&self.bytes_out, bytes);
    }

    /// Counts messages that were dropped.
    #[cold]
    pub(crate) fn add_messages_dropped(&self, messages: u64) {
        self.messages_dropped.fetch_add(messages, Ordering::Relaxed);
    }

    /// Bytes that the session, and others in its place, have sent.
    #[inline]
    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// Takes over what the session has counted itself in its life.
    #[inline]
    pub(crate) fn set_bytes(&self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in.store(bytes_in, Ordering::Relaxed);
        self.bytes_out.store(bytes_out, Ordering::Relaxed);
    }

    /// The counts now.
    pub(crate) fn counts(&self) -> TrafficCounts {
        TrafficCounts {
            messages_in: self.messages_in.load(Ordering::Relaxed),
            messages_out: self.messages_out.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            messages_dropped: self.messages_dropped.load(Ordering::Relaxed),
        }
    }
}

impl TrafficCounts {
    /// Adds the counts of another session, or of others.
    pub(crate) fn add(&mut self, other: TrafficCounts) {
        self.messages_in += other.messages_in;
        self.messages_out += other.messages_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.messages_dropped += other.messages_dropped;
    }
}

/// One thread adds at a time, so this takes no lock of the bus.
#[inline]
fn add(count: &AtomicU64, more: u64) {
    let before = count.load(Ordering::Relaxed);
    count.store(before.wrapping_add(more), Ordering::Relaxed);
}
