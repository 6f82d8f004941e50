//! A session as its plugin holds it during a callback: the table it may read, and behind it what
//! the host functions act on.

use std::cell::Cell;
use std::ptr;

use wsh::abi;

use super::context::Context;
use super::lent_memory;
use crate::outbound::controls::Controls;
use crate::sessions::cause::Cause;

/// What a `*mut abi::Conn` points to: the ABI's table first, the host's own part behind it.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct HostConn {
    table: abi::Conn,
    pub(crate) controls: Controls,
    pub(crate) context: &'static Context,
    /// What `table.protocol` points to, if a subprotocol was chosen.
    protocol: Option<Box<Box<str>>>,
}

/// What a callback may do with the cell that it is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loan {
    /// The session runs: everything.
    Running = 0,
    /// The session is over: functions that need a running one answer GONE.
    Over = 1,
    /// The session is not the callback's yet: such functions answer MISUSE.
    Foreign = 2,
}

// SAFETY: `table.protocol` points into `protocol`, which moves with it and never changes; nothing
// else in the table is a pointer.
unsafe impl Send for HostConn {}

impl HostConn {
    /// A session's cell: boxed, because plugins know it by its address.
    pub(crate) fn new(
        id: u64,
        protocol: String,
        context: &'static Context,
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

    /// The chosen subprotocol, or nothing.
    pub(crate) fn protocol(&self) -> &str {
        self.protocol.as_ref().map_or("", |protocol| protocol)
    }

    /// Tells the handler what ended the session.
    pub(crate) fn set_cause(&mut self) {
        let cause = self.controls.cause.map_or(0, Cause::flag);
        self.table.flags = self.table.flags & !abi::CAUSE | cause;
    }

    /// Whether a Close frame was sent or received, as the handler sees it.
    pub(crate) fn is_closing(&self) -> bool {
        self.table.flags & abi::CLOSING != 0
    }

    /// Notes that messages may be compressed.
    pub(crate) fn set_deflate(&mut self) {
        self.table.flags |= abi::DEFLATE;
    }

    /// Notes whether older code began the session; answers what held until now.
    pub(crate) fn set_restored(&mut self, is_restored: bool) -> bool {
        let was_restored = self.table.flags & abi::RESTORED != 0;
        self.table.flags &= !abi::RESTORED;
        if is_restored {
            self.table.flags |= abi::RESTORED;
        }
        was_restored
    }

    /// Lends the cell to a callback on this thread.
    pub(crate) fn begin(&mut self, loan: Loan) -> *mut abi::Conn {
        self.refresh();
        let lent = self.lent();
        LENT_CONN.set(lent.addr() | loan as usize);
        lent
    }

    /// What the plugin is given while the loan lasts.
    #[inline]
    pub(crate) fn lent(&mut self) -> *mut abi::Conn {
        let cell = &raw mut *self;
        // `running` makes a pointer of the address again. To the machine this is nothing.
        let _ = cell.expose_provenance();
        cell.cast()
    }

    /// The id of the session of this handler whose callback runs on this thread.
    pub(crate) fn running(context: &Context) -> Option<u64> {
        let cell: *const HostConn = ptr::with_exposed_provenance(LENT_CONN.get() & !LOAN);
        if cell.is_null() {
            return None;
        }
        // SAFETY: as in `of`: the cell exists as long as it is lent, and the host's own `&mut` is dormant up
        // the stack. What is read never changes.
        let (of, id) = unsafe { ((*cell).context, (*cell).table.id) };
        ptr::eq(of, context).then_some(id)
    }

    /// Ends the loan: from now on the pointer means nothing.
    pub(crate) fn end(&mut self) {
        LENT_CONN.set(0);
        self.controls.forget_reserved();
    }

    /// The same as [`refresh`](Self::refresh), where nothing else can have changed.
    #[inline]
    pub(crate) fn note_buffered(&mut self, buffered: u64) -> i64 {
        self.table.buffered = buffered;
        // Never so many: they lie in memory.
        buffered as i64
    }

    /// Brings the table up to date after a call changed something.
    pub(crate) fn refresh(&mut self) {
        self.table.buffered = self.controls.wire.buffered() as u64;
        if !self.controls.closing.state().is_open() {
            self.refresh_closing();
        }
    }

    /// [`abi::CLOSING`] is this view of the closing handshake's state, and is set nowhere else.
    #[cold]
    fn refresh_closing(&mut self) {
        if self.controls.closing.state().has_begun() {
            self.table.flags |= abi::CLOSING;
        }
    }

    /// Whether the pointer that a plugin gave is to the cell that is lent on this thread.
    pub(crate) fn is_lent(conn: *const abi::Conn) -> bool {
        !conn.is_null() && conn.addr() == LENT_CONN.get() & !LOAN
    }

    /// As [`of`](Self::of), where a refusal is answered elsewhere.
    ///
    /// # Safety
    ///
    /// As for [`of`](Self::of).
    #[inline]
    pub(crate) unsafe fn if_lent<'a>(conn: *mut abi::Conn) -> Option<&'a mut HostConn> {
        // SAFETY: a callback with this cell runs on this very thread, inside `begin` and `end`, so
        // the cell exists and the host's own `&mut` is dormant up the stack.
        (!conn.is_null() && conn.addr() == LENT_CONN.get())
            .then(|| unsafe { &mut *conn.cast::<HostConn>() })
    }

    /// The cell behind the pointer that a plugin gave, if it is the one that is lent on this thread for
    /// everything; else what the call is answered. Nothing behind another pointer is read.
    ///
    /// # Safety
    ///
    /// The caller lets go of the answer before it returns into the plugin.
    #[inline]
    pub(crate) unsafe fn of<'a>(conn: *mut abi::Conn) -> Result<&'a mut HostConn, abi::Status> {
        // SAFETY: the caller's promise.
        unsafe { HostConn::if_lent(conn) }.ok_or_else(|| refusal(conn.addr()))
    }

    /// As [`of`](Self::of), for a call that takes back what was reserved, as all but `commit` do.
    ///
    /// # Safety
    ///
    /// As for [`of`](Self::of).
    pub(crate) unsafe fn of_another_call<'a>(
        conn: *mut abi::Conn,
    ) -> Result<&'a mut HostConn, abi::Status> {
        // SAFETY: the caller's promise.
        let cell = unsafe { HostConn::of(conn) }?;
        cell.controls.forget_reserved();
        Ok(cell)
    }
}

#[cold]
fn refusal(conn: usize) -> abi::Status {
    let is_over = conn != 0 && LENT_CONN.get() == conn | Loan::Over as usize;
    if is_over { abi::GONE } else { abi::MISUSE }
}

thread_local! {
    /// The address of the cell that is lent to the callback that runs on this thread, in its low bits the
    /// [`Loan`]; 0 is none.
    static LENT_CONN: Cell<usize> = const { Cell::new(0) };
}

/// The bits of the [`Loan`]; a cell's address has none of them.
const LOAN: usize = 3;
const _: () = assert!(align_of::<HostConn>() > LOAN);
