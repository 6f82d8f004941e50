//! The functions of the extension `wsh.raw/1`, made safe to call.
//!
//! The host's table is copied. A function that the host does not have answers [`UNSUPPORTED`](abi::UNSUPPORTED).

use crate::{
    abi::{
        self, Status,
        raw::{RAW, RAW_ACCEPT_BYTES},
    },
    border::{
        host::{ConnPtr, HostFunctions, ResponsePtr},
        read,
    },
};

/// A copy of [`abi::raw::Raw`], whose fields are NULL where the host is older than this library, and its host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawFunctions<'a> {
    table: abi::raw::Raw,
    host: &'a HostFunctions,
}

impl<'a> RawFunctions<'a> {
    /// The extension's functions; `None` if the host has none for this handler.
    pub(crate) fn of(host: &'a HostFunctions) -> Option<Self> {
        let table = host.extension(RAW).cast::<abi::raw::Raw>();
        if table.is_null() {
            return None;
        }
        // SAFETY: under this id the host gives a table of this kind, which lives as long as the process.
        let table = unsafe { read::copy(table) };
        Some(RawFunctions { table, host })
    }

    pub(crate) fn write(self, conn: ConnPtr, bytes: &[u8]) -> i64 {
        match self.table.write {
            // SAFETY: the function comes from the host's table, which takes any pointer for a Conn
            // (abi.rs, *the Conn*), and the slice outlives the call.
            Some(write) => unsafe { write(conn.get(), bytes.as_ptr(), bytes.len()) },
            None => abi::UNSUPPORTED.into(),
        }
    }

    pub(crate) fn write_to(self, id: u64, bytes: &[u8]) -> i64 {
        match self.table.write_to {
            // SAFETY: as above, with the host's own `ctx`.
            Some(write_to) => unsafe { write_to(self.host.ctx(), id, bytes.as_ptr(), bytes.len()) },
            None => abi::UNSUPPORTED.into(),
        }
    }

    pub(crate) fn answer(self, to: ResponsePtr, bytes: &[u8], then: u32, linger: u32) -> Status {
        match self.table.answer {
            // SAFETY: as above, for a Response.
            Some(answer) => unsafe { answer(to.get(), read::lend(bytes), then, linger) },
            None => abi::UNSUPPORTED,
        }
    }

    /// The value that `Sec-WebSocket-Accept` must have.
    pub(crate) fn accept(self, to: ResponsePtr) -> Result<String, Status> {
        let accept = self.table.accept.ok_or(abi::UNSUPPORTED)?;
        let mut key = [0; RAW_ACCEPT_BYTES as usize];
        // SAFETY: as above, and there is room for what it writes.
        match unsafe { accept(to.get(), key.as_mut_ptr()) } {
            abi::OK => Ok(String::from_utf8_lossy(&key).into_owned()),
            status => Err(status),
        }
    }
}
