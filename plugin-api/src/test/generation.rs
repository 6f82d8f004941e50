//! One generation of a handler: loads it, and calls the handler callbacks of its vtable.
#![allow(unsafe_code)] // calls through a C table

use std::{cell::Cell, ffi::c_void, mem::offset_of, ptr, rc::Rc, sync::Arc};

use crate::{
    abi::{self, Descriptor, Status, Vtable},
    border::{
        read,
        runtime::{self, Runtime},
    },
    rules,
    test::{
        callback_scope::{CallbackScope, ThreadRestore},
        conn_table::ConnTable,
        context::Context,
        controls::Controls,
        host_table::{self, RUNNING_CALLBACK, RunningCallback},
        hub::Hub,
        log::Line,
        plugin_session::{CallbackOutcome, PluginSession},
    },
};

/// A handler between `init` and `shutdown`.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) facts: HandlerFacts,
    context: Arc<Context>,
    /// The runtime that owns this thread's log lines and publications while a callback runs.
    runtime: Option<&'static Runtime>,
    pub(super) handler: *mut c_void,
    pub(super) vtable: Vtable,
    /// How many sessions the handler has made, and how many it has destroyed.
    sessions: Cell<(usize, usize)>,
    is_serving: Cell<bool>,
}

/// The fields of a descriptor that this host uses.
#[derive(Clone, Debug)]
pub(super) struct HandlerFacts {
    pub(super) name: String,
    reserved: u32,
    flags: u32,
    schema: u32,
    schema_min: u32,
    init: Option<
        unsafe extern "C" fn(*const abi::Host, *const abi::Init, *mut abi::Instance) -> Status,
    >,
}

impl HandlerFacts {
    pub(super) fn of(descriptor: &Descriptor) -> Self {
        let name = descriptor.name.split(|byte| *byte == 0).next();
        HandlerFacts {
            name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
            reserved: descriptor.reserved,
            flags: descriptor.flags,
            schema: descriptor.state_schema,
            schema_min: descriptor.state_schema_min,
            init: descriptor.init,
        }
    }

    /// Whether sessions of `older` can move here.
    fn can_restore(&self, older: &HandlerFacts) -> bool {
        self.flags & older.flags & abi::MIGRATES != 0
            && (self.schema_min..=self.schema).contains(&older.schema)
    }
}

impl Generation {
    /// Loads a handler: `init`, then `self_test`.
    pub(super) fn load(
        hub: &Arc<Hub>,
        facts: HandlerFacts,
        number: u64,
        config_json: &str,
    ) -> Result<Rc<Generation>, String> {
        rules::descriptor(facts.reserved, facts.schema, facts.schema_min)?;
        let (context, ctx) = Context::new(hub, number);
        // Never freed: by the ABI, the host's table lives as long as the process.
        let host: &'static abi::Host = Box::leak(Box::new(host_table::table(&context, ctx)));
        let about = abi::Init {
            size: size_of::<abi::Init>() as u32,
            flags: 0,
            generation: number,
            config_json: read::lend(config_json.as_bytes()),
            name: read::lend(facts.name.as_bytes()),
        };
        let mut made = abi::Instance {
            size: size_of::<abi::Instance>() as u32,
            flags: 0,
            handler: ptr::null_mut(),
            vtable: ptr::null(),
        };
        let init = facts.init.ok_or("the descriptor has no `init`")?;
        let _nested = ThreadRestore::enter();
        runtime::enter_test(None, hub.now());
        // SAFETY: the descriptor's own function with three tables. The first one, with its `ctx` and `log_level`, lives as
        // long as the process. The other two outlive the call.
        let status = unsafe { init(host, &raw const about, &raw mut made) };
        let runtime = runtime::current();
        if status != abi::OK {
            return Err(why("init", status));
        }
        rules::instance(made.flags)?;
        if made.vtable.is_null() {
            return Err("`init` answered OK and left NULL in `WshInstance.vtable`".into());
        }
        // SAFETY: `init` succeeded, so this is its table, which begins with its size.
        let vtable = unsafe { read::copy(made.vtable) };
        // The last field of ABI 1.0; a plugin need not know what was appended.
        let wanted = offset_of!(Vtable, extension) + size_of::<usize>();
        let size = vtable.size as usize;
        if size < wanted {
            return Err(format!(
                "the vtable has {size} bytes, wanted at least {wanted}, as in ABI 1.0"
            ));
        }
        let needed = [
            ("open", vtable.open.is_some()),
            ("message", vtable.message.is_some()),
            ("destroy", vtable.destroy.is_some()),
            ("shutdown", vtable.shutdown.is_some()),
        ];
        if let Some((name, _)) = needed.iter().find(|(_, is_there)| !is_there) {
            return Err(format!("the vtable has no `{name}`, which it needs"));
        }
        let generation = Rc::new(Generation {
            number,
            facts,
            context,
            runtime,
            handler: made.handler,
            vtable,
            sessions: Cell::default(),
            is_serving: Cell::new(false),
        });
        if let Some(self_test) = vtable.self_test {
            // SAFETY: the handler that `init` gave, before `shutdown`.
            match generation.run(|handler| unsafe { self_test(handler) }) {
                abi::OK => {}
                status => return Err(why("self_test", status)),
            }
        }
        Ok(generation)
    }

    /// Tells the handler that clients come from now on, or come no more.
    pub(super) fn serve(&self, on: bool) {
        if let (Some(serving), true) = (self.vtable.serving, self.is_serving.replace(on) != on) {
            // SAFETY: the handler that `init` gave, before `shutdown`.
            self.run(|handler| unsafe { serving(handler, on.into()) });
        }
    }

