//! The table behind a session's `*mut Conn`.
#![allow(unsafe_code)] // hands out a C table

use crate::{abi, border::read, test::controls::Controls};

/// The Conn of one session, as the plugin sees it.
#[derive(Debug)]
pub(super) struct ConnTable {
    // Owned by a raw pointer: the plugin holds a pointer to it, which a `Box` that moves would make invalid.
    pub(super) conn: *mut abi::Conn,
    // The text that the table points to.
    _protocol: String,
}

impl ConnTable {
    pub(super) fn new(id: u64, protocol: &str) -> Self {
        let protocol = protocol.to_owned();
        let conn = Box::into_raw(Box::new(abi::Conn {
            size: size_of::<abi::Conn>() as u32,
            flags: 0,
            id,
            buffered: 0,
            protocol: read::lend(protocol.as_bytes()),
        }));
        ConnTable {
            conn,
            _protocol: protocol,
        }
    }

    pub(super) fn id(&self) -> u64 {
        // SAFETY: this value owns the table, and the id never changes.
        unsafe { (*self.conn).id }
    }

    /// Sets whether an older generation began the session.
    pub(super) fn set_restored(&self, is_restored: bool) {
        // SAFETY: this value owns the table, and no callback runs.
        let flags = unsafe { &mut (*self.conn).flags };
        if is_restored {
            *flags |= abi::RESTORED;
        } else {
            *flags &= !abi::RESTORED;
        }
    }

    /// Notes that the peer has closed.
    pub(super) fn set_closing(&self) {
        // SAFETY: as above.
        unsafe { (*self.conn).flags |= abi::CLOSING };
    }

    /// Sets the cause of the session's end, for the callbacks that tell it.
    pub(super) fn set_cause(&self, cause: u32) {
        // SAFETY: as above.
        let flags = unsafe { &mut (*self.conn).flags };
        *flags = *flags & !abi::CAUSE | cause;
    }

    /// Whether either side has closed, as far as the handler can see.
    pub(super) fn is_closing(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.conn).flags & abi::CLOSING != 0 }
    }

    /// Prepares the table for a callback.
    pub(super) fn begin(&self, controls: &Controls) {
        // SAFETY: as above.
        unsafe { (*self.conn).buffered = controls.buffered() };
    }
}

impl Drop for ConnTable {
    fn drop(&mut self) {
        // SAFETY: `new` boxed it, and the session that had the pointer is destroyed.
        drop(unsafe { Box::from_raw(self.conn) });
    }
}
