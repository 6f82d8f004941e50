//! The host table: every function that a plugin can call, except those of `wsh.raw/1`.
//!
//! Functions that send a message are in [`messages`], those of the answer to a handshake in [`response`], those of what
//! servers share in [`asks`], and all others in this file. Each function turns raw arguments into safe ones, asks [`Controls`](crate::outbound::controls::Controls) or the
//! [`HandlerContext`], and turns the answer into a status. No function calls the plugin before it returns.

mod asks;
mod messages;
pub(crate) mod response;

use std::ffi::c_void;

use wsh::abi::{self, Bytes, Host, Pair, Status, Str};
use wsh::rules::{self, REASON_BYTES_MAX, TOPIC_BYTES_MAX};

use self::asks::{
    enter, history, leave, present, publish_acked, store_delete, store_get, store_list, store_put,
    subscribe_from,
};
use self::messages::{commit, publish, reserve, send, send_to};
use self::response::{response_extensions, response_header, response_protocol, response_reject};
use super::asks::TopicUse;
use super::failure_reason::fail;
use super::handler_context::HandlerContext;
use super::host_conn::HostConn;
use super::lent_memory::{borrow, borrow_pairs, borrow_str};
use super::refused_calls::{self, CalledWith, HostCall, LentBytes};
use super::response_draft::Draft;
use super::{handler_log, raw_table};
use crate::sessions::cause::Cause;

