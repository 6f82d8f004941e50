//! The two calls that move a session's state: `snapshot` writes it in the old code, `restore` reads it in the new.
//!
//! A session exists once after either call, whatever the plugins do. A snapshot leaves it able to go on, and only a restore
//! that succeeds makes a second one, which replaces it.

use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr;
use std::time::{Duration, Instant};

use wsh::abi::{self, Status};

use super::calls::SessionInstance;
use super::failure_reason;
use super::handler_context::HandlerContext;
use super::handler_log::escape_into;
use super::host_conn::{HostConn, Loan};
use super::lent_memory::borrow;
use super::library::Plugin;
use super::watchdog::{Callback, watch};

/// Why a session stays with the code that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotMoved {
    /// It is busy with something that cannot be moved. A later attempt may succeed.
    NotNow(&'static str),
    /// The old code cannot write the state, or the new code cannot read it, for this reason.
    Failed(String),
    /// The snapshot took so long that it is not to be tried again.
    Late(String),
}

impl SessionInstance {
    /// Asks the session for its state, of `bytes_max` at most. The session can go on afterwards.
    pub(crate) fn snapshot(
        &mut self,
        conn: &mut HostConn,
        bytes_max: usize,
    ) -> Result<Vec<u8>, NotMoved> {
        let Some(snapshot) = self.vtable.snapshot else {
            return Err(NotMoved::NotNow(
                "the old code has no state that could move",
            ));
        };
        let mut buffer = SnapshotBuffer {
            state: Vec::new(),
            bytes_max,
            has_overflowed: false,
            began: Instant::now(),
        };
        let loan = buffer.lend();
        let sink = abi::Sink {
            size: size_of::<abi::Sink>() as u32,
            reserved: 0,
            ctx: loan.ctx,
            write: Some(write),
        };
        let watched = watch(self.context, Callback::Snapshot);
        // A snapshot may be taken at any time and often, so it must not change the session.
        let lent = conn.begin(Loan::Moving);
        // SAFETY: `session` came from `open` or `restore` of this vtable, and lives until the drop of `self` calls `destroy`.
        // `&mut self` keeps calls from overlapping. The sink and the buffer behind it outlive the call.
        let status = unsafe { snapshot(self.session, lent, &raw const sink) };
        conn.end();
        drop(watched);
        drop(loan);
        if buffer.began.elapsed() > SNAPSHOT_TIME_MAX {
            let why = format!("its `snapshot` took more than {SNAPSHOT_TIME_MAX:?}");
            return Err(NotMoved::Late(why));
        }
        match status {
            // A plugin that ignores what the sink answers has written half a state.
            abi::OK | abi::TOO_BIG if buffer.has_overflowed => {
                let why = format!("its state is larger than {bytes_max} bytes");
                Err(NotMoved::Failed(why))
            }
            abi::OK => Ok(buffer.state),
            abi::AGAIN => Err(NotMoved::NotNow("its `snapshot` said AGAIN")),
            status => Err(failed(self.context, Callback::Snapshot, status)),
        }
    }
}

impl Plugin {
    /// Makes the session anew from the state that older code wrote in `schema`. A failure makes none.
    pub(crate) fn restore(
        &self,
        context: &'static HandlerContext,
        conn: &mut HostConn,
        schema: u32,
        state: &[u8],
    ) -> Result<SessionInstance, NotMoved> {
        let Some(restore) = self.vtable.restore else {
            return Err(NotMoved::NotNow("the new code takes no sessions over"));
        };
        let mut session = std::ptr::null_mut();
        let was_restored = conn.set_restored(true);
        let watched = watch(context, Callback::Restore);
        // The session may stay with the old code, which must not find it changed.
        let lent = conn.begin(Loan::Moving);
        // SAFETY: `init` gave `handler`, and the caller's place on the generation keeps `shutdown` from running. The state
        // outlives the call, and the last pointer is to a variable for the new session.
        let status = unsafe {
            restore(
                self.handler,
                lent,
                schema,
                state.as_ptr(),
                state.len(),
                &raw mut session,
            )
        };
        conn.end();
        drop(watched);
        if status != abi::OK {
            conn.set_restored(was_restored);
            return Err(failed(context, Callback::Restore, status));
        }
        conn.context = context;
        Ok(SessionInstance {
            session,
            vtable: self.vtable,
            context,
        })
    }
}

