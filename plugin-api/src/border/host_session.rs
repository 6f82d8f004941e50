//! One session as the host knows it: by its Conn inside a callback, by its id anywhere else.

use std::{
    cell::Cell,
    fmt,
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use crate::{
    abi::{self, Status},
    border::{
        host::{ConnPtr, HostFunctions, SendFn},
        read,
        runtime::Runtime,
        writer::{Writer, WriterTarget},
    },
    error::{Refused, rule::Rule},
};

/// Calls to the host about one session. Made by `open` or `restore`, with copies of what outlives the callback.
#[derive(Debug)]
pub(crate) struct HostSession {
    pub(crate) runtime: &'static Runtime,
    pub(crate) id: u64,
    pub(crate) protocol: Box<str>,
    pub(crate) is_restored: bool,
    send: SendFn,
    /// The Conn of the running callback; NULL between callbacks. It is not in the author's connection, because safe code
    /// can swap the connections of two sessions. So it is cleared when its callback ends, wherever the connection is then.
    conn: AtomicPtr<abi::Conn>,
    /// A future's waker was called since the last callback `wake` began.
    pub(crate) is_woken: AtomicBool,
    /// A message was begun in parts, and its last part was not sent.
    is_in_message: AtomicBool,
}

/// A guard: while it lives, a `snapshot` or a `restore` of a session runs on this thread. What the author's code may not do
/// there with the connection, it may not do by the session's id either.
#[must_use]
pub(crate) struct MoveScope {
    before: SessionMove,
}

/// The session whose `snapshot` or `restore` runs on a thread; id 0 is none.
#[derive(Clone, Copy)]
struct SessionMove {
    id: u64,
    /// Messages may be sent by id, as in `restore`: they leave after it.
    may_send: bool,
}

impl MoveScope {
    pub(crate) fn snapshot(id: u64) -> Self {
        MoveScope::enter(SessionMove {
            id,
            may_send: false,
        })
    }

    pub(crate) fn restore(id: u64) -> Self {
        MoveScope::enter(SessionMove { id, may_send: true })
    }

    fn enter(moves: SessionMove) -> Self {
        let before = MOVING.replace(moves);
        MoveScope { before }
    }
}

impl Drop for MoveScope {
    fn drop(&mut self) {
        MOVING.set(self.before);
    }
}

thread_local! {
    static MOVING: Cell<SessionMove> = const {
        Cell::new(SessionMove {
            id: 0,
            may_send: false,
        })
    };
}

/// A guard: while it lives, the session has the Conn of the running callback.
pub(crate) struct CallbackScope<'a>(&'a HostSession);

impl Drop for CallbackScope<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.conn.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

impl HostSession {
    /// # Safety
    /// `conn` is the pointer of the callback that is running.
    pub(crate) unsafe fn new(
        runtime: &'static Runtime,
        conn: *mut abi::Conn,
        is_restored: bool,
    ) -> Self {
        // SAFETY: the callback is running, so the table is there.
        let table = unsafe { read::copy(conn) };
        HostSession {
            runtime,
            id: table.id,
            // SAFETY: by the ABI, the text is UTF-8 and can be read until the callback returns.
            protocol: unsafe { read::text(table.protocol) }.into(),
            is_restored,
            send: runtime.host.send(),
            conn: AtomicPtr::new(ptr::null_mut()),
            is_woken: AtomicBool::new(false),
            is_in_message: AtomicBool::new(false),
        }
    }

