//! The vtable: one `extern "C"` function a callback, generic over the style it serves.
//!
//! A shim turns pointers into references, puts the running callback's Conn into the session's
//! [`HostSession`], and guards against unwinding. What the callback means is safe code, in the styles.

use std::{ffi::c_void, marker::PhantomData, mem::offset_of, ptr, sync::Arc};

#[cfg(feature = "serde")]
use crate::config::used_keys::UsedKeys;
use crate::{
    abi::{self, Status},
    border::{
        guard::{fail, guard, guard_void},
        host::{HostFunctions, ResponsePtr},
        host_session::{HostSession, MoveScope},
        read::{self, PairRef, TextRef},
        runtime::{self, Runtime},
    },
    close::{Cause, Close},
    config::Config,
    handshake::{
        request::Request,
        response::{PendingHandshake, Response},
    },
    message::Message,
    stop::Stop,
    styles::adapter::{self, Event, HandlerAdapter, SessionAdapter},
};

/// What the host's handler pointer points to.
struct HandlerRoot<E> {
    style: E,
    runtime: &'static Runtime,
}

/// The functions of one style.
pub(crate) struct Shims<E>(PhantomData<E>);

impl<E: HandlerAdapter> Shims<E> {
    const VTABLE: &'static abi::Vtable = &abi::Vtable {
        size: size_of::<abi::Vtable>() as u32,
        flags: if E::PARTS {
            abi::STREAM
        } else if E::BATCHES {
            abi::BATCHES
        } else {
            0
        },
        handshake: Some(handshake::<E>),
        abandon: Some(abandon),
        open: Some(open::<E>),
        message: Some(if E::PARTS {
            part::<E::Session>
        } else if E::BATCHES {
            batched::<E::Session>
        } else {
            message::<E::Session>
        }),
        ping: Some(ping::<E::Session>),
        pong: Some(pong::<E::Session>),
        drain: Some(drain::<E::Session>),
        timer: Some(timer::<E::Session>),
        wake: Some(wake::<E::Session>),
        note: Some(note::<E::Session>),
        closing: Some(closing::<E::Session>),
        closed: Some(closed::<E::Session>),
        destroy: Some(destroy::<E::Session>),
        snapshot: Some(snapshot::<E::Session>),
        restore: Some(restore::<E>),
        self_test: Some(self_test::<E>),
        serving: Some(serving::<E>),
        shutdown: Some(shutdown::<E>),
        extension: None,
    };
}

/// `init` of the descriptor.
///
/// # Safety
/// As the ABI says of [`abi::Descriptor::init`].
pub(crate) unsafe extern "C" fn init<E: HandlerAdapter>(
    host: *const abi::Host,
    init: *const abi::Init,
    instance: *mut abi::Instance,
) -> Status {
    guard(|| {
        // SAFETY: the host set the size of the table it wants filled.
        let room = unsafe { (&raw const (*instance).size).read() } as usize;
        if room < offset_of!(abi::Instance, vtable) + size_of::<*const abi::Vtable>() {
            return abi::INVALID;
        }
        // SAFETY: the table given to `init`, which lives as long as the call.
        let init = unsafe { read::copy(init) };
        let runtime = runtime::install(Runtime {
            // SAFETY: the table given to `init`.
            host: unsafe { HostFunctions::new(host) },
            // SAFETY: UTF-8 that lives as long as the call.
            name: unsafe { read::text(init.name) }.into(),
            stop: Stop::default(),
        });
        let Some(runtime) = runtime else {
            return abi::MISUSE;
        };
        #[cfg(feature = "serde")]
        let asked = UsedKeys::default();
        let config = Config {
            name: &runtime.name,
            // SAFETY: UTF-8 that lives as long as the call.
            json: unsafe { read::text(init.config_json) },
            generation: init.generation,
            is_check: init.flags & abi::CHECK != 0,
            #[cfg(feature = "serde")]
            asked: &asked,
        };
        let style = match E::new(config) {
            Ok(style) => style,
            Err(error) => return failed(&error),
        };
        #[cfg(feature = "serde")]
        config.warn_of_the_rest();
        let root = Box::into_raw(Box::new(HandlerRoot { style, runtime }));
        // SAFETY: the size covers both fields, and the host waits for them.
        unsafe {
            (&raw mut (*instance).handler).write(root.cast());
            (&raw mut (*instance).vtable).write(Shims::<E>::VTABLE);
        }
        abi::OK
    })
}

