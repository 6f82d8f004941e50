//! What one session or one handler does wrong costs no other session anything.

use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::harness::client::Client;
use crate::harness::client_frame::frame;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// Starts a server whose handlers may panic often.
fn patient() -> (Site, Server) {
    let site = Site::with(&["panics_wsh", "echo_wsh"]);
    site.write("config.toml", "[limits]\npanics_max = 1000\n");
    let server = Server::start(&site);
    (site, server)
}

/// Leads a session to the callback `name`. Returns the code that it ends with.
fn provoke(server: &Server, name: &str, more: &str) -> u16 {
    let mut client = server.connect(&format!("/panics?in={name}{more}"));
    match name {
        "message" => client.send("hello"),
        "ping" => client.send(Message::Ping(Default::default())),
        "pong" => client.send(Message::Pong(Default::default())),
        "closing" | "close" | "destroy" => return client.close(1000),
        _ => {}
    }
    client.close_code()
}

#[test]
fn a_panic_in_any_callback_costs_its_own_session_only() {
    let (_site, server) = patient();
    let mut neighbour = server.connect("/panics");
    let mut other = server.connect("/echo");

    for more in ["", "&drop=1"] {
        for (name, code) in [
            ("open", 1011),
            ("message", 1011),
            ("ping", 1011),
            ("pong", 1011),
            ("drain", 1011),
            ("timer", 1011),
            ("answer", 1011),
            ("closing", 1011),
            // The closing handshake is over when these run.
            ("close", 1000),
            ("destroy", 1000),
        ] {
            assert_eq!(provoke(&server, name, more), code, "{name}{more}");
            assert_eq!(
                neighbour.ask("still there?"),
                "still there?",
                "{name}{more}"
            );
            assert_eq!(other.ask("still there?"), "still there?", "{name}{more}");
        }
        let path = format!("/panics?in=handshake{more}");
        assert_eq!(server.handshake_status(&path), 500, "handshake{more}");
    }
    server.line(&["on purpose, in message", "handler=\"panics\""]);
}

#[test]
fn a_member_whose_session_panics_is_gone() {
    let (_site, server) = patient();
    let members = || server.listing()[1]["members"].as_u64();
    let mut stays = server.connect("/panics?enter=stays");
    assert_eq!(stays.text(), "stays has changed");
    for name in ["message", "answer", "timer"] {
        assert_eq!(provoke(&server, name, "&enter=ghost"), 1011);
        assert_eq!(stays.text(), "ghost has changed", "it came");
        assert_eq!(stays.text(), "ghost has changed", "it left");
    }
    assert_eq!(provoke(&server, "open", "&enter=ghost"), 1011);
    assert_eq!(members(), Some(1));
    assert_eq!(stays.ask("still there?"), "still there?");
    assert_eq!(stays.close(1000), 1000);
    crate::harness::eventually("the last has left", || members() == Some(0));
}

#[test]
fn a_panic_beside_the_sessions_costs_its_message_only_and_is_counted() {
    let site = Site::with(&["panics_wsh", "echo_wsh"]);
    site.write(
        "config.toml",
        "[topics.\"panics/*\"]\nhistory = { count = 9 }\n",
    );
    let server = Server::start(&site);
    let mut client = server.connect("/panics?enter=first");
    assert_eq!(client.text(), "first has changed");
    client.send("publish fine");
    assert_eq!(
        [client.text(), client.text()],
        ["publish fine", "it is fine"]
    );

    client.send("publish panics");
    assert_eq!(
        [client.text(), client.text()],
        ["publish panics", "panics"],
        "as it is"
    );
    let silent = server.connect("/panics?enter=panics");
    server.line(&["on purpose, in presence", "handler=\"panics\""]);
    drop(silent);
    client.send("publish still fine");
    assert_eq!(
        [client.text(), client.text()],
        ["publish still fine", "it is still fine"]
    );
    assert_eq!(server.count_lines(&["handler quarantined"]), 0);

    // Three so far; the fifth is one too many.
    for _ in 0..2 {
        client.send("publish panics");
        assert_eq!([client.text(), client.text()], ["publish panics", "panics"]);
    }
    server.line(&["handler quarantined", "handler=panics"]);
    assert_eq!(server.handshake_status("/panics"), 503);
    assert_eq!(server.handshake_status("/echo"), 101);
}

#[test]
fn a_handler_that_panics_too_often_is_out_of_service_and_a_new_file_brings_it_back() {
    let site = Site::with(&["panics_wsh", "echo_wsh"]);
    let server = Server::start(&site);

    for _ in 0..5 {
        assert_eq!(provoke(&server, "message", ""), 1011);
    }

    server.line(&["handler quarantined", "handler=panics"]);
    assert_eq!(server.handshake_status("/panics"), 503);
    assert_eq!(server.handshake_status("/echo"), 101);
    site.add("echo_wsh", "panics_wsh.so");
    crate::harness::eventually("the new file serves", || {
        server.handshake_status("/panics") == 101
    });
}

