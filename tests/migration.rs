//! Sessions move to new code with the socket open, and no peer can tell.

use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::eventually;
use crate::harness::patch::{build, build_again, build_name};
use crate::harness::server::{Server, opening};
use crate::harness::site::{Site, library};

/// Asks a session. Returns the build that answers and how often the session has moved, from `NUMBER BUILD MOVES`.
#[track_caller]
pub(crate) fn answered(client: &mut Client, number: u64) -> (String, u64) {
    let answer = client.ask(&number.to_string());
    let words: Vec<&str> = answer.split(' ').collect();
    let [echoed, build, moves] = words[..] else {
        panic!("no answer to {number}: {answer}");
    };
    assert_eq!(echoed, number.to_string());
    (build.to_owned(), moves.parse().expect("a number"))
}

#[test]
fn sessions_go_on_in_new_code_with_their_state() {
    for plugin in ["ledger_wsh", "async_ledger_wsh"] {
        let site = Site::empty();
        let name = plugin.trim_end_matches("_wsh");
        site.add_bytes(&build(plugin, 1), &format!("{plugin}.so"));
        let server = Server::start(&site);
        let mut client = server.connect(&format!("/{name}"));
        assert_eq!(answered(&mut client, 0), (build_name(1), 0));

        site.add_bytes(&build(plugin, 2), &format!("{plugin}.so"));
        server.line(&[
            "sessions moved",
            "generation=2",
            "moved=1 drained=0 refused=0",
        ]);

        assert_eq!(answered(&mut client, 1), (build_name(2), 1));
        server.line(&["generation retired", "generation=1"]);
        assert_eq!(client.close(1000), 1000);
    }
}

#[test]
fn state_moves_where_its_schema_is_read_and_straight_to_the_newest_code() {
    let site = Site::with(&["ledger_wsh"]);
    let server = Server::start(&site);
    let mut client = server.connect("/ledger");

    // This build writes schema 1, and the next one reads 1 and 2.
    site.add("ledger_next_wsh", "ledger_wsh.so");
    server.line(&[
        "sessions moved",
        "generation=2",
        "moved=1 drained=0 refused=0",
    ]);
    assert_eq!(answered(&mut client, 0).1, 1);

    // The older code reads schema 1 only. The session stays where it is, and works there.
    site.add_bytes(&build("ledger_wsh", 1), "ledger_wsh.so");
    server.line(&[
        "sessions stay on the old code",
        "generation=2",
        "the old code writes state of schema 2, the new code reads 1 to 1",
    ]);
    server.line(&[
        "sessions moved",
        "generation=3",
        "moved=0 drained=1 refused=0",
    ]);
    assert_eq!(answered(&mut client, 1).1, 1);
    assert_eq!(answered(&mut server.connect("/ledger"), 0).1, 0);

    // Two generations later the session can move again.
    site.add("ledger_next_wsh", "ledger_wsh.so");
    server.line(&["sessions moved", "generation=4", "moved=1 "]);
    assert_eq!(answered(&mut client, 2).1, 2);
    server.line(&["generation retired", "generation=2"]);
}

#[test]
fn a_session_whose_move_fails_goes_on_in_the_old_code() {
    for (trouble, reason) in [
        ("snapshot panics", "`snapshot` panicked"),
        ("snapshot fails", "`snapshot` failed: the ink is dry"),
        (
            "too large",
            "its state is larger than 1048576 bytes (`snapshot_bytes_max`)",
        ),
        ("restore panics", "`restore` panicked"),
        ("restore fails", "`restore` failed: it cannot be read"),
    ] {
        let site = Site::empty();
        site.add_bytes(&build("troubled_wsh", 1), "troubled_wsh.so");
        let server = Server::start(&site);
        let mut troubled = server.connect("/troubled");
        let mut calm = server.connect("/troubled");
        assert_eq!(troubled.ask(trouble), "build-0001 1");
        assert_eq!(calm.ask("calm"), "build-0001 1");

        site.add_bytes(&build_again("troubled_wsh", 2), "troubled_wsh.so");
        server.line(&["sessions moved", "moved=1 drained=0 refused=1", reason]);

        server.line(&["WARN session stays on the old code", reason]);
        assert_eq!(calm.ask("calm"), "build-0002 2", "{trouble}");
        assert_eq!(troubled.ask("calm"), "build-0001 2", "{trouble}");
        // That callback has changed the state, so now the session can move.
        eventually("the session has moved", || {
            troubled.ask("calm").starts_with("build-0002")
        });
        assert_eq!(server.handshake_status("/troubled"), 101);
        assert_eq!(troubled.close(1000), 1000);
    }
}

