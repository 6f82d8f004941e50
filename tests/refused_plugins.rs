//! A file that cannot be served is refused in one sentence, before any of its code runs. The handler that serves goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wsh::abi::ABI_MINOR;

use crate::harness::eventually;
use crate::harness::patch::{self, Patch, versioned};
use crate::harness::server::{Server, status_of};
use crate::harness::site::Site;

/// Faults that show in the file, and the sentence about each.
fn faulty() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let trace = || Patch::of("leaves_a_trace_wsh");
    let descriptor = trace().descriptor;
    vec![
        (
            "text",
            b"#!/bin/sh\necho\n".to_vec(),
            "it is not a shared library: it begins with `#!/bin/sh\\necho\\n`",
        ),
        ("empty", Vec::new(), "the file is empty"),
        (
            "one byte",
            b"\x7f".to_vec(),
            "the file is cut off: its headers speak of 64 bytes, 1 are there",
        ),
        (
            "a program for Windows",
            b"MZ\x90\0".iter().copied().chain([0; 400]).collect(),
            "it is not a shared library: it begins with `MZ\\x90",
        ),
        (
            "32 bits",
            trace().bytes_at(4, &[1]).into_bytes(),
            "it is a 32-bit ELF file, this server loads 64-bit ELF libraries",
        ),
        (
            "another machine",
            trace().bytes_at(18, &243u16.to_le_bytes()).into_bytes(),
            "it is compiled for riscv64, this machine is ",
        ),
        (
            "an object file",
            trace().bytes_at(16, &1u16.to_le_bytes()).into_bytes(),
            "it is an object file, this server loads shared libraries",
        ),
        (
            "no symbol",
            trace()
                .replace("WSH_HANDLER\0", "WSH_HANDLEX\0")
                .into_bytes(),
            "it exports no `WSH_HANDLER`; a handler crate ends with `wsh::handler!(…)`, a C handler with `WSH_DEFINE(…)`",
        ),
        (
            "broken magic",
            trace().bytes_at(descriptor + 4, b"\n\n").into_bytes(),
            "its `WSH_HANDLER` is not a descriptor: it begins with `\\x89WSH\\n\\n\\x1a\\n`; rebuild it against wsh 1",
        ),
        (
            "another major",
            trace()
                .number(patch::ABI_MAJOR, 2)
                .number(patch::ABI_MINOR, 0)
                .into_bytes(),
            "it speaks ABI 2.0, this server speaks ABI 1.x; rebuild it against wsh 1",
        ),
        (
            "a newer minor that it needs",
            trace()
                .number(patch::ABI_MINOR, 9)
                .number(patch::MIN_HOST_MINOR, 9)
                .into_bytes(),
            format!(
                "it needs ABI 1.9 or newer, this server speaks ABI 1.{ABI_MINOR}; update the server"
            )
            .leak(),
        ),
        (
            "a short descriptor",
            trace().number(patch::SIZE, 100).into_bytes(),
            "its descriptor has 100 bytes, in ABI 1.0 it had 208",
        ),
        (
            "a field of a later minor",
            trace().number(patch::RESERVED, 1).into_bytes(),
            "its descriptor has 1 in `reserved`, which must be 0",
        ),
        (
            "schemas that cannot be",
            trace()
                .number(patch::SCHEMA, 1)
                .number(patch::SCHEMA_MIN, 2)
                .into_bytes(),
            "it reads state from schema 2 on and writes schema 1; `state_schema_min` must not be above `state_schema`",
        ),
        (
            "panic = abort",
            trace().number(patch::FLAGS, 1).into_bytes(),
            "it is compiled with `panic = \"abort\"`, so a panic would end the server; build it with `panic = \"unwind\"`",
        ),
    ]
}

#[test]
fn a_faulty_file_is_refused_in_one_sentence_and_none_of_its_code_runs() {
    let site = Site::with(&["versioned_wsh"]);
    let trace = site.root().join("trace");
    let server = Server::builder(&site)
        .env("LEAVES_A_TRACE_AT", &trace.to_string_lossy())
        .start();
    let mut open = server.connect("/versioned");

    let faulty = faulty();
    for (index, (fault, bytes, sentence)) in faulty.iter().enumerate() {
        // Each fault comes as a file of its own and over the file that serves.
        site.add_bytes(bytes, &format!("f{index}_wsh.so"));
        site.add_bytes(bytes, "versioned_wsh.so");
        let own = server.line(&[&format!("cannot load `f{index}_wsh.so`: {sentence}")]);
        let over = format!("cannot load `versioned_wsh.so`: {sentence}");
        let over = server.line(&[&over, "; generation 1 keeps serving"]);

        assert!(
            own.contains("WARN") && over.contains("WARN"),
            "{fault}: {own}"
        );
        assert_eq!(
            server.handshake_status(&format!("/f{index}")),
            503,
            "{fault}"
        );
        assert_eq!(open.ask("which?"), "version-0001", "{fault}");
        assert_eq!(
            server.connect("/versioned").ask("which?"),
            "version-0001",
            "{fault}"
        );
    }
    assert!(!trace.exists(), "an initialiser of a refused plugin ran");
    assert_eq!(
        server.count_lines(&["plugin refused"]),
        2 * faulty.len(),
        "each is said once\n{}",
        server.log()
    );

    // Without a fault the file leaves its trace, so the test can see one.
    site.add("leaves_a_trace_wsh", "good_wsh.so");
    eventually("the good one is loaded", || trace.exists());
    site.add_bytes(&versioned(2), "versioned_wsh.so");
    eventually("the good one serves", || {
        server.connect("/versioned").ask("which?") == "version-0002"
    });
}

