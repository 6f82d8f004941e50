//! What a blocking function can do to its session, and how that session ends.

use std::time::{Duration, Instant};

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::is_long;
use crate::harness::server::Server;
use crate::harness::site::Site;

fn steps() -> (Site, Server) {
    let site = Site::with(&["blocking_steps_wsh", "blocking_echo_wsh"]);
    let server = Server::start(&site);
    (site, server)
}

#[test]
fn a_function_that_asks_for_messages_answers_a_close_that_came_before_it_did() {
    let (_site, server) = steps();
    for wait in [0, 0, 0, 50] {
        for _ in 0..15 {
            let path = format!("/blocking_steps?end=close&wait={wait}");
            let mut client = server.connect(&path);
            assert_eq!(client.close(4001), 4002);
        }
    }
    for _ in 0..60 {
        let mut client = server.connect("/blocking_echo");
        assert_eq!(client.close(4001), 4001);
    }
}

#[test]
fn a_ping_is_answered_while_the_function_is_elsewhere() {
    let (_site, server) = steps();
    // The function asks for its first message long after the end of this test.
    let mut client = Raw::open(&server, "/blocking_steps?wait=60000");

    client.send(&frame(0x89, b"there?"));

    assert_eq!(client.frame(), Some((0x8a, b"there?".to_vec())));
}

#[test]
fn a_close_is_answered_for_a_function_that_does_not_ask_for_messages() {
    let (_site, server) = steps();
    let began = Instant::now();
    let mut busy: Vec<_> = (0..60)
        .map(|_| server.connect("/blocking_steps?end=close&wait=2000"))
        .collect();
    for client in &mut busy {
        client.start_closing(4001, "");
    }
    for client in &mut busy {
        assert_eq!(client.close_code(), 4001);
    }
    // Long before the function asks, and before the close timeout.
    assert!(began.elapsed() < Duration::from_secs(2));
    // A close by the function after that is answered with an error.
    server.says(&["close after the end: Err(Gone)"], 60);
}

#[test]
fn a_function_drops_the_connection_after_its_last_message_or_after_the_peers_close() {
    let (_site, server) = steps();
    let times = if is_long() { 60 } else { 10 };
    for _ in 0..times {
        let mut client = server.connect("/blocking_steps");
        client.send("abort");
        assert_eq!(client.close_code(), 1006);

        let mut client = server.connect("/blocking_steps?end=abort");
        assert_eq!(client.ask("hello"), "hello");
        assert_eq!(client.close(4001), 1006);
    }
    server.says(&["close after the end: Err(Gone)"], 2 * times);
    assert_eq!(server.count_lines(&["close after the end: Ok"]), 0);
}

#[test]
fn a_second_close_says_that_it_is_too_late() {
    let (_site, server) = steps();
    let mut client = server.connect("/blocking_steps");
    client.send("close");
    assert_eq!(client.close_code(), 4000);
    server.line(&["close after the end: Err(Gone)"]);
}

#[test]
fn a_function_holds_its_peer_back_and_asks_what_is_buffered() {
    let (_site, server) = steps();
    let mut client = server.connect("/blocking_steps");
    client.send("pause");
    assert_eq!(client.text(), "paused");
    client.send("later");
    assert_eq!(client.text(), "meanwhile Err(Elapsed)");
    assert_eq!(client.text(), "later");
    assert_eq!(client.ask("buffered"), "0");
}

#[test]
fn an_answer_does_not_wait_for_a_function_that_has_more_to_receive_and_is_elsewhere() {
    let (_site, server) = steps();
    let mut raw = Raw::open(&server, "/blocking_steps");
    let began = Instant::now();

    raw.send(&[frame(0x81, b"slow"), frame(0x81, b"next")].concat());

    assert_eq!(raw.frame(), Some((0x81, b"at once".to_vec())));
    assert!(began.elapsed() < Duration::from_millis(900));
    assert_eq!(raw.frame(), Some((0x81, b"next".to_vec())));
    assert!(began.elapsed() >= Duration::from_millis(1000));
}
