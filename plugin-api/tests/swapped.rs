//! Safe code swaps the connections of two sessions, and one of the sessions ends. No pointer of the ended session may be
//! followed. A host of this file's own checks every pointer that comes back. The test runs under Miri.
#![allow(unsafe_code)] // it plays a server

#[path = "swapped/handlers.rs"]
mod handlers;
#[path = "host/init.rs"]
mod init;

use std::{
    cell::{Cell, RefCell},
    ffi::c_void,
    mem, ptr,
    sync::OnceLock,
};

use wsh::abi::{self, Status, Str, Vtable};

/// The Conns of the callbacks on this thread, the innermost last; how many other pointers than these and NULL came back;
/// and which messages arrived at which session.
#[derive(Default)]
struct Seen {
    lent: RefCell<Vec<*mut abi::Conn>>,
    stale: Cell<usize>,
    sent: RefCell<Vec<(u64, String)>>,
    over: RefCell<Vec<u64>>,
}

thread_local! {
    static SEEN: Seen = Seen::default();
    /// The work that this thread does while a callback waits.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Lets the thread of a callback do other work, like `rayon::yield_now`.
fn meanwhile() {
    if let Some(work) = MEANWHILE.take() {
        work();
    }
}

/// The host's `check`: whether a pointer is the Conn of the running callback. Nothing behind another pointer is read.
fn lent(conn: *const abi::Conn) -> Status {
    SEEN.with(|seen| {
        let lent = seen.lent.borrow();
        if lent.last().is_some_and(|lent| ptr::eq(*lent, conn)) {
            return abi::OK;
        }
        // The Conn of an outer callback exists, but must not be used here either.
        if !conn.is_null() && !lent.iter().any(|lent| ptr::eq(*lent, conn)) {
            seen.stale.set(seen.stale.get() + 1);
        }
        abi::MISUSE
    })
}

unsafe extern "C" fn check(conn: *const abi::Conn) -> Status {
    lent(conn)
}

unsafe extern "C" fn send(conn: *mut abi::Conn, _: u32, ptr: *const u8, len: usize) -> i64 {
    match lent(conn) {
        // SAFETY: this is the Conn of the running callback, and the library lends the bytes.
        abi::OK => unsafe { arrive((*conn).id, ptr, len) },
        status => status.into(),
    }
}

unsafe extern "C" fn send_to(_: *mut c_void, id: u64, _: u32, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: the library lends the bytes.
    unsafe { arrive(id, ptr, len) }
}

/// # Safety
/// `len` bytes at `ptr` can be read.
unsafe fn arrive(id: u64, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: the caller's promise.
    let text = unsafe { std::slice::from_raw_parts(ptr, len) };
    SEEN.with(|seen| {
        if seen.over.borrow().contains(&id) {
            return abi::GONE.into();
        }
        let text = String::from_utf8_lossy(text).into_owned();
        seen.sent.borrow_mut().push((id, text));
        0
    })
}

unsafe extern "C" fn ping(conn: *mut abi::Conn, _: *const u8, _: usize) -> Status {
    lent(conn)
}

unsafe extern "C" fn wake(_: *mut c_void, _: u64) -> Status {
    abi::OK
}

/// The host's `log`: the library logs panics, also those of this file.
unsafe extern "C" fn log(
    _: *mut c_void,
    _: u64,
    _: u32,
    _: Str,
    message: Str,
    _: *const abi::Pair,
    _: usize,
) {
    // SAFETY: the library lends the text.
    let text = unsafe { std::slice::from_raw_parts(message.ptr, message.len) };
    eprintln!("{}", String::from_utf8_lossy(text));
}

/// The handler of this process. An image has one.
struct Loaded {
    handler: *mut c_void,
    vtable: Vtable,
}

// SAFETY: the library takes calls from any thread.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

fn load() -> &'static Loaded {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    LOADED.get_or_init(|| {
        // SAFETY: zero is a value of each of its fields.
        let mut host: abi::Host = unsafe { mem::zeroed() };
        host.size = size_of::<abi::Host>() as u32;
        host.check = Some(check);
        host.send = Some(send);
        host.send_to = Some(send_to);
        host.ping = Some(ping);
        host.wake = Some(wake);
        host.log = Some(log);
        let host: &'static abi::Host = Box::leak(Box::new(host));
        let (status, instance) = init::init(&handlers::DESCRIPTOR, host);
        assert_eq!(status, abi::OK);
        Loaded {
            handler: instance.handler,
            // SAFETY: `init` said OK.
            vtable: unsafe { *instance.vtable },
        }
    })
}

/// A session whose Conn has an address of its own, which is freed at the session's end.
struct Session {
    conn: *mut abi::Conn,
    session: *mut c_void,
    loaded: &'static Loaded,
}