#[test]
fn a_plugin_of_a_newer_minor_that_needs_nothing_newer_is_served() {
    let site = Site::empty();
    let newer = Patch::of("versioned_wsh")
        .number(patch::ABI_MINOR, 9)
        .into_bytes();
    site.add_bytes(&newer, "newer_wsh.so");
    let server = Server::start(&site);

    assert_eq!(server.connect("/newer").ask("which?"), "version-0001");
}

#[test]
fn a_file_cut_off_anywhere_is_waited_for_and_then_refused() {
    let site = Site::empty();
    let whole = versioned(1);
    let cuts = 20;
    for cut in 0..cuts {
        let length = whole.len() * cut / cuts + cut;
        site.add_bytes(&whole[..length], &format!("cut{cut}_wsh.so"));
    }
    let server = Server::start(&site);

    for cut in 0..cuts {
        let refused = format!("cannot load `cut{cut}_wsh.so`: the file is ");
        server.line(&[&refused]);
        assert_eq!(server.handshake_status(&format!("/cut{cut}")), 503);
    }
    // The rest arrives after all.
    fs::write(site.handlers().join("cut7_wsh.so"), &whole).expect("writing");
    eventually("the whole file is served", || {
        server.handshake_status("/cut7") == 101
    });
}

#[test]
fn what_others_can_write_is_refused_with_the_command_that_mends_it() {
    let site = Site::with(&["echo_wsh"]);
    site.add("versioned_wsh", "sub/versioned_wsh.so");
    let (file, folder) = (
        site.handlers().join("echo_wsh.so"),
        site.handlers().join("sub"),
    );
    let chmod =
        |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    chmod(&file, 0o666);
    chmod(&folder, 0o777);
    let server = Server::start(&site);

    server.line(&[
        "cannot load `echo_wsh.so`: `",
        "echo_wsh.so` is writable by others (mode 0666); `chmod o-w ",
    ]);
    server.line(&[
        "cannot load `sub`: `",
        "sub` is writable by others (mode 0777); `chmod o-w ",
    ]);
    assert_eq!(server.handshake_status("/echo"), 503);
    assert_eq!(server.handshake_status("/sub/versioned"), 404);

    chmod(&file, 0o644);
    chmod(&folder, 0o755);
    eventually("both are served", || {
        server.handshake_status("/echo") == 101 && server.handshake_status("/sub/versioned") == 101
    });

    // A handler that serves already goes on serving when its file becomes writable.
    let mut open = server.connect("/echo");
    chmod(&file, 0o666);
    server.line(&[
        "is writable by others (mode 0666)",
        "; generation 1 keeps serving",
    ]);
    assert_eq!(open.ask("still there?"), "still there?");
    assert_eq!(server.handshake_status("/echo"), 101);
}

#[test]
fn what_is_no_regular_file_holds_no_load_up() {
    let site = Site::with(&["echo_wsh"]);
    site.add_fifo("handlers/fifo_wsh.so");
    let huge = fs::File::create(site.handlers().join("huge_wsh.so")).expect("a file");
    huge.set_len(2 << 30).expect("a sparse file");
    let server = Server::start(&site);

    server.line(&["cannot load `fifo_wsh.so`: it is a FIFO, wanted is a regular file"]);
    server
        .line(&["cannot load `huge_wsh.so`: it has 2147483648 bytes, at most 268435456 are read"]);
    assert_eq!(server.handshake_status("/echo"), 101);
}

