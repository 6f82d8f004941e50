//! The border against hosts that are older or newer than this library, or send what it does not know.

use std::time::Duration;
use std::{
    cell::{Cell, RefCell},
    ffi::c_void,
    mem::{self, offset_of},
    ptr,
};

use crate::{
    abi::{self, Status, Str},
    border::{read, runtime},
    error::rule::Rule,
    prelude::*,
};

/// A handler that answers with what it can find out about its connection.
struct Asker(u64);

impl Handler for Asker {
    type Session = Asker;

    fn new(config: Config<'_>) -> crate::Result<Self> {
        assert_eq!(config.name(), "asker");
        assert_eq!(config.json(), "{}");
        Ok(Asker(0))
    }

    fn open(&self, conn: &mut Conn, request: &Request<'_>) -> Result<Asker> {
        assert_eq!(request.path(), "/asker");
        assert_eq!(request.headers().count(), 0);
        assert_eq!(request.tls_client_cert(), None);
        LIVING.set(LIVING.get() + 1);
        Ok(Asker(conn.id()))
    }
}

impl Session for Asker {
    fn on_message(&mut self, conn: &mut Conn, message: Message<'_>) -> Result {
        let length = message.as_bytes().len();
        let (id, protocol, buffered) = (self.0, conn.protocol().to_owned(), conn.buffered());
        conn.send(format!("{id} `{protocol}` {buffered} {length}"))?;
        conn.send_with(Kind::Binary, 1, |_| Ok(()))?;
        for refused in [
            conn.ping(b""),
            conn.timer(1, Duration::ZERO),
            conn.publish("topic", "x").map(drop),
            crate::spawn(|_| {}),
        ] {
            let unsupported = Rule::unknown().or_unsupported();
            assert_eq!(refused, Err(crate::Refused::Unsupported(unsupported)));
        }
        crate::info!("heard");
        Ok(())
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if self.0 != 0 {
            LIVING.set(LIVING.get() - 1);
        }
    }
}

