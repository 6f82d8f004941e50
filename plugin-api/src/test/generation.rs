//! One generation of a handler: calls its vtable, in the order that the ABI promises.
#![allow(unsafe_code)] // calls through a C table

use std::{cell::Cell, ffi::c_void, ptr, rc::Rc, sync::Arc};

use crate::{
    abi::{self, Descriptor, Status, Vtable},
    border::{
        read,
        runtime::{self, Runtime},
    },
    rules,
    test::{
        conn_table::ConnTable,
        context::Context,
        controls::Controls,
        host_table::{
            self, RUNNING_CALLBACK, RUNNING_HANDSHAKE, RunningCallback, RunningHandshake,
        },
        hub::Hub,
        limits,
        log::Line,
        request_table::RequestTable,
        response_draft::ResponseDraft,
    },
};

/// A handler between `init` and `shutdown`.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) facts: HandlerFacts,
    context: Arc<Context>,
    /// Which handler this thread's log lines and publications belong to while a callback runs.
    runtime: Option<&'static Runtime>,
    handler: *mut c_void,
    vtable: Vtable,
    /// How many sessions were made and how many destroyed.
    sessions: Cell<(usize, usize)>,
    is_serving: Cell<bool>,
}

/// What a descriptor says of a handler.
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

/// A session of a handler, destroyed when dropped.
#[derive(Debug)]
pub(super) struct PluginSession {
    session: *mut c_void,
    pub(super) generation: Rc<Generation>,
}

/// What an opening handshake has left with the handler, abandoned when dropped.
#[derive(Debug)]
pub(super) struct PluginHandshake {
    pointer: *mut c_void,
    pub(super) generation: Rc<Generation>,
}

/// What a callback answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CallbackOutcome {
    Continue,
    Done,
    Pending,
    Failed,
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
        let (context, ctx) = Context::new(hub);
        // Never freed: the ABI gives it to the plugin for as long as the process lives.
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
        // SAFETY: the descriptor's own function with three tables of ours: the first is there for
        // ever, with its `ctx` and `log_level`, the other two for the call.
        let status = unsafe { init(host, &raw const about, &raw mut made) };
        let runtime = runtime::current();
        if status != abi::OK {
            return Err(why("init", status));
        }
        rules::instance(made.flags)?;
        if made.vtable.is_null() {
            return Err("`init` gave no vtable".into());
        }
        // SAFETY: `init` succeeded, so this is its table, with its size in front.
        let vtable = unsafe { read::copy(made.vtable) };
        if (vtable.size as usize) < size_of::<Vtable>() {
            return Err("the vtable is shorter than that of ABI 1.0".into());
        }
        let has_all = vtable.open.is_some()
            && vtable.message.is_some()
            && vtable.destroy.is_some()
            && vtable.shutdown.is_some();
        if !has_all {
            return Err("the vtable lacks `open`, `message`, `destroy` or `shutdown`".into());
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
            // SAFETY: what `init` gave, before `shutdown`.
            match generation.run(|handler| unsafe { self_test(handler) }) {
                abi::OK => {}
                status => return Err(why("self_test", status)),
            }
        }
        Ok(generation)
    }

    /// Tells the handler that clients come, or that no more will.
    pub(super) fn serve(&self, on: bool) {
        if let (Some(serving), true) = (self.vtable.serving, self.is_serving.replace(on) != on) {
            // SAFETY: what `init` gave, before `shutdown`.
            self.run(|handler| unsafe { serving(handler, on.into()) });
        }
    }

    pub(super) fn attempt(self: &Rc<Self>) -> PluginHandshake {
        PluginHandshake {
            pointer: ptr::null_mut(),
            generation: Rc::clone(self),
        }
    }

    /// A session in a newer generation from the state that an older one wrote.
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
            // SAFETY: what `init` gave, before `shutdown`; a Conn and a cell for this call.
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
            CallbackOutcome::Continue => Some(self.session(session)),
            _ => None,
        };
        (made, controls)
    }

    /// Whether its handler takes messages in parts.
    pub(super) fn takes_parts(&self) -> bool {
        self.vtable.flags & abi::STREAM != 0
    }

    /// Whether its handler is told that one message follows another.
    pub(super) fn takes_batches(&self) -> bool {
        self.vtable.flags & abi::BATCHES != 0
    }

    /// Whether sessions of `older` can move here.
    pub(super) fn can_restore(&self, older: &Generation) -> bool {
        self.facts.can_restore(&older.facts)
    }

    fn session(self: &Rc<Self>, session: *mut c_void) -> PluginSession {
        let (made, destroyed) = self.sessions.get();
        self.sessions.set((made + 1, destroyed));
        PluginSession {
            session,
            generation: Rc::clone(self),
        }
    }

    /// One callback that has to do with a session.
    fn call(
        &self,
        table: &ConnTable,
        controls: Controls,
        verdict: Option<Status>,
        callback: impl FnOnce(*mut abi::Conn) -> Status,
    ) -> (Status, Controls) {
        let conn = table.conn;
        table.begin(&controls);
        // Of a callback that runs a test of its own, as long as this one runs.
        let outer = RUNNING_CALLBACK.replace(Some(RunningCallback {
            conn,
            controls,
            verdict,
        }));
        let status = self.run(|_| callback(conn));
        let running = RUNNING_CALLBACK.replace(outer).expect("put there above");
        (status, running.controls)
    }

    /// One callback.
    fn run<T>(&self, callback: impl FnOnce(*mut c_void) -> T) -> T {
        let _nested = ThreadRestore::enter();
        runtime::enter_test(self.runtime, self.context.hub.now());
        let _inside = CallbackScope::enter();
        #[cfg(feature = "tracing")]
        let _tracing = crate::log::forward::enter();
        callback(self.handler)
    }

    /// What an answer means; a failure is logged. A status that stands for nothing in the callback
    /// counts as one.
    fn outcome(
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
            // SAFETY: every session and every attempt holds this generation, so they are gone; this
            // is the only call.
            self.run(|handler| unsafe { shutdown(handler) });
        }
        self.context.end();
        let (made, destroyed) = self.sessions.get();
        if !std::thread::panicking() {
            assert_eq!(made, destroyed, "sessions made and destroyed");
        }
    }
}

