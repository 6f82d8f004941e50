//! The three ways to write a handler, and what each promises.

use crate::harness::server::Server;
use crate::harness::site::Site;

#[test]
fn an_async_and_a_blocking_handler_answer_and_end_as_their_functions_do() {
    let site = Site::with(&["clock_wsh", "slow_wsh"]);
    let server = Server::start(&site);

    let mut clock = server.connect("/clock");
    assert!(clock.text().ends_with('Z'));
    assert!(clock.text().ends_with('Z'));
    let mut slow = server.connect("/slow");
    assert_eq!(slow.ask("84"), "84 = 2 × 2 × 3 × 7");

    assert_eq!(clock.close(1000), 1000);
    assert_eq!(slow.close(4001), 4001);
}

#[test]
fn a_blocking_handler_at_its_limit_answers_503() {
    let site = Site::with(&["slow_wsh"]);
    site.write("config.toml", "[limits]\nblocking_sessions_max = 2\n");
    let server = Server::start(&site);

    let _open = [server.connect("/slow"), server.connect("/slow")];

    assert_eq!(server.handshake_status("/slow"), 503);
}

#[test]
fn async_sessions_add_no_thread() {
    let site = Site::with(&["clock_wsh"]);
    let server = Server::start(&site);
    let mut first = server.connect("/clock");
    first.text();
    let before = server.proc_status("Threads");

    let mut open: Vec<_> = (0..200).map(|_| server.connect("/clock")).collect();
    for session in &mut open {
        assert!(session.text().ends_with('Z'));
    }

    assert!(server.proc_status("Threads") <= before);
}

#[test]
fn a_callback_that_fails_says_why_in_the_log() {
    let site = Site::empty();
    for name in ["handshake_fails", "open_fails", "message_fails"] {
        site.add("fails_wsh", &format!("{name}_wsh.so"));
    }
    let server = Server::start(&site);

    assert_eq!(server.handshake_status("/handshake_fails"), 500);
    assert_eq!(server.connect("/open_fails").close_code(), 1011);
    let mut client = server.connect("/message_fails");
    client.send("a\nb");
    assert_eq!(client.receive().into_data(), "a\nb");
    assert_eq!(client.close_code(), 1011);

    let why = [
        "callback failed",
        "callback=\"handshake\"",
        "the gate is rusty",
    ];
    server.line(&why);
    server.line(&["callback failed", "callback=\"open\"", "the well is dry"]);
    let why = [
        "callback failed",
        "callback=\"message\"",
        "cannot read `a\\nb`",
    ];
    server.line(&why);
}

#[test]
fn a_handshake_that_is_answered_later_keeps_what_it_said_at_first() {
    let site = Site::empty();
    site.add("fails_wsh", "handshake_waits_wsh.so");
    let server = Server::start(&site);

    let client = server.connect("/handshake_waits");

    assert_eq!(client.response.headers()["x-said"], "at first");
}
