//! The layout of the ABI, number by number, in Rust and in C.
//!
//! A number that has to change here is a break of the ABI. Only new lines may be added. A field that is appended to a table
//! needs no line before its release: it follows the fields in the list, and C is compared with Rust for every field.

use std::{fmt::Write, process::Command};

use crate::compiler::{self, C99, CPP11};

/// The ABI with its extensions.
mod abi {
    pub(crate) use wsh::abi::{answer::*, raw::*, *};
}

/// A table with its size and its fields, each with its offset.
type Table = (&'static str, usize, Vec<(&'static str, usize)>);

/// Table = size { field: offset }
macro_rules! tables {
    ($($table:ident = $size:literal { $($field:ident: $offset:literal),* })*) => {
        /// The tables as released plugins know them.
        fn released_tables() -> Vec<Table> {
            vec![$((stringify!($table), $size, vec![$((stringify!($field), $offset)),*])),*]
        }

        /// The tables in Rust, with every field.
        fn rust_tables() -> Vec<Table> {
            let table = |name, size, fields: &[_]| (name, size, fields.to_vec());
            vec![$(table(stringify!($table), size_of::<abi::$table>(), abi::$table::FIELDS)),*]
        }
    };
}

/// The minor and the layout of the tables in Rust, one number in a line.
fn rust_layout() -> String {
    let mut text = format!("ABI_MINOR {}\n", abi::ABI_MINOR);
    for (table, size, fields) in rust_tables() {
        writeln!(text, "{table} {size}").unwrap();
        for (field, offset) in fields {
            writeln!(text, "{table}.{field} {offset}").unwrap();
        }
    }
    text
}