#[test]
fn a_move_that_keeps_failing_is_given_up_and_the_session_works_on() {
    let site = Site::empty();
    site.add_bytes(&build("troubled_wsh", 1), "troubled_wsh.so");
    let server = Server::start(&site);
    let mut client = server.connect("/troubled");
    client.ask("restore fails");

    site.add_bytes(&build_again("troubled_wsh", 2), "troubled_wsh.so");
    server.line(&["sessions moved", "moved=0 drained=0 refused=1"]);
    for seen in 2..10 {
        let answer = client.ask("restore fails");
        assert_eq!(answer, format!("build-0001 {seen}"));
    }

    // Each attempt is logged after the answer that it follows.
    let told = || server.count_lines(&["session stays on the old code"]);
    eventually("three attempts were made", || told() == 3);
    client.ask("restore fails");
    client.ask("restore fails");
    assert_eq!(told(), 3, "{}", server.log());
    // The next generation tries again.
    client.ask("calm");
    site.add_bytes(&build_again("troubled_wsh", 3), "troubled_wsh.so");
    server.line(&["sessions moved", "generation=3", "moved=1 "]);
    assert_eq!(client.ask("calm"), "build-0003 13");
}

#[test]
fn a_session_that_is_busy_moves_after_its_next_callback() {
    let site = Site::empty();
    site.add_bytes(&build("troubled_wsh", 1), "troubled_wsh.so");
    let server = Server::start(&site);
    let mut client = server.connect("/troubled");
    assert_eq!(client.ask("busy"), "build-0001 1");

    site.add_bytes(&build_again("troubled_wsh", 2), "troubled_wsh.so");
    server.line(&["sessions moved", "moved=0 drained=1 refused=0"]);
    assert_eq!(client.ask("busy"), "build-0001 2");
    assert_eq!(client.ask("calm"), "build-0001 3");

    assert_eq!(client.ask("calm"), "build-0002 4");
    server.line(&["generation retired", "generation=1"]);
}

#[test]
fn sessions_that_cannot_move_finish_on_the_old_code_and_the_reason_is_said() {
    for (plugin, reason) in [
        ("blocking_echo_wsh", "a blocking session keeps its thread"),
        ("panics_wsh", "the old code has no state that could move"),
    ] {
        let site = Site::with(&[plugin]);
        let server = Server::start(&site);
        let path = format!("/{}", plugin.trim_end_matches("_wsh"));
        let mut client = server.connect(&path);

        let mut bytes = std::fs::read(library(plugin)).expect("the plugin's library");
        bytes.push(0);
        site.add_bytes(&bytes, &format!("{plugin}.so"));
        server.line(&["sessions stay on the old code", "generation=1", reason]);

        assert_eq!(client.ask("still there?"), "still there?");
        assert_eq!(client.close(1000), 1000);
        server.line(&["generation retired", "generation=1"]);
    }
}

#[test]
fn a_handshake_that_was_under_way_during_the_swap_ends_up_on_the_new_code() {
    let site = Site::empty();
    site.add_bytes(&build("ledger_wsh", 1), "ledger_wsh.so");
    let server = Server::start(&site);
    let gate = site.root().join("gate");
    let request = opening(&format!("/ledger?wait={}", gate.display()), "");
    let mut raw = Raw {
        stream: server.raw(),
    };
    raw.send(request.as_bytes());
    eventually("the handshake is under way", || {
        server.sessions("ledger") == 1
    });

    site.add_bytes(&build("ledger_wsh", 2), "ledger_wsh.so");
    server.line(&[
        "sessions moved",
        "generation=2",
        "moved=0 drained=1 refused=0",
    ]);
    site.write("gate", "");

    raw.skip_head();
    raw.send(&frame(0x81, b"0"));
    let (_, answer) = raw.frame().expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), "0 build-0002 1");
    server.line(&["generation retired", "generation=1"]);
}

