//! The calls into a plugin on the road of a connection: the handshake's, and the callbacks of a session.
//!
//! The two calls that move a session to newer code are in [`state_transfer`](super::state_transfer).

use std::ffi::c_void;

use wsh::abi::{self, Status, Vtable};

use super::handler_context::HandlerContext;
use super::handler_log;
use super::host_conn::{HostConn, Loan};
use super::lent_memory;
use super::library::Plugin;
use super::request_table::RequestTable;
use super::response_draft::Draft;
use super::watchdog::{Callback, Watched, watch};

/// What a callback of a session came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallbackOutcome {
    /// The session goes on.
    Continue,
    /// The handler is done with the session.
    Done,
    /// The answer comes later, after a wake.
    Pending,
    /// The callback failed.
    Failed,
    /// The callback panicked. The plugin caught the panic on its side of the border.
    Panicked,
}

/// What a handler's `handshake` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeAnswer {
    Accept,
    Reject,
    Pending,
    Abort,
    Failed,
    Panicked,
}

/// What `handshake` left for `open`. A drop calls `abandon`, unless `open` took the pointer.
#[derive(Debug)]
pub(crate) struct Attempt {
    pointer: *mut c_void,
    handler: *mut c_void,
    vtable: &'static Vtable,
    context: &'static HandlerContext,
}

// SAFETY: by the ABI (abi.rs, *order of callbacks*) a plugin's callbacks may run on different threads. The server
// only passes these pointers back to the plugin.
unsafe impl Send for Attempt {}

/// A handler's session, made by `open` or `restore`. A drop calls `destroy`.
#[derive(Debug)]
pub(crate) struct SessionInstance {
    pub(crate) session: *mut c_void,
    pub(crate) vtable: &'static Vtable,
    pub(crate) context: &'static HandlerContext,
}

// SAFETY: by the ABI (abi.rs, *order of callbacks*) the callbacks of a session may run on different threads, one after
// another. They take `&mut self`, so they do not overlap.
unsafe impl Send for SessionInstance {}

impl Plugin {
    /// An attempt without a pointer, which [`handshake`](Self::handshake) may set.
    pub(crate) fn attempt(&self, context: &'static HandlerContext) -> Attempt {
        Attempt {
            pointer: std::ptr::null_mut(),
            handler: self.handler,
            vtable: self.vtable,
            context,
        }
    }

    /// Asks the handler whether to accept a request. A handler without `handshake` accepts every request.
    pub(crate) fn handshake(
        &self,
        request: &RequestTable,
        draft: &mut Draft,
        attempt: &mut Attempt,
    ) -> HandshakeAnswer {
        let context = attempt.context;
        let Some(handshake) = self.vtable.handshake else {
            return HandshakeAnswer::Accept;
        };
        let _watched = watch(context, Callback::Handshake);
        let lent = draft.lend();
        // SAFETY: `init` gave `handler`, and `shutdown` runs only when no handshake is left, which the caller's place on
        // the generation ensures. The request, the draft and the attempt are borrowed for longer than the call.
        let status = unsafe {
            handshake(
                self.handler,
                request.table(),
                lent.response,
                &raw mut attempt.pointer,
            )
        };
        drop(lent);
        let answer = match status {
            abi::OK => HandshakeAnswer::Accept,
            abi::REJECT => HandshakeAnswer::Reject,
            abi::PENDING => HandshakeAnswer::Pending,
            abi::ABORT => HandshakeAnswer::Abort,
            abi::PANIC => HandshakeAnswer::Panicked,
            _ => HandshakeAnswer::Failed,
        };
        if matches!(answer, HandshakeAnswer::Failed | HandshakeAnswer::Panicked) {
            handler_log::callback_failed(context, request.id(), Callback::Handshake.name(), status);
        }
        answer
    }

    /// Makes the session. A failure makes none. The plugin takes the attempt in both cases.
    pub(crate) fn open(
        &self,
        conn: &mut HostConn,
        request: &RequestTable,
        mut attempt: Attempt,
    ) -> (Option<SessionInstance>, CallbackOutcome) {
        let taken = std::mem::replace(&mut attempt.pointer, std::ptr::null_mut());
        let Some(open) = self.vtable.open else {
            return (None, CallbackOutcome::Failed);
        };
        let mut session = std::ptr::null_mut();
        let context = conn.context;
        let watched = watch(context, Callback::Open);
        let lent = conn.begin(Loan::Running);
        // SAFETY: `init` gave `handler`, and the caller's place on the generation keeps `shutdown` from running. The
        // request is borrowed for longer than the call, and `conn` is lent until `end`.
        let status = unsafe { open(self.handler, lent, request.table(), taken, &raw mut session) };
        conn.end();
        drop(watched);
        let outcome = outcome(status, conn, Callback::Open, false);
        let exists = matches!(outcome, CallbackOutcome::Continue | CallbackOutcome::Done);
        // Only a session that exists gets an instance, because the instance's drop calls `destroy`.
        let instance = exists.then(|| SessionInstance {
            session,
            vtable: self.vtable,
            context,
        });
        (instance, outcome)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let (false, Some(abandon)) = (self.pointer.is_null(), self.vtable.abandon) {
            let _watched = watch(self.context, Callback::Abandon);
            // SAFETY: `handshake` left this pointer, and no `open` took it. The attempt's owner (`HandshakeOwner`) keeps
            // a place on the generation, so `shutdown` has not run.
            unsafe { abandon(self.handler, self.pointer) }
        }
    }
}