/// The statements that print the minor and the layout of the tables in C, in the form of [`rust_layout`].
fn c_layout() -> String {
    let mut text = String::from("printf(\"ABI_MINOR %d\\n\", WSH_ABI_MINOR);\n");
    for (table, _, fields) in rust_tables() {
        writeln!(text, r#"printf("{table} %zu\n", sizeof(Wsh{table}));"#).unwrap();
        for (field, _) in fields {
            let offset = format!("offsetof(Wsh{table}, {field})");
            writeln!(text, r#"printf("{table}.{field} %zu\n", {offset});"#).unwrap();
        }
    }
    text
}

/// Constant = value
macro_rules! constants {
    ($($name:ident = $value:literal;)*) => {
        fn wanted_constants() -> String {
            let mut text = String::new();
            $(writeln!(text, "{} {}", stringify!($name), $value).unwrap();)*
            text
        }

        fn rust_constants() -> String {
            let mut text = String::new();
            $(writeln!(text, "{} {}", stringify!($name), abi::$name as i64).unwrap();)*
            text
        }

        fn c_constants() -> String {
            let mut text = String::new();
            $({
                let name = stringify!($name);
                writeln!(text, r#"printf("{name} %lld\n", (long long)WSH_{name});"#).unwrap();
            })*
            text
        }
    };
}

tables! {
    Str = 16 {
        ptr: 0, len: 8
    }
    Pair = 32 {
        name: 0, value: 16
    }
    Descriptor = 464 {
        magic: 0, abi_major: 8, abi_minor: 12, min_host_minor: 16, size: 20, flags: 24,
        state_schema: 28, state_schema_min: 32, reserved: 36, name: 40, version: 104,
        toolchain: 136, init: 200, description: 208
    }
    Init = 48 {
        size: 0, flags: 4, generation: 8, config_json: 16, name: 32
    }
    Instance = 24 {
        size: 0, flags: 4, handler: 8, vtable: 16
    }
    Conn = 40 {
        size: 0, flags: 4, id: 8, buffered: 16, protocol: 24
    }
    Request = 256 {
        size: 0, flags: 4, id: 8, target: 16, path: 32, query: 48, host: 64, origin: 80,
        remote_addr: 96, client_addr: 112, user: 128, headers: 144, n_headers: 152, cookies: 160,
        n_cookies: 168, protocols: 176, n_protocols: 184, params: 192, n_params: 200,
        tls_version: 208, tls_sni: 224, tls_client_cert: 240
    }
    Sink = 24 {
        size: 0, reserved: 4, ctx: 8, write: 16
    }
    Host = 224 {
        size: 0, abi_minor: 4, ctx: 8, log_level: 16, check: 24, send: 32, reserve: 40,
        commit: 48, ping: 56, close: 64, abort: 72, timer: 80, reads: 88, watermark: 96,
        subscribe: 104, send_to: 112, close_to: 120, publish: 128, wake: 136, wake_after: 144,
        notify: 152, spawn: 160, fail: 168, log: 176, response_header: 184,
        response_protocol: 192, response_reject: 200, response_extensions: 208, extension: 216
    }
    Vtable = 160 {
        size: 0, flags: 4, handshake: 8, abandon: 16, open: 24, message: 32, ping: 40,
        pong: 48, drain: 56, timer: 64, wake: 72, note: 80, closing: 88, closed: 96,
        destroy: 104, snapshot: 112, restore: 120, self_test: 128, serving: 136, shutdown: 144,
        extension: 152
    }
    Answer = 80 {
        size: 0, status: 4, flags: 8, item_size: 12, version: 16, follows: 24, position: 32,
        items: 48, n_items: 56, next: 64
    }
    Item = 72 {
        id: 0, version: 8, kind: 16, flags: 20, name: 24, value: 40, position: 56
    }
    PresenceChange = 56 {
        size: 0, kind: 4, version: 8, id: 16, topic: 24, value: 40
    }
    Raw = 40 {
        size: 0, flags: 4, write: 8, write_to: 16, answer: 24, accept: 32
    }
}

/// The newest minor whose fields are all in the list above.
const LISTED_MINOR: u32 = 0;

constants! {
    ABI_MAJOR = 1; OK = 0; AGAIN = 1; REJECT = 2;
    DONE = 3; PENDING = 4; ABORT = 5; ERROR = -1; PANIC = -2;
    GONE = -3; TOO_BIG = -4; UNSUPPORTED = -5; INVALID = -6; MISUSE = -7; FULL = -8;
    CONFLICT = -9; UNAVAILABLE = -10; DROPPED = -11;
    TEXT = 1; BINARY = 2; MORE = 256; NO_COMPRESS = 512; TRUSTED_UTF8 = 1024; IF_ROOM = 2048; FOLLOWED = 4096;
    PANIC_ABORT = 1; MIGRATES = 2; BLOCKING = 4; ASYNC = 8; ORIGIN_ANY = 16; STREAM = 1; BATCHES = 2;
    CHECK = 1; TLS = 1; HTTP2 = 2; CLOSING = 1; RESTORED = 2;
    DEFLATE = 4; CAUSE = 65280; CAUSE_PEER = 256; CAUSE_HANDLER = 512; CAUSE_FAILED = 768;
    CAUSE_LOST = 1024; CAUSE_LIMIT = 1280; CAUSE_PROTOCOL = 1536; CAUSE_REPLACED = 1792;
    CAUSE_STOPPING = 2048; LOG_OFF = 0; LOG_ERROR = 1; LOG_WARN = 2; LOG_INFO = 3;
    LOG_DEBUG = 4; LOG_TRACE = 5;
    POSITION_BYTES_MAX = 64; KEY_BYTES_MAX = 255; ANY_VERSION = -1; // all its bits are 1
    RECOVERED = 1; JOINED = 1; LEFT = 2; CHANGED = 3;
    RAW_CLOSE = 0; RAW_CONTINUE = 1; RAW_OPEN = 2; RAW_ACCEPT_BYTES = 28;
}

#[test]
fn every_released_field_and_constant_is_where_it_was() {
    for (released, (table, size, fields)) in released_tables().into_iter().zip(rust_tables()) {
        let (name, released_size, released_fields) = released;
        assert_eq!(name, table);
        assert!(fields.starts_with(&released_fields), "{table}: {fields:?}");
        let appended = &fields[released_fields.len()..];
        let end = appended.first().map_or(size, |(_, offset)| *offset);
        assert_eq!(end, released_size, "{table}");
        let says_its_size = fields.iter().any(|(field, _)| *field == "size");
        assert!(appended.is_empty() || says_its_size, "{table} cannot grow");
    }
    assert_eq!(rust_constants(), wanted_constants());
    assert_eq!(size_of::<abi::Response>(), 0, "it is opaque");
    assert_eq!(size_of::<abi::Status>(), 4);
}

/// The text of abi.rs and of the modules below it.
const SOURCE: &str = concat!(
    include_str!("../../src/abi.rs"),
    include_str!("../../src/abi/answer.rs"),
    include_str!("../../src/abi/raw.rs")
);

/// What stands between `prefix`, at the start of a line of the ABI, and `end`.
fn names(prefix: &str, end: char) -> Vec<&'static str> {
    let lines = SOURCE.lines().filter_map(|line| line.strip_prefix(prefix));
    let names = lines.filter_map(|line| line.split_once(end));
    names.map(|(name, _)| name).collect()
}

#[test]
fn nothing_of_the_abi_is_left_out_of_the_list() {
    let mut tables = names("pub struct ", ' ');
    tables.retain(|name| *name != "Response"); // it is opaque
    let listed: Vec<&str> = rust_tables().iter().map(|(name, ..)| *name).collect();
    assert_eq!(tables, listed);

    let constants = wanted_constants();
    let listed = constants.lines().filter_map(|line| line.split_once(' '));
    let listed: Vec<&str> = listed.map(|(name, _)| name).collect();
    let mut constants = names("pub const ", ':');
    // The minor grows. The others are no numbers: the plugins in C test them.
    constants.retain(|name| !["ABI_MINOR", "SYMBOL", "MAGIC", "RAW"].contains(name));
    assert_eq!(constants, listed);
}

#[test]
fn the_list_has_the_fields_of_every_minor_but_the_newest() {
    let newest = LISTED_MINOR + 1;
    assert!(
        (0..=newest).contains(&abi::ABI_MINOR),
        "the list lacks the fields of minor {newest}; with them, raise `LISTED_MINOR`"
    );
}

/// A plugin that uses every inline function of the headers.
const ALL_OF_THE_HEADERS: &str = r#"
#include <wsh_raw.h>
static const WshHost *host;
static const WshRaw *raw;
static WshStatus WSH_CALL on_message(void *session, WshConn *conn, uint32_t kind,
                                     const uint8_t *data, size_t len) WSH_NOEXCEPT {
    (void)session;
    if (wsh_logs(host, WSH_LOG_DEBUG)) wsh_log(host, WSH_LOG_DEBUG, wsh_status_name(WSH_FULL));
    if (wsh_equals(wsh_bytes(data, len), "x") && !WSH_HAS(conn, protocol)) return WSH_DONE;
    if (raw && WSH_HAS(raw, accept) && raw->write(conn, data, len) < 0) return WSH_ERROR;
    return host->send(conn, kind, data, len) < 0 ? WSH_ERROR : WSH_OK;
}
static WshStatus WSH_CALL on_open(void *handler, WshConn *conn, const WshRequest *request,
                                  void *attempt, void **session) WSH_NOEXCEPT {
    (void)handler, (void)conn, (void)attempt, (void)session;
    if (wsh_find(request->cookies, request->n_cookies, "a")) return WSH_OK;
    return wsh_find_header(request->headers, request->n_headers, "A") ? WSH_OK : WSH_ERROR;
}
static void WSH_CALL destroy(void *session) WSH_NOEXCEPT { (void)session; }
static void WSH_CALL on_shutdown(void *handler) WSH_NOEXCEPT { (void)handler; }
static WshVtable vtable;
static WshStatus WSH_CALL init(const WshHost *from, const WshInit *about,
                               WshInstance *instance) WSH_NOEXCEPT {
    (void)about;
    host = from;
    raw = wsh_raw(from);
    vtable.size = (uint32_t)sizeof vtable;
    vtable.open = on_open;
    vtable.message = on_message;
    vtable.destroy = destroy;
    vtable.shutdown = on_shutdown;
    instance->vtable = &vtable;
    return WSH_OK;
}
WSH_DEFINE("all", "1.0", init);
"#;

#[test]
fn the_headers_are_clean_in_every_language_that_reads_them() {
    for extension in ["c", "cpp"] {
        std::fs::write(
            compiler::scratch(&format!("all.{extension}")),
            ALL_OF_THE_HEADERS,
        )
        .unwrap();
    }
    let object = compiler::scratch("all.o");
    let mut languages = 0;
    for (language, extension) in compiler::languages() {
        let source = compiler::scratch(&format!("all.{extension}"));
        compiler::compile(language, &source, &object, &["-c"]);
        languages += 1;
    }
    assert_eq!(languages, 18);
}

#[test]
fn c_and_cpp_see_the_same_layout() {
    let program = format!(
        "#include <wsh_raw.h>\n#include <stdio.h>\nint main(void) {{\n{}{}return 0;\n}}\n",
        c_layout(),
        c_constants()
    );
    for (language, extension) in [(C99, "c"), (CPP11, "cpp")] {
        let source = compiler::scratch(&format!("layout.{extension}"));
        let binary = compiler::scratch(&format!("layout-{extension}"));
        std::fs::write(&source, &program).unwrap();
        compiler::compile(language, &source, &binary, &[]);

        let output = Command::new(&binary).output().unwrap();

        assert!(output.status.success());
        let found = String::from_utf8(output.stdout).unwrap();
        assert_eq!(found, rust_layout() + &rust_constants(), "{extension}");
    }
}
