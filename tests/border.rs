//! What a plugin may get wrong at the border without harm: pointers that mean nothing, arguments and return values that
//! do not exist.
//!
//! `WSHD_LONG=1 cargo test -p wshd --test integration border` runs the servers of hostile handlers under
//! valgrind, which sees every read of memory that is not there.

mod asks;

use std::process::Command;
use std::time::Duration;

use crate::conformance::load;
use crate::harness::compile::{compile, unruly};
use crate::harness::hostile::{SAID, SAID_AT_OPEN};
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

/// Lets the handler make every call, beside a session that must not notice.
#[track_caller]
fn provoke(server: &Server) {
    let mut innocent = server.connect("/echo");
    let mut first = server.connect("/hostile");
    assert_eq!(first.text(), SAID_AT_OPEN);
    first.send("own");
    let mut client = server.connect("/hostile");
    assert_eq!(client.text(), SAID_AT_OPEN);

    client.send("go");
    for said in SAID {
        assert_eq!(client.text(), said);
    }
    // The calls are made again when the session of the Conn is gone.
    first.close(1000);
    server.line(&["in closed: OK, GONE"]);
    client.send("go");
    for said in SAID {
        assert_eq!(client.text(), said);
    }
    assert_eq!(innocent.ask("still there?"), "still there?");
    assert_eq!(server.find_line(&["in destroy"]), None);
}

#[test]
fn a_pointer_that_means_nothing_is_misuse_and_nothing_behind_it_is_read() {
    let site = Site::with(&["echo_wsh"]);
    let library = compile("tests/fixtures/c/hostile.c", &["-pthread"]);
    site.add_bytes(&library, "hostile_wsh.so");

    on_a_server_under_valgrind(&site, provoke);
}

/// The status of every call that a handler makes in its `snapshot`.
const SAID_IN_SNAPSHOT: [&str; 26] = [
    "check: OK",
    "send: MISUSE",
    "reserve: MISUSE",
    "commit: MISUSE",
    "ping: MISUSE",
    "close: MISUSE",
    "abort: MISUSE",
    "timer: MISUSE",
    "reads: MISUSE",
    "watermark: MISUSE",
    "subscribe: MISUSE",
    "subscribe_from: MISUSE",
    "enter: MISUSE",
    "leave: MISUSE",
    "store_get: OK",
    "notify: OK",
    "write nowhere: MISUSE",
    "write to the Conn: MISUSE",
    "write to the host: MISUSE",
    "write one byte off: MISUSE",
    "write on another thread: MISUSE",
    "write nothing with a length: INVALID",
    "write no memory: INVALID",
    "write more than there is: TOO_BIG",
    "write: OK",
    "write after the end: MISUSE",
];

#[test]
fn a_snapshot_writes_to_its_sink_only_and_acts_on_nothing_else() {
    let site = Site::with(&["echo_wsh"]);
    let library = compile("tests/fixtures/c/snapshots.c", &["-pthread"]);
    let path = site.add_bytes(&library, "snapshots_wsh.so");

    on_a_server_under_valgrind(&site, |server| {
        let mut innocent = server.connect("/echo");
        let mut client = server.connect("/snapshots");
        let newer = compile("tests/fixtures/c/snapshots.c", &["-pthread", "-DNEWER"]);
        site.add_bytes(&newer, "snapshots_wsh.so");
        server.line(&["said: write: OK"]);
        server.line(&["moved=1"]);

        assert_eq!(client.ask("still here"), "still here");
        assert_eq!(innocent.ask("still there?"), "still there?");
        let said = server.lines(&["said: "]).join("\n");
        let heard = SAID_IN_SNAPSHOT.iter().filter(|line| said.contains(**line));
        // The newer code has kept nothing.
        assert_eq!(heard.count(), SAID_IN_SNAPSHOT.len() - 1, "{said}");
        site.add_bytes(&library, "snapshots_wsh.so");
    });

    let test = wsh::test::serve(load(&path));
    let mut client = test.connect();
    assert!(client.migrate());
    client.send("still here");
    assert_eq!(client.receive().expect("an echo"), "still here");
    let said = test.log().into_iter();
    let said = said.filter_map(|line| line.message.strip_prefix("said: ").map(str::to_owned));
    assert_eq!(said.collect::<Vec<_>>(), SAID_IN_SNAPSHOT);
}

#[test]
fn what_a_later_minor_may_give_a_meaning_to_is_refused_in_a_sentence() {
    let site = Site::with(&["echo_wsh"]);
    for (name, options, sentence) in [
        (
            "flags",
            ["-DIN_INIT=instance->flags = 4"].as_slice(),
            "its `init` left 4 in `WshInstance.flags`, which must be 0",
        ),
        (
            "schemas",
            &["-DSCHEMA=1", "-DSCHEMA_MIN=2"],
            "it reads state from schema 2 on and writes schema 1; `state_schema_min` must not be \
             above `state_schema`",
        ),
    ] {
        let file = format!("{name}_wsh.so");
        let path = site.add_bytes(&unruly(options), &file);

        let (code, said) = check(&site);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(sentence), "{said}");
        let refused = wsh::test::load(load(&path), "{}");
        assert!(refused.is_err_and(|why| why.contains(sentence)));
    }
    let server = Server::start(&site);
    server.line(&["cannot load `flags_wsh.so`"]);
    server.line(&["cannot load `schemas_wsh.so`"]);
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
}