/// What a snapshot is written into.
struct SnapshotBuffer {
    state: Vec<u8>,
    bytes_max: usize,
    has_overflowed: bool,
    began: Instant,
}

impl SnapshotBuffer {
    /// Lends the buffer to a `snapshot` on this thread, until the loan is dropped.
    fn lend(&mut self) -> BufferLoan<'_> {
        let ctx = (&raw mut *self).cast();
        LENT_BUFFER.set(ctx);
        BufferLoan {
            ctx,
            buffer: PhantomData,
        }
    }

    /// The buffer behind a pointer that a plugin gave, if it is lent on this thread. MISUSE for any other pointer, behind
    /// which nothing is read.
    ///
    /// # Safety
    ///
    /// The caller uses the answer only before it returns into the plugin.
    unsafe fn of<'a>(ctx: *mut c_void) -> Result<&'a mut SnapshotBuffer, Status> {
        if ctx.is_null() || ctx != LENT_BUFFER.get() {
            return Err(abi::MISUSE);
        }
        // SAFETY: `lend` made the pointer of a `&mut SnapshotBuffer`, which the loan borrows until `LENT_BUFFER` is NULL again.
        Ok(unsafe { &mut *ctx.cast::<SnapshotBuffer>() })
    }
}

/// The loan of a buffer to one call of `snapshot`.
struct BufferLoan<'a> {
    /// The sink's `ctx`, by which the plugin knows the buffer.
    ctx: *mut c_void,
    buffer: PhantomData<&'a mut SnapshotBuffer>,
}

impl Drop for BufferLoan<'_> {
    fn drop(&mut self) {
        LENT_BUFFER.set(ptr::null_mut());
    }
}

thread_local! {
    /// The buffer that is lent to the `snapshot` on this thread, or NULL. Per thread, because the sink's `write` gets a bare
    /// pointer, and only this says whether it is good here.
    static LENT_BUFFER: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}

/// `write` of the sink: appends to the snapshot.
unsafe extern "C" fn write(ctx: *mut c_void, ptr: *const u8, len: usize) -> Status {
    // SAFETY: by the ABI (`Sink::write`) the bytes are lent for the call. The buffer is used only in it.
    let (buffer, bytes) = match unsafe { (SnapshotBuffer::of(ctx), borrow(ptr, len)) } {
        (Ok(buffer), Ok(bytes)) => (buffer, bytes),
        (Err(status), _) | (_, Err(status)) => return status,
    };
    // A snapshot that writes without end is stopped in time too, if it heeds the answer.
    let is_late = buffer.began.elapsed() > SNAPSHOT_TIME_MAX;
    if is_late || bytes.len() > buffer.bytes_max - buffer.state.len() {
        buffer.has_overflowed = true;
        return abi::TOO_BIG;
    }
    buffer.state.extend_from_slice(bytes);
    abi::OK
}

/// How long a session may take to write its state. It holds a worker meanwhile, and the watchdog logs a callback that takes
/// longer.
const SNAPSHOT_TIME_MAX: Duration = Duration::from_secs(1);

/// Why a session is not moved after a failed callback: the reason that the plugin gave, else the status. A panic is logged
/// elsewhere, with its place in the source.
fn failed(context: &HandlerContext, callback: Callback, status: Status) -> NotMoved {
    let name = callback.name();
    let mut why = format!("`{name}` failed: ");
    match (failure_reason::take_reason_of(context), status) {
        (Some(words), _) => escape_into(&mut why, words.as_bytes()),
        (None, abi::PANIC) => why = format!("`{name}` panicked"),
        (None, status) => why = format!("`{name}` answered status {status}"),
    }
    NotMoved::Failed(why)
}
