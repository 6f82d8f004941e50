//! How many sessions a handler may have, and how long one may be without messages.

use std::time::{Duration, Instant};

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::eventually;
use crate::harness::patch::{build, build_name};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::migration::answered;

#[test]
fn a_handler_that_is_full_answers_503_and_others_are_served() {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    site.write("config.toml", "[handler.echo]\nsessions_max = 2\n");
    let server = Server::start(&site);
    let first = server.connect("/echo");
    let _second = server.connect("/echo");

    assert_eq!(server.handshake_status("/echo"), 503);
    server.line(&["status=503", "`sessions_max` is reached"]);
    for _ in 0..3 {
        assert_eq!(server.handshake_status("/features"), 101);
    }

    drop(first);
    eventually("there is a place again", || server.sessions("echo") == 1);
    let mut third = server.connect("/echo");
    assert_eq!(third.ask("hello"), "hello");
}

#[test]
fn sessions_of_a_full_handler_move_to_its_new_version() {
    let site = Site::empty();
    site.add_bytes(&build("ledger_wsh", 1), "ledger_wsh.so");
    site.write("config.toml", "[limits]\nsessions_max = 1\n");
    let server = Server::start(&site);
    let mut session = server.connect("/ledger");
    assert_eq!(server.handshake_status("/ledger"), 503);

    site.add_bytes(&build("ledger_wsh", 2), "ledger_wsh.so");

    server.line(&["handler loaded", "generation=2"]);
    let mut asked = 0;
    eventually("it has moved", || {
        asked += 1;
        answered(&mut session, asked - 1).0 == build_name(2)
    });
    assert_eq!(server.handshake_status("/ledger"), 503);
}

#[test]
fn a_session_without_messages_is_closed_and_pings_do_not_keep_it() {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    let config = "[limits]\nping_interval_ms = 100\n[handler.echo]\nidle_timeout_ms = 800\n";
    site.write("config.toml", config);
    let server = Server::start(&site);
    let mut idle = Raw::open(&server, "/echo");
    let mut busy = Raw::open(&server, "/echo");
    let mut other = Raw::open(&server, "/features");

    let began = Instant::now();
    let told = loop {
        let (first, payload) = idle.frame().expect("a frame");
        if first == 0x88 {
            break payload;
        }
        assert_eq!(first, 0x89);
        idle.send(&frame(0x8a, b""));
        busy.send(&frame(0x81, b"here"));
    };

    assert!(
        began.elapsed() >= Duration::from_millis(790),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(told[..2], 1001_u16.to_be_bytes());
    assert_eq!(
        &told[2..],
        b"no message for too long: idle_timeout_ms = 800"
    );
    server.line(&[
        "session closed",
        "code=1001 cause=idle_timeout_ms limit=800",
    ]);
    for raw in [&mut busy, &mut other] {
        raw.send(&frame(0x81, b"here"));
        let answer = std::iter::from_fn(|| raw.frame()).find(|(_, it)| it == b"here");
        assert!(answer.is_some());
    }
}

#[test]
fn a_message_that_takes_longer_than_the_timeout_is_no_idleness() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nidle_timeout_ms = 300\n");
    let server = Server::start(&site);
    let mut slow = Raw::open(&server, "/echo");

    let message = frame(0x81, &[b'x'; 10]);
    for byte in message.chunks(1) {
        slow.send(byte);
        std::thread::sleep(Duration::from_millis(60));
    }

    assert_eq!(slow.frame(), Some((0x81, vec![b'x'; 10])));
}