/// # Safety
/// `handler` came from [`init`] of the same style and `shutdown` was not called.
unsafe fn root<'a, E>(handler: *mut c_void) -> &'a HandlerRoot<E> {
    // SAFETY: the caller's promise; handlers are only ever shared.
    unsafe { &*handler.cast::<HandlerRoot<E>>() }
}

/// Says why the running callback is about to fail.
fn failed(why: &crate::Error) -> Status {
    fail(&why.to_string())
}

/// # Safety
/// `request` stays where it is with all it points to for `'a`.
unsafe fn request<'a>(request: *const abi::Request) -> Request<'a> {
    // SAFETY: the host's promise for the callback's arguments.
    let table = unsafe { read::copy(request) };
    // SAFETY: as above; what the ABI calls `Str` is UTF-8, pairs have UTF-8 names, and `PairRef` and
    // `TextRef` have the layout of `Pair` and `Str`.
    unsafe {
        Request {
            flags: table.flags,
            id: table.id,
            target: read::bytes(table.target.ptr, table.target.len),
            path: read::text(table.path),
            query: read::bytes(table.query.ptr, table.query.len),
            host: read::text(table.host),
            origin: read::text(table.origin),
            remote_addr: read::text(table.remote_addr),
            client_addr: read::text(table.client_addr),
            user: read::text(table.user),
            headers: read::list(table.headers.cast::<PairRef<'a>>(), table.n_headers),
            cookies: read::list(table.cookies.cast::<PairRef<'a>>(), table.n_cookies),
            protocols: read::list(table.protocols.cast::<TextRef<'a>>(), table.n_protocols),
            params: read::list(table.params.cast::<PairRef<'a>>(), table.n_params),
            tls_version: read::text(table.tls_version),
            tls_sni: read::text(table.tls_sni),
            tls_client_cert: read::bytes(table.tls_client_cert.ptr, table.tls_client_cert.len),
            attached: Default::default(),
            decoded: Default::default(),
            alarm: Default::default(),
        }
    }
}

unsafe extern "C" fn handshake<E: HandlerAdapter>(
    handler: *mut c_void,
    asked: *const abi::Request,
    response: *mut abi::Response,
    attempt: *mut *mut c_void,
) -> Status {
    guard(|| {
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        let response = ResponsePtr::new(response);
        let mut response = Response::new(&root.runtime.host, response);
        // SAFETY: the host's cell for what we leave in it, NULL at the first call.
        let left = unsafe { attempt.read() };
        // SAFETY: the callback's own argument.
        let request = unsafe { request(asked) };
        let offered = request.protocols;
        let mut own = if left.is_null() {
            let answer = match root.style.handshake(&request, &mut response) {
                Ok(answer) => answer,
                Err(error) => return failed(&error),
            };
            PendingHandshake::new(root.runtime, request.id, request.attached, answer)
        } else {
            // SAFETY: the host gives back what an earlier call left, and asks once at a time.
            unsafe { Box::from_raw(left.cast::<PendingHandshake>()) }
        };
        // While the answer is worked out, nobody else may find it: a panic drops it.
        // SAFETY: the host's cell.
        unsafe { attempt.write(ptr::null_mut()) };
        let status = own.answer(&mut response, offered);
        if own.is_worth_keeping(status) {
            // SAFETY: the host's cell.
            unsafe { attempt.write(Box::into_raw(own).cast()) };
        }
        status
    })
}

unsafe extern "C" fn abandon(_handler: *mut c_void, attempt: *mut c_void) {
    guard_void(|| {
        if !attempt.is_null() {
            // SAFETY: `handshake` left it, and the host passes it on once.
            drop(unsafe { Box::from_raw(attempt.cast::<PendingHandshake>()) });
        }
    });
}

unsafe extern "C" fn open<E: HandlerAdapter>(
    handler: *mut c_void,
    conn: *mut abi::Conn,
    asked: *const abi::Request,
    attempt: *mut c_void,
    session: *mut *mut c_void,
) -> Status {
    let mut made = None;
    let status = guard(|| {
        // SAFETY: `handshake` left it, and the host passes it on once.
        let attempt = (!attempt.is_null())
            .then(|| unsafe { Box::from_raw(attempt.cast::<PendingHandshake>()) });
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        // SAFETY: the callback's own argument.
        let mut request = unsafe { request(asked) };
        request.attached = attempt.map(|attempt| attempt.attached).unwrap_or_default();
        // SAFETY: the callback's own argument.
        let host_session = Arc::new(unsafe { HostSession::new(root.runtime, conn, false) });
        let _inside = host_session.enter(conn);
        match root.style.open(Arc::clone(&host_session), request) {
            Ok((adapter, status)) => {
                made = Some(Box::new(adapter));
                status
            }
            Err(error) => adapter::fail(&host_session, &error),
        }
    });
    if status < 0 {
        // A failed `open` leaves no session.
        guard_void(|| drop(made));
        return status;
    }
    let made = made.map_or(ptr::null_mut(), Box::into_raw);
    // SAFETY: the host's cell for the session.
    unsafe { session.write(made.cast()) };
    status
}

unsafe extern "C" fn restore<E: HandlerAdapter>(
    handler: *mut c_void,
    conn: *mut abi::Conn,
    schema: u32,
    state: *const u8,
    len: usize,
    session: *mut *mut c_void,
) -> Status {
    let mut made = None;
    let status = guard(|| {
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        // SAFETY: the callback's own argument. It is not entered: nothing may be called with it.
        let host_session = Arc::new(unsafe { HostSession::new(root.runtime, conn, true) });
        // SAFETY: the callback's own argument.
        let state = unsafe { read::bytes(state, len) };
        let _moving = MoveScope::restore(host_session.id);
        match root.style.restore(host_session, schema, state) {
            Ok(adapter) => {
                made = Some(Box::new(adapter));
                abi::OK
            }
            Err(error) => failed(&error),
        }
    });
    if status < 0 {
        guard_void(|| drop(made));
        return status;
    }
    let made = made.map_or(ptr::null_mut(), Box::into_raw);
    // SAFETY: the host's cell for the session.
    unsafe { session.write(made.cast()) };
    status
}

/// Hands one event to a session. Each callback has a closure of its own for it: so what the author
/// wrote becomes a part of the callback's function, and not of one that all of them call.
///
/// # Safety
/// `session` came from `open` or `restore` of a style with this slot, `destroy` was not called, no
/// other callback of it runs, and `conn` is its Conn.
#[inline(always)]
unsafe fn dispatch<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    on: impl FnOnce(&mut S) -> Status,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise: the adapter is ours alone while the callback runs.
        let adapter = unsafe { &mut *session.cast::<S>() };
        let host_session = Arc::as_ptr(adapter.session());
        // SAFETY: the adapter keeps its host_session until `destroy`; the guard is dropped at the end of this
        // closure, before the callback returns.
        let _inside = unsafe { &*host_session }.enter(conn);
        on(adapter)
    })
}

/// What came, if `kind` has no other bits than hints and `asked_for`: what an unknown bit changes is not
/// known.
///
/// # Safety
/// `ptr` and `len` are those of a callback, and the answer does not outlive it. Text is UTF-8, as the host
/// promises, also in parts.
#[inline(always)]
unsafe fn message_of<'a>(
    kind: u32,
    asked_for: u32,
    ptr: *const u8,
    len: usize,
) -> Option<Message<'a>> {
    match kind & !(abi::NO_COMPRESS | abi::TRUSTED_UTF8 | asked_for) {
        // SAFETY: the caller's promise.
        abi::TEXT => Some(Message::Text(unsafe { read::text(abi::Str { ptr, len }) })),
        // SAFETY: as above.
        abi::BINARY => Some(Message::Binary(unsafe { read::bytes(ptr, len) })),
        _ => None,
    }
}

