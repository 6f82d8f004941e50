//! Bytes past the framing, for handlers that test how peers take a broken server.

use wsh::abi;

use super::Controls;
use super::outgoing::PAYLOAD_BYTES_MAX;

impl Controls {
    /// Queues bytes as they are, in order with the frames around them; answers the bytes buffered after
    /// it. The server does not know what they mean, so nothing else of the session changes.
    pub(crate) fn write_raw(&mut self, bytes: &[u8]) -> Result<u64, abi::Status> {
        if !self.may_send() {
            return Err(abi::GONE);
        }
        // Before a byte of them is read.
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(abi::TOO_BIG);
        }
        self.check_limit(bytes.len())?;
        self.wire.put_raw(bytes);
        Ok(self.note_buffered())
    }
}
