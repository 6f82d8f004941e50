//! The host table of a test: the functions that a handler calls.
//!
//! The session of the running callback lies in a cell of the thread. A Conn that is used on another thread, or after its
//! callback, is not found there. It is answered MISUSE, and no pointer is followed.
#![allow(unsafe_code)] // the functions of a C table

mod asks;

use std::{cell::RefCell, ffi::c_void, ptr};

use crate::{
    abi::{self, Bytes, Host, Pair, Status, Str},
    border::read,
    rules::{self, TOPIC_BYTES_MAX},
    test::{
        context::Context,
        controls::{Controls, LocalEnd},
        log::Line,
        raw_table,
        response_draft::ResponseDraft,
    },
};

/// The session whose callback runs on this thread.
#[derive(Debug)]
pub(super) struct RunningCallback {
    /// The Conn that the plugin has.
    pub(super) conn: *mut abi::Conn,
    pub(super) controls: Controls,
    /// The status with which functions refuse the Conn; `None` if they accept it.
    pub(super) verdict: Option<Status>,
}

/// The opening handshake whose callback runs on this thread.
#[derive(Debug)]
pub(super) struct RunningHandshake {
    /// The id that the session will have.
    pub(super) id: u64,
    pub(super) response: *mut abi::Response,
    pub(super) draft: ResponseDraft,
}

