//! The calls into a plugin on the road of a connection. Every one of them is in this file, but for
//! the two that [move](super::state_transfer) a session.

use std::ffi::c_void;

use wsh::abi::{self, Status, Vtable};

use super::context::Context;
use super::handler_log;
use super::host_conn::{HostConn, Loan};
use super::lent_memory;
use super::library::Plugin;
use super::request_table::RequestTable;
use super::response_draft::Draft;
use super::watchdog::{Callback, Watched, watch};

/// What a handler's callback came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallbackOutcome {
    /// Go on.
    Continue,
    /// The handler is done with the session.
    Done,
    /// The answer comes later, after a wake.
    Pending,
    /// It failed.
    Failed,
    /// It panicked, on its own side of the border.
    Panicked,
}

/// What a handler says to an opening handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeAnswer {
    Accept,
    Reject,
    Pending,
    Abort,
    Failed,
    Panicked,
}

/// What `handshake` left for `open`. Unless `open` takes it, it is abandoned when it is dropped.
#[derive(Debug)]
pub(crate) struct Attempt {
    pointer: *mut c_void,
    handler: *mut c_void,
    vtable: &'static Vtable,
    context: &'static Context,
}

// SAFETY: by the ABI a plugin's callbacks may run on different threads (abi.rs, *order of callbacks*), and the
// pointers are only ever given back to it.
unsafe impl Send for Attempt {}

/// A handler's session: made by `open` or `restore`, freed when it is dropped.
#[derive(Debug)]
pub(crate) struct SessionInstance {
    pub(crate) session: *mut c_void,
    pub(crate) vtable: &'static Vtable,
    pub(crate) context: &'static Context,
}

// SAFETY: as for `Attempt`; calls of one session do not overlap because they take `&mut self`.
unsafe impl Send for SessionInstance {}

impl Plugin {
    /// No attempt yet.
    pub(crate) fn attempt(&self, context: &'static Context) -> Attempt {
        Attempt {
            pointer: std::ptr::null_mut(),
            handler: self.handler,
            vtable: self.vtable,
            context,
        }
    }

    /// Asks the handler whether to accept; `None` in the vtable accepts everybody.
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
        // SAFETY: `handler` is what `init` gave and `shutdown` has not run (a generation outlives
        // its handshakes); the request and the draft outlive the call, and the attempt is this
        // handshake's own.
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

    /// Makes the session; a failure leaves none, and the attempt is taken either way.
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
        // SAFETY: as in `handshake`; `lent` is this session's cell for the length of the call.
        let status = unsafe { open(self.handler, lent, request.table(), taken, &raw mut session) };
        conn.end();
        drop(watched);
        let outcome = outcome(status, conn, Callback::Open, false);
        let exists = matches!(outcome, CallbackOutcome::Continue | CallbackOutcome::Done);
        // Made only if it exists: dropping an instance is `destroy`.
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
            // SAFETY: `handshake` left this pointer and no `open` took it; its owner keeps a place
            // on the generation (`HandshakeOwner`), so `shutdown` has not run.
            unsafe { abandon(self.handler, self.pointer) }
        }
    }
}

/// The loan of a session's Conn for several messages in a row: what each call needs is set up once.
pub(crate) struct Delivery<'a> {
    instance: &'a mut SessionInstance,
    message: MessageFn,
    pub(crate) conn: &'a mut HostConn,
    watched: Watched,
}

impl Delivery<'_> {
    /// Whether the handler is told that one message follows another.
    #[inline]
    pub(crate) fn takes_batches(&self) -> bool {
        self.instance.takes_batches()
    }

    /// One message, or one part of it with `abi::MORE`.
    #[inline]
    pub(crate) fn message(&mut self, kind: u32, payload: &[u8]) -> CallbackOutcome {
        self.watched.renew();
        let session = self.instance.session;
        // SAFETY: `session` came from this vtable and lives until `destroy`, which is the drop of
        // its instance; `&mut self` keeps calls from overlapping; the payload outlives the call,
        // and the Conn is lent to this thread as long as we live.
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
    fn drop(&mut self) {
        self.conn.end();
    }
}

impl SessionInstance {
    /// Whether its handler is told that one message follows another.
    #[inline]
    pub(crate) fn takes_batches(&self) -> bool {
        self.vtable.flags & abi::BATCHES != 0
    }

    /// Lends the Conn for messages that follow one another.
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

    /// One message, or one part of it with `abi::MORE`.
    pub(crate) fn message(
        &mut self,
        conn: &mut HostConn,
        kind: u32,
        payload: &[u8],
    ) -> CallbackOutcome {
        match self.deliver(conn) {
            Some(mut delivery) => delivery.message(kind, payload),
            None => CallbackOutcome::Continue,
        }
    }

    /// A Ping came; it is answered already.
    pub(crate) fn ping(&mut self, conn: &mut HostConn, payload: &[u8]) -> CallbackOutcome {
        let session = self.session;
        self.call(
            conn,
            Callback::Ping,
            Loan::Running,
            self.vtable.ping,
            |ping, conn| {
                // SAFETY: as in `Delivery::message`.
                unsafe { ping(session, conn, payload.as_ptr(), payload.len()) }
            },
        )
    }

    /// A Pong came.
    pub(crate) fn pong(&mut self, conn: &mut HostConn, payload: &[u8]) -> CallbackOutcome {
        let session = self.session;
        self.call(
            conn,
            Callback::Pong,
            Loan::Running,
            self.vtable.pong,
            |pong, conn| {
                // SAFETY: as in `Delivery::message`.
                unsafe { pong(session, conn, payload.as_ptr(), payload.len()) }
            },
        )
    }