#[test]
fn a_message_that_is_half_received_goes_to_the_new_code_whole() {
    let site = Site::empty();
    site.add_bytes(&build("ledger_wsh", 1), "ledger_wsh.so");
    let server = Server::start(&site);
    let mut raw = Raw::open(&server, "/ledger");

    // One fragment is whole, and the next frame is cut in the middle of its payload.
    raw.send(&frame(0x01, b"0 abc"));
    raw.send(&frame(0x89, b"arrived?"));
    assert_eq!(raw.frame(), Some((0x8a, b"arrived?".to_vec())));
    let second = frame(0x80, b"defghi");
    raw.send(&second[..9]);
    site.add_bytes(&build("ledger_wsh", 2), "ledger_wsh.so");
    server.line(&["sessions moved", "moved=1 drained=0 refused=0"]);
    raw.send(&second[9..]);

    let (_, answer) = raw.frame().expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer), "0 build-0002 1");
}

#[test]
fn a_session_between_two_parts_waits_and_restore_can_do_nothing_to_it() {
    let site = Site::empty();
    let source = "tests/fixtures/c/parts.c";
    site.add_bytes(&compile(source, &["-DBUILD=1"]), "parts_wsh.so");
    let server = Server::start(&site);
    let text = |raw: &mut Raw| {
        let (first, payload) = raw.frame().expect("a frame");
        (first, String::from_utf8(payload).expect("text"))
    };
    let mut receiving = Raw::open(&server, "/parts");
    let mut sending = Raw::open(&server, "/parts");
    receiving.send(&frame(0x01, b"half"));
    receiving.send(&frame(0x89, b""));
    assert_eq!(receiving.frame(), Some((0x8a, Vec::new())));
    sending.send(&frame(0x81, b"begin"));
    let first = "build 1 parts 1 close 0 reserve 0".to_owned();
    assert_eq!(text(&mut sending), (0x01, first));

    site.add_bytes(&compile(source, &["-DBUILD=2"]), "parts_wsh.so");
    server.line(&["sessions moved", "moved=0 drained=2 refused=0"]);

    // The old code ends what it began; what follows goes to the new code.
    receiving.send(&frame(0x80, b" and half"));
    let first = "build 1 parts 2 close 0 reserve 0".to_owned();
    assert_eq!(text(&mut receiving), (0x81, first));
    sending.send(&frame(0x81, b"end"));
    let last = "build 1 parts 2 close 0 reserve 0".to_owned();
    assert_eq!(text(&mut sending), (0x80, last));
    // `restore` gets only MISUSE and NULL from its connection.
    for raw in [&mut receiving, &mut sending] {
        raw.send(&frame(0x81, b"again"));
        let moved = "build 2 parts 3 close -7 reserve 0".to_owned();
        assert_eq!(text(raw), (0x81, moved));
    }
    server.line(&["generation retired", "generation=1"]);
}

#[test]
fn a_changed_table_is_a_new_generation_and_the_sessions_move_to_it_and_its_limits() {
    let site = Site::with(&["ledger_wsh"]);
    site.write("config.toml", "[handler.ledger]\nmessage_bytes_max = 10\n");
    let server = Server::start(&site);
    let mut client = server.connect("/ledger");
    let mut over = server.connect("/ledger");

    site.write(
        "config.toml",
        "[handler.ledger]\nmessage_bytes_max = 20\nconfig = { note = \"new\" }\n",
    );
    server.line(&[
        "sessions moved",
        "generation=2",
        "moved=2 drained=0 refused=0",
    ]);

    let answer = client.ask("0 is 16 bytes ..");
    assert_eq!(answer, "0 build-0001 1");
    over.send("0 is more than 20 bytes");
    assert_eq!(over.close_code(), 1009);
}
