//! The one answer of a handler that answers an opening handshake in bytes of its own, and wants no session.

use std::time::Instant;

use tokio::time::timeout_at;

use crate::connection::reply;
use crate::transport::Transport;

/// An answer that no session follows.
#[derive(Debug)]
pub(in crate::connection) struct RawReply {
    pub(super) bytes: Vec<u8>,
    /// Bytes that the peer may still send before the connection is closed.
    pub(super) linger: usize,
}

impl RawReply {
    /// Sends the bytes, reads as many of the peer's as the handler wants, and returns at `deadline` at the
    /// latest; `received` of them have come already. Our side stays open until then, since what the peer
    /// sends may be its answer to a Close frame.
    pub(in crate::connection) async fn send(
        self,
        transport: &mut Transport,
        received: usize,
        deadline: Instant,
    ) {
        let all = async {
            transport.write_all(&self.bytes).await?;
            reply::drop_bytes(transport.socket(), self.linger.saturating_sub(received)).await
        };
        // A peer that does not take its answer, or says nothing, does not hold the connection.
        let _ = timeout_at(deadline.into(), all).await;
    }
}
