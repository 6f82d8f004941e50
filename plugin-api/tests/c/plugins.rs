//! Plugins that were compiled by `cc`, driven by `wsh::test`.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use wsh::{MessageBuf, abi, abi::Descriptor, test::Client};

use crate::compiler::{self, C99, CPP11, Language};

#[test]
fn the_echo_handler_in_c_does_what_the_one_in_rust_does() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../handlers/c/cecho.c");
    let library = build(C99, &source, "cecho_wsh.so");
    let handler = load(&library);
    let mut client = wsh::test::connect(handler);

    client.send("grüße");
    client.send(b"Goodbye");
    client.send("Goodbye ");
    client.send("Goodbye");

    assert_eq!(client.receive().unwrap(), "grüße");
    let binary = MessageBuf::Binary(b"Goodbye".to_vec());
    assert_eq!(client.receive().unwrap(), binary);
    assert_eq!(client.receive().unwrap(), "Goodbye ");
    assert_eq!(client.receive().unwrap(), "Goodbye");
    assert_eq!(client.receive(), None);
    assert_eq!(client.closed().unwrap().to_string(), "1000");
    assert_eq!(padded(&handler.name), "cecho");
    assert_eq!(padded(&handler.version), "1.0");
    assert_ne!(padded(&handler.toolchain), "");
    assert_eq!(
        padded(&handler.description),
        "Sends every message back, in C"
    );
    assert_head_is_readable_from(&library, handler);
}

#[test]
fn a_plugin_in_c_can_ask_for_everything_and_hears_every_answer() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/every.c");
    let server = wsh::test::serve(load(&build(C99, &source, "every_asks_wsh.so")));
    server.set_history("t", 0, Duration::MAX);
    let mut client = server.connect();
    assert_eq!(client.receive().unwrap(), "open 0");

    client.send("asks");

    let said: Vec<String> = std::iter::from_fn(|| client.receive())
        .map(|message| message.to_string())
        .collect();
    let wanted = [
        "subscribe_from 0",
        "subscribe_from again -6",
        "enter 0",
        "publish_acked 0",
        "history 0",
        "history of nothing -6",
        "history of others -5",
        "present 0",
        "store_put 0",
        "store_put again 0",
        "store_get 0",
        "store_list 0",
        "store_delete 0",
        "leave 0",
        // The handler makes its own form of publications, so the session joins when it is called for that.
        "answer 2: 0, flags 0, version 1, 0 items, position 0, last ",
        "answer 3: 0, flags 0, version 0, 0 items, position 1, last ",
        "answer 4: 0, flags 1, version 0, 1 items, position 1, last hi",
        "answer 5: 0, flags 0, version 1, 1 items, position 0, last ann",
        "answer 6: 0, flags 0, version 1, 0 items, position 0, last ",
        "answer 7: -9, flags 0, version 1, 0 items, position 0, last ",
        "answer 8: 0, flags 0, version 1, 1 items, position 0, last keyvalue",
        "answer 10: 0, flags 0, version 2, 0 items, position 0, last ",
        "answer 1: 0, flags 1, version 0, 0 items, position 1, last ",
        "1 1 ann",
        "form of hi",
        "2 2 ann",
    ];
    assert_eq!(said, wanted);
    let answered = "answer 9: 0, flags 0, version 0, 1 items, position 0, last keyvalue";
    assert!(server.log().iter().any(|line| line.message == answered));
}

