//! The functions of the host's table, made safe to call.
//!
//! The table is copied once. A function that the host does not have answers [`UNSUPPORTED`](abi::UNSUPPORTED).

use std::{
    ffi::c_void,
    fmt::{self, Display},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    abi::{self, Status},
    border::{guard::guard_void, read},
};

/// A copy of [`abi::Host`]. Its fields are NULL where the host is older than this library.
#[derive(Debug)]
pub(crate) struct HostFunctions(abi::Host);

// SAFETY: `ctx` and `log_level` live as long as the process, and the host takes calls from any thread. Functions for the
// running callback answer MISUSE on any other thread.
unsafe impl Send for HostFunctions {}
// SAFETY: as above.
unsafe impl Sync for HostFunctions {}

/// The Conn pointer of a callback, or NULL. It is not read here. The host compares it with the Conn of the callback that
/// runs on the calling thread, before it reads anything behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnPtr(*mut abi::Conn);

impl ConnPtr {
    /// Takes any pointer: the host decides whether it is a Conn.
    #[inline]
    pub(crate) fn new(conn: *mut abi::Conn) -> Self {
        ConnPtr(conn)
    }

    #[inline]
    pub(super) fn get(self) -> *mut abi::Conn {
        self.0
    }
}

/// The host's `send`, or a function that answers [`UNSUPPORTED`](abi::UNSUPPORTED) in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendFn(unsafe extern "C" fn(*mut abi::Conn, u32, *const u8, usize) -> i64);

impl SendFn {
    #[inline]
    pub(crate) fn call(self, conn: ConnPtr, kind: u32, bytes: &[u8]) -> i64 {
        // SAFETY: the host's function, which takes any pointer for a Conn (abi.rs, *the Conn*), and the
        // slice outlives the call.
        unsafe { (self.0)(conn.get(), kind, bytes.as_ptr(), bytes.len()) }
    }
}

/// The Response pointer of a `handshake`. The host compares it with the Response of the `handshake` that runs on the
/// calling thread.
#[derive(Clone, Copy)]
pub(crate) struct ResponsePtr(*mut abi::Response);

impl ResponsePtr {
    pub(crate) fn new(response: *mut abi::Response) -> Self {
        ResponsePtr(response)
    }

    pub(super) fn get(self) -> *mut abi::Response {
        self.0
    }
}

/// Calls a function of the table, or answers UNSUPPORTED if it is NULL.
macro_rules! call {
    ($host:ident . $function:ident ( $($argument:expr),* )) => {
        match $host.0.$function {
            // SAFETY: the function comes from the host's table, which takes any pointer for a Conn or
            // a Response (abi.rs, *the Conn*), and every pointer to bytes comes from a slice that
            // outlives the call.
            Some(function) => unsafe { function($($argument),*) },
            None => abi::UNSUPPORTED.into(),
        }
    };
}

impl HostFunctions {
    /// # Safety
    /// `from` is the host table given to `init`.
    pub(crate) unsafe fn new(from: *const abi::Host) -> Self {
        // SAFETY: the caller's promise.
        HostFunctions(unsafe { read::copy(from) })
    }

    /// A copy of a session's table; `None` unless the session's callback runs on this thread.
    pub(crate) fn table(&self, conn: ConnPtr) -> Option<abi::Conn> {
        // SAFETY: the host says that this is the Conn of the callback on this thread, so its table is there until the
        // callback returns.
        self.is_lent(conn)
            .then(|| unsafe { read::copy(conn.get()) })
    }

    /// Whether this is the Conn of the callback that runs on this thread.
    pub(crate) fn is_lent(&self, conn: ConnPtr) -> bool {
        let status: Status = call!(self.check(conn.get()));
        status == abi::OK
    }

    /// The function `send`, which each session keeps: nearly every message calls it.
    pub(crate) fn send(&self) -> SendFn {
        unsafe extern "C" fn unsupported(_: *mut abi::Conn, _: u32, _: *const u8, _: usize) -> i64 {
            abi::UNSUPPORTED.into()
        }
        SendFn(self.0.send.unwrap_or(unsupported))
    }

    /// Reserves `max` bytes of the host's memory, uninitialised; NULL if there are none. The pointer dangles as soon as
    /// anything else is called with `conn`.
    pub(crate) fn reserve(&self, conn: ConnPtr, max: usize) -> *mut u8 {
        match self.0.reserve {
            // SAFETY: the function comes from the host's table, and takes any pointer for a Conn.
            Some(reserve) => unsafe { reserve(conn.get(), max) },
            None => std::ptr::null_mut(),
        }
    }

    pub(crate) fn commit(&self, conn: ConnPtr, kind: u32, len: usize) -> i64 {
        call!(self.commit(conn.get(), kind, len))
    }

