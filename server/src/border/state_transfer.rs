//! The two calls that move a session's state: `snapshot` writes it in the old code, `restore` reads it in the new.
//!
//! A session exists once after either call, whatever the plugins do. A snapshot leaves it able to go on, and only a restore
//! that succeeds makes a second one, which replaces it.

use std::time::{Duration, Instant};

use wsh::abi::{self, Status};

use super::calls::SessionInstance;
use super::failure_reason;
use super::handler_context::HandlerContext;
use super::handler_log::escape_into;
use super::host_conn::{HostConn, Loan};
use super::library::Plugin;
use super::sink_buffer::{Overflowed, SinkBuffer};
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
        let began = Instant::now();
        let mut buffer = SinkBuffer::with_deadline(bytes_max, began + SNAPSHOT_TIME_MAX);
        let loan = buffer.lend();
        let watched = watch(self.context, Callback::Snapshot);
        // A snapshot may be taken at any time and often, so it must not change the session.
        let lent = conn.begin(Loan::Moving);
        // SAFETY: `session` came from `open` or `restore` of this vtable, and lives until the drop of `self` calls `destroy`.
        // `&mut self` keeps calls from overlapping. The sink and the buffer behind it outlive the call.
        let status = unsafe { snapshot(self.session, lent, loan.sink()) };
        conn.end();
        drop(watched);
        drop(loan);
        if began.elapsed() > SNAPSHOT_TIME_MAX {
            let why = format!("its `snapshot` took more than {SNAPSHOT_TIME_MAX:?}");
            return Err(NotMoved::Late(why));
        }
        match (status, buffer.written()) {
            (abi::OK | abi::TOO_BIG, Err(Overflowed)) => {
                let why =
                    format!("its state is larger than {bytes_max} bytes (`snapshot_bytes_max`)");
                Err(NotMoved::Failed(why))
            }
            (abi::OK, Ok(state)) => Ok(state),
            (abi::AGAIN, _) => Err(NotMoved::NotNow("its `snapshot` said AGAIN")),
            (status, _) => Err(failed(self.context, Callback::Snapshot, status)),
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
