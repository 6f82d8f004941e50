//! One loaded image, like in a server and unlike in `wsh::test`. An image is initialised once per process, so this file
//! has one test.
#![allow(unsafe_code)] // it plays a server

#[path = "host/init.rs"]
mod init;

use std::{mem, ptr, sync::Mutex};

use wsh::{
    abi::{self, Pair, Str},
    prelude::*,
};

use crate::init::init;

#[derive(Default)]
struct Faulty;

impl Session for Faulty {
    fn on_message(&mut self, _: &mut Conn, message: Message) -> Result {
        match message.as_text() {
            Some("text") => panic!("what a {}", "pity"),
            Some("number") => std::panic::panic_any(7),
            _ => {}
        }
        Ok(())
    }
}

static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

unsafe extern "C" fn log(
    _: *mut std::ffi::c_void,
    _: u64,
    level: u32,
    target: Str,
    message: Str,
    fields: *const Pair,
    n_fields: usize,
) {
    // SAFETY: the library lends the bytes for the call.
    let line = unsafe {
        assert_eq!(n_fields, 1);
        let field = &*fields;
        format!(
            "{level} {} {} {}={}",
            text(target),
            text(message),
            text(field.name),
            text(field.value)
        )
    };
    LOG.lock().unwrap().push(line);
}

/// # Safety
/// The text can be read.
unsafe fn text(text: Str) -> String {
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(text.ptr, text.len) };
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_image_serves_one_generation_and_its_panics_are_lines_of_the_log() {
    // SAFETY: zero is a value of each of its fields.
    let mut host: abi::Host = unsafe { mem::zeroed() };
    host.size = size_of::<abi::Host>() as u32;
    host.log = Some(log);
    let host = Box::leak(Box::new(host));

    let (status, instance) = init(&wsh::descriptor!(Faulty), host);
    assert_eq!(status, abi::OK);
    let (again, nothing) = init(&wsh::descriptor!(Faulty), host);
    assert_eq!(again, abi::MISUSE);
    assert!(nothing.handler.is_null());

    // SAFETY: `init` answered OK. These are the handler's functions, called in the order of the ABI.
    unsafe {
        let vtable = &*instance.vtable;
        let mut conn = abi::Conn {
            size: size_of::<abi::Conn>() as u32,
            flags: 0,
            id: 1,
            buffered: 0,
            protocol: mem::zeroed(),
        };
        let mut request: abi::Request = mem::zeroed();
        request.size = size_of::<abi::Request>() as u32;
        let mut session = ptr::null_mut();
        let (handler, attempt) = (instance.handler, ptr::null_mut());
        let opened = (vtable.open.unwrap())(
            handler,
            &raw mut conn,
            &raw const request,
            attempt,
            &raw mut session,
        );
        assert_eq!(opened, abi::OK);
        let mut message = |text: &str| {
            let (ptr, len) = (text.as_ptr(), text.len());
            (vtable.message.unwrap())(session, &raw mut conn, abi::TEXT, ptr, len)
        };
        assert_eq!(message("text"), abi::PANIC);
        assert_eq!(message("number"), abi::PANIC);
        assert_eq!(message("nothing"), abi::OK);
        (vtable.destroy.unwrap())(session);
        (vtable.shutdown.unwrap())(handler);
    }
    let log = LOG.lock().unwrap();
    // Line and column depend on the source of the panic.
    let place = |line: &str| line.split_inclusive("image.rs:").next().unwrap().to_owned();
    let lines: Vec<String> = log.iter().map(|line| place(line)).collect();
    let file = place(concat!(file!(), ":"));
    let wanted = [
        format!("1 panic what a pity place={file}"),
        format!("1 panic panic with a payload that is no text place={file}"),
    ];
    assert_eq!(lines, wanted);
}