thread_local! {
    /// How many sessions live.
    static LIVING: Cell<usize> = const { Cell::new(0) };
    static SENT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The host's `check`: here every Conn is that of the running callback.
unsafe extern "C" fn check(_: *const abi::Conn) -> Status {
    abi::OK
}

/// The host's `send`: the only other function of this oldest host.
unsafe extern "C" fn send(_: *mut abi::Conn, _: u32, ptr: *const u8, len: usize) -> i64 {
    // SAFETY: what the library lends for the call.
    let bytes = unsafe { read::bytes(ptr, len) };
    SENT.with_borrow_mut(|sent| sent.push(String::from_utf8_lossy(bytes).into_owned()));
    0
}

const NOTHING: Str = Str {
    ptr: ptr::null(),
    len: 0,
};

/// A table that ends at `end`. The bytes behind it are nonsense, which a reader must not take for fields.
fn cut<T: read::AbiTable>(mut table: T, end: usize) -> T {
    let start = (&raw mut table).cast::<u8>();
    // SAFETY: the write stays within the table. Its fields are integers and pointers, and the size says that those behind
    // `end` are absent.
    unsafe {
        start.add(end).write_bytes(0xa5, size_of::<T>() - end);
        start.cast::<u32>().write(end as u32);
    }
    table
}

fn host() -> abi::Host {
    // SAFETY: zero is a value of each of its fields.
    let mut host: abi::Host = unsafe { mem::zeroed() };
    host.check = Some(check);
    host.send = Some(send);
    cut(host, offset_of!(abi::Host, reserve))
}

/// Calls `init` like a host whose `Instance` has `size` bytes.
fn init(host: &abi::Host, size: usize) -> (Status, abi::Instance) {
    let descriptor = crate::descriptor!(Asker);
    let about = abi::Init {
        size: size_of::<abi::Init>() as u32,
        flags: 0,
        generation: 1,
        config_json: NOTHING,
        name: read::lend(b"asker"),
    };
    let mut instance = abi::Instance {
        size: size as u32,
        flags: 0,
        handler: ptr::null_mut(),
        vtable: ptr::null(),
    };
    runtime::enter_test(None, Duration::ZERO);
    let init = descriptor.init.unwrap();
    // SAFETY: three tables that outlive the call.
    let status = unsafe { init(host, &raw const about, &raw mut instance) };
    (status, instance)
}

fn request() -> abi::Request {
    // SAFETY: zero is a value of each of its fields.
    let mut request: abi::Request = unsafe { mem::zeroed() };
    request.path = read::lend(b"/asker");
    cut(request, offset_of!(abi::Request, query))
}

fn conn(protocol: &'static str, end: usize) -> abi::Conn {
    let conn = abi::Conn {
        size: 0,
        flags: 0,
        id: 7,
        buffered: 99,
        protocol: read::lend(protocol.as_bytes()),
    };
    cut(conn, end)
}

/// A handler of an old host, with a session open on `conn`.
fn open(conn: &mut abi::Conn) -> (*mut c_void, abi::Vtable, *mut c_void) {
    let (status, instance) = init(&host(), size_of::<abi::Instance>());
    assert_eq!(status, abi::OK);
    // SAFETY: `init` said OK.
    let vtable = unsafe { read::copy(instance.vtable) };
    let (request, mut session) = (request(), ptr::null_mut());
    // SAFETY: the handler's own function with its handler.
    let status = unsafe {
        (vtable.open.unwrap())(
            instance.handler,
            conn,
            &raw const request,
            ptr::null_mut(),
            &raw mut session,
        )
    };
    assert_eq!(status, abi::OK);
    (instance.handler, vtable, session)
}

fn close(handler: *mut c_void, vtable: &abi::Vtable, session: *mut c_void) {
    // SAFETY: each once, in this order.
    unsafe {
        (vtable.destroy.unwrap())(session);
        (vtable.shutdown.unwrap())(handler);
    }
}

#[test]
fn a_host_that_has_less_than_this_library_is_enough() {
    let mut conn = conn("chat", offset_of!(abi::Conn, buffered));
    let (handler, vtable, session) = open(&mut conn);

    // SAFETY: the session's own callback; a pointer with length 0 may be NULL.
    let status =
        unsafe { (vtable.message.unwrap())(session, &raw mut conn, abi::TEXT, ptr::null(), 0) };

    assert_eq!(status, abi::OK);
    // This host has no `reserve`, so what was written in place came through `send`.
    assert_eq!(SENT.take(), ["7 `` 0 0", ""]);
    assert_eq!(LIVING.get(), 1);
    close(handler, &vtable, session);
    assert_eq!(LIVING.get(), 0);
}

#[test]
fn a_host_that_has_more_changes_nothing() {
    /// A table of a later minor.
    #[repr(C)]
    struct Newer {
        conn: abi::Conn,
        more: [u8; 32],
    }
    let mut newer = Newer {
        conn: conn("chat", size_of::<abi::Conn>()),
        more: [0xa5; 32],
    };
    newer.conn.size = size_of::<Newer>() as u32;
    let pointer: *mut Newer = &raw mut newer;
    // SAFETY: `newer` is one table, and begins with what this library knows.
    let (handler, vtable, session) = open(unsafe { &mut *pointer.cast::<abi::Conn>() });

    // SAFETY: the session's own callback.
    let status = unsafe {
        (vtable.message.unwrap())(session, pointer.cast(), abi::BINARY, b"abc".as_ptr(), 3)
    };

    assert_eq!(status, abi::OK);
    assert_eq!(SENT.take(), ["7 `chat` 99 3", ""]);
    close(handler, &vtable, session);
    assert_eq!(newer.more, [0xa5; 32]);
}

#[test]
fn a_kind_that_is_not_known_is_not_taken_for_another() {
    let mut conn = conn("", size_of::<abi::Conn>());
    let (handler, vtable, session) = open(&mut conn);
    let mut kind = |kind: u32| {
        // SAFETY: the session's own callback.
        unsafe { (vtable.message.unwrap())(session, &raw mut conn, kind, b"x".as_ptr(), 1) }
    };

    for unknown in [0, 3, 8, abi::TEXT | abi::MORE, abi::TEXT | 1 << 11, 1 << 31] {
        assert_eq!(kind(unknown), abi::UNSUPPORTED, "{unknown:#x}");
    }
    assert!(SENT.take().is_empty());
    assert_eq!(kind(abi::BINARY | abi::NO_COMPRESS), abi::OK);
    assert_eq!(kind(abi::TEXT | abi::TRUSTED_UTF8), abi::OK);

    close(handler, &vtable, session);
}

#[test]
fn nothing_is_written_past_the_end_of_the_hosts_instance() {
    let (status, instance) = init(&host(), offset_of!(abi::Instance, vtable));

    assert_eq!(status, abi::INVALID);
    assert!(instance.handler.is_null() && instance.vtable.is_null());
}