/// Makes the table for one handler in one generation. It lives as long as the process.
#[inline(never)] // A leak detector knows it by this function.
pub(crate) fn table(context: &'static HandlerContext) -> &'static Host {
    Box::leak(Box::new(Host {
        size: size_of::<Host>() as u32,
        abi_minor: abi::ABI_MINOR,
        ctx: std::ptr::from_ref(context).cast_mut().cast(),
        log_level: context.shared.log_level.as_ptr(),
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
        subscribe_from: Some(subscribe_from),
        enter: Some(enter),
        leave: Some(leave),
        publish_acked: Some(publish_acked),
        history: Some(history),
        present: Some(present),
        store_get: Some(store_get),
        store_put: Some(store_put),
        store_delete: Some(store_delete),
        store_list: Some(store_list),
    }))
}

// The plugin keeps the rules of abi.rs in every function of this file, and SAFETY comments cite them by name. *lent memory*:
// pointers with a length are readable during the call. *the Conn*: a `*mut Conn` is one that the server gave out. `ctx` is
// that of the plugin's own table.

unsafe extern "C" fn check(conn: *const abi::Conn) -> Status {
    match HostConn::is_lent(conn) {
        true => abi::OK,
        false => abi::MISUSE,
    }
}

unsafe extern "C" fn ping(conn: *mut abi::Conn, ptr: *const u8, len: usize) -> Status {
    // SAFETY: *lent memory* and *the Conn*.
    let (payload, conn) = unsafe { (borrow(ptr, len), HostConn::of_another_call(conn)) };
    let call = || HostCall::Ping {
        payload: LentBytes::new(Str { ptr, len }, payload.ok()),
    };
    status(call_on_conn(conn, call, |conn| {
        conn.controls.ping(payload?)
    }))
}

unsafe extern "C" fn close(conn: *mut abi::Conn, code: u32, reason: Bytes) -> Status {
    // SAFETY: *lent memory* and *the Conn*.
    let (text, conn) = unsafe { (borrow_reason(reason), HostConn::of_another_call(conn)) };
    let call = || HostCall::Close {
        code,
        reason: lent_text(reason, text),
    };
    status(call_on_conn(conn, call, |conn| {
        conn.controls.close(code, text?, Cause::HandlerClosed)?;
        conn.refresh();
        Ok(())
    }))
}

unsafe extern "C" fn abort(conn: *mut abi::Conn) -> Status {
    // SAFETY: *the Conn*.
    let conn = unsafe { HostConn::of_another_call(conn) };
    let call = || HostCall::named("abort");
    status(call_on_conn(conn, call, |conn| {
        conn.controls.abort()?;
        conn.refresh();
        Ok(())
    }))
}

unsafe extern "C" fn timer(conn: *mut abi::Conn, token: u64, after_ms: u64) -> Status {
    // SAFETY: *the Conn*.
    let conn = unsafe { HostConn::of_another_call(conn) };
    let call = || HostCall::Plain {
        name: "timer",
        rule: "a session has at most `timers_max` timers",
    };
    status(call_on_conn(conn, call, |conn| {
        conn.controls.timer(token, after_ms)
    }))
}

unsafe extern "C" fn reads(conn: *mut abi::Conn, on: u32) -> Status {
    // SAFETY: *the Conn*.
    let conn = unsafe { HostConn::of_another_call(conn) };
    let call = || HostCall::Plain {
        name: "reads",
        rule: "`on` is 0 or 1",
    };
    status(call_on_conn(conn, call, |conn| {
        conn.controls.read_mode.hold_back(!rules::switch(on)?);
        Ok(())
    }))
}

unsafe extern "C" fn watermark(conn: *mut abi::Conn, low: u64, high: u64) -> Status {
    // SAFETY: *the Conn*.
    let conn = unsafe { HostConn::of_another_call(conn) };
    let call = || HostCall::Plain {
        name: "watermark",
        rule: "`low` is not above `high`",
    };
    status(call_on_conn(conn, call, |conn| {
        conn.controls.set_watermark(low, high)
    }))
}

unsafe extern "C" fn subscribe(conn: *mut abi::Conn, topic: Str, on: u32) -> Status {
    // SAFETY: *lent memory* and *the Conn*.
    let (name, conn) = unsafe {
        (
            borrow_str(topic, TOPIC_BYTES_MAX),
            HostConn::of_another_call(conn),
        )
    };
    let call = || HostCall::Subscribe {
        topic: lent_text(topic, name),
        on,
    };
    status(call_on_conn(conn, call, |conn| {
        let name = rules::topic(name?)?;
        if rules::switch(on)? {
            let context = conn.context;
            context.topic(name, TopicUse::Any)?;
            conn.controls.subscribe(&context.shared.node, name)
        } else {
            conn.controls.unsubscribe(name);
            Ok(())
        }
    }))
}

unsafe extern "C" fn close_to(ctx: *mut c_void, id: u64, code: u32, reason: Bytes) -> Status {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (text, context) = unsafe { (borrow_reason(reason), context(ctx)) };
    let call = || HostCall::CloseTo {
        code,
        reason: lent_text(reason, text),
    };
    status(call_on_context(context, id, call, |context| {
        context.close_to(id, code, text?)
    }))
}

unsafe extern "C" fn wake(ctx: *mut c_void, id: u64) -> Status {
    // SAFETY: `ctx` is that of a table, whose context is never freed.
    let context = unsafe { context(ctx) };
    let call = || HostCall::named("wake");
    status(call_on_context(context, id, call, |context| {
        context.wake(id)
    }))
}

unsafe extern "C" fn wake_after(ctx: *mut c_void, id: u64, ms: u64) -> Status {
    // SAFETY: `ctx` is that of a table, whose context is never freed.
    let context = unsafe { context(ctx) };
    let call = || HostCall::named("wake_after");
    status(call_on_context(context, id, call, |context| {
        context.wake_after(id, ms)
    }))
}

unsafe extern "C" fn notify(ctx: *mut c_void, id: u64, note: u64) -> Status {
    // SAFETY: `ctx` is that of a table, whose context is never freed.
    let context = unsafe { context(ctx) };
    let call = || HostCall::named("notify");
    status(call_on_context(context, id, call, |context| {
        context.notify(id, note)
    }))
}

unsafe extern "C" fn spawn(
    ctx: *mut c_void,
    run: Option<unsafe extern "C" fn(*mut c_void)>,
    argument: *mut c_void,
) -> Status {
    // SAFETY: `ctx` is that of a table, whose context is never freed.
    let context = unsafe { context(ctx) };
    let call = || HostCall::Plain {
        name: "spawn",
        rule: match run {
            Some(_) => "a handler has at most `threads_max` threads",
            None => "`run` is not NULL",
        },
    };
    status(call_on_context(context, 0, call, |context| {
        context.spawn(run.ok_or(abi::INVALID)?, argument)
    }))
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
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (context, target, message, fields) = unsafe {
        (
            context(ctx),
            borrow(target.ptr, target.len),
            borrow(message.ptr, message.len),
            borrow_pairs(fields, n_fields, handler_log::FIELDS_MAX),
        )
    };
    let Ok(context) = context else { return };
    let fields = fields.map(|fields| {
        fields.iter().map(|pair| {
            // SAFETY: *lent memory*, which holds for a pair's name and value too.
            unsafe {
                (
                    borrow(pair.name.ptr, pair.name.len),
                    borrow(pair.value.ptr, pair.value.len),
                )
            }
        })
    });
    let id = match id {
        0 => HostConn::running(context).or_else(Draft::running),
        id => Some(id),
    };
    handler_log::forward(context, id, level, target, message, fields);
}

unsafe extern "C" fn extension(ctx: *mut c_void, id: Str) -> *const c_void {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (id, context) = unsafe { (borrow_str(id, EXTENSION_BYTES_MAX), context(ctx)) };
    match (id, context) {
        (Ok(abi::raw::RAW), Ok(context)) => raw_table::table_for(context),
        _ => std::ptr::null(),
    }
}

/// The context behind `ctx`; MISUSE for NULL.
///
/// # Safety
///
/// `ctx` is the `ctx` of a table that [`table`] made, or NULL.
pub(crate) unsafe fn context(ctx: *mut c_void) -> Result<&'static HandlerContext, Status> {
    // SAFETY: the caller promises a pointer that `table` made of a `&'static HandlerContext`, or NULL.
    unsafe { ctx.cast::<HandlerContext>().as_ref() }.ok_or(abi::MISUSE)
}

