//! Sees that the peer of a connection that waits has gone.

use std::io::ErrorKind;

use crate::transport::Transport;

/// Ends when the peer has ended the connection. What it sends is kept in `early`. A peer that has sent `BYTES_MAX` is
/// read no further, so its end is not seen.
// An argument would be eight bytes of every connection that waits.
pub(super) async fn gone<const BYTES_MAX: usize>(transport: &mut Transport, early: &mut Vec<u8>) {
    loop {
        if early.len() >= BYTES_MAX {
            return std::future::pending().await;
        }
        if transport.readable().await.is_err() {
            return;
        }
        match transport.try_read_buf(early) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