    /// There is room to send again.
    pub(crate) fn drain(&mut self, conn: &mut HostConn) -> CallbackOutcome {
        let session = self.session;
        self.call(
            conn,
            Callback::Drain,
            Loan::Running,
            self.vtable.drain,
            |drain, conn| {
                // SAFETY: as in `Delivery::message`.
                unsafe { drain(session, conn) }
            },
        )
    }

    /// A timer ran out.
    pub(crate) fn timer(&mut self, conn: &mut HostConn, token: u64) -> CallbackOutcome {
        let session = self.session;
        self.call(
            conn,
            Callback::Timer,
            Loan::Running,
            self.vtable.timer,
            |timer, conn| {
                // SAFETY: as in `Delivery::message`.
                unsafe { timer(session, conn, token) }
            },
        )
    }

    /// The host's `wake` was called.
    pub(crate) fn wake(&mut self, conn: &mut HostConn) -> CallbackOutcome {
        let session = self.session;
        self.call(
            conn,
            Callback::Wake,
            Loan::Running,
            self.vtable.wake,
            |wake, conn| {
                // SAFETY: as in `Delivery::message`.
                unsafe { wake(session, conn) }
            },
        )
    }

    /// The host's `notify` was called.
    pub(crate) fn note(&mut self, conn: &mut HostConn, note: u64) -> CallbackOutcome {
        let session = self.session;
        self.call(
            conn,
            Callback::Note,
            Loan::Running,
            self.vtable.note,
            |callback, conn| {
                // SAFETY: as in `Delivery::message`.
                unsafe { callback(session, conn, note) }
            },
        )
    }

    /// As `wake`, after `closed` said PENDING: there is no connection any more.
    pub(crate) fn wake_after_end(&mut self, conn: &mut HostConn) -> CallbackOutcome {
        let session = self.session;
        self.call(
            conn,
            Callback::Wake,
            Loan::Over,
            self.vtable.wake,
            |wake, conn| {
                // SAFETY: as in `Delivery::message`.
                unsafe { wake(session, conn) }
            },
        )
    }

    /// The peer closes first.
    pub(crate) fn closing(
        &mut self,
        conn: &mut HostConn,
        code: u16,
        reason: &str,
    ) -> CallbackOutcome {
        let session = self.session;
        conn.set_cause();
        self.call(
            conn,
            Callback::Closing,
            Loan::Running,
            self.vtable.closing,
            |closing, conn| {
                // SAFETY: as in `Delivery::message`.
                unsafe { closing(session, conn, code.into(), lent_memory::lend(reason)) }
            },
        )
    }

    /// The session is over; to be called once.
    pub(crate) fn closed(
        &mut self,
        conn: &mut HostConn,
        code: u16,
        reason: &str,
    ) -> CallbackOutcome {
        let session = self.session;
        conn.set_cause();
        self.call(
            conn,
            Callback::Closed,
            Loan::Over,
            self.vtable.closed,
            |closed, conn| {
                // SAFETY: as in `Delivery::message`.
                unsafe { closed(session, conn, code.into(), lent_memory::lend(reason)) }
            },
        )
    }

    /// Lends the Conn to one callback; a callback that is not there has nothing to say.
    fn call<F>(
        &self,
        conn: &mut HostConn,
        name: Callback,
        loan: Loan,
        callback: Option<F>,
        run: impl FnOnce(F, *mut abi::Conn) -> Status,
    ) -> CallbackOutcome {
        let Some(callback) = callback else {
            return CallbackOutcome::Continue;
        };
        let _watched = watch(self.context, name);
        let lent = conn.begin(loan);
        let status = run(callback, lent);
        conn.end();
        outcome(status, conn, name, loan == Loan::Over)
    }
}

impl Drop for SessionInstance {
    fn drop(&mut self) {
        if let Some(destroy) = self.vtable.destroy {
            let _watched = watch(self.context, Callback::Destroy);
            // SAFETY: the session came from this vtable and this is the only `destroy`; `&mut self`
            // says that no other call is running.
            unsafe { destroy(self.session) }
        }
    }
}

/// What nearly every callback answers is OK. `is_after_end`: there is no connection any more.
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

/// A status that stands for nothing in this callback counts as a failure (abi.rs, *what a callback
/// returns*). Why a callback failed is logged.
#[cold]
fn other_outcome(
    status: Status,
    conn: &HostConn,
    callback: Callback,
    is_after_end: bool,
) -> CallbackOutcome {
    // While the peer waits for the answer to its Close, every callback may say that it comes later.
    let may_wait = is_after_end || callback == Callback::Closing || conn.is_closing();
    let outcome = match status {
        abi::DONE => CallbackOutcome::Done,
        abi::PENDING if may_wait => CallbackOutcome::Pending,
        abi::PANIC => CallbackOutcome::Panicked,
        _ => CallbackOutcome::Failed,
    };
    if matches!(outcome, CallbackOutcome::Failed | CallbackOutcome::Panicked) {
        handler_log::callback_failed(conn.context, conn.id(), callback.name(), status);
    }
    outcome
}

/// [`Vtable::message`], which every handler has.
type MessageFn = unsafe extern "C" fn(*mut c_void, *mut abi::Conn, u32, *const u8, usize) -> Status;