unsafe extern "C" fn message<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    kind: u32,
    ptr: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the callback's own arguments.
    let Some(message) = (unsafe { message_of(kind, 0, ptr, len) }) else {
        return abi::UNSUPPORTED;
    };
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Message(message))
        })
    }
}

/// As [`message`], where [`abi::BATCHES`] is asked for.
unsafe extern "C" fn batched<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    kind: u32,
    ptr: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the callback's own arguments.
    let Some(message) = (unsafe { message_of(kind, abi::FOLLOWED, ptr, len) }) else {
        return abi::UNSUPPORTED;
    };
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            if kind & abi::FOLLOWED != 0 {
                adapter.on_followed(message)
            } else {
                adapter.on(Event::Message(message))
            }
        })
    }
}

/// As [`message`], where [`abi::STREAM`] is asked for.
unsafe extern "C" fn part<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    kind: u32,
    ptr: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the callback's own arguments.
    let Some(part) = (unsafe { message_of(kind, abi::MORE, ptr, len) }) else {
        return abi::UNSUPPORTED;
    };
    let is_last = kind & abi::MORE == 0;
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Part(part, is_last))
        })
    }
}

unsafe extern "C" fn ping<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    ptr: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Ping(read::bytes(ptr, len)))
        })
    }
}

unsafe extern "C" fn pong<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    ptr: *const u8,
    len: usize,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Pong(read::bytes(ptr, len)))
        })
    }
}

