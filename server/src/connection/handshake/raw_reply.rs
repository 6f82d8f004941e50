//! The last that a connection is sent when a handler answers in bytes of its own and wants no session.

use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::connection::reply;

/// An answer that no session follows.
#[derive(Debug)]
pub(crate) struct RawReply {
    pub(crate) socket: TcpStream,
    pub(crate) bytes: Vec<u8>,
    /// What the peer has still to send before the connection is closed.
    pub(crate) linger: usize,
    /// When it is closed at the latest.
    pub(crate) deadline: Instant,
}

impl RawReply {
    /// Sends the bytes, reads as many of the peer's as is wanted, and closes. Our side stays open
    /// until then: what the peer sends may be its answer to a Close frame.
    pub(crate) async fn send(mut self) {
        let all = async {
            self.socket.write_all(&self.bytes).await?;
            reply::drop_bytes(&self.socket, self.linger).await
        };
        // A peer that does not take its answer, or says nothing, does not hold the connection.
        let _ = timeout_at(self.deadline.into(), all).await;
    }
}
