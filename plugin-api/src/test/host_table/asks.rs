//! The functions of the host table about what is shared: histories, members and kept values.
#![allow(unsafe_code)] // the functions of a C table

use std::ffi::c_void;

use super::{at_most, status, with};
use crate::{
    abi::{self, Bytes, Status, Str, answer::KEY_BYTES_MAX},
    border::read,
    rules::{self, TOPIC_BYTES_MAX, asks},
    test::{
        context::Context,
        hub::asks::{Request, TopicUse},
        limits,
    },
};

// In all functions below the plugin keeps the rule *lent memory* of abi.rs: what it lends can be read during the call.

pub(super) unsafe extern "C" fn subscribe_from(
    conn: *mut abi::Conn,
    token: u64,
    topic: Str,
    position: Bytes,
    last: u64,
) -> Status {
    // SAFETY: *lent memory*.
    let (topic, after) = unsafe {
        (
            at_most(TOPIC_BYTES_MAX, topic),
            read::lent(position.ptr, position.len),
        )
    };
    status(with(conn, |controls| {
        let topic = rules::topic(topic?)?;
        let after = asks::position(after?)?.unwrap_or_default();
        controls.subscribe_from(token, topic, after, last)
    }))
}

pub(super) unsafe extern "C" fn enter(
    conn: *mut abi::Conn,
    token: u64,
    topic: Str,
    value: Bytes,
) -> Status {
    // SAFETY: *lent memory*.
    let (topic, value) = unsafe {
        (
            at_most(TOPIC_BYTES_MAX, topic),
            read::lent(value.ptr, value.len),
        )
    };
    status(with(conn, |controls| {
        let topic = rules::topic(topic?)?;
        controls.enter(token, topic, value?)
    }))
}

pub(super) unsafe extern "C" fn leave(conn: *mut abi::Conn, topic: Str) -> Status {
    // SAFETY: *lent memory*.
    let topic = unsafe { at_most(TOPIC_BYTES_MAX, topic) };
    status(with(conn, |controls| controls.leave(rules::topic(topic?)?)))
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
    // SAFETY: *lent memory*.
    let (topic, bytes) = unsafe { (at_most(TOPIC_BYTES_MAX, topic), read::lent(ptr, len)) };
    status(Context::find(ctx).and_then(|context| {
        let topic = rules::topic(topic?)?;
        context.publish_acked((id, token), topic, (kind, bytes?), except)
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
    // SAFETY: *lent memory*.
    let (topic, after) = unsafe {
        (
            at_most(TOPIC_BYTES_MAX, topic),
            read::lent(position.ptr, position.len),
        )
    };
    status(Context::find(ctx).and_then(|context| {
        let topic = rules::topic(topic?)?;
        let after = asks::position(after?)?.unwrap_or_default();
        let (last, limit) = (limit, asks::page_items(limit)?);
        context.hub.check_topic(topic, TopicUse::History)?;
        let request = Request::History {
            topic: topic.into(),
            after: after.into(),
            last,
            limit,
        };
        context.ask((id, token), request)
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
    // SAFETY: *lent memory*.
    let (topic, after) = unsafe {
        (
            at_most(TOPIC_BYTES_MAX, topic),
            read::lent(after.ptr, after.len),
        )
    };
    status(Context::find(ctx).and_then(|context| {
        let topic = rules::topic(topic?)?;
        let after = asks::after_member(after?)?;
        let limit = asks::page_items(limit)?;
        context.hub.check_topic(topic, TopicUse::Presence)?;
        let request = Request::Present {
            topic: topic.into(),
            after,
            limit,
        };
        context.ask((id, token), request)
    }))
}

pub(super) unsafe extern "C" fn store_get(
    ctx: *mut c_void,
    id: u64,
    token: u64,
    key: Str,
) -> Status {
    // SAFETY: *lent memory*.
    let key = unsafe { at_most(KEY_BYTES_MAX, key) };
    status(Context::find(ctx).and_then(|context| {
        let key = asks::key(key?)?.into();
        context.ask((id, token), Request::Get { key })
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
    // SAFETY: *lent memory*.
    let (key, value) = unsafe {
        (
            at_most(KEY_BYTES_MAX, key),
            read::lent(value.ptr, value.len),
        )
    };
    status(Context::find(ctx).and_then(|context| {
        let key = asks::key(key?)?.into();
        let value = asks::value(value?, limits::STORE_VALUE_BYTES_MAX)?.into();
        let request = Request::Put {
            key,
            value,
            only_if: asks::version(version),
            ttl_ms,
        };
        context.ask((id, token), request)
    }))
}

pub(super) unsafe extern "C" fn store_delete(
    ctx: *mut c_void,
    id: u64,
    token: u64,
    key: Str,
    version: u64,
) -> Status {
    // SAFETY: *lent memory*.
    let key = unsafe { at_most(KEY_BYTES_MAX, key) };
    status(Context::find(ctx).and_then(|context| {
        let key = asks::key(key?)?.into();
        let only_if = asks::version(version);
        context.ask((id, token), Request::Delete { key, only_if })
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
    // SAFETY: *lent memory*.
    let (prefix, after) = unsafe {
        (
            at_most(KEY_BYTES_MAX, prefix),
            read::lent(after.ptr, after.len),
        )
    };
    status(Context::find(ctx).and_then(|context| {
        let prefix = asks::key_prefix(prefix?)?.into();
        let after = asks::after_key(after?)?.map(Into::into);
        let limit = asks::page_items(limit)?;
        let request = Request::List {
            prefix,
            after,
            limit,
        };
        context.ask((id, token), request)
    }))
}
