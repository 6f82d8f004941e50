//! What lies behind a session's `*mut Conn`.
#![allow(unsafe_code)] // hands out a C table

use crate::{abi, border::read, test::controls::Controls};

/// What a plugin knows a session by.
#[derive(Debug)]
pub(super) struct ConnTable {
    pub(super) conn: *mut abi::Conn,
    // Not a `Box`: what lies in one may not be lent when it moves.
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
        // SAFETY: the table is ours, and the number never changes.
        unsafe { (*self.conn).id }
    }

    /// Whether the session is one that an older generation began.
    pub(super) fn set_restored(&self, is_restored: bool) {
        // SAFETY: the table is ours and no callback runs.
        let flags = unsafe { &mut (*self.conn).flags };
        if is_restored {
            *flags |= abi::RESTORED;
        } else {
            *flags &= !abi::RESTORED;
        }
    }

    /// From now on the peer has closed.
    pub(super) fn set_closing(&self) {
        // SAFETY: as above.
        unsafe { (*self.conn).flags |= abi::CLOSING };
    }

    /// What ended the session, for the callbacks that say so.
    pub(super) fn say_cause(&self, cause: u32) {
        // SAFETY: as above.
        let flags = unsafe { &mut (*self.conn).flags };
        *flags = *flags & !abi::CAUSE | cause;
    }

    /// Whether either side has closed, as the handler sees it.
    pub(super) fn is_closing(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.conn).flags & abi::CLOSING != 0 }
    }

    /// A callback begins.
    pub(super) fn begin(&self, controls: &Controls) {
        // SAFETY: as above.
        unsafe { (*self.conn).buffered = controls.buffered() };
    }
}

impl Drop for ConnTable {
    fn drop(&mut self) {
        // SAFETY: `new` boxed it; the session that knew it is destroyed.
        drop(unsafe { Box::from_raw(self.conn) });
    }
}
