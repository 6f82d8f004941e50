//! One session as the plugin has it: calls the session callbacks of its vtable.
#![allow(unsafe_code)] // calls through a C table

use std::{cell::Cell, ffi::c_void, ptr, rc::Rc};

use crate::{
    abi::{self, Status},
    border::read,
    test::{conn_table::ConnTable, controls::Controls, generation::Generation, limits},
};

/// A session of a handler. When it is dropped, `destroy` is called.
#[derive(Debug)]
pub(super) struct PluginSession {
    session: *mut c_void,
    pub(super) generation: Rc<Generation>,
}

/// What the status of a callback means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CallbackOutcome {
    Continue,
    Done,
    Pending,
    Failed,
}

/// An event that a callback of a session handles.
#[derive(Debug)]
pub(super) enum CallbackEvent<'a> {
    Message(u32, &'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Drain,
    Timer(u64),
    Wake,
    Note(u64),
    Closing(u32, &'a str),
    Closed(u32, &'a str),
    /// A `wake` after the end of the session.
    WakeAfterEnd,
}

impl PluginSession {
    /// A session that `open` or `restore` of this generation has just made.
    pub(super) fn new(session: *mut c_void, generation: &Rc<Generation>) -> Self {
        generation.count_made();
        PluginSession {
            session,
            generation: Rc::clone(generation),
        }
    }

    /// Calls the callback for an event. A callback that is NULL counts as having answered OK.
    pub(super) fn on(
        &mut self,
        event: &CallbackEvent<'_>,
        table: &ConnTable,
        controls: Controls,
    ) -> (CallbackOutcome, Controls) {
        let vtable = &self.generation.vtable;
        let session = self.session;
        let verdict = match event {
            CallbackEvent::Closed(..) | CallbackEvent::WakeAfterEnd => Some(abi::GONE),
            _ => None,
        };
        // While the peer waits for the answer to its Close, every callback may answer that it comes later.
        let is_closing = matches!(event, CallbackEvent::Closing(..)) || table.is_closing();
        let may_wait = verdict.is_some() || is_closing;
        let mut name = "";
        // SAFETY of every call below: `session` came from `open` or `restore` of this vtable, and lives until `Drop`.
        // `&mut self` keeps its callbacks apart. All arguments outlive the call.
        let (status, controls) = self.generation.call(table, controls, verdict, |conn| {
            macro_rules! call {
                ($callback:ident $(, $argument:expr)*) => {{
                    name = stringify!($callback);
                    match vtable.$callback {
                        // SAFETY: as said above.
                        Some(callback) => unsafe { callback(session, conn $(, $argument)*) },
                        None => abi::OK,
                    }
                }};
            }
            match *event {
                CallbackEvent::Message(kind, bytes) => {
                    call!(message, kind, bytes.as_ptr(), bytes.len())
                }
                CallbackEvent::Ping(bytes) => call!(ping, bytes.as_ptr(), bytes.len()),
                CallbackEvent::Pong(bytes) => call!(pong, bytes.as_ptr(), bytes.len()),
                CallbackEvent::Drain => call!(drain),
                CallbackEvent::Timer(token) => call!(timer, token),
                CallbackEvent::Wake | CallbackEvent::WakeAfterEnd => call!(wake),
                CallbackEvent::Note(it) => call!(note, it),
                CallbackEvent::Closing(code, reason) => {
                    call!(closing, code, read::lend(reason.as_bytes()))
                }
                CallbackEvent::Closed(code, reason) => {
                    call!(closed, code, read::lend(reason.as_bytes()))
                }
            }
        });
        (
            self.generation.outcome(table.id(), name, status, may_wait),
            controls,
        )
    }

    /// The session's state; `None` if it gives none now.
    pub(super) fn snapshot(
        &mut self,
        table: &ConnTable,
        controls: Controls,
    ) -> (Option<Vec<u8>>, Controls) {
        unsafe extern "C" fn write(ctx: *mut c_void, ptr: *const u8, len: usize) -> Status {
            if ctx.is_null() || ctx != SINK.get() {
                return abi::MISUSE;
            }
            // SAFETY: `ctx` is the vector below, which nothing else uses during the call.
            let state = unsafe { &mut *ctx.cast::<Vec<u8>>() };
            // SAFETY: *lent memory*.
            let bytes = match unsafe { read::lent(ptr, len) } {
                Ok(bytes) => bytes,
                Err(status) => return status,
            };
            if bytes.len() > limits::SNAPSHOT_BYTES_MAX - state.len() {
                return abi::TOO_BIG;
            }
            state.extend_from_slice(bytes);
            abi::OK
        }
        let Some(snapshot) = self.generation.vtable.snapshot else {
            return (None, controls);
        };
        let mut state = Vec::<u8>::new();
        let sink = abi::Sink {
            size: size_of::<abi::Sink>() as u32,
            reserved: 0,
            ctx: (&raw mut state).cast(),
            write: Some(write),
        };
        let session = self.session;
        let verdict = Some(abi::MISUSE);
        SINK.set(sink.ctx);
        let (status, controls) = self.generation.call(table, controls, verdict, |conn| {
            // SAFETY: as in `on`.
            unsafe { snapshot(session, conn, &raw const sink) }
        });
        SINK.set(ptr::null_mut());
        if status == abi::AGAIN {
            return (None, controls);
        }
        let outcome = self
            .generation
            .outcome(table.id(), "snapshot", status, false);
        (
            (outcome == CallbackOutcome::Continue).then_some(state),
            controls,
        )
    }
}

impl Drop for PluginSession {
    fn drop(&mut self) {
        self.generation.count_destroyed();
        if let Some(destroy) = self.generation.vtable.destroy {
            let session = self.session;
            // SAFETY: `open` or `restore` made it, this is the only `destroy`, and no other callback of the session runs.
            self.generation.run(|_| unsafe { destroy(session) });
        }
    }
}

thread_local! {
    /// The `ctx` of the sink of the `snapshot` that runs on this thread, or NULL.
    static SINK: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}
