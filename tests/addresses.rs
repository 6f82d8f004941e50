//! No address takes what others are to have: its connections are counted, and how fast they come.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::harness::client::{Client, Steady};
use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

/// Starts a server of an echo with this configuration.
fn server(config: &str) -> (Site, Server) {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

/// Connects from 127.0.0.`last`.
#[track_caller]
fn raw_from(server: &Server, last: u8) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from: SocketAddr = (Ipv4Addr::new(127, 0, 0, last), 0).into();
    socket.bind(&from.into()).expect("an address of loopback");
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, server.port()).into();
    socket.connect(&to.into()).expect("the server listens");
    socket.into()
}

/// Opens a session from 127.0.0.`last`.
#[track_caller]
fn connect_from(server: &Server, last: u8) -> Client {
    let stream = Steady::plain(raw_from(server, last));
    let url = format!("ws://localhost:{}/echo", server.port());
    Client::over(stream, &url, "/echo", &[])
}

/// The answer to an opening handshake from 127.0.0.`last`.
#[track_caller]
fn answer_from(server: &Server, last: u8) -> String {
    Server::exchange_over(raw_from(server, last), opening("/echo", "").as_bytes())
}

#[test]
fn an_address_that_has_its_connections_gets_503_and_no_other_address_notices() {
    let (_site, server) = server("[limits]\nconnections_per_address_max = 3\n");
    let mut first = [(); 3].map(|()| connect_from(&server, 2));

    for _ in 0..3 {
        let answer = answer_from(&server, 2);
        assert_eq!(status_of(&answer), 503, "{answer}");
        assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    }
    let mut other = connect_from(&server, 3);
    assert_eq!(other.ask("hello"), "hello");
    for session in &mut first {
        assert_eq!(session.ask("still there"), "still there");
    }

    let refused = ["handshake refused", "peer=127.0.0.2:", "status=503"];
    let line = server.line(&refused);
    assert!(line.contains("`connections_per_address_max`"), "{line}");
    let line = server.line(&["WARN", "address=127.0.0.2", "connections=3"]);
    assert!(line.contains("connections_per_address_max"), "{line}");
    // One that has ended counts no more.
    let [ended, ..] = &mut first;
    assert_eq!(ended.close(1000), 1000);
    eventually("another one is let in", || {
        status_of(&answer_from(&server, 2)) == 101
    });
}

#[test]
fn connections_of_an_address_over_its_limit_close_none_that_waits() {
    let config = "[limits]\nconnections_max = 20\nconnections_per_address_max = 10\n";
    let (_site, server) = server(config);
    let silent = raw_from(&server, 3);
    let _full = [(); 10].map(|()| connect_from(&server, 2));
    let _others = [(); 9].map(|()| connect_from(&server, 4));

    for _ in 0..20 {
        assert_eq!(status_of(&answer_from(&server, 2)), 503);
    }
    let request = opening("/echo", "");
    let answer = Server::exchange_over(silent, request.as_bytes());
    assert_eq!(status_of(&answer), 101, "it has not given way");
}

#[test]
fn loopback_may_have_all_connections_where_nothing_else_is_said() {
    let (_site, server) = server("[limits]\nconnections_max = 20\n");
    let mut sessions = [(); 20].map(|()| connect_from(&server, 1));
    for session in &mut sessions {
        assert_eq!(session.ask("hello"), "hello");
    }
    let line = |server: &Server| {
        assert_eq!(status_of(&answer_from(server, 1)), 503);
        server.find_line(&["handshake refused", "`connections_max`"])
    };
    eventually("all are taken", || line(&server).is_some());
}

#[test]
fn an_address_that_comes_too_often_gets_429_and_no_other_address_notices() {
    let (_site, server) = server("[limits]\nhandshakes_per_address_per_s_max = 5\n");
    let mut refused = None;
    eventually("one is too many", || {
        let answer = answer_from(&server, 2);
        let is_refused = status_of(&answer) != 101;
        refused = is_refused.then_some(answer);
        is_refused
    });
    let refused = refused.expect("it was seen");
    assert_eq!(status_of(&refused), 429, "{refused}");
    assert!(refused.contains("\r\nRetry-After: "), "{refused}");
    assert_eq!(status_of(&answer_from(&server, 3)), 101);

    server.line(&[
        "handshake refused",
        "peer=127.0.0.2:",
        "status=429",
        "`handshakes_per_address_per_s_max`",
    ]);
    eventually("it may come again", || {
        status_of(&answer_from(&server, 2)) == 101
    });
}

#[test]
fn connections_of_all_addresses_that_come_too_fast_get_503() {
    let (_site, server) = server("[limits]\nhandshakes_per_s_max = 5\n");
    let mut session = connect_from(&server, 1);
    let mut last = 2;
    let mut refused = String::new();
    eventually("one is too many", || {
        last = if last == 250 { 2 } else { last + 1 };
        refused = answer_from(&server, last);
        status_of(&refused) != 101
    });
    assert_eq!(status_of(&refused), 503, "{refused}");
    assert!(refused.contains("\r\nRetry-After: "), "{refused}");

    assert_eq!(session.ask("still there"), "still there");
    server.line(&["handshake refused", "status=503", "`handshakes_per_s_max`"]);
    eventually("one is let in again", || {
        status_of(&answer_from(&server, 1)) == 101
    });
}