#[test]
fn a_refusal_whose_status_has_no_body_goes_without_one() {
    let site = Site::empty();
    for (status, file) in [(304, "unchanged_wsh.so"), (404, "missing_wsh.so")] {
        let option = format!(
            "-DIN_HANDSHAKE=host->response_reject(response, {status}, wsh_str(\"hidden\")); \
             return WSH_REJECT"
        );
        site.add_bytes(&unruly(&[&option]), file);
    }
    let server = Server::start(&site);

    let answer = server.exchange(opening("/unchanged", "").as_bytes());
    assert_eq!(status_of(&answer), 304);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(!answer.contains("Content-Length"), "{answer}");
    let answer = server.exchange(opening("/missing", "").as_bytes());
    assert!(answer.ends_with("\r\n\r\nhidden"), "{answer}");
}

#[test]
fn safe_code_that_swaps_two_connections_follows_none_whose_session_is_gone() {
    let site = Site::with(&["swaps_wsh"]);
    on_a_server_under_valgrind(&site, |server| {
        let mut innocent = server.connect("/swaps");
        let mut lender = server.connect("/swaps");
        let mut swapper = server.connect("/swaps");

        lender.send("lend");
        assert_eq!(swapper.ask("swap"), "swapped");
        swapper.close(1000);

        let gone = "(Err(Gone), Err(Gone), Err(Misuse), 0)";
        let elsewhere = format!("on the thread that it was lent to: {gone}");
        assert_eq!(lender.text(), elsewhere);
        assert_eq!(lender.text(), format!("in the callback: {gone}"));
        assert_eq!(lender.text(), "done");
        assert_eq!(innocent.ask("still there?"), "still there?");
    });
}

/// The long form runs the server under valgrind, which sees every read of memory that is not there.
#[track_caller]
fn on_a_server_under_valgrind(site: &Site, test: impl Fn(&Server)) {
    if !is_long() {
        return test(&Server::start(site));
    }
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--error-exitcode=99", "--leak-check=no"]);
    let mut server = Server::builder(site).within(valgrind).start();
    test(&server);
    server.signal("TERM");
    let status = server.wait(Duration::from_secs(60));
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

fn check(site: &Site) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wshd"));
    let output = command.current_dir(site.root()).arg("check").output();
    let output = output.expect("wshd runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn an_answer_that_stands_for_nothing_in_its_callback_fails_the_session_and_is_named() {
    let site = Site::empty();
    for (file, answer) in [
        ("pending_wsh.so", "WSH_PENDING"),
        ("rejects_wsh.so", "WSH_REJECT"),
        ("again_wsh.so", "WSH_AGAIN"),
        ("later_wsh.so", "77"),
    ] {
        let option = format!("-DIN_MESSAGE=return {answer}");
        site.add_bytes(&unruly(&[&option]), file);
    }
    let server = Server::start(&site);
    for (path, told) in [
        ("/pending", "it answered `PENDING` (4)"),
        ("/rejects", "it answered `REJECT` (2)"),
        ("/again", "it answered `AGAIN` (1)"),
        ("/later", "it answered 77, which is no status"),
    ] {
        let mut client = server.connect(path);
        client.send("go");
        assert_eq!(client.close_code(), 1011, "{path}");
        server.line(&["callback failed", "callback=\"message\"", told]);
    }
}

#[test]
fn a_handler_that_judges_origins_itself_is_asked_unless_the_configuration_has_a_rule_for_it() {
    let site = Site::with(&["echo_wsh", "async_echo_wsh"]);
    let server = Server::start(&site);
    let ask = |path: &str| {
        let request = opening(path, "Origin: https://page.example\r\n");
        status_of(&server.exchange(request.as_bytes()))
    };

    assert_eq!(ask("/echo"), 101);
    assert_eq!(ask("/async_echo"), 403);
    // A rule for every handler does not take the place of this handler's own.
    site.write("config.toml", "origins = [\"https://other.example\"]\n");
    server.line(&["configuration applied"]);
    assert_eq!(ask("/echo"), 101);
    site.write(
        "config.toml",
        "[handler.echo]\norigins = [\"https://other.example\"]\n",
    );
    eventually("the rule holds", || ask("/echo") == 403);
}

#[test]
fn a_handler_wakes_itself_after_a_while_and_hears_notes_in_order() {
    let site = Site::empty();
    let option = "-DIN_MESSAGE=\
        host->notify(host->ctx, conn->id, 1); \
        host->send_to(host->ctx, conn->id, WSH_TEXT, (const uint8_t *)\"between\", 7); \
        host->notify(host->ctx, conn->id, 2); \
        host->wake_after(host->ctx, conn->id, 3600000); \
        host->wake_after(host->ctx, conn->id, 20)";
    let hears = [
        option,
        "-DIN_NOTE=answer(conn, \"note\", (int64_t)note)",
        "-DIN_WAKE=answer(conn, \"woken\", 0)",
    ];
    site.add_bytes(&unruly(&hears), "hears_wsh.so");
    let server = Server::start(&site);
    let mut client = server.connect("/hears");

    client.send("go");

    for said in ["go", "note=1", "between", "note=2", "woken=0"] {
        assert_eq!(client.text(), said);
    }
}

#[test]
fn a_handshake_answers_after_a_while_without_a_thread() {
    let site = Site::empty();
    let option = "-DIN_HANDSHAKE=\
        if (!*attempt) { \
            *attempt = (void *)&answered; \
            host->wake_after(host->ctx, request->id, 30); \
            host->notify(host->ctx, request->id, 7); \
            return WSH_PENDING; \
        }";
    let library = unruly(&[option, "-DIN_NOTE=answer(conn, \"note\", (int64_t)note)"]);
    site.add_bytes(&library, "later_wsh.so");
    let server = Server::start(&site);

    let mut client = server.connect("/later");

    assert_eq!(client.text(), "note=7");
    assert_eq!(client.ask("hello"), "hello");
}