#[test]
fn a_handler_that_fails_while_it_is_loaded_is_refused_in_its_own_words() {
    let site = Site::with(&["echo_wsh"]);
    for name in [
        "init_fails",
        "init_panics",
        "self_test_fails",
        "self_test_panics",
    ] {
        site.add("fails_wsh", &format!("{name}_wsh.so"));
    }
    let server = Server::start(&site);

    server.line(&["cannot load `init_fails_wsh.so`: its `init` failed: the moon is full"]);
    server.line(&["cannot load `init_panics_wsh.so`: its `init` failed: it panicked"]);
    server.line(&[
        "handler=\"init_panics\"",
        "on purpose, in init",
        "fails_wsh/src/lib.rs",
    ]);
    server.line(&["cannot load `self_test_fails_wsh.so`: its `self_test` failed: the tide is out"]);
    server.line(&["cannot load `self_test_panics_wsh.so`: its `self_test` failed: it panicked"]);
    for path in [
        "/init_fails",
        "/init_panics",
        "/self_test_fails",
        "/self_test_panics",
    ] {
        assert_eq!(server.handshake_status(path), 503, "{path}");
    }
    let page = server.exchange(b"GET /init_fails HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let sentence = "the file of the handler at this path is refused; the server's log says why\n";
    assert!(
        page.starts_with("HTTP/1.1 503 ") && page.ends_with(sentence),
        "{page}"
    );
    fs::remove_file(site.handlers().join("init_fails_wsh.so")).expect("removing");
    eventually("nothing is there", || {
        server.handshake_status("/init_fails") == 404
    });
    assert_eq!(server.connect("/echo").ask("still there?"), "still there?");
}

#[test]
fn a_handler_that_fails_beside_its_sessions_costs_none_of_them() {
    let site = Site::empty();
    for name in ["serving_panics", "serving_hangs", "shutdown_panics"] {
        site.add("fails_wsh", &format!("{name}_wsh.so"));
    }
    let server = Server::start(&site);

    for path in ["/serving_panics", "/serving_hangs", "/shutdown_panics"] {
        assert_eq!(server.connect(path).ask("hello"), "hello", "{path}");
    }
    fs::remove_file(site.handlers().join("shutdown_panics_wsh.so")).expect("removing");
    server.line(&["generation retired", "handler=shutdown_panics"]);
    assert_eq!(server.connect("/serving_panics").ask("hello"), "hello");
}

#[test]
fn every_path_to_a_refused_handler_is_answered_as_its_own() {
    let site = Site::empty();
    site.add_bytes(b"no library", "bad_wsh.so");
    site.add_bytes(b"no library", "rooms/_wsh.so");
    site.write(
        "config.toml",
        "handlers_map_file = \"map\"\n[routes]\n\"/alias\" = \"/bad\"\n\"/again\" = \"/alias\"\n\
         \"/of/{name}/them\" = \"/bad\"\n\"/below/{*rest}\" = \"/rooms\"\n",
    );
    site.write("map", "/mapped /bad\n");
    // Nothing serves, and nothing ever has.
    let server = Server::start(&site);

    let ask = |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        server.exchange(request.as_bytes())
    };
    let sentence = "the file of the handler at this path is refused; the server's log says why\n";
    let paths = [
        "/bad",
        "/alias",
        "/again",
        "/mapped",
        "/of/all/them",
        "/rooms",
        "/rooms/",
        "/below/one/of",
    ];
    for path in paths {
        assert_eq!(server.handshake_status(path), 503, "{path}");
        for method in ["GET", "HEAD", "POST"] {
            let answer = ask(method, path);
            assert_eq!(status_of(&answer), 503, "{method} {path}: {answer}");
            assert_eq!(
                answer.ends_with(sentence),
                method != "HEAD",
                "{method} {path}: {answer}"
            );
        }
    }
    for path in ["/other", "/bad/", "/alias/", "/of/all"] {
        assert_eq!(server.handshake_status(path), 404, "{path}");
    }

    site.add("echo_wsh", "bad_wsh.so");
    server.line(&["handler loaded", "handler=\"bad\""]);
    for path in ["/bad", "/alias", "/again", "/mapped", "/of/all/them"] {
        assert_eq!(server.connect(path).ask("hello"), "hello");
    }
    assert_eq!(server.handshake_status("/below/one"), 503);
}

#[test]
fn a_refused_handler_asks_for_a_password_where_it_would_if_it_were_served() {
    let site = Site::empty();
    for name in ["open", "closed"] {
        site.add_bytes(b"no library", &format!("{name}_wsh.so"));
    }
    site.write("tokens", &format!("ci:sha256:{}\n", "0".repeat(64)));
    site.write(
        "config.toml",
        "tokens_file = \"tokens\"\n[routes]\n\"/x\" = \"/open\"\n\"/y/{z}\" = \"/open\"\n\
         \"/v\" = \"/closed\"\n[handler.open]\nauth = \"open\"\n",
    );
    let server = Server::start(&site);

    for (path, status) in [
        ("/open", 503),
        ("/x", 503),
        ("/y/z", 503),
        ("/closed", 401),
        ("/v", 401),
        ("/nothing", 401),
    ] {
        assert_eq!(server.handshake_status(path), status, "{path}");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = server.exchange(request.as_bytes());
        assert_eq!(status_of(&answer), status, "{path}");
    }
}

#[test]
fn a_handler_that_was_really_built_with_panic_abort_is_refused() {
    let site = Site::empty();
    // The directory outlives the site, so that the dependencies stay built for the next run.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panic_abort");
    let built = std::process::Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--lib", "-p", "echo_wsh", "--locked"])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_DEV_PANIC", "abort")
        .status()
        .expect("cargo runs");
    assert!(built.success(), "echo_wsh builds with panic = \"abort\"");
    let server = Server::start(&site);

    let library = std::fs::read(target.join("debug/libecho_wsh.so")).expect("the library");
    site.add_bytes(&library, "aborts_wsh.so");

    server.line(&["cannot load `aborts_wsh.so`: it is compiled with `panic = \"abort\"`"]);
}
