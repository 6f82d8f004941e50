//! The host table: every function that a plugin can call.
//!
//! Functions with a Conn are in this file, those of the answer to a handshake in [`response`], and those with `ctx` in
//! [`with_ctx`]. Each function turns raw arguments into safe ones, asks [`Controls`](crate::outbound::controls::Controls) or the
//! [`HandlerContext`], and turns the answer into a status. No function calls the plugin before it returns.

pub(crate) mod response;
pub(crate) mod with_ctx;

use wsh::abi::{self, Bytes, Host, Status, Str};
use wsh::rules::{self, REASON_BYTES_MAX, TOPIC_BYTES_MAX};

use self::response::{response_extensions, response_header, response_protocol, response_reject};
use self::with_ctx::{close_to, extension, log, notify, publish, send_to, spawn, wake, wake_after};
use super::failure_reason::fail;
use super::handler_context::HandlerContext;
use super::host_conn::HostConn;
use super::lent_memory::{self, borrow, borrow_below, borrow_str};
use super::refused_calls::{self, CalledWith, HostCall, LentBytes};
use crate::outbound::wire::LARGE_BYTES;
use crate::sessions::cause::Cause;

/// Makes the table for one handler in one generation. It lives as long as the process.
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
    }))
}

// The plugin keeps the rules of abi.rs in every function of this file, and SAFETY comments cite them by name. *lent memory*:
// pointers with a length are readable during the call. *the Conn*: a `*mut Conn` is one that the server gave out.

unsafe extern "C" fn check(conn: *const abi::Conn) -> Status {
    match HostConn::is_lent(conn) {
        true => abi::OK,
        false => abi::MISUSE,
    }
}

unsafe extern "C" fn send(conn: *mut abi::Conn, kind: u32, ptr: *const u8, len: usize) -> i64 {
    // Nearly every message is sent here, so each value fits into a register.
    // SAFETY: *lent memory* for the payload, *the Conn* for the Conn. Both are used only in this call.
    let (payload, lent) = unsafe { (borrow_below(LARGE_BYTES, ptr, len), HostConn::if_lent(conn)) };
    if let (Some(payload), Some(lent)) = (payload, lent)
        && let Some(buffered) = lent.controls.send_plain(kind, payload)
    {
        return lent.note_buffered(buffered);
    }
    // SAFETY: the plugin promises to `send` what `send_otherwise` asks for.
    unsafe { send_otherwise(conn, kind, ptr, len) }
}

/// Sends what the short way of `send` does not: large messages, parts, and what is refused.
///
/// A cold function of its own. With more branches in `send`, the compiler takes the short way for a rare one, and makes a call
/// of its copy into the output.
///
/// # Safety
///
/// The plugin's promises to `send`: *lent memory* for the payload, *the Conn* for the Conn.
#[cold]
#[inline(never)]
unsafe fn send_otherwise(conn: *mut abi::Conn, kind: u32, ptr: *const u8, len: usize) -> i64 {
    if kind & abi::IF_ROOM != 0 {
        // The styles that await or block send with this flag. A message that fits is sent like any other.
        // SAFETY: the caller promises *lent memory* and *the Conn*.
        let (payload, lent) =
            unsafe { (borrow_below(LARGE_BYTES, ptr, len), HostConn::if_lent(conn)) };
        if let (Some(payload), Some(lent)) = (payload, lent)
            && let Some(buffered) = lent.controls.send_plain(kind & !abi::IF_ROOM, payload)
        {
            return lent.note_buffered(buffered);
        }
    }
    // SAFETY: the caller promises *lent memory* and *the Conn*.
    match unsafe { (borrow(ptr, len), HostConn::of(conn)) } {
        (Ok(payload), Ok(conn)) => send_and_refresh(conn, kind, payload),
        (payload, conn) => refuse_send(kind, ptr, len, payload, conn),
    }
}