#[test]
fn a_send_from_another_thread_after_the_end_is_answered_gone() {
    let site = Site::with(&["speaks_later_wsh"]);
    let server = Server::start(&site);
    let mut client = server.connect("/speaks_later");
    client.send("thread");
    assert_eq!(client.text(), "later");
    assert_eq!(client.text(), "later");

    assert_eq!(client.close(1000), 1000);

    server.line(&["send failed: Gone"]);
}

#[test]
fn a_peer_that_does_not_read_holds_the_outbound_limit_and_is_let_go() {
    let site = Site::with(&["speaks_later_wsh"]);
    let server = Server::start(&site);
    let mut neighbour = server.connect("/speaks_later");
    let mut slow = server.connect("/speaks_later");

    slow.send("flood");

    let line = server.line(&["flood ended: TooBig("]);
    let most = line
        .split(") after ")
        .nth(1)
        .and_then(|it| it.split(' ').next());
    let most: u64 = most.and_then(|it| it.parse().ok()).expect("a number");
    assert!((1..=1024 * 1024).contains(&most), "{most} bytes buffered");
    assert_eq!(neighbour.ask("hello"), "hello");
    assert_eq!(slow.close_code(), 1008);
}

/// Sends messages of these lengths, again and again, as fast as the server takes them on one thread, while another reads
/// their echoes.
fn echo_without_reading(config: &str, lengths: &[usize], rounds: usize) {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", config);
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    let mut writer = client.raw_writer();
    let frames = lengths.iter().map(|bytes| frame(0x82, &vec![b'x'; *bytes]));
    let round = frames.collect::<Vec<_>>().concat();
    let sender = std::thread::spawn(move || {
        use std::io::Write;
        for _ in 0..rounds {
            writer
                .write_all(&round)
                .expect("the server goes on reading in the end");
        }
    });

    for _ in 0..rounds {
        for bytes in lengths {
            assert_eq!(client.receive().len(), *bytes);
        }
    }
    sender.join().expect("everything was sent");
}

#[test]
fn an_echo_never_runs_over_a_peer_that_sends_without_reading() {
    // 64 MiB pass although the limit is 1 MiB, and no message is lost.
    echo_without_reading("", &[32 * 1024], 2_000);
}

#[test]
fn an_echo_of_messages_as_large_as_the_outbound_limit_does_not_run_over_either() {
    echo_without_reading("", &[1024 * 1024], 40);
}

#[test]
fn an_echo_of_messages_of_any_length_does_not_run_over_a_limit_that_is_shorter_than_some() {
    let config = "[limits]\nmessage_bytes_max = 10000000\noutbound_bytes_max = 200000\n";
    let lengths = [
        10, 150_000, 90_000, 20, 3_000_000, 30_000, 30_000, 30_000, 250_000, 0,
    ];
    echo_without_reading(config, &lengths, 20);
}

#[test]
fn a_callback_that_blocks_holds_no_other_session_up_and_is_named() {
    let site = Site::with(&["speaks_later_wsh", "echo_wsh"]);
    let server = Server::start(&site);
    let mut blocked = server.connect("/speaks_later");
    let mut others: Vec<Client> = (0..20).map(|_| server.connect("/echo")).collect();

    blocked.send("block");
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < Duration::from_millis(1500) {
        for other in &mut others {
            assert_eq!(other.ask("hello"), "hello");
        }
        rounds += 1;
    }

    assert!(
        rounds > 1,
        "every other session answered more than once meanwhile"
    );
    assert_eq!(server.connect("/echo").ask("new"), "new");
    server.line(&[
        "callback runs past its budget",
        "handler=speaks_later",
        "callback=\"message\"",
    ]);
    assert_eq!(blocked.text(), "done");
}

#[test]
fn a_session_of_each_style_survives_a_hundred_thousand_messages_in_order() {
    let styles = ["echo", "async_echo", "blocking_echo"];
    let site = Site::with(
        &styles
            .map(|style| format!("{style}_wsh"))
            .each_ref()
            .map(|it| &**it),
    );
    let server = Server::start(&site);

    for style in styles {
        let mut client = server.connect(&format!("/{style}"));
        let total = 100_000;
        for first in (0..total).step_by(1_000) {
            for number in first..first + 1_000 {
                client.write(number.to_string());
            }
            client.flush();
            for number in first..first + 1_000 {
                assert_eq!(client.text(), number.to_string(), "{style}");
            }
        }
        assert_eq!(client.close(1000), 1000, "{style}");
    }
}

#[test]
fn a_server_takes_as_many_files_as_the_system_allows() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid()));
    let limits = limits.expect("the server runs");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<&str> = files
        .expect("a limit of files")
        .split_whitespace()
        .collect();
    assert_eq!(numbers[3], numbers[4], "soft and hard: {limits}");
}