    pub(crate) fn ping(&self, conn: ConnPtr, bytes: &[u8]) -> Status {
        call!(self.ping(conn.get(), bytes.as_ptr(), bytes.len()))
    }

    pub(crate) fn close(&self, conn: ConnPtr, code: u32, reason: &str) -> Status {
        call!(self.close(conn.get(), code, read::lend(reason.as_bytes())))
    }

    pub(crate) fn abort(&self, conn: ConnPtr) -> Status {
        call!(self.abort(conn.get()))
    }

    pub(crate) fn timer(&self, conn: ConnPtr, token: u64, after_ms: u64) -> Status {
        call!(self.timer(conn.get(), token, after_ms))
    }

    pub(crate) fn reads(&self, conn: ConnPtr, on: bool) -> Status {
        call!(self.reads(conn.get(), on.into()))
    }

    pub(crate) fn watermark(&self, conn: ConnPtr, low: u64, high: u64) -> Status {
        call!(self.watermark(conn.get(), low, high))
    }

    pub(crate) fn subscribe(&self, conn: ConnPtr, topic: &str, on: bool) -> Status {
        call!(self.subscribe(conn.get(), read::lend(topic.as_bytes()), on.into()))
    }

    pub(crate) fn send_to(&self, id: u64, kind: u32, bytes: &[u8]) -> i64 {
        call!(self.send_to(self.0.ctx, id, kind, bytes.as_ptr(), bytes.len()))
    }

    pub(crate) fn close_to(&self, id: u64, code: u32, reason: &str) -> Status {
        call!(self.close_to(self.0.ctx, id, code, read::lend(reason.as_bytes())))
    }

    pub(crate) fn publish(&self, topic: &str, kind: u32, bytes: &[u8], except: u64) -> i64 {
        let topic = read::lend(topic.as_bytes());
        call!(self.publish(self.0.ctx, topic, kind, bytes.as_ptr(), bytes.len(), except))
    }

    pub(crate) fn subscribe_from(
        &self,
        conn: ConnPtr,
        token: u64,
        topic: &str,
        after: &[u8],
        last: u64,
    ) -> Status {
        let (topic, after) = (read::lend(topic.as_bytes()), read::lend(after));
        call!(self.subscribe_from(conn.get(), token, topic, after, last))
    }

    pub(crate) fn enter(&self, conn: ConnPtr, token: u64, topic: &str, value: &[u8]) -> Status {
        let (topic, value) = (read::lend(topic.as_bytes()), read::lend(value));
        call!(self.enter(conn.get(), token, topic, value))
    }

    pub(crate) fn leave(&self, conn: ConnPtr, topic: &str) -> Status {
        call!(self.leave(conn.get(), read::lend(topic.as_bytes())))
    }

    pub(crate) fn publish_acked(
        &self,
        id: u64,
        token: u64,
        topic: &str,
        kind: u32,
        bytes: &[u8],
        except: u64,
    ) -> Status {
        let (topic, ptr, len) = (read::lend(topic.as_bytes()), bytes.as_ptr(), bytes.len());
        call!(self.publish_acked(self.0.ctx, id, token, topic, kind, ptr, len, except))
    }

    pub(crate) fn history(
        &self,
        id: u64,
        token: u64,
        topic: &str,
        after: &[u8],
        limit: u64,
    ) -> Status {
        let (topic, after) = (read::lend(topic.as_bytes()), read::lend(after));
        call!(self.history(self.0.ctx, id, token, topic, after, limit))
    }

    pub(crate) fn present(
        &self,
        id: u64,
        token: u64,
        topic: &str,
        after: &[u8],
        limit: u64,
    ) -> Status {
        let (topic, after) = (read::lend(topic.as_bytes()), read::lend(after));
        call!(self.present(self.0.ctx, id, token, topic, after, limit))
    }

    pub(crate) fn store_get(&self, id: u64, token: u64, key: &str) -> Status {
        call!(self.store_get(self.0.ctx, id, token, read::lend(key.as_bytes())))
    }

    pub(crate) fn store_put(
        &self,
        id: u64,
        token: u64,
        key: &str,
        value: &[u8],
        version: u64,
        ttl_ms: u64,
    ) -> Status {
        let (key, value) = (read::lend(key.as_bytes()), read::lend(value));
        call!(self.store_put(self.0.ctx, id, token, key, value, version, ttl_ms))
    }

    pub(crate) fn store_delete(&self, id: u64, token: u64, key: &str, version: u64) -> Status {
        call!(self.store_delete(self.0.ctx, id, token, read::lend(key.as_bytes()), version))
    }

