//! One opening handshake as the plugin has it: calls `handshake`, `open` and `abandon`.
#![allow(unsafe_code)] // calls through a C table

use std::{ffi::c_void, ptr, rc::Rc};

use crate::{
    abi::{self, Status},
    test::{
        conn_table::ConnTable,
        controls::Controls,
        generation::Generation,
        host_table::{RUNNING_CALLBACK, RUNNING_HANDSHAKE, RunningHandshake},
        plugin_session::{CallbackOutcome, PluginSession},
        request_table::RequestTable,
        response_draft::ResponseDraft,
    },
};

/// What `handshake` has left in `attempt`. When it is dropped, `abandon` is called.
#[derive(Debug)]
pub(super) struct PluginHandshake {
    pointer: *mut c_void,
    pub(super) generation: Rc<Generation>,
}

impl PluginHandshake {
    pub(super) fn new(generation: Rc<Generation>) -> Self {
        PluginHandshake {
            pointer: ptr::null_mut(),
            generation,
        }
    }

    /// Calls `handshake`. The draft of the answer goes in, and comes out with what the handler has changed.
    pub(super) fn ask(
        &mut self,
        request: &RequestTable,
        draft: ResponseDraft,
    ) -> (Status, ResponseDraft) {
        let generation = &self.generation;
        let Some(handshake) = generation.vtable.handshake else {
            return (abi::OK, draft);
        };
        let mut place = 0_u8;
        let response: *mut abi::Response = (&raw mut place).cast();
        let outer = (
            RUNNING_CALLBACK.take(),
            RUNNING_HANDSHAKE.replace(Some(RunningHandshake {
                id: request.id(),
                response,
                draft,
            })),
        );
        let attempt = &raw mut self.pointer;
        // SAFETY: the handler that `init` gave, before `shutdown`. The request stays where it is, and the other two
        // outlive the call.
        let status = generation
            .run(|handler| unsafe { handshake(handler, request.table(), response, attempt) });
        let ended = RUNNING_HANDSHAKE.replace(outer.1).expect("put there above");
        RUNNING_CALLBACK.set(outer.0);
        if !(0..=abi::ABORT).contains(&status) {
            generation.outcome(request.id(), "handshake", status, false);
        }
        (status, ended.draft)
    }

    /// Calls `open`, which takes the attempt. A failure leaves no session.
    pub(super) fn open(
        mut self,
        table: &ConnTable,
        controls: Controls,
        request: &RequestTable,
    ) -> (Option<PluginSession>, CallbackOutcome, Controls) {
        let attempt = std::mem::replace(&mut self.pointer, ptr::null_mut());
        let generation = &self.generation;
        let open = generation
            .vtable
            .open
            .expect("looked at when it was loaded");
        let mut session = ptr::null_mut();
        let (status, controls) = generation.call(table, controls, None, |conn| {
            // SAFETY: as in `ask`. The attempt is what `handshake` left, and it is passed on once.
            unsafe {
                open(
                    generation.handler,
                    conn,
                    request.table(),
                    attempt,
                    &raw mut session,
                )
            }
        });
        let outcome = generation.outcome(request.id(), "open", status, false);
        let exists = matches!(outcome, CallbackOutcome::Continue | CallbackOutcome::Done);
        let made = exists.then(|| PluginSession::new(session, generation));
        (made, outcome, controls)
    }
}

impl Drop for PluginHandshake {
    fn drop(&mut self) {
        if let (false, Some(abandon)) = (self.pointer.is_null(), self.generation.vtable.abandon) {
            let pointer = self.pointer;
            // SAFETY: `handshake` left it, and no `open` took it.
            self.generation
                .run(|handler| unsafe { abandon(handler, pointer) });
        }
    }
}