    /// Makes a session in this generation from the state that an older one wrote.
    pub(super) fn restore(
        self: &Rc<Self>,
        old: &PluginSession,
        table: &ConnTable,
        controls: Controls,
        state: &[u8],
    ) -> (Option<PluginSession>, Controls) {
        let Some(restore) = self.vtable.restore else {
            return (None, controls);
        };
        let schema = old.generation.facts.schema;
        let mut session = ptr::null_mut();
        let (status, controls) = self.call(table, controls, Some(abi::MISUSE), |conn| {
            // SAFETY: the handler that `init` gave, before `shutdown`. The Conn and the cell outlive the call.
            unsafe {
                restore(
                    self.handler,
                    conn,
                    schema,
                    state.as_ptr(),
                    state.len(),
                    &raw mut session,
                )
            }
        });
        let made = match self.outcome(table.id(), "restore", status, false) {
            CallbackOutcome::Continue => Some(PluginSession::new(session, self)),
            _ => None,
        };
        (made, controls)
    }

    /// Whether the handler takes messages in parts.
    pub(super) fn takes_parts(&self) -> bool {
        self.vtable.flags & abi::STREAM != 0
    }

    /// Whether the handler is told that one message follows another.
    pub(super) fn takes_batches(&self) -> bool {
        self.vtable.flags & abi::BATCHES != 0
    }

    /// Whether sessions of `older` can move here.
    pub(super) fn can_restore(&self, older: &Generation) -> bool {
        self.facts.can_restore(&older.facts)
    }

    /// Counts a session that the handler has made.
    pub(super) fn count_made(&self) {
        let (made, destroyed) = self.sessions.get();
        self.sessions.set((made + 1, destroyed));
    }

    /// Counts a session that the handler has destroyed.
    pub(super) fn count_destroyed(&self) {
        let (made, destroyed) = self.sessions.get();
        self.sessions.set((made, destroyed + 1));
    }

    /// Runs a callback of one session. `verdict` is the status of all calls with its Conn, if they are refused.
    pub(super) fn call(
        &self,
        table: &ConnTable,
        controls: Controls,
        verdict: Option<Status>,
        callback: impl FnOnce(*mut abi::Conn) -> Status,
    ) -> (Status, Controls) {
        let conn = table.conn;
        table.begin(&controls);
        // A callback may run a test of its own, whose callbacks then run inside it.
        let outer = RUNNING_CALLBACK.replace(Some(RunningCallback {
            conn,
            controls,
            verdict,
        }));
        let status = self.run(|_| callback(conn));
        let running = RUNNING_CALLBACK.replace(outer).expect("put there above");
        (status, running.controls)
    }

    /// Runs a callback on this thread.
    pub(super) fn run<T>(&self, callback: impl FnOnce(*mut c_void) -> T) -> T {
        let _nested = ThreadRestore::enter();
        runtime::enter_test(self.runtime, self.context.hub.now());
        let _inside = CallbackScope::enter();
        #[cfg(feature = "tracing")]
        let _tracing = crate::log::forward::enter();
        callback(self.handler)
    }

    /// Logs why a callback that belongs to no session has failed.
    pub(super) fn log_failure(&self, callback: &str, why: Option<String>, status: Status) {
        let why = why.or_else(host_table::take_failure);
        self.context.log(Line {
            level: abi::LOG_ERROR,
            session: None,
            target: "wshd".into(),
            message: why.unwrap_or_else(|| sentence(callback, status)),
            fields: vec![("callback".into(), callback.into())],
        });
    }

    /// What the status of a callback means. A failure is logged. A status that has no meaning in the callback is a
    /// failure.
    pub(super) fn outcome(
        &self,
        session: u64,
        callback: &str,
        status: Status,
        may_wait: bool,
    ) -> CallbackOutcome {
        let failure = host_table::take_failure();
        match status {
            abi::OK => CallbackOutcome::Continue,
            abi::DONE => CallbackOutcome::Done,
            abi::PENDING if may_wait => CallbackOutcome::Pending,
            abi::DROPPED if !matches!(callback, "open" | "closing") => CallbackOutcome::Continue,
            _ => {
                self.context.log(Line {
                    level: abi::LOG_ERROR,
                    session: Some(session),
                    target: "wshd".into(),
                    message: failure.unwrap_or_else(|| sentence(callback, status)),
                    fields: vec![("callback".into(), callback.into())],
                });
                CallbackOutcome::Failed
            }
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.serve(false);
        if let Some(shutdown) = self.vtable.shutdown {
            // SAFETY: each session and each attempt holds this generation, so none is left. This is the only call.
            self.run(|handler| unsafe { shutdown(handler) });
        }
        self.context.end();
        let (made, destroyed) = self.sessions.get();
        if !std::thread::panicking() {
            assert_eq!(
                made, destroyed,
                "the handler has made {made} sessions and destroyed {destroyed}"
            );
        }
    }
}

/// Why a handler was not loaded: the reason that it gave, or which callback answered what.
fn why(callback: &str, status: Status) -> String {
    host_table::take_failure().unwrap_or_else(|| sentence(callback, status))
}

fn sentence(callback: &str, status: Status) -> String {
    match status {
        abi::PANIC => format!("`{callback}` panicked"),
        _ => format!("`{callback}` failed: {}", rules::answered(status)),
    }
}
