//! The functions of the host table about what servers share: histories, members, and the handler's store.

use std::ffi::c_void;
use std::time::Duration;

use wsh::abi::answer::KEY_BYTES_MAX;
use wsh::abi::{self, Bytes, Status, Str};
use wsh::rules::{self, TOPIC_BYTES_MAX};

use super::{call_on_conn, call_on_context, context, lent_text, status};
use crate::border::asks::TopicUse;
use crate::border::host_conn::HostConn;
use crate::border::lent_memory::{borrow, borrow_str};
use crate::border::refused_calls::{AskCall, HostCall, LentBytes};
use crate::engine::node::JoinFrom;
use crate::engine::{Condition, PageLimit, StoreRequest};

// The plugin keeps the rules of abi.rs in every function of this file, and SAFETY comments cite them by name. *lent memory*:
// pointers with a length are readable during the call. *the Conn*: a `*mut Conn` is one that the server gave out. `ctx` is
// that of the plugin's own table.

pub(super) unsafe extern "C" fn subscribe_from(
    conn: *mut abi::Conn,
    token: u64,
    topic: Str,
    position: Bytes,
    last: u64,
) -> Status {
    // SAFETY: *lent memory* and *the Conn*.
    let (name, after, conn) = unsafe {
        (
            borrow_str(topic, TOPIC_BYTES_MAX),
            borrow(position.ptr, position.len),
            HostConn::of_another_call(conn),
        )
    };
    let call = || {
        HostCall::Ask(AskCall {
            topic: Some(lent_text(topic, name)),
            place: Some(LentBytes::new(position, after.ok())),
            ..AskCall::of_session("subscribe_from")
        })
    };
    status(call_on_conn(conn, call, |conn| {
        let name = rules::topic(name?)?;
        let after = rules::asks::position(after?)?;
        let context = conn.context;
        context.topic(name, TopicUse::Any)?;
        let ask = context.begin_session_ask("subscribe_from", &conn.controls.mailbox, token)?;
        let from = JoinFrom { after, last };
        let answer = ask.on_joined(name);
        conn.controls
            .subscribe_from(&context.shared.node, name, from, answer)
    }))
}

pub(super) unsafe extern "C" fn enter(
    conn: *mut abi::Conn,
    token: u64,
    topic: Str,
    value: Bytes,
) -> Status {
    // SAFETY: *lent memory* and *the Conn*.
    let (name, bytes, conn) = unsafe {
        (
            borrow_str(topic, TOPIC_BYTES_MAX),
            borrow(value.ptr, value.len),
            HostConn::of_another_call(conn),
        )
    };
    let call = || {
        HostCall::Ask(AskCall {
            topic: Some(lent_text(topic, name)),
            value: Some(LentBytes::new(value, bytes.ok())),
            ..AskCall::of_session("enter")
        })
    };
    status(call_on_conn(conn, call, |conn| {
        let name = rules::topic(name?)?;
        let context = conn.context;
        let bytes_max = context.shared.presence_value_bytes_max();
        let value = rules::asks::value(bytes?, bytes_max)?;
        context.topic(name, TopicUse::Presence)?;
        let ask = context.begin_session_ask("enter", &conn.controls.mailbox, token)?;
        let done = ask.on_entered(name, !conn.controls.is_member(name));
        conn.controls
            .enter(&context.shared.node, name, value, Box::new(done))
    }))
}

pub(super) unsafe extern "C" fn leave(conn: *mut abi::Conn, topic: Str) -> Status {
    // SAFETY: *lent memory* and *the Conn*.
    let (name, conn) = unsafe {
        (
            borrow_str(topic, TOPIC_BYTES_MAX),
            HostConn::of_another_call(conn),
        )
    };
    let call = || {
        HostCall::Ask(AskCall {
            topic: Some(lent_text(topic, name)),
            ..AskCall::of_session("leave")
        })
    };
    status(call_on_conn(conn, call, |conn| {
        conn.controls.leave(rules::topic(name?)?);
        Ok(())
    }))
}

pub(super) unsafe extern "C" fn publish_acked(
    ctx: *mut c_void,
    id: u64,
    token: u64,
    topic: Str,
    kind: u32,
    ptr: *const u8,
    len: usize,
    except: u64,
) -> Status {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (name, payload, context) = unsafe {
        (
            borrow_str(topic, TOPIC_BYTES_MAX),
            borrow(ptr, len),
            context(ctx),
        )
    };
    let call = || {
        HostCall::Ask(AskCall {
            topic: Some(lent_text(topic, name)),
            kind: Some(kind),
            value: Some(LentBytes::new(Str { ptr, len }, payload.ok())),
            ..AskCall::of("publish_acked", id)
        })
    };
    status(call_on_context(context, id, call, |context| {
        let topic = rules::topic(name?)?;
        context.publish_acked((id, token), topic, (kind, payload?), except)
    }))
}

