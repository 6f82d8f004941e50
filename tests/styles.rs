//! The three styles of handlers, and what each promises.

use std::time::{Duration, Instant};

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
    let site = Site::with(&["async_echo_wsh"]);
    let server = Server::start(&site);
    let mut first = server.connect("/async_echo");
    first.ask("hello");
    let before = server.proc_status("Threads");

    // Each side of a connection is a file. A process may have a thousand unless it asks for more.
    let count = if crate::harness::is_long() {
        5_000
    } else {
        400
    };
    let mut open: Vec<_> = (0..count).map(|_| server.connect("/async_echo")).collect();
    for session in &mut open {
        assert_eq!(session.ask("hello"), "hello");
    }

    assert!(server.proc_status("Threads") <= before);
}

#[test]
fn ticks_come_in_time_beside_a_client_that_does_not_pause() {
    let site = Site::with(&["async_streams_wsh", "blocking_streams_wsh"]);
    let server = Server::start(&site);
    for path in ["/async_streams", "/blocking_streams"] {
        let mut client = server.connect(path);
        let began = Instant::now();
        client.send("ticks");

        // Some messages are always on their way, so that one waits whenever a tick is due.
        let (mut sent, mut echoed) = (0, 0);
        loop {
            while sent < echoed + 10 {
                client.send(format!("{sent}"));
                sent += 1;
            }
            let text = client.text();
            if text == "five ticks" {
                break;
            }
            assert_eq!(text, echoed.to_string());
            echoed += 1;
        }

        // The first of the five ticks comes at once.
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(80) && took < Duration::from_secs(5),
            "{took:?}"
        );
        assert!(echoed > 10, "{echoed}");
    }
}