thread_local! {
    pub(super) static RUNNING_CALLBACK: RefCell<Option<RunningCallback>> = const { RefCell::new(None) };
    pub(super) static RUNNING_HANDSHAKE: RefCell<Option<RunningHandshake>> = const { RefCell::new(None) };
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Takes the reason that a handler has given to `fail` on this thread.
pub(super) fn take_failure() -> Option<String> {
    FAILURE.take()
}

pub(super) fn table(context: &Context, ctx: *mut c_void) -> Host {
    Host {
        size: size_of::<Host>() as u32,
        abi_minor: abi::ABI_MINOR,
        ctx,
        log_level: context.hub.level.as_ptr(),
        check: Some(check),
        send: Some(send),
        reserve: Some(reserve),
        commit: Some(commit),
        ping: Some(ping),
        close: Some(close),
        abort: Some(abort),
        timer: Some(timer),
        reads: Some(reads),
        watermark: Some(watermark),
        subscribe: Some(subscribe),
        send_to: Some(send_to),
        close_to: Some(close_to),
        publish: Some(publish),
        wake: Some(wake),
        wake_after: Some(wake_after),
        notify: Some(notify),
        spawn: Some(spawn),
        fail: Some(fail),
        log: Some(log),
        response_header: Some(response_header),
        response_protocol: Some(response_protocol),
        response_reject: Some(response_reject),
        response_extensions: Some(response_extensions),
        extension: Some(extension),
        subscribe_from: Some(asks::subscribe_from),
        enter: Some(asks::enter),
        leave: Some(asks::leave),
        publish_acked: Some(asks::publish_acked),
        history: Some(asks::history),
        present: Some(asks::present),
        store_get: Some(asks::store_get),
        store_put: Some(asks::store_put),
        store_delete: Some(asks::store_delete),
        store_list: Some(asks::store_list),
    }
}

// In all functions below the plugin keeps the rule *lent memory* of abi.rs: what it lends can be read during the call.

unsafe extern "C" fn check(conn: *const abi::Conn) -> Status {
    let is_it = |running: &RunningCallback| running.conn.cast_const() == conn;
    match RUNNING_CALLBACK.with_borrow(|running| running.as_ref().is_some_and(is_it)) {
        true => abi::OK,
        false => abi::MISUSE,
    }
}

unsafe extern "C" fn send(conn: *mut abi::Conn, kind: u32, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: *lent memory*.
    let bytes = unsafe { read::lent(ptr, len) };
    amount(with(conn, |controls| controls.send(kind, bytes?)))
}

unsafe extern "C" fn reserve(conn: *mut abi::Conn, max: usize) -> *mut u8 {
    let room = with(conn, |controls| {
        let room = controls.reserve(max).ok_or(abi::TOO_BIG)?;
        Ok(room.as_mut_ptr())
    });
    room.unwrap_or(ptr::null_mut())
}

unsafe extern "C" fn commit(conn: *mut abi::Conn, kind: u32, len: usize) -> i64 {
    amount(on_running(conn, |controls| controls.commit(kind, len)))
}

unsafe extern "C" fn ping(conn: *mut abi::Conn, ptr: *const u8, len: usize) -> Status {
    // SAFETY: *lent memory*.
    let bytes = unsafe { read::lent(ptr, len) };
    status(with(conn, |controls| controls.ping(bytes?)))
}

unsafe extern "C" fn close(conn: *mut abi::Conn, code: u32, reason: Bytes) -> Status {
    // SAFETY: *lent memory*.
    let reason = unsafe { checked(reason) };
    status(with(conn, |controls| controls.close(code, reason?)))
}

unsafe extern "C" fn abort(conn: *mut abi::Conn) -> Status {
    status(with(conn, Controls::abort))
}

unsafe extern "C" fn timer(conn: *mut abi::Conn, token: u64, after_ms: u64) -> Status {
    status(with(conn, |controls| controls.timer(token, after_ms)))
}

unsafe extern "C" fn reads(conn: *mut abi::Conn, on: u32) -> Status {
    status(with(conn, |controls| {
        controls.reads = rules::switch(on)?;
        Ok(())
    }))
}

unsafe extern "C" fn watermark(conn: *mut abi::Conn, low: u64, high: u64) -> Status {
    status(with(conn, |controls| controls.set_watermark(low, high)))
}

unsafe extern "C" fn subscribe(conn: *mut abi::Conn, topic: Str, on: u32) -> Status {
    // SAFETY: *lent memory*.
    let topic = unsafe { at_most(TOPIC_BYTES_MAX, topic) };
    status(with(conn, |controls| {
        let topic = rules::topic(topic?)?;
        controls.subscribe(topic, rules::switch(on)?)
    }))
}

unsafe extern "C" fn send_to(
    ctx: *mut c_void,
    id: u64,
    kind: u32,
    ptr: *const u8,
    len: usize,
) -> i64 {
    // SAFETY: *lent memory*.
    let bytes = unsafe { read::lent(ptr, len) };
    amount(Context::find(ctx).and_then(|context| context.send_to(id, kind, bytes?)))
}

unsafe extern "C" fn close_to(ctx: *mut c_void, id: u64, code: u32, reason: Bytes) -> Status {
    // SAFETY: *lent memory*.
    let reason = unsafe { checked(reason) };
    status(Context::find(ctx).and_then(|context| context.close_to(id, code, reason?)))
}

unsafe extern "C" fn publish(
    ctx: *mut c_void,
    topic: Str,
    kind: u32,
    ptr: *const u8,
    len: usize,
    except: u64,
) -> i64 {
    // SAFETY: *lent memory*.
    let (topic, bytes) = unsafe { (at_most(TOPIC_BYTES_MAX, topic), read::lent(ptr, len)) };
    amount(Context::find(ctx).and_then(|context| {
        let topic = rules::topic(topic?)?;
        context.publish(topic, kind, bytes?, except)
    }))
}

unsafe extern "C" fn wake(ctx: *mut c_void, id: u64) -> Status {
    status(Context::find(ctx).and_then(|context| context.wake(id)))
}

unsafe extern "C" fn wake_after(ctx: *mut c_void, id: u64, ms: u64) -> Status {
    status(Context::find(ctx).and_then(|context| context.wake_after(id, ms)))
}

unsafe extern "C" fn notify(ctx: *mut c_void, id: u64, note: u64) -> Status {
    status(Context::find(ctx).and_then(|context| context.notify(id, note)))
}

unsafe extern "C" fn spawn(
    ctx: *mut c_void,
    run: Option<unsafe extern "C" fn(*mut c_void)>,
    arg: *mut c_void,
) -> Status {
    /// The argument that a plugin passes to a thread.
    struct ThreadArg(*mut c_void);
    // SAFETY: by the ABI (`Host::spawn`), `arg` belongs to the thread from now on.
    unsafe impl Send for ThreadArg {}

    let arg_of_thread = ThreadArg(arg);
    status(Context::find(ctx).and_then(|context| {
        let run = run.ok_or(abi::INVALID)?;
        context.spawn(move || {
            let ThreadArg(arg) = { arg_of_thread };
            // SAFETY: the plugin's function with the argument that it gave, called once.
            unsafe { run(arg) };
        })
    }))
}

unsafe extern "C" fn fail(_ctx: *mut c_void, why: Str) -> Status {
    // SAFETY: *lent memory*.
    let why = unsafe { lossy(why) };
    FAILURE.set(Some(why));
    abi::ERROR
}

unsafe extern "C" fn log(
    ctx: *mut c_void,
    id: u64,
    level: u32,
    target: Str,
    message: Str,
    fields: *const Pair,
    n_fields: usize,
) {
    let Ok(context) = Context::find(ctx) else {
        return;
    };
    let session = match id {
        0 => running(),
        id => Some(id),
    };
    // SAFETY: *lent memory*.
    let line = unsafe {
        Line {
            level,
            session,
            target: lossy(target),
            message: lossy(message),
            fields: read::list(fields, n_fields)
                .iter()
                .map(|pair| (lossy(pair.name), lossy(pair.value)))
                .collect(),
        }
    };
    context.log(line);
}

unsafe extern "C" fn response_header(to: *mut abi::Response, name: Str, value: Bytes) -> Status {
    // SAFETY: *lent memory*.
    let (name, value) = unsafe { (checked(name), read::lent(value.ptr, value.len)) };
    status(on_running_handshake(to, |draft| {
        draft.add_header(name?, value?)
    }))
}

unsafe extern "C" fn response_protocol(to: *mut abi::Response, name: Str) -> Status {
    // SAFETY: *lent memory*.
    let name = unsafe { checked(name) };
    status(on_running_handshake(to, |draft| {
        draft.choose_protocol(name?)
    }))
}

unsafe extern "C" fn response_reject(to: *mut abi::Response, code: u32, body: Bytes) -> Status {
    // SAFETY: *lent memory*.
    let body = unsafe { read::lent(body.ptr, body.len) };
    status(on_running_handshake(to, |draft| draft.reject(code, body?)))
}

unsafe extern "C" fn response_extensions(to: *mut abi::Response, _allow: u32) -> Status {
    // A test has no network connection, so nothing is compressed.
    status(on_running_handshake(to, |_| Ok(())))
}

unsafe extern "C" fn extension(ctx: *mut c_void, id: Str) -> *const c_void {
    // SAFETY: *lent memory*.
    let id = unsafe { checked(id) };
    match (id, Context::find(ctx)) {
        (Ok(abi::raw::RAW), Ok(context)) if context.allows_raw() => raw_table::table(),
        _ => ptr::null(),
    }
}

/// The session whose callback, or whose `handshake`, runs on this thread.
fn running() -> Option<u64> {
    let of_session =
        RUNNING_CALLBACK.with_borrow(|running| running.as_ref().map(|it| it.controls.id));
    of_session.or_else(|| RUNNING_HANDSHAKE.with_borrow(|running| running.as_ref().map(|it| it.id)))
}

/// Acts on the session of the running callback, and takes back reserved bytes. Every function but `commit` does.
pub(super) fn with<T>(
    conn: *mut abi::Conn,
    call: impl FnOnce(&mut Controls) -> Result<T, Status>,
) -> Result<T, Status> {
    on_running(conn, |controls| {
        controls.forget_reserved();
        call(controls)
    })
}

/// Acts on the session of the running callback, if `conn` is its Conn.
fn on_running<T>(
    conn: *mut abi::Conn,
    call: impl FnOnce(&mut Controls) -> Result<T, Status>,
) -> Result<T, Status> {
    RUNNING_CALLBACK.with_borrow_mut(|running| {
        let running = running.as_mut().filter(|running| running.conn == conn);
        let running = running.ok_or(abi::MISUSE)?;
        if let Some(status) = running.verdict {
            return Err(status);
        }
        let answer = call(&mut running.controls);
        // SAFETY: the session's own table, which lives as long as the session is in the cell. The plugin reads it in place,
        // and holds no reference during a call.
        unsafe {
            (&raw mut (*conn).buffered).write(running.controls.buffered());
            if running.controls.ending != LocalEnd::None {
                (*conn).flags |= abi::CLOSING;
            }
        }
        answer
    })
}

/// Acts on the answer of the running `handshake`, if `response` is its Response.
pub(super) fn on_running_handshake<T>(
    response: *mut abi::Response,
    call: impl FnOnce(&mut ResponseDraft) -> Result<T, Status>,
) -> Result<T, Status> {
    RUNNING_HANDSHAKE.with_borrow_mut(|running| {
        let running = running
            .as_mut()
            .filter(|running| running.response == response);
        call(&mut running.ok_or(abi::MISUSE)?.draft)
    })
}

/// The text that a plugin lends, if it is UTF-8.
///
/// # Safety
/// What [`read::lent`] asks for.
unsafe fn checked<'a>(text: Str) -> Result<&'a str, Status> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { read::lent(text.ptr, text.len) }?;
    str::from_utf8(bytes).map_err(|_| abi::INVALID)
}

/// Like [`checked`]. Text of more than `max` bytes is TOO_BIG, and nothing of it is read.
///
/// # Safety
/// What [`read::lent`] asks for.
unsafe fn at_most<'a>(max: usize, text: Str) -> Result<&'a str, Status> {
    // SAFETY: the caller's promise. No byte is read here.
    if unsafe { read::lent(text.ptr, text.len) }?.len() > max {
        return Err(abi::TOO_BIG);
    }
    // SAFETY: the caller's promise.
    unsafe { checked(text) }
}

/// The text that a plugin lends, with U+FFFD for what is not UTF-8.
///
/// # Safety
/// What [`read::lent`] asks for.
unsafe fn lossy(text: Str) -> String {
    // SAFETY: the caller's promise.
    match unsafe { read::lent(text.ptr, text.len) } {
        Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => "(not readable: a length or a pointer that cannot be meant)".to_owned(),
    }
}

pub(super) fn status(outcome: Result<(), Status>) -> Status {
    outcome.map_or_else(|status| status, |()| abi::OK)
}

pub(super) fn amount(outcome: Result<u64, Status>) -> i64 {
    match outcome {
        Ok(count) => i64::try_from(count).unwrap_or(i64::MAX),
        Err(status) => status.into(),
    }
}
