//! A session's line to its host: inside a callback by pointer, anywhere else by id.

use std::{
    fmt, io,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use crate::{
    abi::{self, Status},
    border::{
        host::{ConnPtr, Host, SendFn},
        read,
        runtime::Runtime,
    },
    error::Refused,
};

/// Made at `open` or `restore`; what must outlive the callback is copied here.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) runtime: &'static Runtime,
    pub(crate) id: u64,
    pub(crate) protocol: Box<str>,
    pub(crate) is_restored: bool,
    send: SendFn,
    /// The session of the running callback; NULL between callbacks.
    conn: AtomicPtr<abi::Conn>,
}

/// As long as this lives, the callback's pointer is in its link.
pub(crate) struct Inside<'a>(&'a Link);

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.conn.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

impl Link {
    /// # Safety
    /// `conn` is the pointer of the callback that is running.
    pub(crate) unsafe fn new(
        runtime: &'static Runtime,
        conn: *mut abi::Conn,
        is_restored: bool,
    ) -> Self {
        // SAFETY: the callback is running, so the table is there.
        let table = unsafe { read::copy(conn) };
        Link {
            runtime,
            id: table.id,
            // SAFETY: the host's promise: UTF-8, readable until the callback returns.
            protocol: unsafe { read::text(table.protocol) }.into(),
            is_restored,
            send: runtime.host.send(),
            conn: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Keeps what a callback was given until the answer is dropped.
    #[inline]
    pub(crate) fn enter(&self, conn: *mut abi::Conn) -> Inside<'_> {
        self.conn.store(conn, Ordering::Relaxed);
        Inside(self)
    }

    #[inline]
    fn conn(&self) -> Option<ConnPtr> {
        ConnPtr::new(self.conn.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn host(&self) -> &'static Host {
        &self.runtime.host
    }

    /// What the running callback was given: at hand as `here`, or left in this link.
    pub(crate) fn conn_of(&self, here: Option<ConnPtr>) -> Option<ConnPtr> {
        here.or_else(|| self.conn())
    }

    /// [`abi::MISUSE`] on a thread that the callback lent its session to.
    #[inline]
    pub(crate) fn send_here(&self, here: ConnPtr, kind: u32, bytes: &[u8]) -> i64 {
        self.send.call(here, kind, bytes)
    }

    pub(crate) fn send(
        &self,
        here: Option<ConnPtr>,
        kind: u32,
        bytes: &[u8],
    ) -> Result<u64, Refused> {
        if let Some(conn) = self.conn_of(here) {
            let answer = self.send_here(conn, kind, bytes);
            if answer != i64::from(abi::MISUSE) {
                return Refused::check_count(answer);
            }
        }
        self.send_by_id(kind, bytes)
    }

    #[cold]
    pub(crate) fn send_by_id(&self, kind: u32, bytes: &[u8]) -> Result<u64, Refused> {
        self.runtime.send_to(self.id, kind, bytes)
    }

    pub(crate) fn close(&self, here: Option<ConnPtr>, code: u32, reason: &str) -> Status {
        if let Some(conn) = self.conn_of(here) {
            let answer = self.host().close(conn, code, reason);
            if answer != abi::MISUSE {
                return answer;
            }
        }
        self.host().close_to(self.id, code, reason)
    }

    /// Calls what exists for the session of the running callback only.
    pub(crate) fn inside(
        &self,
        here: Option<ConnPtr>,
        call: impl FnOnce(&Host, ConnPtr) -> Status,
    ) -> Status {
        self.conn_of(here)
            .map_or(abi::MISUSE, |conn| call(self.host(), conn))
    }

    pub(crate) fn buffered(&self, here: Option<ConnPtr>) -> u64 {
        self.table(here).map_or(0, |table| table.buffered)
    }

    /// What the host says of the session now; none outside its callbacks.
    fn table(&self, here: Option<ConnPtr>) -> Option<abi::Conn> {
        self.host().table(self.conn_of(here)?)
    }

    /// Whether a Close was sent or received, as far as the running callback can see.
    pub(crate) fn is_closing(&self) -> bool {
        self.table(None)
            .is_some_and(|table| table.flags & abi::CLOSING != 0)
    }

    /// Lets the session's `wake` run, from any thread.
    pub(crate) fn wake_session(&self) {
        // GONE: it is over, and nobody waits to be woken.
        let _: Status = self.host().wake(self.id);
    }

    /// Lets `write` fill memory of the host's own, and queues what it wrote.
    pub(crate) fn send_with(
        &self,
        here: Option<ConnPtr>,
        kind: u32,
        max: usize,
        write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> Result<u64, Refused> {
        let reserved = self.conn_of(here).and_then(|conn| {
            let room = NonNull::new(self.host().reserve(conn, max))?;
            Some((conn, room))
        });
        let mut own = Vec::new();
        let mut writer = Writer {
            room: Room::Own(&mut own),
            max,
            len: 0,
            is_utf8: true,
        };
        if let Some((_, room)) = reserved {
            writer.room = Room::Host(room);
        }
        if write(&mut writer).is_err() {
            return Err(Refused::TooBig);
        }
        let (len, is_utf8) = (writer.len, writer.is_utf8);
        let trusted = if kind == abi::TEXT && is_utf8 {
            abi::TRUSTED_UTF8
        } else {
            0
        };
        match reserved {
            // Nothing was called with the session since `reserve`: `write` cannot reach it, the
            // author's `&mut Conn` is borrowed by this call.
            Some((conn, _)) => Refused::check_count(self.host().commit(conn, kind | trusted, len)),
            None => self.send(here, kind | trusted, &own),
        }
    }
}

/// Where [`Conn::send_with`](crate::Conn::send_with) writes a message: straight into the server's
/// output buffer. Text goes in with `write!`, bytes through [`io::Write`].
#[derive(Debug)]
pub struct Writer<'a> {
    room: Room<'a>,
    max: usize,
    len: usize,
    /// Only whole strings went in.
    is_utf8: bool,
}

#[derive(Debug)]
enum Room<'a> {
    /// `max` bytes of the host's, of which the first `len` are written.
    Host(NonNull<u8>),
    /// No room was to be had, or no callback is running.
    Own(&'a mut Vec<u8>),
}

impl Writer<'_> {
    /// How many bytes are written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.max - self.len {
            return false;
        }
        match &mut self.room {
            // SAFETY: `max` bytes were reserved, `len` plus these are not more, and the memory is
            // the host's, so it does not overlap a slice of ours.
            Room::Host(room) => unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_ptr().add(self.len), bytes.len());
            },
            Room::Own(own) => own.extend_from_slice(bytes),
        }
        self.len += bytes.len();
        true
    }
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.push(text.as_bytes()) {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_utf8 = false;
        if self.push(bytes) {
            Ok(bytes.len())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