#[test]
fn a_plugin_in_c_can_call_everything_and_be_called_everywhere() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/every.c");
    let library = build(C99, &source, "every_wsh.so");
    let handler = load(&library);
    let server = wsh::test::serve(handler);
    server.set_history("*", 0, Duration::MAX);

    let request = server.request("/?left").header("x-token", "secret");
    let mut client = request.protocol("chat").connect();
    assert_eq!(client.protocol(), "chat");
    assert_eq!(client.header("X-Token"), Some(&b"secret"[..]));
    assert_eq!(client.receive().unwrap(), "open with attempt 4");
    client.send("everything");
    let thread = std::iter::from_fn(|| client.receive());
    let said: Vec<String> = thread.map(|message| message.to_string()).collect();
    let (mut by_thread, said): (Vec<_>, Vec<_>) = said
        .iter()
        .map(String::as_str)
        .partition(|line| *line == "by thread");
    assert_eq!(by_thread.pop(), Some("by thread"));
    let wanted = [
        "check 0",
        "check nothing -7",
        "\u{fffd}\0",
        "send 27",
        "send nowhere -7",
        "send an opcode -6",
        "send a bit -5",
        "send not text -6",
        "in parts",
        "commit -6",
        "room",
        "commit too late -6",
        "ping 0",
        "close -6",
        "close wide -6",
        "timer 0",
        "reads 0",
        "reads 2 -6",
        "watermark -6",
        "subscribe 0",
        "subscribe 2 -6",
        "subscribe to NUL -6",
        "publish 0",
        "publish 1",
        "send_to 0",
        "send_to nobody -3",
        "close_to nobody -3",
        "wake 0",
        "notify 0",
        "notify nobody -3",
        "wake_after 0",
        "wake_after nobody -3",
        "extension 0",
        "spawn 0",
        "",
        "",
        "on note 8",
        "on wake 0",
        "on pong 0",
        "on pong 255",
    ];
    // The number of buffered bytes depends on the lines before.
    let said: Vec<_> = said
        .into_iter()
        .map(|line| match line.split_once(' ') {
            Some(("send", bytes)) if bytes.parse::<u64>().is_ok() => "send 27",
            Some(("send_to", answer)) if answer != "nobody -3" => "send_to 0",
            _ => line,
        })
        .collect();
    assert_eq!(said, wanted);
    assert!(
        server
            .log()
            .iter()
            .any(|line| line.to_string() == "WARN target: line name=value")
    );

    client.ping(b"\x07");
    client.advance(Duration::from_secs(1));
    client.stall();
    client.send(vec![0; 100]);
    client.resume();
    assert_eq!(client.receive().unwrap(), "on ping 7");
    assert_eq!(client.receive().unwrap(), "on wake 0");
    assert_eq!(client.receive().unwrap(), "on timer 7");
    assert_eq!(client.receive().unwrap().as_bytes().len(), 100);
    assert_eq!(client.receive().unwrap(), "on drain 0");

    client.send("x");
    assert!(client.migrate());
    client.send("x");
    assert_eq!(client.receive().unwrap(), "seen 1");
    assert_eq!(client.receive().unwrap(), "on wake, restored 0");
    assert_eq!(client.receive().unwrap(), "seen 2");

    let refusal = server.request("/no").try_connect().unwrap_err();
    assert_eq!(refusal.to_string(), "418 no");
    assert_eq!(refusal.headers, [("X-Why".to_owned(), b"because".to_vec())]);
    assert_eq!(
        server.request("/full").connect().closed().unwrap().code,
        1011
    );
    let end = |end: &dyn Fn(&mut Client)| {
        let mut client = server.connect();
        end(&mut client);
        client.closed().unwrap().to_string()
    };
    assert_eq!(end(&|client| client.send("done")), "1000");
    assert_eq!(end(&|client| client.send("abort")), "1006");
    assert_eq!(end(&|client| client.close(3000, "")), "3000");
    assert_eq!(end(&|client| client.close(3000, "why")), "3001 because");
    drop(server.request("/?left").begin());
    let log = server.log();
    drop((client, server));

    let told: Vec<String> = log.into_iter().map(|line| line.message).collect();
    let wanted = [
        "serving",
        "line",
        "serving",
        // Both generations are one image here, which knows the newer table only.
        "superseded",
        "shutdown",
        "no room",
        "closed 1000, then -3",
        "closed 1006, then -3",
        "closed 3000, then -3",
        "closed 3000, then -3",
        "abandoned",
    ];
    assert_eq!(told, wanted);
    assert_eq!(handler.flags, abi::MIGRATES);
    assert_eq!((handler.state_schema, handler.state_schema_min), (2, 1));
    assert_head_is_readable_from(&library, handler);
}

#[test]
fn a_plugin_in_cpp_exports_its_descriptor_though_all_else_is_hidden() {
    let source = compiler::scratch("hidden.cpp");
    let text = "#include <wsh.h>\n\
        static WshStatus init(const WshHost *host, const WshInit *, WshInstance *) {\n\
            return host->fail(host->ctx, wsh_str(\"not today\"));\n\
        }\n\
        WSH_DEFINE(\"hidden\", \"1.0\", init);\n";
    std::fs::write(&source, text).unwrap();
    let library = build(CPP11, &source, "hidden_wsh.so");

    let error = wsh::test::load(load(&library), "{}").unwrap_err();

    assert_eq!(error, "not today");
}

/// Builds a plugin with the command of the documentation, and hides every symbol that is not exported.
fn build(language: Language, source: &Path, name: &str) -> PathBuf {
    let library = compiler::scratch(name);
    let flags = ["-shared", "-fPIC", "-O2", "-fvisibility=hidden"];
    compiler::compile(language, source, &library, &flags);
    library
}

/// The server reads the head of the descriptor from the file, where its bytes must be those in memory.
fn assert_head_is_readable_from(library: &Path, handler: &Descriptor) {
    const HEAD: usize = std::mem::offset_of!(Descriptor, init);
    let file = std::fs::read(library).unwrap();
    let found: Vec<&[u8]> = file
        .windows(HEAD)
        .filter(|window| window.starts_with(&abi::MAGIC))
        .collect();
    let [head] = found[..] else {
        panic!("{} heads in {}", found.len(), library.display());
    };

    let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap()).to_le();
    assert_eq!(word(8), handler.abi_major);
    assert_eq!(word(12), handler.abi_minor);
    assert_eq!(word(16), handler.min_host_minor);
    assert_eq!(word(20) as usize, size_of::<Descriptor>());
    assert_eq!(word(24), handler.flags);
    assert_eq!(word(36), 0);
    assert_eq!(head[40..104], handler.name);
    assert_eq!(head[104..136], handler.version);
    assert_eq!(head[136..200], handler.toolchain);
    let at = file.windows(HEAD).position(|window| window == head);
    let description = &file[at.unwrap() + std::mem::offset_of!(Descriptor, description)..];
    assert!(description.starts_with(&handler.description));
}

fn padded(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap().trim_end_matches('\0')
}

/// The descriptor of a plugin, which stays mapped.
#[allow(unsafe_code)] // what the server does with `libloading`
fn load(library: &Path) -> &'static Descriptor {
    unsafe extern "C" {
        fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(library: *mut c_void, name: *const c_char) -> *const Descriptor;
    }
    const RTLD_NOW: c_int = 2;
    let path = CString::new(library.as_os_str().as_bytes()).unwrap();
    let symbol = CString::new(abi::SYMBOL).unwrap();
    // SAFETY: a path and a name that end with NUL. The library is never closed, and its symbol of this name is a descriptor.
    unsafe {
        let library = dlopen(path.as_ptr(), RTLD_NOW);
        assert!(!library.is_null(), "{path:?} cannot be opened");
        dlsym(library, symbol.as_ptr())
            .as_ref()
            .expect("it exports a descriptor")
    }
}
