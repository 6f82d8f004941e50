//! The functions of the host table that send a message: with a Conn, by a session's id, or to a topic.

use std::ffi::c_void;

use wsh::abi::{self, Status, Str};
use wsh::rules::{self, TOPIC_BYTES_MAX};

use super::{amount, call_on_conn, call_on_context, context, lent_text};
use crate::border::host_conn::HostConn;
use crate::border::lent_memory::{self, borrow, borrow_below, borrow_str};
use crate::border::refused_calls::{self, CalledWith, HostCall, LentBytes};
use crate::outbound::wire::LARGE_BYTES;

// The plugin keeps the rules of abi.rs in every function of this file, and SAFETY comments cite them by name. *lent memory*:
// pointers with a length are readable during the call. *the Conn*: a `*mut Conn` is one that the server gave out. `ctx` is
// that of the plugin's own table.

pub(super) unsafe extern "C" fn send(
    conn: *mut abi::Conn,
    kind: u32,
    ptr: *const u8,
    len: usize,
) -> i64 {
    // Nearly every message is sent here, so each value fits into a register. Where the Conn is looked at after the payload,
    // the compiler makes values of both answers and joins them, which takes more than a branch for each.
    if HostConn::is_lent_wholly(conn) {
        // SAFETY: it is lent, and is used only in this call.
        let lent = unsafe { HostConn::lent_behind(conn) };
        // SAFETY: *lent memory* for the payload, which is used only in this call.
        if let Some(payload) = unsafe { borrow_below(LARGE_BYTES, ptr, len) }
            && let Some(buffered) = lent.controls.send_plain(kind, payload)
        {
            return lent.note_buffered(buffered);
        }
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
        };
        refused_calls::log_refusal(CalledWith::Conn(conn.id()), &call, status);
    }
    amount(sent)
}

pub(super) unsafe extern "C" fn reserve(conn: *mut abi::Conn, max: usize) -> *mut u8 {
    let call = || HostCall::Reserve { max };
    // SAFETY: *the Conn*.
    let conn = unsafe { HostConn::of_another_call(conn) };
    let reserved = call_on_conn(conn, call, |conn| {
        conn.controls.reserve(max).ok_or(abi::TOO_BIG)
    });
    reserved.map_or(std::ptr::null_mut(), |reserved| reserved.as_mut_ptr())
}

pub(super) unsafe extern "C" fn commit(conn: *mut abi::Conn, kind: u32, len: usize) -> i64 {
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
    };
    refused_calls::log_refusal(
        CalledWith::Conn(conn.map_or(0, |conn| conn.id())),
        &call,
        status,
    );
}

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
