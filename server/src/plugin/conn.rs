//! A session as its plugin holds it during a callback: the table it may read, and behind it what
//! the host functions act on.

use std::sync::atomic::{AtomicUsize, Ordering};

use wsh::abi;

use super::context::Context;
use super::text;
use crate::controls::{Controls, Ending};

/// What a `*mut abi::Conn` points to: the ABI's table first, the host's own part behind it.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Conn {
    table: abi::Conn,
    /// The thread whose callback is running, as [`thread_token`] names it, in its low bits the
    /// [`Loan`]; 0 is none.
    thread: AtomicUsize,
    pub(crate) controls: Controls,
    pub(crate) context: &'static Context,
    /// What `table.protocol` points to, if a subprotocol was chosen.
    protocol: Option<Box<Box<str>>>,
}

/// What a callback may do with the cell that it is lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loan {
    /// The session runs: everything.
    Running = 0,
    /// The session is over: functions that need a running one answer GONE.
    Over = 1,
    /// The session is not the callback's yet: such functions answer MISUSE.
    Foreign = 2,
}

// SAFETY: `table.protocol` points into `protocol`, which moves with it and never changes; nothing
// else in the table is a pointer.
unsafe impl Send for Conn {}

impl Conn {
    /// A session's cell: boxed, because plugins know it by its address.
    pub(crate) fn new(
        id: u64,
        protocol: Box<str>,
        context: &'static Context,
        controls: Controls,
    ) -> Box<Conn> {
        let protocol = (!protocol.is_empty()).then(|| Box::new(protocol));
        let lent = text::lend(protocol.as_ref().map_or("", |protocol| protocol));
        Box::new(Conn {
            table: abi::Conn {
                size: size_of::<abi::Conn>() as u32,
                flags: 0,
                id,
                buffered: 0,
                protocol: lent,
            },
            thread: AtomicUsize::new(0),
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

    /// Notes that the peer's Close came.
    pub(crate) fn set_closing(&mut self) {
        self.table.flags |= abi::CLOSING;
    }

    /// Notes that messages may be compressed.
    pub(crate) fn set_deflate(&mut self) {
        self.table.flags |= abi::DEFLATE;
    }

    /// Notes whether older code began the session; answers what held until now.
    pub(super) fn set_restored(&mut self, is_restored: bool) -> bool {
        let was_restored = self.table.flags & abi::RESTORED != 0;
        self.table.flags &= !abi::RESTORED;
        if is_restored {
            self.table.flags |= abi::RESTORED;
        }
        was_restored
    }

    /// Lends the cell to a callback on this thread.
    pub(super) fn begin(&mut self, loan: Loan) -> *mut abi::Conn {
        self.refresh();
        let thread = thread_token() | loan as usize;
        self.thread.store(thread, Ordering::Relaxed);
        self.lent()
    }

    /// What the plugin is given while the loan lasts.
    #[inline]
    pub(super) fn lent(&mut self) -> *mut abi::Conn {
        (&raw mut *self).cast()
    }

    /// Ends the loan: from now on the pointer means nothing.
    pub(super) fn end(&mut self) {
        self.thread.store(0, Ordering::Relaxed);
        self.controls.forget_reserved();
    }

    /// The same as [`refresh`](Self::refresh), where nothing else can have changed.
    #[inline]
    pub(super) fn note_buffered(&mut self, buffered: u64) -> i64 {
        self.table.buffered = buffered;
        // Never so many: they lie in memory.
        buffered as i64
    }

    /// Brings the table up to date after a call changed something.
    pub(super) fn refresh(&mut self) {
        self.table.buffered = self.controls.wire.buffered() as u64;
        if self.controls.ending != Ending::No {
            self.table.flags |= abi::CLOSING;
        }
    }

    /// The cell behind the pointer that a plugin gave.
    ///
    /// # Safety
    ///
    /// `conn` came from [`Conn::begin`] of a cell that still exists (abi.rs, *the Conn*), and the
    /// caller lets go of the answer before it returns into the plugin.
    pub(super) unsafe fn of<'a>(conn: *mut abi::Conn) -> Result<&'a mut Conn, abi::Status> {
        let cell: *mut Conn = conn.cast();
        if cell.is_null() {
            return Err(abi::MISUSE);
        }
        // SAFETY: the cell exists (the caller's promise); only its atomic is touched, which any
        // thread may read.
        let thread = unsafe { &(*cell).thread }.load(Ordering::Relaxed);
        if thread != thread_token() {
            let is_over = thread == thread_token() | Loan::Over as usize;
            return Err(if is_over { abi::GONE } else { abi::MISUSE });
        }
        // SAFETY: a callback with this cell runs on this very thread, inside `begin` and `end`, so
        // the host's own `&mut` is dormant up the stack and no other thread gets past the check.
        Ok(unsafe { &mut *cell })
    }
}

/// A multiple of 8 that no other living thread has, for the price of one instruction.
fn thread_token() -> usize {
    thread_local! {
        static HERE: usize = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here).addr())
}