/// The loan of a session's Conn for several messages in a row, so that what each call needs is set up once.
pub(crate) struct Delivery<'a> {
    instance: &'a mut SessionInstance,
    message: MessageFn,
    pub(crate) conn: &'a mut HostConn,
    watched: Watched,
}

impl Delivery<'_> {
    /// Whether the handler is told that another message follows the one it gets.
    #[inline]
    pub(crate) fn takes_batches(&self) -> bool {
        self.instance.takes_batches()
    }

    /// Whether the time of the callback is taken.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.watched.is_timed()
    }

    /// Notes that another message is passed on next.
    #[inline]
    pub(crate) fn renew(&self) {
        self.watched.renew();
    }

    /// Passes on one message, or one part of it with `abi::MORE`. [`renew`](Self::renew) comes before each but the first.
    #[inline]
    pub(crate) fn message(&mut self, kind: u32, payload: &[u8]) -> CallbackOutcome {
        let session = self.instance.session;
        // SAFETY: `session` came from this vtable and lives until its instance is dropped, which `self` borrows. `&mut
        // self` keeps calls from overlapping. The payload is borrowed for longer than the call, and the Conn is lent
        // to this thread for the life of the delivery.
        let status = unsafe {
            (self.message)(
                session,
                self.conn.lent(),
                kind,
                payload.as_ptr(),
                payload.len(),
            )
        };
        outcome(status, self.conn, Callback::Message, false)
    }
}

impl Drop for Delivery<'_> {
    #[inline]
    fn drop(&mut self) {
        self.conn.end();
    }
}

impl SessionInstance {
    /// Whether the handler is told that another message follows the one it gets.
    #[inline]
    pub(crate) fn takes_batches(&self) -> bool {
        self.vtable.flags & abi::BATCHES != 0
    }

    /// Lends the Conn for messages that follow one another. `None` for a handler without `message`.
    #[inline]
    pub(crate) fn deliver<'a>(&'a mut self, conn: &'a mut HostConn) -> Option<Delivery<'a>> {
        let message = self.vtable.message?;
        let watched = watch(self.context, Callback::Message);
        conn.begin(Loan::Running);
        Some(Delivery {
            instance: self,
            message,
            conn,
            watched,
        })
    }