    pub(crate) fn store_list(
        &self,
        id: u64,
        token: u64,
        prefix: &str,
        after: &[u8],
        limit: u64,
    ) -> Status {
        let (prefix, after) = (read::lend(prefix.as_bytes()), read::lend(after));
        call!(self.store_list(self.0.ctx, id, token, prefix, after, limit))
    }

    pub(crate) fn wake(&self, id: u64) -> Status {
        call!(self.wake(self.0.ctx, id))
    }

    pub(crate) fn wake_after(&self, id: u64, ms: u64) -> Status {
        call!(self.wake_after(self.0.ctx, id, ms))
    }

    pub(crate) fn notify(&self, id: u64, note: u64) -> Status {
        call!(self.notify(self.0.ctx, id, note))
    }

    /// Runs a job on a thread of the host's. A panic of the job stays on that thread.
    pub(crate) fn spawn(&self, job: Box<dyn FnOnce() + Send>) -> Status {
        unsafe extern "C" fn run(arg: *mut c_void) {
            guard_void(|| {
                // SAFETY: `arg` is the box below, and the host calls this once.
                let job = unsafe { Box::from_raw(arg.cast::<Box<dyn FnOnce() + Send>>()) };
                job();
            });
        }
        let arg = Box::into_raw(Box::new(job)).cast::<c_void>();
        let status = call!(self.spawn(self.0.ctx, Some(run), arg));
        if status != abi::OK {
            // SAFETY: with any status but OK the host has not taken `arg`, which is the box above.
            drop(unsafe { Box::from_raw(arg.cast::<Box<dyn FnOnce() + Send>>()) });
        }
        status
    }

    pub(crate) fn fail(&self, why: &str) {
        let _: Status = call!(self.fail(self.0.ctx, read::lend(why.as_bytes())));
    }

    /// Whether the host logs lines of this level. It costs one load and a branch.
    #[inline]
    pub(crate) fn logs(&self, level: u32) -> bool {
        if self.0.log_level.is_null() {
            return level <= abi::LOG_INFO;
        }
        // SAFETY: by the ABI, `log_level` lives as long as the process and is an atomic.
        let enabled = unsafe { AtomicU32::from_ptr(self.0.log_level.cast_mut()) };
        level <= enabled.load(Ordering::Relaxed)
    }

    pub(crate) fn log(
        &self,
        level: u32,
        target: &str,
        message: fmt::Arguments<'_>,
        fields: &[(&str, &dyn Display)],
    ) {
        let Some(log) = self.0.log else { return };
        let message = without_nul(message.to_string());
        let values: Vec<String> = fields
            .iter()
            .map(|(_, value)| without_nul(value.to_string()))
            .collect();
        let pairs: Vec<abi::Pair> = fields
            .iter()
            .zip(&values)
            .map(|((name, _), value)| abi::Pair {
                name: read::lend(name.as_bytes()),
                value: read::lend(value.as_bytes()),
            })
            .collect();
        let (target, message) = (
            read::lend(target.as_bytes()),
            read::lend(message.as_bytes()),
        );
        // SAFETY: the function comes from the host's table; every string outlives the call.
        unsafe {
            log(
                self.0.ctx,
                // 0 stands for the session whose callback runs on this thread.
                crate::log::session(),
                level,
                target,
                message,
                pairs.as_ptr(),
                pairs.len(),
            )
        };
    }

    /// The host's name for this handler in this generation.
    pub(super) fn ctx(&self) -> *mut c_void {
        self.0.ctx
    }

    /// The host's table of an extension; NULL if the host has none for this handler.
    pub(crate) fn extension(&self, id: &str) -> *const c_void {
        match self.0.extension {
            // SAFETY: the function comes from the host's table, and the string outlives the call.
            Some(extension) => unsafe { extension(self.0.ctx, read::lend(id.as_bytes())) },
            None => std::ptr::null(),
        }
    }

    pub(crate) fn response_header(&self, to: ResponsePtr, name: &str, value: &[u8]) -> Status {
        call!(self.response_header(to.0, read::lend(name.as_bytes()), read::lend(value)))
    }

    pub(crate) fn response_protocol(&self, to: ResponsePtr, name: &str) -> Status {
        call!(self.response_protocol(to.0, read::lend(name.as_bytes())))
    }

    pub(crate) fn response_reject(&self, to: ResponsePtr, status: u16, body: &[u8]) -> Status {
        call!(self.response_reject(to.0, status.into(), read::lend(body)))
    }

    pub(crate) fn response_extensions(&self, to: ResponsePtr, allow: u32) -> Status {
        call!(self.response_extensions(to.0, allow))
    }
}

/// The text with U+FFFD in the place of each NUL: a `Str` holds none.
fn without_nul(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}
