//! A session's line to its host: inside a callback by pointer, anywhere else by id.

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

/// Made at `open` or `restore`; what must outlive the callback is copied here.
#[derive(Debug)]
pub(crate) struct HostSession {
    pub(crate) runtime: &'static Runtime,
    pub(crate) id: u64,
    pub(crate) protocol: Box<str>,
    pub(crate) is_restored: bool,
    send: SendFn,
    /// What the running callback was given; NULL between callbacks. It is here and not in the author's
    /// connection, which safe code can swap for another session's: so it goes when its callback ends,
    /// wherever that connection is by then.
    conn: AtomicPtr<abi::Conn>,
    /// Whether a future's waker was called since the last `wake` callback began.
    pub(crate) is_woken: AtomicBool,
    /// A message was begun in parts, and its last one was not sent.
    is_in_message: AtomicBool,
}

/// As long as this lives, a `snapshot` or a `restore` of the session runs on this thread: what it may not
/// do with the session it may not do by the session's id either.
#[must_use]
pub(crate) struct MoveScope {
    before: SessionMove,
}

/// A session that moves, and how far it is; 0 is none.
#[derive(Clone, Copy)]
struct SessionMove {
    id: u64,
    /// What is sent in `restore` leaves after it.
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

/// As long as this lives, the callback's pointer is in its link.
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
            // SAFETY: the host's promise: UTF-8, readable until the callback returns.
            protocol: unsafe { read::text(table.protocol) }.into(),
            is_restored,
            send: runtime.host.send(),
            conn: AtomicPtr::new(ptr::null_mut()),
            is_woken: AtomicBool::new(false),
            is_in_message: AtomicBool::new(false),
        }
    }

    /// Keeps what a callback was given until the answer is dropped.
    #[inline]
    pub(crate) fn enter(&self, conn: *mut abi::Conn) -> CallbackScope<'_> {
        self.conn.store(conn, Ordering::Relaxed);
        CallbackScope(self)
    }

    /// What the running callback was given; NULL between callbacks.
    #[inline]
    pub(crate) fn conn(&self) -> ConnPtr {
        ConnPtr::new(self.conn.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn host(&self) -> &'static HostFunctions {
        &self.runtime.host
    }

    /// Sends with what the running callback was given. [`abi::MISUSE`] between callbacks, and on a thread
    /// that a callback lent its session to.
    #[inline]
    pub(crate) fn send_lent(&self, kind: u32, bytes: &[u8]) -> i64 {
        self.send.call(self.conn(), kind, bytes)
    }

    /// Whether a message was begun in parts, and its last one was not sent.
    #[inline]
    pub(crate) fn is_in_message(&self) -> bool {
        self.is_in_message.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn send(&self, kind: u32, bytes: &[u8]) -> Result<u64, Refused> {
        if self.is_in_message() {
            return Err(self.refused_between_parts());
        }
        let answer = self.send_lent(kind, bytes);
        u64::try_from(answer).or_else(|_| self.send_by_id_if_misuse(answer, kind, bytes))
    }

    /// What a refused [`send_lent`](Self::send_lent) comes to: outside its callbacks a session is sent to
    /// by its id.
    #[cold]
    pub(crate) fn send_by_id_if_misuse(
        &self,
        answer: i64,
        kind: u32,
        bytes: &[u8],
    ) -> Result<u64, Refused> {
        if answer == i64::from(abi::MISUSE) && (!self.is_moving() || MOVING.get().may_send) {
            // By id a message never meets the limit's policy, and the bit has no meaning.
            return self.runtime.send_to(self.id, kind & !abi::IF_ROOM, bytes);
        }
        Refused::check_count(answer, |status| Rule::message(status, bytes))
    }

    /// Why a whole message cannot be sent between two parts of another: the host would take it for the
    /// last part.
    #[cold]
    pub(crate) fn refused_between_parts(&self) -> Refused {
        if self.is_closing() {
            Refused::Gone
        } else {
            Refused::Invalid(Rule::between_parts())
        }
    }

    /// Whether a `snapshot` or a `restore` of the session runs on this thread.
    fn is_moving(&self) -> bool {
        MOVING.get().id == self.id
    }

    /// Sends a part of a message. There is no way to send one by id.
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
        // Asked first: a call that is refused is a line in the host's log.
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

    /// What is open when the session ends stays so: what is sent from then on is told that it is over.
    fn note_end(&self, status: Status) -> Status {
        if status == abi::OK {
            self.is_in_message.store(false, Ordering::Relaxed);
        }
        status
    }

    /// Calls what exists for the session of the running callback only.
    pub(crate) fn inside(&self, call: impl FnOnce(&HostFunctions, ConnPtr) -> Status) -> Status {
        call(self.host(), self.conn())
    }

    pub(crate) fn buffered(&self) -> u64 {
        self.table().map_or(0, |table| table.buffered)
    }

    /// What the host says of the session now; none outside its callbacks.
    fn table(&self) -> Option<abi::Conn> {
        self.host().table(self.conn())
    }

    /// Whether a Close was sent or received, as far as the running callback can see.
    pub(crate) fn is_closing(&self) -> bool {
        self.table()
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
        kind: u32,
        max: usize,
        write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> Result<u64, Refused> {
        if self.is_in_message() {
            return Err(self.refused_between_parts());
        }
        let conn = self.conn();
        let Some(room) = NonNull::new(self.host().reserve(conn, max)) else {
            let mut own = Vec::new();
            let kind = Writer::fill(&mut own, kind, max, write)?;
            return self.send(kind, &own);
        };
        let (kind, len) = Writer::write(WriterTarget::Host(room), kind, max, write)?;
        // Nothing was called with the session since `reserve`: a session has one connection, and the
        // author's `&mut` to it is borrowed by this call; it is still the same callback, because `write`
        // ran inside it.
        let answer = self.host().commit(conn, kind, len);
        Refused::check_count(answer, |status| Rule::message_bytes(status, len))
    }
}
