//! The host table: every function that a plugin can call.
//!
//! Each one turns raw arguments into safe ones, asks [`Controls`](crate::controls::Controls) or the
//! [`Context`], and turns the answer into a status. None enters the plugin before it returns.

use std::cell::RefCell;
use std::ffi::c_void;

use wsh::abi::{self, Bytes, Host, Pair, Status, Str};

use super::conn::Conn;
use super::context::Context;
use super::log;
use super::response::{Draft, HEADER_BYTES_MAX, REJECTION_BYTES_MAX};
use super::text::{borrow, borrow_at_most, borrow_pairs, borrow_str};
use super::watchdog;
use crate::cause::Cause;
use crate::ws::close::REASON_BYTES_MAX;

/// The table for one handler in one generation; it lives as long as the process.
pub(crate) fn table(context: &'static Context) -> &'static Host {
    Box::leak(Box::new(Host {
        size: size_of::<Host>() as u32,
        abi_minor: abi::ABI_MINOR,
        ctx: std::ptr::from_ref(context).cast_mut().cast(),
        log_level: context.shared.log_level.as_ptr(),
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
        spawn: Some(spawn),
        fail: Some(fail),
        log: Some(log),
        response_header: Some(response_header),
        response_protocol: Some(response_protocol),
        response_reject: Some(response_reject),
        response_extensions: Some(response_extensions),
        extension: Some(extension),
    }))
}

/// What a plugin gave to `fail` on this thread since the last time. For threads that make the calls
/// of one plugin only.
pub(crate) fn take_failure() -> Option<String> {
    FAILURE.take().map(|failure| failure.words)
}

/// What the handler `context` gave to `fail` in the callback that ran last on this thread.
pub(super) fn take_failure_of(context: &Context) -> Option<String> {
    let failure = FAILURE.take()?;
    let is_its_own = std::ptr::eq(failure.of, context) && watchdog::has_said_why();
    is_its_own.then_some(failure.words)
}

/// Why a callback is about to fail.
struct Failure {
    /// The handler that says so.
    of: *const Context,
    words: String,
}

thread_local! {
    static FAILURE: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

// In all that follows the plugin keeps the rules of abi.rs, which are cited by their names: pointers it passes are valid for the
// call, and a `*mut Conn`, `*mut Response` or `ctx` is one that the server handed out.

unsafe extern "C" fn send(conn: *mut abi::Conn, kind: u32, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: *lent memory* for the payload, *the Conn* for the Conn; neither outlives this call.
    let (payload, conn) = unsafe { (borrow(ptr, len), Conn::of(conn)) };
    let (payload, conn) = match (payload, conn) {
        (Ok(payload), Ok(conn)) => (payload, conn),
        (_, Err(status)) | (Err(status), _) => return refused(status),
    };
    match conn.controls.send_plain(kind, payload) {
        Some(buffered) => conn.note_buffered(buffered),
        None => send_any(conn, kind, payload),
    }
}

/// Apart and cold, as is [`send_any`]: with more ways around it, the short way to send counts as one
/// that is rarely taken, and its copy into the output is a call then.
#[cold]
#[inline(never)]
fn refused(status: Status) -> i64 {
    i64::from(status)
}

// Its answer goes through memory, and nearly no message comes here.
#[cold]
#[inline(never)]
fn send_any(conn: &mut Conn, kind: u32, payload: &[u8]) -> i64 {
    let sent = conn.controls.send(kind, payload);
    conn.refresh();
    amount(sent)
}

unsafe extern "C" fn reserve(conn: *mut abi::Conn, max: usize) -> *mut u8 {
    // SAFETY: *the Conn*.
    let conn = unsafe { Conn::of(conn) };
    let room = conn.ok().and_then(|conn| conn.controls.reserve(max));
    room.map_or(std::ptr::null_mut(), |room| room.as_mut_ptr())
}

unsafe extern "C" fn commit(conn: *mut abi::Conn, kind: u32, len: usize) -> i64 {
    // SAFETY: *the Conn*.
    let conn = unsafe { Conn::of(conn) };
    amount(conn.and_then(|conn| {
        let mut room = conn.controls.take_reserved(len)?;
        // SAFETY: `len` is at most what `reserve` was asked for, and by the ABI the plugin wrote
        // that many bytes into the room that it gave.
        unsafe { room.set_len(len) };
        let sent = conn.controls.send_reserved(kind, room);
        conn.refresh();
        sent
    }))
}

unsafe extern "C" fn ping(conn: *mut abi::Conn, ptr: *const u8, len: usize) -> Status {
    // SAFETY: *lent memory* and *the Conn*.
    let (payload, conn) = unsafe { (borrow(ptr, len), Conn::of(conn)) };
    status(conn.and_then(|conn| conn.controls.ping(payload?)))
}

unsafe extern "C" fn close(conn: *mut abi::Conn, code: u16, reason: Str) -> Status {
    // SAFETY: *lent memory* and *the Conn*.
    let (reason, conn) = unsafe { (borrow_reason(reason), Conn::of(conn)) };
    status(conn.and_then(|conn| {
        conn.controls.close(code, reason?, Cause::HandlerClosed)?;
        conn.refresh();
        Ok(())
    }))
}

unsafe extern "C" fn abort(conn: *mut abi::Conn) -> Status {
    // SAFETY: *the Conn*.
    let conn = unsafe { Conn::of(conn) };
    status(conn.and_then(|conn| {
        conn.controls.abort()?;
        conn.refresh();
        Ok(())
    }))
}

unsafe extern "C" fn timer(conn: *mut abi::Conn, token: u64, after_ms: u64) -> Status {
    // SAFETY: *the Conn*.
    let conn = unsafe { Conn::of(conn) };
    status(conn.and_then(|conn| conn.controls.timer(token, after_ms)))
}

unsafe extern "C" fn reads(conn: *mut abi::Conn, on: u32) -> Status {
    // SAFETY: *the Conn*.
    let conn = unsafe { Conn::of(conn) };
    status(conn.map(|conn| conn.controls.reads = on != 0))
}

unsafe extern "C" fn watermark(conn: *mut abi::Conn, low: u64, high: u64) -> Status {
    // SAFETY: *the Conn*.
    let conn = unsafe { Conn::of(conn) };
    status(conn.and_then(|conn| conn.controls.set_watermark(low, high)))
}

unsafe extern "C" fn subscribe(conn: *mut abi::Conn, topic: Str, on: u32) -> Status {
    // SAFETY: *lent memory* and *the Conn*.
    let (topic, conn) = unsafe { (borrow_str(topic, TOPIC_BYTES_MAX), Conn::of(conn)) };
    status(conn.and_then(|conn| {
        let topic = topic?;
        let topics = &conn.context.shared.topics;
        if on == 0 {
            conn.controls.unsubscribe(topic);
            Ok(())
        } else {
            conn.controls.subscribe(topics, topic)
        }
    }))
}

unsafe extern "C" fn send_to(
    ctx: *mut c_void,
    id: u64,
    kind: u32,
    ptr: *const u8,
    len: usize,
) -> i64 {
    // SAFETY: *lent memory*; the context is never freed.
    let (payload, context) = unsafe { (borrow(ptr, len), context(ctx)) };
    amount(context.and_then(|context| context.send_to(id, kind, payload?)))
}

unsafe extern "C" fn close_to(ctx: *mut c_void, id: u64, code: u16, reason: Str) -> Status {
    // SAFETY: *lent memory*; the context is never freed.
    let (reason, context) = unsafe { (borrow_reason(reason), context(ctx)) };
    status(context.and_then(|context| context.close_to(id, code, reason?)))
}

unsafe extern "C" fn publish(
    ctx: *mut c_void,
    topic: Str,
    kind: u32,
    ptr: *const u8,
    len: usize,
    except: u64,
) -> i64 {
    // SAFETY: *lent memory*; the context is never freed.
    let (topic, payload, context) = unsafe {
        (
            borrow_str(topic, TOPIC_BYTES_MAX),
            borrow(ptr, len),
            context(ctx),
        )
    };
    amount(context.and_then(|context| {
        let reached = context.publish(topic?, kind, payload?, except)?;
        Ok(reached as u64)
    }))
}

unsafe extern "C" fn wake(ctx: *mut c_void, id: u64) -> Status {
    // SAFETY: the context is never freed.
    let context = unsafe { context(ctx) };
    status(context.and_then(|context| context.wake(id)))
}

unsafe extern "C" fn spawn(
    ctx: *mut c_void,
    run: Option<unsafe extern "C" fn(*mut c_void)>,
    argument: *mut c_void,
) -> Status {
    // SAFETY: the context is never freed.
    let context = unsafe { context(ctx) };
    status(context.and_then(|context| context.spawn(run.ok_or(abi::INVALID)?, argument)))
}

unsafe extern "C" fn fail(ctx: *mut c_void, why: Str) -> Status {
    // SAFETY: *lent memory*.
    let why = unsafe { borrow(why.ptr, why.len) };
    // A sentence of a log line; what cannot be read says nothing.
    let why = why.unwrap_or_default();
    let why = &why[..why.len().min(FAILURE_BYTES_MAX)];
    FAILURE.set(Some(Failure {
        of: ctx.cast_const().cast(),
        words: String::from_utf8_lossy(why).into_owned(),
    }));
    watchdog::note_said_why();
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
    // SAFETY: *lent memory*; the context is never freed.
    let (context, target, message, fields) = unsafe {
        (
            context(ctx),
            borrow(target.ptr, target.len),
            borrow(message.ptr, message.len),
            borrow_pairs(fields, n_fields, log::FIELDS_MAX),
        )
    };
    let Ok(context) = context else { return };
    let fields = fields.map(|fields| {
        fields.iter().map(|pair| {
            // SAFETY: *lent memory*: a pair's name and value are lent like the pair.
            unsafe {
                (
                    borrow(pair.name.ptr, pair.name.len),
                    borrow(pair.value.ptr, pair.value.len),
                )
            }
        })
    });
    log::forward(context, id, level, target, message, fields);
}

unsafe extern "C" fn response_header(
    response: *mut abi::Response,
    name: Str,
    value: Bytes,
) -> Status {
    // SAFETY: *lent memory*; the draft lives until `handshake` returns.
    let (name, value, draft) = unsafe {
        (
            borrow_str(name, HEADER_BYTES_MAX),
            borrow_at_most(value, HEADER_BYTES_MAX),
            Draft::of(response),
        )
    };
    status(draft.and_then(|draft| draft.add_header(name?, value?)))
}

unsafe extern "C" fn response_protocol(response: *mut abi::Response, protocol: Str) -> Status {
    // SAFETY: *lent memory*; the draft lives until `handshake` returns.
    let (protocol, draft) =
        unsafe { (borrow_str(protocol, HEADER_BYTES_MAX), Draft::of(response)) };
    // One so long is none that a client offers.
    let protocol = protocol.map_err(|_| abi::INVALID);
    status(draft.and_then(|draft| draft.choose_protocol(protocol?)))
}

unsafe extern "C" fn response_reject(
    response: *mut abi::Response,
    code: u16,
    body: Bytes,
) -> Status {
    // SAFETY: *lent memory*; the draft lives until `handshake` returns.
    let (body, draft) = unsafe {
        (
            borrow_at_most(body, REJECTION_BYTES_MAX),
            Draft::of(response),
        )
    };
    status(draft.and_then(|draft| draft.reject(code, body?)))
}

unsafe extern "C" fn response_extensions(response: *mut abi::Response, allow: u32) -> Status {
    // SAFETY: the draft lives until `handshake` returns.
    let draft = unsafe { Draft::of(response) };
    status(draft.map(|draft| draft.extensions = allow))
}

unsafe extern "C" fn extension(_ctx: *mut c_void, _id: Str) -> *const c_void {
    // There is none in 1.0.
    std::ptr::null()
}

/// The reason of a Close frame; one that is too long is INVALID (abi.rs, `close`).
///
/// # Safety
///
/// As [`borrow`].
unsafe fn borrow_reason<'a>(reason: Str) -> Result<&'a str, Status> {
    // SAFETY: the caller's promise.
    let reason = unsafe { borrow_str(reason, REASON_BYTES_MAX) };
    reason.map_err(|_| abi::INVALID)
}

/// # Safety
///
/// `ctx` is the `ctx` of a table that [`table`] made, or NULL.
unsafe fn context(ctx: *mut c_void) -> Result<&'static Context, Status> {
    // SAFETY: the caller's promise; contexts are leaked, so the reference is good for ever.
    unsafe { ctx.cast::<Context>().as_ref() }.ok_or(abi::MISUSE)
}

fn status(outcome: Result<(), Status>) -> Status {
    outcome.map_or_else(|status| status, |()| abi::OK)
}

fn amount(outcome: Result<u64, Status>) -> i64 {
    match outcome {
        // They lie in memory, so there is no such number that an i64 has not.
        Ok(bytes) => bytes as i64,
        Err(status) => i64::from(status),
    }
}

/// A topic's name. It is kept once a subscriber.
const TOPIC_BYTES_MAX: usize = 64 * 1024;
/// What is kept of the words of a failure.
const FAILURE_BYTES_MAX: usize = 4 * 1024;