/// The reason of a Close frame.
///
/// # Safety
///
/// The promise of [`borrow`].
unsafe fn borrow_reason<'a>(reason: Bytes) -> Result<&'a str, Status> {
    // SAFETY: the caller makes the promise of `borrow`.
    unsafe { borrow_str(reason, REASON_BYTES_MAX) }
}

/// Text that a plugin lends, in the form in which a refusal is logged.
fn lent_text<'a>(raw: Str, text: Result<&'a str, Status>) -> LentBytes<'a> {
    LentBytes::new(raw, text.ok().map(str::as_bytes))
}

/// Runs `run` on the Conn. A refusal that is the plugin's fault is logged.
pub(crate) fn call_on_conn<'a, 'b, T>(
    conn: Result<&'a mut HostConn, Status>,
    call: impl FnOnce() -> HostCall<'b>,
    run: impl FnOnce(&'a mut HostConn) -> Result<T, Status>,
) -> Result<T, Status> {
    let id = conn.as_ref().map_or(0, |conn| conn.id());
    let outcome = conn.and_then(run);
    if let Err(status) = outcome {
        refused_calls::log_refusal(CalledWith::Conn(id), &call(), status);
    }
    outcome
}

/// Runs `run` on the context, for a call about the session `id`; 0 is none. A refusal that is the plugin's fault is logged.
pub(crate) fn call_on_context<'b, T>(
    context: Result<&'static HandlerContext, Status>,
    id: u64,
    call: impl FnOnce() -> HostCall<'b>,
    run: impl FnOnce(&'static HandlerContext) -> Result<T, Status>,
) -> Result<T, Status> {
    let outcome = context.and_then(run);
    if let Err(status) = outcome {
        let with = CalledWith::Ctx(context.ok(), id);
        refused_calls::log_refusal(with, &call(), status);
    }
    outcome
}

/// The status that stands for an outcome.
pub(crate) fn status(outcome: Result<(), Status>) -> Status {
    outcome.map_or_else(|status| status, |()| abi::OK)
}

/// The answer of a function that returns an amount, or a status, which is negative.
pub(crate) fn amount(outcome: Result<u64, Status>) -> i64 {
    match outcome {
        // Bytes and sessions lie in memory, so their number fits into an i64.
        Ok(bytes) => bytes as i64,
        Err(status) => i64::from(status),
    }
}

/// The longest id of an extension that is looked at. No extension has a longer one.
const EXTENSION_BYTES_MAX: usize = 255;
