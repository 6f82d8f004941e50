//! The callbacks that begin a session: `handshake`, `abandon`, `open` and `restore`.

use std::{ffi::c_void, ptr, sync::Arc};

use super::{failed, root};
use crate::{
    abi::{self, Status},
    border::{
        guard::{guard, guard_void},
        host::ResponsePtr,
        host_session::{HostSession, MoveScope},
        read::{self, PairRef, TextRef},
    },
    handshake::{pending::PendingHandshake, request::Request, response::Response},
    styles::adapter::{self, HandlerAdapter},
};

/// # Safety
/// The request, and all that it points to, can be read for `'a` and does not move.
unsafe fn request<'a>(request: *const abi::Request) -> Request<'a> {
    // SAFETY: the caller's promise.
    let table = unsafe { read::copy(request) };
    // SAFETY: the caller's promise. By the ABI, each `Str` is UTF-8 and so is the name of each pair. `PairRef` and `TextRef`
    // have the layout of `Pair` and `Str`.
    unsafe {
        Request {
            flags: table.flags,
            id: table.id,
            target: read::bytes(table.target.ptr, table.target.len),
            path: read::text(table.path),
            query: read::bytes(table.query.ptr, table.query.len),
            host: read::text(table.host),
            origin: read::text(table.origin),
            remote_addr: read::text(table.remote_addr),
            client_addr: read::text(table.client_addr),
            user: read::text(table.user),
            headers: read::list(table.headers.cast::<PairRef<'a>>(), table.n_headers),
            cookies: read::list(table.cookies.cast::<PairRef<'a>>(), table.n_cookies),
            protocols: read::list(table.protocols.cast::<TextRef<'a>>(), table.n_protocols),
            params: read::list(table.params.cast::<PairRef<'a>>(), table.n_params),
            tls_version: read::text(table.tls_version),
            tls_sni: read::text(table.tls_sni),
            tls_client_cert: read::bytes(table.tls_client_cert.ptr, table.tls_client_cert.len),
            attached: Default::default(),
            decoded: Default::default(),
            alarm: Default::default(),
        }
    }
}

pub(super) unsafe extern "C" fn handshake<E: HandlerAdapter>(
    handler: *mut c_void,
    request_table: *const abi::Request,
    response: *mut abi::Response,
    attempt: *mut *mut c_void,
) -> Status {
    guard(|| {
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        let response = ResponsePtr::new(response);
        let mut response = Response::new(&root.runtime.host, response);
        // SAFETY: the host's cell for the pending handshake, NULL at the first call.
        let left = unsafe { attempt.read() };
        // SAFETY: the callback's own argument.
        let request = unsafe { request(request_table) };
        let offered = request.protocols;
        let mut own = if left.is_null() {
            let answer = match root.adapter.handshake(&request, &mut response) {
                Ok(answer) => answer,
                Err(error) => return failed(&error),
            };
            PendingHandshake::new(root.runtime, request.id, request.attached, answer)
        } else {
            // SAFETY: an earlier call left it, and the host makes one call at a time.
            unsafe { Box::from_raw(left.cast::<PendingHandshake>()) }
        };
        // The cell is NULL while the answer is worked out: a panic drops the pending handshake.
        // SAFETY: the host's cell.
        unsafe { attempt.write(ptr::null_mut()) };
        let status = own.answer(&mut response, offered);
        if own.is_worth_keeping(status) {
            // SAFETY: the host's cell.
            unsafe { attempt.write(Box::into_raw(own).cast()) };
        }
        status
    })
}

pub(super) unsafe extern "C" fn abandon(_handler: *mut c_void, attempt: *mut c_void) {
    guard_void(|| {
        if !attempt.is_null() {
            // SAFETY: `handshake` left it, and the host passes it on once.
            drop(unsafe { Box::from_raw(attempt.cast::<PendingHandshake>()) });
        }
    });
}

pub(super) unsafe extern "C" fn open<E: HandlerAdapter>(
    handler: *mut c_void,
    conn: *mut abi::Conn,
    request_table: *const abi::Request,
    attempt: *mut c_void,
    session: *mut *mut c_void,
) -> Status {
    let mut made = None;
    let status = guard(|| {
        // SAFETY: `handshake` left it, and the host passes it on once.
        let attempt = (!attempt.is_null())
            .then(|| unsafe { Box::from_raw(attempt.cast::<PendingHandshake>()) });
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        // SAFETY: the callback's own argument.
        let mut request = unsafe { request(request_table) };
        request.attached = attempt.map(|attempt| attempt.attached).unwrap_or_default();
        // SAFETY: the callback's own argument.
        let host_session = Arc::new(unsafe { HostSession::new(root.runtime, conn, false) });
        let _inside = host_session.enter(conn);
        match root.adapter.open(Arc::clone(&host_session), request) {
            Ok((adapter, status)) => {
                made = Some(Box::new(adapter));
                status
            }
            Err(error) => adapter::fail(&host_session, &error),
        }
    });
    // SAFETY: the host's cell for the session.
    unsafe { hand_over(made, status, session) }
}

pub(super) unsafe extern "C" fn restore<E: HandlerAdapter>(
    handler: *mut c_void,
    conn: *mut abi::Conn,
    schema: u32,
    state: *const u8,
    len: usize,
    session: *mut *mut c_void,
) -> Status {
    let mut made = None;
    let status = guard(|| {
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        // SAFETY: the callback's own argument. The session is not entered: `restore` may not use its Conn.
        let host_session = Arc::new(unsafe { HostSession::new(root.runtime, conn, true) });
        // SAFETY: the callback's own argument.
        let state = unsafe { read::bytes(state, len) };
        let _moving = MoveScope::restore(host_session.id);
        match root.adapter.restore(host_session, schema, state) {
            Ok(adapter) => {
                made = Some(Box::new(adapter));
                abi::OK
            }
            Err(error) => failed(&error),
        }
    });
    // SAFETY: the host's cell for the session.
    unsafe { hand_over(made, status, session) }
}

/// Gives the host the session that `open` or `restore` made. By the ABI, one that failed leaves no session.
///
/// # Safety
/// The cell can be written.
unsafe fn hand_over<S>(made: Option<Box<S>>, status: Status, cell: *mut *mut c_void) -> Status {
    if status < 0 {
        guard_void(|| drop(made));
        return status;
    }
    let made = made.map_or(ptr::null_mut(), Box::into_raw);
    // SAFETY: the caller's promise.
    unsafe { cell.write(made.cast()) };
    status
}
