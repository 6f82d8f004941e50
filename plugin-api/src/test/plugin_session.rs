//! One session as the plugin has it: calls the session callbacks of its vtable.
#![allow(unsafe_code)] // calls through a C table

use std::{ffi::c_void, rc::Rc};

use crate::{
    abi,
    border::read,
    test::{
        answer_table::with_answer, conn_table::ConnTable, controls::Controls, engine::AnswerBuf,
        generation::Generation, limits, sink,
    },
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
    Answer(u64, &'a AnswerBuf),
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
                CallbackEvent::Answer(token, answer) => {
                    with_answer(answer, |table| call!(answer, token, table))
                }
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
        let Some(snapshot) = self.generation.vtable.snapshot else {
            return (None, controls);
        };
        let session = self.session;
        let verdict = Some(abi::MISUSE);
        let mut state = Vec::new();
        let (status, controls) = self.generation.call(table, controls, verdict, |conn| {
            let (status, written) = sink::collect(limits::SNAPSHOT_BYTES_MAX, |sink| {
                // SAFETY: as in `on`.
                unsafe { snapshot(session, conn, sink) }
            });
            state = written;
            status
        });
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