unsafe extern "C" fn drain<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe { dispatch(session, conn, |adapter: &mut S| adapter.on(Event::Drain)) }
}

unsafe extern "C" fn timer<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    token: u64,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Timer(token))
        })
    }
}

unsafe extern "C" fn wake<S: SessionAdapter>(session: *mut c_void, conn: *mut abi::Conn) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe { dispatch(session, conn, |adapter: &mut S| adapter.on(Event::Wake)) }
}

unsafe extern "C" fn note<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    note: u64,
) -> Status {
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Note(note))
        })
    }
}

unsafe extern "C" fn closing<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    code: u32,
    reason: abi::Bytes,
) -> Status {
    // SAFETY: the callback's own arguments.
    let close = unsafe { close(conn, code, reason) };
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Closing(close))
        })
    }
}

unsafe extern "C" fn closed<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    code: u32,
    reason: abi::Bytes,
) -> Status {
    // SAFETY: the callback's own arguments.
    let close = unsafe { close(conn, code, reason) };
    // SAFETY: the callback's own arguments.
    unsafe {
        dispatch(session, conn, |adapter: &mut S| {
            adapter.on(Event::Closed(close))
        })
    }
}

/// How the session ends.
///
/// # Safety
/// The arguments are those of the callback that is running.
unsafe fn close(conn: *const abi::Conn, code: u32, reason: abi::Bytes) -> Close {
    // SAFETY: the host's promise: UTF-8, readable until the callback returns.
    let reason = unsafe { read::text(reason) };
    // SAFETY: the callback is running, so the table is there.
    let table = unsafe { read::copy(conn) };
    Close::new(code, reason, Cause::of(table.flags))
}

unsafe extern "C" fn destroy<S: SessionAdapter>(session: *mut c_void) {
    guard_void(|| {
        // SAFETY: `open` or `restore` boxed it, and the host passes it here once.
        drop(unsafe { Box::from_raw(session.cast::<S>()) });
    });
}

unsafe extern "C" fn snapshot<S: SessionAdapter>(
    session: *mut c_void,
    conn: *mut abi::Conn,
    sink: *const abi::Sink,
) -> Status {
    guard(|| {
        // SAFETY: the host's promise for a session's callbacks: nobody else has it now.
        let adapter = unsafe { &mut *session.cast::<S>() };
        let host_session = Arc::as_ptr(adapter.session());
        // SAFETY: the adapter keeps its host_session until `destroy`; dropped at the end of this closure.
        let _inside = unsafe { &*host_session }.enter(conn);
        let state = match adapter.snapshot() {
            Ok(Some(state)) => state,
            Ok(None) => return abi::AGAIN,
            Err(error) => return failed(&error),
        };
        // SAFETY: the callback's own argument.
        let sink = unsafe { read::copy(sink) };
        let Some(write) = sink.write else {
            return abi::UNSUPPORTED;
        };
        // SAFETY: the host's function with the context beside it, and bytes of ours.
        unsafe { write(sink.ctx, state.as_ptr(), state.len()) }
    })
}

unsafe extern "C" fn self_test<E: HandlerAdapter>(handler: *mut c_void) -> Status {
    guard(|| {
        // SAFETY: the host passes what `init` gave it.
        match unsafe { root::<E>(handler) }.style.self_test() {
            Ok(()) => abi::OK,
            Err(error) => failed(&error),
        }
    })
}

unsafe extern "C" fn serving<E: HandlerAdapter>(handler: *mut c_void, on: u32) {
    guard_void(|| {
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        if on == 0 {
            // First, so that `serving` can wait for its jobs.
            root.runtime.stop.set();
        }
        if let Err(error) = root.style.serving(on != 0) {
            crate::error!(error, "`serving({})` failed", on != 0);
        }
    });
}

unsafe extern "C" fn shutdown<E: HandlerAdapter>(handler: *mut c_void) {
    guard_void(|| {
        // SAFETY: `init` boxed it, and the host calls this once, last.
        let root = unsafe { Box::from_raw(handler.cast::<HandlerRoot<E>>()) };
        root.runtime.stop.set();
        drop(root);
    });
}
