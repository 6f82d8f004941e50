//! `wshd close`: an operator ends one session, or those of an address or a handler.

use super::{done, json, refused};
use crate::harness::client::{Client, Steady};
use crate::harness::eventually;
use crate::harness::server::Server;
use crate::harness::site::Site;

#[test]
fn close_ends_one_session_with_the_code_and_the_reason_that_are_asked_for() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    let mut other = server.connect("/echo");

    let said = done(
        &site,
        &["close", "1", "--code", "4001", "--reason", "go & rest"],
    );

    assert_eq!(said, "session 1 is told to close\n");
    let message = client.try_read().expect("a Close");
    let tungstenite::Message::Close(Some(frame)) = message else {
        panic!("{message:?}");
    };
    assert_eq!(
        (u16::from(frame.code), frame.reason.as_str()),
        (4001, "go & rest")
    );
    other.ask("still here");
    let _ = client.close_code();
    server.line(&[
        "session closed",
        "session=1",
        "code=4001",
        "cause=operator_closed",
    ]);
    assert_eq!(
        refused(&site, &["close", "1"]),
        (1, "wshd: there is no session 1".to_owned())
    );
    let (code, said) = refused(&site, &["close", "2", "--code", "1006"]);
    assert_eq!(code, 1);
    assert!(said.contains("wants a code that may be sent"), "{said}");
    assert_eq!(refused(&site, &["close", "me"]).0, 2);
}

#[test]
fn close_ends_all_sessions_of_an_address_or_of_a_handler_and_counts_them() {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    let server = Server::builder(&site).args(["-H", "127.0.0.1", "-H", "unix:w.sock"]);
    let server = server.start();
    let path = site.root().join("w.sock");
    let unix = || {
        Client::over(
            Steady::plain(Server::raw_unix(&path)),
            "ws://localhost/echo",
            "/echo",
            &[],
        )
    };
    let mut echoes = [server.connect("/echo"), server.connect("/echo")];
    let mut other = server.connect("/features");
    let mut local = unix();

    // An address of no session, and that of one.
    let none = done(&site, &["close", "--address", "192.0.2.0/24"]);
    assert_eq!(none, "0 sessions are told to close\n");
    let said = done(&site, &["close", "--address", "unix", "--code", "4001"]);
    assert_eq!(said, "1 session is told to close\n");
    assert_eq!(local.close_code(), 4001);
    echoes
        .iter_mut()
        .for_each(|it| assert_eq!(it.ask("here"), "here"));

    // Of an address and of a handler, then of a handler alone.
    let mut local = unix();
    let closed = json(
        &site,
        &["close", "--address", "127.0.0.0/8", "--handler", "echo"],
    );
    assert_eq!(closed["sessions"], 2);
    echoes
        .iter_mut()
        .for_each(|it| assert_eq!(it.close_code(), 1001));
    assert_eq!(local.ask("here"), "here");
    let closed = json(&site, &["close", "--handler", "echo"]);
    assert_eq!(closed["sessions"], 1);
    assert_eq!(local.close_code(), 1001);
    other.send("close 1000");
    assert_eq!(other.close_code(), 1000);
    // The handler stays in service.
    assert_eq!(server.handshake_status("/echo"), 101);

    for (arguments, expected) in [
        (
            &["close", "--handler", "ecko"][..],
            (1, "there is no handler `ecko`; did you mean `echo`?"),
        ),
        (
            &["close", "--address", "localhost"],
            (
                1,
                "`address` wants an address like `192.0.2.7`, a network like `10.0.0.0/8` or `2001:db8::/32`, `loopback`, `private` or `unix`, found `localhost`",
            ),
        ),
    ] {
        let (code, said) = refused(&site, arguments);
        assert_eq!(
            (code, said.as_str()),
            (expected.0, &*format!("wshd: {}", expected.1))
        );
    }
    for arguments in [&["close"][..], &["close", "1", "--handler", "echo"]] {
        assert_eq!(refused(&site, arguments).0, 2, "{arguments:?}");
    }
}

#[test]
fn sessions_of_an_address_that_is_denied_go_on_until_they_are_closed() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::builder(&site).args(["-H", "127.0.0.1"]).start();
    let mut client = server.connect("/echo");
    site.write("config.toml", "deny = [\"127.0.0.1\"]\n");
    done(&site, &["reload"]);
    eventually("it is denied", || {
        server.exchange(b"GET / HTTP/1.0\r\n\r\n").is_empty()
    });
    assert_eq!(client.ask("still here"), "still here");

    let said = done(&site, &["close", "--address", "127.0.0.1"]);

    assert_eq!(said, "1 session is told to close\n");
    assert_eq!(client.close_code(), 1001);
}