    /// Keeps the Conn of a callback until the guard is dropped.
    #[inline]
    pub(crate) fn enter(&self, conn: *mut abi::Conn) -> CallbackScope<'_> {
        self.conn.store(conn, Ordering::Relaxed);
        CallbackScope(self)
    }

    /// The Conn of the running callback; NULL between callbacks.
    #[inline]
    pub(crate) fn conn(&self) -> ConnPtr {
        ConnPtr::new(self.conn.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn host(&self) -> &'static HostFunctions {
        &self.runtime.host
    }

    /// Sends with the Conn of the running callback. [`abi::MISUSE`] between callbacks, and on a thread that the callback
    /// has lent its connection to.
    #[inline]
    pub(crate) fn send_lent(&self, kind: u32, bytes: &[u8]) -> i64 {
        self.send.call(self.conn(), kind, bytes)
    }

    /// Whether a message was begun in parts, and its last part was not sent.
    #[inline]
    pub(crate) fn is_in_message(&self) -> bool {
        self.is_in_message.load(Ordering::Relaxed)
    }

    /// Sends a whole message: with the Conn inside a callback, by the session's id elsewhere.
    #[inline]
    pub(crate) fn send(&self, kind: u32, bytes: &[u8]) -> Result<u64, Refused> {
        if self.is_in_message() {
            return Err(self.refused_between_parts());
        }
        let answer = self.send_lent(kind, bytes);
        u64::try_from(answer).or_else(|_| self.send_by_id_if_misuse(answer, kind, bytes))
    }

    /// Acts on the answer of a refused [`send_lent`](Self::send_lent): outside a callback the message is sent by the
    /// session's id.
    #[cold]
    pub(crate) fn send_by_id_if_misuse(
        &self,
        answer: i64,
        kind: u32,
        bytes: &[u8],
    ) -> Result<u64, Refused> {
        if answer == i64::from(abi::MISUSE) && (!self.is_moving() || MOVING.get().may_send) {
            // A message by id is never subject to the limit's policy, so the bit is not allowed there.
            return self.runtime.send_to(self.id, kind & !abi::IF_ROOM, bytes);
        }
        Refused::check_count(answer, |status| Rule::message(status, bytes))
    }

    /// The refusal of a whole message between two parts of another. The host would take it for the last part.
    #[cold]
    pub(crate) fn refused_between_parts(&self) -> Refused {
        if self.is_closing() {
            Refused::Gone
        } else {
            Refused::Invalid(Rule::between_parts())
        }
    }

    /// Whether a `snapshot` or a `restore` of the session runs on this thread.
    pub(crate) fn is_moving(&self) -> bool {
        MOVING.get().id == self.id
    }

    /// Sends a part of a message, inside a callback only: parts cannot be sent by id.
    pub(crate) fn send_part(&self, kind: u32, bytes: &[u8]) -> Result<u64, Refused> {
        let answer = self.send_lent(kind, bytes);
        if answer >= 0 {
            let is_open = kind & abi::MORE != 0;
            self.is_in_message.store(is_open, Ordering::Relaxed);
        }
        Refused::check_count(answer, |status| Rule::part(status, bytes.len()))
    }

    pub(crate) fn close(&self, code: u32, reason: &str) -> Status {
        let (host, conn) = (self.host(), self.conn());
        if self.is_moving() {
            return abi::MISUSE;
        }
        // The host is asked first, because it logs a call that it refuses.
        let status = if host.is_lent(conn) {
            host.close(conn, code, reason)
        } else {
            host.close_to(self.id, code, reason)
        };
        self.note_end(status)
    }

    pub(crate) fn abort(&self) -> Status {
        let status = self.inside(|host, conn| host.abort(conn));
        self.note_end(status)
    }

    /// Forgets a message that is not complete when the session closes: later sends are answered with GONE.
    fn note_end(&self, status: Status) -> Status {
        if status == abi::OK {
            self.is_in_message.store(false, Ordering::Relaxed);
        }
        status
    }

    /// Calls a function that the host has for the session of the running callback only.
    pub(crate) fn inside(&self, call: impl FnOnce(&HostFunctions, ConnPtr) -> Status) -> Status {
        call(self.host(), self.conn())
    }

    pub(crate) fn buffered(&self) -> u64 {
        self.table().map_or(0, |table| table.buffered)
    }

    /// A copy of the session's table; `None` outside its callbacks.
    fn table(&self) -> Option<abi::Conn> {
        self.host().table(self.conn())
    }

    /// Whether a Close was sent or received; false outside the session's callbacks.
    pub(crate) fn is_closing(&self) -> bool {
        self.table()
            .is_some_and(|table| table.flags & abi::CLOSING != 0)
    }

    /// Has the host call the session's `wake`. Any thread may call this.
    pub(crate) fn wake_session(&self) {
        // GONE: the session is over, and nothing waits to be woken.
        let _: Status = self.host().wake(self.id);
    }

    /// Lets `write` fill memory of the host's, and queues the result as a message.
    pub(crate) fn send_with(
        &self,
        kind: u32,
        max: usize,
        write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> Result<u64, Refused> {
        if self.is_in_message() {
            return Err(self.refused_between_parts());
        }
        let conn = self.conn();
        let Some(reserved) = NonNull::new(self.host().reserve(conn, max)) else {
            let mut own = Vec::new();
            let kind = Writer::fill(&mut own, kind, max, write)?;
            return self.send(kind, &own);
        };
        let (kind, len) = Writer::write(WriterTarget::Host(reserved), kind, max, write)?;
        // Nothing was called with this Conn since `reserve`: the session has one connection, which this call borrows
        // mutably. The callback still runs, because `write` ran inside it.
        let answer = self.host().commit(conn, kind, len);
        Refused::check_count(answer, |status| Rule::message_bytes(status, len))
    }
}
