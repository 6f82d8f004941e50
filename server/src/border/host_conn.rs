//! The Conn of a session: the table that its plugin reads during a callback, and behind it what the host functions act on.
//!
//! A plugin gets the Conn as a pointer. The pointer is good on one thread, from the begin of a callback to its end.

use std::cell::Cell;
use std::ptr;

use wsh::abi;

use super::handler_context::HandlerContext;
use super::lent_memory;
use crate::outbound::controls::Controls;
use crate::sessions::cause::Cause;

/// What a `*mut abi::Conn` points to. The ABI's table comes first, and the server's own part behind it.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct HostConn {
    table: abi::Conn,
    pub(crate) controls: Controls,
    pub(crate) context: &'static HandlerContext,
    /// What `table.protocol` points to, if a subprotocol was chosen.
    protocol: Option<Box<Box<str>>>,
}

/// What a callback may do with the Conn that it is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loan {
    /// The session runs: the callback may call every function.
    Running = 0,
    /// The session is over: functions that need a running session answer GONE.
    Over = 1,
    /// The session only moves (`snapshot`, `restore`): functions that need a running session answer MISUSE.
    Moving = 2,
}

// SAFETY: the one pointer in `table` leads into the heap memory of `protocol`, which moves with the table and never
// changes.
unsafe impl Send for HostConn {}

impl HostConn {
    /// A session's Conn. It is boxed, because plugins know it by its address.
    pub(crate) fn new(
        id: u64,
        protocol: String,
        context: &'static HandlerContext,
        controls: Controls,
    ) -> Box<HostConn> {
        let protocol = (!protocol.is_empty()).then(|| Box::new(protocol.into_boxed_str()));
        let lent = lent_memory::lend(protocol.as_ref().map_or("", |protocol| protocol));
        Box::new(HostConn {
            table: abi::Conn {
                size: size_of::<abi::Conn>() as u32,
                flags: 0,
                id,
                buffered: 0,
                protocol: lent,
            },
            controls,
            context,
            protocol,
        })
    }

    /// The session's id.
    pub(crate) fn id(&self) -> u64 {
        self.table.id
    }

    /// The chosen subprotocol; empty without one.
    pub(crate) fn protocol(&self) -> &str {
        self.protocol.as_ref().map_or("", |protocol| protocol)
    }

    /// Shows the handler what ended the session, in the flags of the table.
    pub(crate) fn set_cause(&mut self) {
        let cause = self.controls.cause.map_or(0, Cause::flag);
        self.table.flags = self.table.flags & !abi::CAUSE | cause;
    }

    /// Whether the table says that a Close frame was sent or received.
    pub(crate) fn is_closing(&self) -> bool {
        self.table.flags & abi::CLOSING != 0
    }

    /// Shows the handler that messages may be compressed.
    pub(crate) fn set_deflate(&mut self) {
        self.table.flags |= abi::DEFLATE;
    }

    /// Shows the handler whether older code began the session. Returns what the table said until now.
    pub(crate) fn set_restored(&mut self, is_restored: bool) -> bool {
        let was_restored = self.table.flags & abi::RESTORED != 0;
        self.table.flags &= !abi::RESTORED;
        if is_restored {
            self.table.flags |= abi::RESTORED;
        }
        was_restored
    }

    /// Lends the Conn to a callback on this thread, until [`end`](Self::end).
    pub(crate) fn begin(&mut self, loan: Loan) -> *mut abi::Conn {
        self.refresh();
        let lent = self.lent();
        LENT_CONN.set(lent.addr() | loan as usize);
        lent
    }

    /// The pointer that the plugin gets while the loan lasts.
    #[inline]
    pub(crate) fn lent(&mut self) -> *mut abi::Conn {
        let cell = &raw mut *self;
        // Exposed, because `running` makes a pointer of the address again. This costs no instruction.
        let _ = cell.expose_provenance();
        cell.cast()
    }

    /// The id of the session whose callback runs on this thread, if it is a session of this handler.
    pub(crate) fn running(context: &HandlerContext) -> Option<u64> {
        let cell: *const HostConn = ptr::with_exposed_provenance(LENT_CONN.get() & !LOAN);
        if cell.is_null() {
            return None;
        }
        // SAFETY: `begin` stored the address and `end` removes it, so the Conn exists. The `&mut` up the stack is not used
        // meanwhile. The two fields do not change while the Conn is lent.
        let (of, id) = unsafe { ((*cell).context, (*cell).table.id) };
        ptr::eq(of, context).then_some(id)
    }

