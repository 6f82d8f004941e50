//! The functions of the host table that take `ctx`, and act on sessions by their id.
//!
//! A plugin may call them on any thread, at any time.

use std::ffi::c_void;

use wsh::abi::{self, Bytes, Pair, Status, Str};
use wsh::rules::{self, TOPIC_BYTES_MAX};

use super::{amount, borrow_reason, lent_text, status};
use crate::border::handler_context::HandlerContext;
use crate::border::handler_log;
use crate::border::host_conn::HostConn;
use crate::border::lent_memory::{borrow, borrow_pairs, borrow_str};
use crate::border::raw_table;
use crate::border::refused_calls::{self, CalledWith, HostCall, LentBytes};
use crate::border::response_draft::Draft;

// The plugin keeps the rules of abi.rs in every function of this file, and SAFETY comments cite them by name. *lent memory*:
// pointers with a length are readable during the call. `ctx` is that of the plugin's own table.

pub(super) unsafe extern "C" fn send_to(
    ctx: *mut c_void,
    id: u64,
    kind: u32,
    ptr: *const u8,
    len: usize,
) -> i64 {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (payload, context) = unsafe { (borrow(ptr, len), context(ctx)) };
    let call = || HostCall::SendTo {
        kind,
        payload: LentBytes::new(Str { ptr, len }, payload.ok()),
    };
    amount(call_on_context(context, id, call, |context| {
        context.send_to(id, kind, payload?)
    }))
}

pub(super) unsafe extern "C" fn close_to(
    ctx: *mut c_void,
    id: u64,
    code: u32,
    reason: Bytes,
) -> Status {
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

pub(super) unsafe extern "C" fn publish(
    ctx: *mut c_void,
    topic: Str,
    kind: u32,
    ptr: *const u8,
    len: usize,
    except: u64,
) -> i64 {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (name, payload, context) = unsafe {
        (
            borrow_str(topic, TOPIC_BYTES_MAX),
            borrow(ptr, len),
            context(ctx),
        )
    };
    let call = || HostCall::Publish {
        topic: lent_text(topic, name),
        kind,
        payload: LentBytes::new(Str { ptr, len }, payload.ok()),
    };
    amount(call_on_context(context, 0, call, |context| {
        let reached = context.publish(rules::topic(name?)?, kind, payload?, except)?;
        Ok(reached as u64)
    }))
}

pub(super) unsafe extern "C" fn wake(ctx: *mut c_void, id: u64) -> Status {
    // SAFETY: `ctx` is that of a table, whose context is never freed.
    let context = unsafe { context(ctx) };
    let call = || HostCall::named("wake");
    status(call_on_context(context, id, call, |context| {
        context.wake(id)
    }))
}

pub(super) unsafe extern "C" fn wake_after(ctx: *mut c_void, id: u64, ms: u64) -> Status {
    // SAFETY: `ctx` is that of a table, whose context is never freed.
    let context = unsafe { context(ctx) };
    let call = || HostCall::named("wake_after");
    status(call_on_context(context, id, call, |context| {
        context.wake_after(id, ms)
    }))
}

pub(super) unsafe extern "C" fn notify(ctx: *mut c_void, id: u64, note: u64) -> Status {
    // SAFETY: `ctx` is that of a table, whose context is never freed.
    let context = unsafe { context(ctx) };
    let call = || HostCall::named("notify");
    status(call_on_context(context, id, call, |context| {
        context.notify(id, note)
    }))
}

pub(super) unsafe extern "C" fn spawn(
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

pub(super) unsafe extern "C" fn log(
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

pub(super) unsafe extern "C" fn extension(ctx: *mut c_void, id: Str) -> *const c_void {
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

/// The longest id of an extension that is looked at. No extension has a longer one.
const EXTENSION_BYTES_MAX: usize = 255;