/// As long as this lives, a callback runs on this thread.
struct CallbackScope;

impl CallbackScope {
    fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        CallbackScope
    }
}

impl Drop for CallbackScope {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Gives a callback that runs a test of its own its thread back as it was. A test itself goes on with the
/// handler that was called last.
struct ThreadRestore(Option<runtime::OfTest>);

impl ThreadRestore {
    fn enter() -> Self {
        ThreadRestore((DEPTH.get() > 0).then(runtime::of_test))
    }
}

impl Drop for ThreadRestore {
    fn drop(&mut self) {
        if let Some((runtime, now)) = self.0 {
            runtime::enter_test(runtime, now);
        }
    }
}

thread_local! {
    /// How many callbacks run on this thread, one inside of another.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

impl PluginHandshake {
    /// Asks the handler; what it said so far about the answer goes in and comes out.
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
        // SAFETY: what `init` gave, before `shutdown`; the request stays where it is, the other two
        // are for this call.
        let status = generation
            .run(|handler| unsafe { handshake(handler, request.table(), response, attempt) });
        let asked = RUNNING_HANDSHAKE.replace(outer.1).expect("put there above");
        RUNNING_CALLBACK.set(outer.0);
        if !(0..=abi::ABORT).contains(&status) {
            generation.outcome(request.id(), "handshake", status, false);
        }
        (status, asked.draft)
    }

    /// Makes the session; a failure leaves none, and the attempt is taken either way.
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
            // SAFETY: as in `ask`; the attempt is what `handshake` left, passed on once.
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
        let made = exists.then(|| generation.session(session));
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

/// One thing that happens to a session.
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
    /// As `Wake`, after the end.
    WakeAfterEnd,
}

impl PluginSession {
    /// One callback; one that is not there has nothing to say.
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
        // While the peer waits for the answer to its Close, every callback may say that it comes later.
        let is_closing = matches!(event, CallbackEvent::Closing(..)) || table.is_closing();
        let may_wait = verdict.is_some() || is_closing;
        let mut name = "";
        // SAFETY of every call below: `session` came from `open` or `restore` of this vtable and
        // lives until our `Drop`; `&mut self` keeps its callbacks apart; what they are lent outlives
        // the call.
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

    /// The state, or none for now.
    pub(super) fn snapshot(
        &mut self,
        table: &ConnTable,
        controls: Controls,
    ) -> (Option<Vec<u8>>, Controls) {
        unsafe extern "C" fn write(ctx: *mut c_void, ptr: *const u8, len: usize) -> Status {
            if ctx.is_null() || ctx != SINK.get() {
                return abi::MISUSE;
            }
            // SAFETY: `ctx` is the vector below; nobody else uses it during the call.
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
        let (made, destroyed) = self.generation.sessions.get();
        self.generation.sessions.set((made, destroyed + 1));
        if let Some(destroy) = self.generation.vtable.destroy {
            let session = self.session;
            // SAFETY: `open` or `restore` made it, this is the only `destroy`, and no other
            // callback of it runs.
            self.generation.run(|_| unsafe { destroy(session) });
        }
    }
}

thread_local! {
    /// The `ctx` of the sink that is lent to the `snapshot` that runs on this thread, or NULL.
    static SINK: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}

/// Why a handler was not loaded: what it said, else which callback answered what.
fn why(callback: &str, status: Status) -> String {
    host_table::take_failure().unwrap_or_else(|| sentence(callback, status))
}

fn sentence(callback: &str, status: Status) -> String {
    match status {
        abi::PANIC => format!("`{callback}` panicked"),
        _ => format!("`{callback}` failed: {}", rules::answered(status)),
    }
}