    /// Ends the loan. Host functions answer MISUSE to the pointer from now on.
    pub(crate) fn end(&mut self) {
        LENT_CONN.set(0);
        self.controls.forget_reserved();
    }

    /// Brings `buffered` up to date, where nothing else in the table can have changed. Returns it as `send` answers it.
    #[inline]
    pub(crate) fn note_buffered(&mut self, buffered: u64) -> i64 {
        self.table.buffered = buffered;
        // The bytes lie in memory, so their number fits into an i64.
        buffered as i64
    }

    /// Brings the table up to date after a call changed something.
    pub(crate) fn refresh(&mut self) {
        self.table.buffered = self.controls.wire.buffered() as u64;
        if !self.controls.closing.state().is_open() {
            self.refresh_closing();
        }
    }

    /// Sets [`abi::CLOSING`], which no other place sets, from the state of the closing handshake.
    #[cold]
    fn refresh_closing(&mut self) {
        if self.controls.closing.state().has_begun() {
            self.table.flags |= abi::CLOSING;
        }
    }

    /// Whether a pointer that a plugin gave is that of the Conn that is lent on this thread.
    pub(crate) fn is_lent(conn: *const abi::Conn) -> bool {
        !conn.is_null() && conn.addr() == LENT_CONN.get() & !LOAN
    }

    /// The Conn behind a pointer that a plugin gave, if it is lent on this thread for everything.
    ///
    /// # Safety
    ///
    /// The caller uses the answer only before it returns into the plugin.
    #[inline]
    pub(crate) unsafe fn if_lent<'a>(conn: *mut abi::Conn) -> Option<&'a mut HostConn> {
        // SAFETY: the Conn is lent, and the caller uses it no longer than this function asks for.
        HostConn::is_lent_wholly(conn).then(|| unsafe { HostConn::lent_behind(conn) })
    }

    /// Whether a pointer that a plugin gave is a Conn that is lent on this thread for everything.
    #[inline(always)]
    pub(crate) fn is_lent_wholly(conn: *mut abi::Conn) -> bool {
        conn.addr() == LENT_CONN.get() && !conn.is_null()
    }

    /// The Conn behind a pointer that [is lent](Self::is_lent_wholly).
    ///
    /// # Safety
    ///
    /// It is lent, and the caller uses it only before it returns into the plugin.
    #[inline(always)]
    pub(crate) unsafe fn lent_behind<'a>(conn: *mut abi::Conn) -> &'a mut HostConn {
        // SAFETY: `LENT_CONN` has this address only between `begin` and `end` on this thread, so the Conn exists. The
        // server's own `&mut` up the stack is not used before the callback returns.
        unsafe { &mut *conn.cast::<HostConn>() }
    }

    /// The Conn behind a pointer that a plugin gave, if it is lent on this thread for everything. Otherwise GONE or MISUSE,
    /// as the call is answered. Nothing behind such a pointer is read.
    ///
    /// # Safety
    ///
    /// The caller uses the answer only before it returns into the plugin.
    #[inline]
    pub(crate) unsafe fn of<'a>(conn: *mut abi::Conn) -> Result<&'a mut HostConn, abi::Status> {
        // SAFETY: the caller keeps the answer no longer than `if_lent` asks for.
        unsafe { HostConn::if_lent(conn) }.ok_or_else(|| refusal(conn.addr()))
    }

    /// Like [`of`](Self::of), and frees what `reserve` gave out. Every call but `send` and `commit` begins so.
    ///
    /// # Safety
    ///
    /// The caller uses the answer only before it returns into the plugin.
    pub(crate) unsafe fn of_another_call<'a>(
        conn: *mut abi::Conn,
    ) -> Result<&'a mut HostConn, abi::Status> {
        // SAFETY: the caller keeps the answer no longer than `of` asks for.
        let conn = unsafe { HostConn::of(conn) }?;
        conn.controls.forget_reserved();
        Ok(conn)
    }
}

#[cold]
fn refusal(conn: usize) -> abi::Status {
    let is_over = conn != 0 && LENT_CONN.get() == conn | Loan::Over as usize;
    if is_over { abi::GONE } else { abi::MISUSE }
}

thread_local! {
    /// The address of the Conn that is lent to the callback on this thread, with the [`Loan`] in its low bits; 0 is none.
    ///
    /// Per thread, because that is the rule: a host function gets a bare pointer, and only this says whether it is good here.
    static LENT_CONN: Cell<usize> = const { Cell::new(0) };
}

/// The bits of the [`Loan`], which are 0 in the address of every Conn.
const LOAN: usize = 3;
const _: () = assert!(align_of::<HostConn>() > LOAN);