impl Session {
    fn open(id: u64) -> Session {
        let loaded = load();
        let conn = Box::into_raw(Box::new(abi::Conn {
            size: size_of::<abi::Conn>() as u32,
            flags: 0,
            id,
            buffered: 0,
            // SAFETY: zero is a value of it.
            protocol: unsafe { mem::zeroed() },
        }));
        // SAFETY: as above.
        let mut request: abi::Request = unsafe { mem::zeroed() };
        request.size = size_of::<abi::Request>() as u32;
        let mut session = ptr::null_mut();
        let status = callback(conn, || {
            // SAFETY: the handler's own function with tables of ours.
            unsafe {
                (loaded.vtable.open.unwrap())(
                    loaded.handler,
                    conn,
                    &raw const request,
                    ptr::null_mut(),
                    &raw mut session,
                )
            }
        });
        assert_eq!(status, abi::OK);
        Session {
            conn,
            session,
            loaded,
        }
    }

    fn message(&self, text: &str) -> Status {
        let message = self.loaded.vtable.message.unwrap();
        let (ptr, len) = (text.as_ptr(), text.len());
        callback(self.conn, || {
            // SAFETY: the session's own callback; no other of it runs.
            unsafe { message(self.session, self.conn, abi::TEXT, ptr, len) }
        })
    }

    /// Calls `closed` and `destroy`, and frees the Conn.
    fn end(self) {
        // SAFETY: the Conn lives until the end of this function.
        let id = unsafe { (*self.conn).id };
        SEEN.with(|seen| seen.over.borrow_mut().push(id));
        let closed = self.loaded.vtable.closed.unwrap();
        // SAFETY: zero is a value of it.
        let reason = unsafe { mem::zeroed() };
        callback(self.conn, || {
            // SAFETY: the session's own callback; no other of it runs.
            unsafe { closed(self.session, self.conn, 1006, reason) }
        });
        // SAFETY: once, last.
        unsafe { (self.loaded.vtable.destroy.unwrap())(self.session) };
        // SAFETY: `open` boxed it, and no callback uses it any more.
        drop(unsafe { Box::from_raw(self.conn) });
    }
}

fn callback(conn: *mut abi::Conn, run: impl FnOnce() -> Status) -> Status {
    SEEN.with(|seen| seen.lent.borrow_mut().push(conn));
    let status = run();
    SEEN.with(|seen| seen.lent.borrow_mut().pop());
    status
}

/// The messages that arrived since the last call.
fn arrived() -> Vec<(u64, String)> {
    SEEN.with(|seen| seen.sent.take())
}

fn stale() -> usize {
    SEEN.with(|seen| seen.stale.get())
}

#[test]
fn a_connection_that_was_swapped_for_one_whose_session_ended_is_gone_and_not_followed() {
    let (first, second) = (Session::open(1), Session::open(2));
    MEANWHILE.set(Some(Box::new(move || {
        assert_eq!(second.message("swap"), abi::OK);
        second.end();
    })));

    assert_eq!(first.message("lend"), abi::OK);

    // The first session holds the connection of the second, which is over. Its own one ended with the second.
    assert_eq!(arrived(), [(1, "swapped 1".into())]);
    assert_eq!(stale(), 0);
    first.message("hello");
    assert_eq!(arrived(), []);
    first.end();
}

#[test]
fn each_of_two_swapped_connections_still_means_its_own_session() {
    let (first, second) = (Session::open(3), Session::open(4));
    MEANWHILE.set(Some(Box::new({
        let second = &raw const second;
        // SAFETY: it lives until the end of this test.
        move || assert_eq!(unsafe { &*second }.message("swap"), abi::OK)
    })));

    assert_eq!(first.message("lend"), abi::OK);
    assert_eq!(arrived(), [(3, "swapped 3".into()), (4, "lent 4".into())]);
    first.message("hello");
    second.message("hello");

    assert_eq!(arrived(), [(4, "hello 4".into()), (3, "hello 3".into())]);
    assert_eq!(stale(), 0);
    first.end();
    second.end();
}

#[test]
fn a_new_session_at_an_old_address_is_not_taken_for_the_old_one() {
    let (first, second) = (Session::open(5), Session::open(6));
    let third = Cell::new(None);
    MEANWHILE.set(Some(Box::new({
        let third = &raw const third;
        move || {
            second.message("swap");
            let place = second.conn;
            second.end();
            // The allocator usually returns the freed address.
            let opened: Vec<Session> = (7..40).map(Session::open).collect();
            for session in opened {
                if session.conn == place {
                    // The connection that the first session holds once had this address, which is a valid Conn again.
                    session.message("hello");
                }
                session.end();
            }
            // SAFETY: it lives until the end of this test.
            unsafe { &*third }.set(Some(()));
        }
    })));

    first.message("lend");

    assert!(third.get().is_some());
    assert!(
        arrived()
            .iter()
            .all(|(id, text)| text.ends_with(&format!(" {id}")))
    );
    assert_eq!(stale(), 0);
    first.end();
}
