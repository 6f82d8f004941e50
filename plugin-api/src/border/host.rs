//! The host's table, copied once, as functions that are safe to call.
//!
//! A function that the host does not have answers [`UNSUPPORTED`](abi::UNSUPPORTED).

use std::{
    ffi::c_void,
    fmt::{self, Display},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    abi::{self, Status},
    border::{guard::guard_void, read},
};

/// A copy of [`abi::Host`], NULL where the host is older than this library.
#[derive(Debug)]
pub(crate) struct HostFunctions(abi::Host);

// SAFETY: `ctx` and `log_level` live as long as the process, and the host takes calls from any
// thread; the functions for one session compare the thread and answer MISUSE.
unsafe impl Send for HostFunctions {}
// SAFETY: as above.
unsafe impl Sync for HostFunctions {}

/// What a callback was given for its session, or NULL. The host compares it with what is lent to the
/// callback that runs on the thread of the call, before it reads what lies behind it; here it is not read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnPtr(*mut abi::Conn);

impl ConnPtr {
    /// Any pointer: the host says whether it means something.
    #[inline]
    pub(crate) fn new(conn: *mut abi::Conn) -> Self {
        ConnPtr(conn)
    }

    #[inline]
    pub(super) fn get(self) -> *mut abi::Conn {
        self.0
    }
}

/// The host's `send`, or what answers [`UNSUPPORTED`](abi::UNSUPPORTED) in its place.
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

/// The answer to a handshake. The host compares it with what is lent to the `handshake` that runs on
/// the thread of the call.
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

/// Calls a function of the table, or answers that it is not there.
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

    /// What the host says of the session now; none unless its callback runs on this thread.
    pub(crate) fn table(&self, conn: ConnPtr) -> Option<abi::Conn> {
        // SAFETY: the host says that the callback runs on this thread, so the table is there until we
        // return to it.
        self.is_lent(conn)
            .then(|| unsafe { read::copy(conn.get()) })
    }

    /// Whether the session's callback runs on this thread.
    pub(crate) fn is_lent(&self, conn: ConnPtr) -> bool {
        let status: Status = call!(self.check(conn.get()));
        status == abi::OK
    }

    /// `send`, for sessions to keep: nearly every message calls it.
    pub(crate) fn send(&self) -> SendFn {
        unsafe extern "C" fn unsupported(_: *mut abi::Conn, _: u32, _: *const u8, _: usize) -> i64 {
            abi::UNSUPPORTED.into()
        }
        SendFn(self.0.send.unwrap_or(unsupported))
    }

    /// Room for `max` bytes, uninitialised; dangling as soon as anything else is called with `conn`.
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

    pub(crate) fn wake(&self, id: u64) -> Status {
        call!(self.wake(self.0.ctx, id))
    }

    pub(crate) fn wake_after(&self, id: u64, ms: u64) -> Status {
        call!(self.wake_after(self.0.ctx, id, ms))
    }

    pub(crate) fn notify(&self, id: u64, note: u64) -> Status {
        call!(self.notify(self.0.ctx, id, note))
    }

    /// A thread of the host's; what `job` panics with stays on it.
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
            // SAFETY: unless OK, `arg` is still ours, and it is the box above.
            drop(unsafe { Box::from_raw(arg.cast::<Box<dyn FnOnce() + Send>>()) });
        }
        status
    }

    pub(crate) fn fail(&self, why: &str) {
        let _: Status = call!(self.fail(self.0.ctx, read::lend(why.as_bytes())));
    }

    /// Whether a line of this level would be kept: one load, besides the branch.
    #[inline]
    pub(crate) fn logs(&self, level: u32) -> bool {
        if self.0.log_level.is_null() {
            return level <= abi::LOG_INFO;
        }
        // SAFETY: the host's promise: it lives as long as the process and is an atomic.
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
                // 0: the host knows whose callback runs here.
                crate::log::session(),
                level,
                target,
                message,
                pairs.as_ptr(),
                pairs.len(),
            )
        };
    }

    /// This handler in this generation, as the host knows it.
    pub(super) fn ctx(&self) -> *mut c_void {
        self.0.ctx
    }

    /// An optional table by its id; NULL where the host has none for this handler.
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

/// A `Str` holds no NUL.
fn without_nul(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text
    }
}