/// The answer to a `send` whose payload or Conn is not good. Logs the refusal.
#[cold]
#[inline(never)]
fn refuse_send(
    kind: u32,
    ptr: *const u8,
    len: usize,
    payload: Result<&[u8], Status>,
    conn: Result<&mut HostConn, Status>,
) -> i64 {
    let id = conn.as_ref().map_or(0, |conn| conn.id());
    let status = match (payload, conn) {
        (_, Err(status)) | (Err(status), _) => status,
        (Ok(_), Ok(_)) => return i64::from(abi::OK),
    };
    let call = HostCall::Send {
        kind,
        payload: LentBytes::new(Str { ptr, len }, payload.ok()),
        open: None,
        bytes_max: usize::MAX,
    };
    refused_calls::log_refusal(CalledWith::Conn(id), &call, status);
    i64::from(status)
}

/// Sends a message by the long way, and brings the table up to date.
// Cold, because its answer goes through memory, and nearly no message comes here.
#[cold]
#[inline(never)]
fn send_and_refresh(conn: &mut HostConn, kind: u32, payload: &[u8]) -> i64 {
    let sent = conn.controls.send(kind, payload);
    conn.refresh();
    if let Err(status) = sent {
        let call = HostCall::Send {
            kind,
            payload: LentBytes::new(lent_memory::lend_bytes(payload), Some(payload)),
            open: conn.controls.open_message(),
            bytes_max: conn.controls.payload_bytes_max(),
        };
        refused_calls::log_refusal(CalledWith::Conn(conn.id()), &call, status);
    }
    amount(sent)
}

unsafe extern "C" fn reserve(conn: *mut abi::Conn, max: usize) -> *mut u8 {
    let call = || HostCall::Reserve { max };
    // SAFETY: *the Conn*.
    let conn = unsafe { HostConn::of_another_call(conn) };
    let reserved = call_on_conn(conn, call, |conn| {
        conn.controls.reserve(max).ok_or(abi::TOO_BIG)
    });
    reserved.map_or(std::ptr::null_mut(), |reserved| reserved.as_mut_ptr())
}

unsafe extern "C" fn commit(conn: *mut abi::Conn, kind: u32, len: usize) -> i64 {
    let mut is_reserved = false;
    // SAFETY: *the Conn*.
    let found = unsafe { HostConn::of(conn) };
    let sent = found.and_then(|conn| {
        let mut written = conn.controls.take_reserved(len)?;
        is_reserved = true;
        // SAFETY: `take_reserved` checked that `len` is at most what `reserve` was asked for. By the ABI (`Host::commit`)
        // the plugin wrote that many bytes into the memory that `reserve` gave.
        unsafe { written.set_len(len) };
        let sent = conn.controls.send(kind, &written);
        conn.refresh();
        sent
    });
    if let Err(status) = sent {
        // SAFETY: *the Conn*. The reference in `found` is not used any more.
        let conn = unsafe { HostConn::of(conn) };
        log_refused_commit(conn.ok(), kind, len, is_reserved, status);
    }
    amount(sent)
}

#[cold]
#[inline(never)]
fn log_refused_commit(
    conn: Option<&mut HostConn>,
    kind: u32,
    len: usize,
    is_reserved: bool,
    status: Status,
) {
    let controls = conn.as_ref().map(|conn| &conn.controls);
    let call = HostCall::Commit {
        kind,
        len,
        is_reserved,
        open: controls.and_then(|controls| controls.open_message()),
        bytes_max: controls.map_or(0, |controls| controls.payload_bytes_max()),
    };
    refused_calls::log_refusal(
        CalledWith::Conn(conn.map_or(0, |conn| conn.id())),
        &call,
        status,
    );
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
        conn.controls.reads = rules::switch(on)?;
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
            let topics = &conn.context.shared.topics;
            conn.controls.subscribe(topics, name)
        } else {
            conn.controls.unsubscribe(name);
            Ok(())
        }
    }))
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
