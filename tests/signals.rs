//! The end of the server: every session is told, and nobody is waited for longer than was promised.

use std::time::Duration;

use crate::harness::client::Raw;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// Well within the drain time: sessions whose peers answer end at once.
const SOON: Duration = Duration::from_secs(5);

#[track_caller]
fn closes_all_and_exits_0(signal: &str) {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    let mut clients: Vec<_> = (0..50).map(|_| server.connect("/echo")).collect();
    assert_eq!(clients[0].ask("hello"), "hello");

    server.signal(signal);

    for client in &mut clients {
        assert_eq!(client.close_code(), 1001);
    }
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn sigterm_closes_every_session_with_1001_and_exits_0() {
    closes_all_and_exits_0("TERM");
}

#[test]
fn ctrl_c_closes_every_session_with_1001_and_exits_0() {
    closes_all_and_exits_0("INT");
}

#[test]
fn a_peer_that_does_not_answer_its_close_holds_the_end_up_for_the_close_timeout_only() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    let mut silent = Raw::open(&server, "/echo");

    server.signal("TERM");

    assert_eq!(silent.frame(), Some((0x88, 1001u16.to_be_bytes().to_vec())));
    assert_eq!(server.wait(Duration::from_secs(15)).code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    let mut silent = Raw::open(&server, "/echo");

    server.signal("TERM");
    assert_eq!(silent.frame(), Some((0x88, 1001u16.to_be_bytes().to_vec())));
    server.signal("TERM");

    let status = server.wait(Duration::from_secs(1));
    assert_ne!(status.code(), Some(0), "it did not end in good order");
}

#[test]
fn nobody_gets_in_while_it_stops() {
    let site = Site::with(&["echo_wsh"]);
    let mut server = Server::start(&site);
    let mut silent = Raw::open(&server, "/echo");

    server.signal("TERM");
    assert_eq!(silent.frame(), Some((0x88, 1001u16.to_be_bytes().to_vec())));

    let refused = std::net::TcpStream::connect(("127.0.0.1", server.port()));
    assert!(refused.is_err(), "the listener is closed");
    server.signal("TERM");
    server.wait(SOON);
}