pub(super) unsafe extern "C" fn history(
    ctx: *mut c_void,
    id: u64,
    token: u64,
    topic: Str,
    position: Bytes,
    limit: u64,
) -> Status {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (name, after, context) = unsafe {
        (
            borrow_str(topic, TOPIC_BYTES_MAX),
            borrow(position.ptr, position.len),
            context(ctx),
        )
    };
    let call = || {
        HostCall::Ask(AskCall {
            topic: Some(lent_text(topic, name)),
            place: Some(LentBytes::new(position, after.ok())),
            limit: Some(limit),
            ..AskCall::of("history", id)
        })
    };
    status(call_on_context(context, id, call, |context| {
        let topic = rules::topic(name?)?;
        context.history((id, token), topic, after?, limit)
    }))
}

pub(super) unsafe extern "C" fn present(
    ctx: *mut c_void,
    id: u64,
    token: u64,
    topic: Str,
    after: Bytes,
    limit: u64,
) -> Status {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (name, last, context) = unsafe {
        (
            borrow_str(topic, TOPIC_BYTES_MAX),
            borrow(after.ptr, after.len),
            context(ctx),
        )
    };
    let call = || {
        HostCall::Ask(AskCall {
            topic: Some(lent_text(topic, name)),
            place: Some(LentBytes::new(after, last.ok())),
            limit: Some(limit),
            ..AskCall::of("present", id)
        })
    };
    status(call_on_context(context, id, call, |context| {
        let topic = rules::topic(name?)?;
        context.present((id, token), topic, last?, limit)
    }))
}

pub(super) unsafe extern "C" fn store_get(
    ctx: *mut c_void,
    id: u64,
    token: u64,
    key: Str,
) -> Status {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (text, context) = unsafe { (borrow_str(key, KEY_BYTES_MAX), context(ctx)) };
    let call = || {
        HostCall::Ask(AskCall {
            key: Some(lent_text(key, text)),
            ..AskCall::of("store_get", id)
        })
    };
    status(call_on_context(context, id, call, |context| {
        let key = rules::asks::key(text?)?.into();
        context.store("store_get", (id, token), StoreRequest::Get { key })
    }))
}

pub(super) unsafe extern "C" fn store_put(
    ctx: *mut c_void,
    id: u64,
    token: u64,
    key: Str,
    value: Bytes,
    version: u64,
    ttl_ms: u64,
) -> Status {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (text, bytes, context) = unsafe {
        (
            borrow_str(key, KEY_BYTES_MAX),
            borrow(value.ptr, value.len),
            context(ctx),
        )
    };
    let call = || {
        HostCall::Ask(AskCall {
            key: Some(lent_text(key, text)),
            value: Some(LentBytes::new(value, bytes.ok())),
            ..AskCall::of("store_put", id)
        })
    };
    status(call_on_context(context, id, call, |context| {
        let key = rules::asks::key(text?)?.into();
        let value = rules::asks::value(bytes?, context.store_value_bytes_max())?;
        let request = StoreRequest::Put {
            key,
            value: value.into(),
            only_if: condition(version),
            time_to_live: (ttl_ms != 0).then(|| Duration::from_millis(ttl_ms)),
        };
        context.store("store_put", (id, token), request)
    }))
}

pub(super) unsafe extern "C" fn store_delete(
    ctx: *mut c_void,
    id: u64,
    token: u64,
    key: Str,
    version: u64,
) -> Status {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (text, context) = unsafe { (borrow_str(key, KEY_BYTES_MAX), context(ctx)) };
    let call = || {
        HostCall::Ask(AskCall {
            key: Some(lent_text(key, text)),
            ..AskCall::of("store_delete", id)
        })
    };
    status(call_on_context(context, id, call, |context| {
        let request = StoreRequest::Delete {
            key: rules::asks::key(text?)?.into(),
            only_if: condition(version),
        };
        context.store("store_delete", (id, token), request)
    }))
}

pub(super) unsafe extern "C" fn store_list(
    ctx: *mut c_void,
    id: u64,
    token: u64,
    prefix: Str,
    after: Bytes,
    limit: u64,
) -> Status {
    // SAFETY: *lent memory*; `ctx` is that of a table, whose context is never freed.
    let (text, last, context) = unsafe {
        (
            borrow_str(prefix, KEY_BYTES_MAX),
            borrow(after.ptr, after.len),
            context(ctx),
        )
    };
    let call = || {
        HostCall::Ask(AskCall {
            key: Some(lent_text(prefix, text)),
            place: Some(LentBytes::new(after, last.ok())),
            limit: Some(limit),
            ..AskCall::of("store_list", id)
        })
    };
    status(call_on_context(context, id, call, |context| {
        let request = StoreRequest::List {
            prefix: rules::asks::key_prefix(text?)?.into(),
            after: rules::asks::after_key(last?)?.map(Into::into),
            limit: PageLimit::of_handler(limit)?,
        };
        context.store("store_list", (id, token), request)
    }))
}

/// What must hold for a value to be changed, as the number of the ABI says it.
fn condition(version: u64) -> Condition {
    rules::asks::version(version).map_or(Condition::Always, Condition::Version)
}