    /// Passes on one message, or one part of it with `abi::MORE`.
    // Inlined, because nearly every callback is this one.
    #[inline(always)]
    pub(crate) fn message(
        &mut self,
        conn: &mut HostConn,
        kind: u32,
        payload: &[u8],
    ) -> CallbackOutcome {
        self.call(
            conn,
            Callback::Message,
            Loan::Running,
            self.vtable.message,
            |message, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent. The payload is borrowed for
                // longer than the call.
                unsafe { message(session, conn, kind, payload.as_ptr(), payload.len()) }
            },
        )
    }

    /// Tells the handler of a Ping, which is answered already.
    pub(crate) fn ping(&mut self, conn: &mut HostConn, payload: &[u8]) -> CallbackOutcome {
        self.call(
            conn,
            Callback::Ping,
            Loan::Running,
            self.vtable.ping,
            |ping, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent. The payload is borrowed for
                // longer than the call.
                unsafe { ping(session, conn, payload.as_ptr(), payload.len()) }
            },
        )
    }

    /// Tells the handler of a Pong.
    pub(crate) fn pong(&mut self, conn: &mut HostConn, payload: &[u8]) -> CallbackOutcome {
        self.call(
            conn,
            Callback::Pong,
            Loan::Running,
            self.vtable.pong,
            |pong, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent. The payload is borrowed for
                // longer than the call.
                unsafe { pong(session, conn, payload.as_ptr(), payload.len()) }
            },
        )
    }

    /// Tells the handler that there is room to send again.
    pub(crate) fn drain(&mut self, conn: &mut HostConn) -> CallbackOutcome {
        self.call(
            conn,
            Callback::Drain,
            Loan::Running,
            self.vtable.drain,
            |drain, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent.
                unsafe { drain(session, conn) }
            },
        )
    }

    /// Tells the handler that the timer with this token ran out.
    pub(crate) fn timer(&mut self, conn: &mut HostConn, token: u64) -> CallbackOutcome {
        self.call(
            conn,
            Callback::Timer,
            Loan::Running,
            self.vtable.timer,
            |timer, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent.
                unsafe { timer(session, conn, token) }
            },
        )
    }

    /// Tells the handler that `wake` of the host table was called for its session.
    pub(crate) fn wake(&mut self, conn: &mut HostConn) -> CallbackOutcome {
        self.call(
            conn,
            Callback::Wake,
            Loan::Running,
            self.vtable.wake,
            |wake, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent.
                unsafe { wake(session, conn) }
            },
        )
    }

    /// Passes on a number that was given to `notify` of the host table.
    pub(crate) fn note(&mut self, conn: &mut HostConn, note: u64) -> CallbackOutcome {
        self.call(
            conn,
            Callback::Note,
            Loan::Running,
            self.vtable.note,
            |note_callback, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent.
                unsafe { note_callback(session, conn, note) }
            },
        )
    }

    /// Calls `wake` after `closed` answered PENDING, when there is no connection any more.
    pub(crate) fn wake_after_end(&mut self, conn: &mut HostConn) -> CallbackOutcome {
        self.call(
            conn,
            Callback::Wake,
            Loan::Over,
            self.vtable.wake,
            |wake, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent.
                unsafe { wake(session, conn) }
            },
        )
    }

    /// Tells the handler that the peer sent a Close frame first.
    pub(crate) fn closing(
        &mut self,
        conn: &mut HostConn,
        code: u16,
        reason: &str,
    ) -> CallbackOutcome {
        conn.set_cause();
        self.call(
            conn,
            Callback::Closing,
            Loan::Running,
            self.vtable.closing,
            |closing, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent. The reason is borrowed for
                // longer than the call.
                unsafe { closing(session, conn, code.into(), lent_memory::lend(reason)) }
            },
        )
    }

    /// Tells the handler that the session is over. Called once.
    pub(crate) fn closed(
        &mut self,
        conn: &mut HostConn,
        code: u16,
        reason: &str,
    ) -> CallbackOutcome {
        conn.set_cause();
        self.call(
            conn,
            Callback::Closed,
            Loan::Over,
            self.vtable.closed,
            |closed, session, conn| {
                // SAFETY: `call` gives a session that lives, and a Conn that is lent. The reason is borrowed for
                // longer than the call.
                unsafe { closed(session, conn, code.into(), lent_memory::lend(reason)) }
            },
        )
    }

    /// Runs one callback with the session and the Conn, which is lent to it. A callback that the plugin does not have answers
    /// `Continue`.
    #[inline(always)]
    pub(super) fn call<F>(
        &self,
        conn: &mut HostConn,
        name: Callback,
        loan: Loan,
        callback: Option<F>,
        run: impl FnOnce(F, *mut c_void, *mut abi::Conn) -> Status,
    ) -> CallbackOutcome {
        let Some(callback) = callback else {
            return CallbackOutcome::Continue;
        };
        let _watched = watch(self.context, name);
        let lent = conn.begin(loan);
        let status = run(callback, self.session, lent);
        conn.end();
        outcome(status, conn, name, loan == Loan::Over)
    }
}

impl Drop for SessionInstance {
    fn drop(&mut self) {
        if let Some(destroy) = self.vtable.destroy {
            let _watched = watch(self.context, Callback::Destroy);
            // SAFETY: the session came from this vtable, and only this drop calls `destroy`. `&mut self` says that no
            // other call of the session runs.
            unsafe { destroy(self.session) }
        }
    }
}

/// What a status means. Nearly every callback answers OK. `is_after_end`: there is no connection any more.
#[inline]
fn outcome(
    status: Status,
    conn: &HostConn,
    callback: Callback,
    is_after_end: bool,
) -> CallbackOutcome {
    if status == abi::OK {
        return CallbackOutcome::Continue;
    }
    other_outcome(status, conn, callback, is_after_end)
}

/// What a status other than OK means; a failure is logged. A status that has no meaning in this callback counts as a
/// failure (abi.rs, *what a callback returns*).
#[cold]
fn other_outcome(
    status: Status,
    conn: &HostConn,
    callback: Callback,
    is_after_end: bool,
) -> CallbackOutcome {
    // While the peer waits for the answer to its Close, every callback may answer PENDING.
    let may_wait = is_after_end || callback == Callback::Closing || conn.is_closing();
    let outcome = match status {
        abi::DONE => CallbackOutcome::Done,
        abi::PENDING if may_wait => CallbackOutcome::Pending,
        abi::PANIC => CallbackOutcome::Panicked,
        // The handler returns what a send told it: that the message was dropped. That is no failure.
        abi::DROPPED if !matches!(callback, Callback::Open | Callback::Closing) => {
            CallbackOutcome::Continue
        }
        _ => CallbackOutcome::Failed,
    };
    if matches!(outcome, CallbackOutcome::Failed | CallbackOutcome::Panicked) {
        handler_log::callback_failed(conn.context, conn.id(), callback.name(), status);
    }
    outcome
}

/// [`Vtable::message`], which every handler has.
type MessageFn = unsafe extern "C" fn(*mut c_void, *mut abi::Conn, u32, *const u8, usize) -> Status;
