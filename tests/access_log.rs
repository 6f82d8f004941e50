//! The line of each session that is over: what it says, in which format, and where it goes.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::eventually;
use crate::harness::server::{Builder, Server};
use crate::harness::site::Site;

/// A server that finds its configuration in the site, and no format in its environment.
fn bare(site: &Site) -> Builder {
    Server::bare(site)
        .args(["-p", "0", "-w", "handlers"])
        .env("WSHD_ACCESS_LOG_FORMAT", "")
}

/// Waits for a line of a file that contains all of `parts`.
#[track_caller]
fn line_in(path: &Path, parts: &[&str]) -> String {
    let mut found = None;
    eventually(&format!("{parts:?} in {}", path.display()), || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        let line = lines.find(|line| parts.iter().all(|part| line.contains(part)));
        found = line.map(str::to_owned);
        found.is_some()
    });
    found.expect("it was found")
}

/// Reads a line of JSON.
#[track_caller]
fn read(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn the_line_of_a_session_says_who_ended_it_and_what_passed_as_json_off_a_terminal() {
    let site = Site::with(&["features_wsh"]);
    let server = bare(&site).start();
    let mut peer = Raw::open(&server, "/features");
    let sent = [
        frame(0x81, b"one"),
        frame(0x01, b"two "),
        frame(0x89, b""),
        frame(0x80, b"parts"),
    ]
    .concat();
    peer.send(&sent);
    for _ in 0..3 {
        peer.frame().expect("an echo or a Pong");
    }
    let closing = frame(0x88, &4000_u16.to_be_bytes());
    peer.send(&closing);
    assert_eq!(peer.close_code(), 4000);
    server
        .connect("/features")
        .send(tungstenite::Message::text("close 1000 enough"));
    drop(Raw::open(&server, "/features"));

    server.says(&["session closed"], 3);
    let mut lines: Vec<Value> = server
        .lines(&["session closed"])
        .iter()
        .map(|it| read(it))
        .collect();
    lines.sort_by_key(|line| line["session"].as_u64());
    let first = &lines[0];
    assert_eq!(
        (&first["level"], &first["message"], &first["path"]),
        (
            &"INFO".into(),
            &"session closed".into(),
            &"/features".into()
        )
    );
    assert_eq!(
        (&first["code"], &first["cause"], &first["closed_by"]),
        (&4000.into(), &"peer_closed".into(), &"peer".into())
    );
    assert_eq!(first["messages_in"], 2);
    // The handler also tells of the Ping.
    assert_eq!(first["messages_out"], 3);
    assert_eq!(first["bytes_in"], (sent.len() + closing.len()) as u64);
    assert!(first["time"].as_str().is_some_and(|it| it.ends_with('Z')));
    let ends: Vec<_> = lines.iter().map(|line| &line["closed_by"]).collect();
    assert_eq!(ends, ["peer", "handler", "network"]);
    // Every other line is text for people.
    server.line(&["INFO listening address="]);
}

#[test]
fn formats_and_the_file_of_the_access_log_apply_at_once() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "access_log_format = \"text\"\n");
    let server = bare(&site).start();
    let close = || {
        server.connect("/echo").close(1000);
    };
    close();
    server.line(&["INFO session closed session=1 "]);

    site.write("config.toml", "log_format = \"json\"\n");
    server.line(&["\"message\":\"configuration applied\""]);
    close();
    let line = server.line(&["\"message\":\"session closed\""]);
    assert_eq!(read(&line)["session"], 2);

    let file = site.root().join("access.log");
    site.write("config.toml", "access_log_file = \"access.log\"\n");
    server.line(&["INFO configuration applied"]);
    close();
    assert_eq!(read(&line_in(&file, &["session closed"]))["session"], 3);
    // A program that rotates logs has moved it.
    fs::rename(&file, site.root().join("moved.log")).expect("renaming");
    server.signal("USR1");
    eventually("the file is made again", || file.exists());
    close();
    assert_eq!(read(&line_in(&file, &["session closed"]))["session"], 4);

    let lines =
        "access_log_file = \"access.log\"\naccess_log_format = \"text\"\nlog_file_bytes_max = 1\n";
    site.write("config.toml", lines);
    eventually("the full file is renamed", || {
        close();
        site.root().join("access.log.1").exists()
    });
    line_in(&file, &["INFO session closed session="]);
    // None of these lines is in the log as well.
    assert_eq!(server.count_lines(&["session closed"]), 2);
    site.write("config.toml", "access_log_file = \"nowhere/access.log\"\n");
    server.line(&["cannot open the access log file", "nowhere"]);
}

#[test]
fn nothing_that_a_peer_sends_makes_a_second_line_or_steers_a_terminal() {
    let site = Site::with(&["features_wsh"]);
    site.write(
        "config.toml",
        "trusted_proxies = [\"loopback\"]\n[routes]\n\"/rooms/{*room}\" = \"/features\"\n",
    );
    // CR, LF, ESC, a C1 control, a right-to-left override, a line separator, and bytes that are no UTF-8.
    let path = "/rooms/a%0D%0Ab%1B%5B31m%C2%9B%E2%80%AE%E2%80%A8%22%5Cz";
    let decoded = "/rooms/a\r\nb\u{1b}[31m\u{9b}\u{202e}\u{2028}\"\\z";
    let odd = b"x\xc2\x9b\xe2\x80\xae\xe2\x80\xa8\xff\"\\y";
    for format in ["text", "json"] {
        let server = bare(&site)
            .args(["--log-level", "debug", "--log-format", format])
            .args(["--access-log-format", format])
            .start();
        let before = server.log().lines().count();
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUser-Agent: "
        )
        .into_bytes();
        request.extend_from_slice(odd);
        for name in [
            "\r\nForwarded: for=",
            "\r\nX-Forwarded-For: ",
            "\r\ntraceparent: ",
        ] {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(odd);
        }
        request.extend_from_slice(b"\r\n\r\n");
        let mut peer = Raw {
            stream: server.raw(),
        };
        peer.send(&request);
        peer.skip_head();
        peer.send(&frame(
            0x88,
            &[&1000_u16.to_be_bytes()[..], "\r\n\u{1b}".as_bytes()].concat(),
        ));
        peer.close_code();

        server.line(&["session closed"]);
        let log = server.log();
        for line in log.lines().skip(before) {
            let steers = |it: char| it.is_control() || matches!(it, '\u{202e}' | '\u{2028}');
            assert!(!line.contains(steers), "{line:?}");
            match format {
                "json" => drop(read(line)),
                _ => assert!(line.get(10..11) == Some("T"), "{line}"),
            }
        }
        if format == "json" {
            let closed = read(&server.line(&["session closed"]));
            assert_eq!(closed["path"], decoded);
            let opened = read(&server.line(&["session opened"]));
            let shown = String::from_utf8_lossy(odd).into_owned();
            assert_eq!(opened["user_agent"], shown);
        }
    }
}

#[test]
fn a_trace_shows_in_the_lines_of_its_session_and_of_its_handler_and_reaches_the_handler() {
    let site = Site::with(&["features_wsh", "blocking_streams_wsh"]);
    let server = Server::start(&site);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [
        ("traceparent", parent.as_str()),
        ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
    ];
    let shown = format!("trace={trace}");

    Client::connect(server.port(), "/features", &headers).close(1000);
    let mut blocking = Client::connect(server.port(), "/blocking_streams", &headers);
    blocking.send("log");
    Client::connect(server.port(), "/features", &[("traceparent", "00-0-0-0")]).close(4000);

    server.line(&["session opened", "path=/features", &shown]);
    server.line(&["session closed", "path=/features", "code=1000", &shown]);
    // A handler's line in a callback, and one of a thread that says which session it is about.
    server.line(&["ended by", "handler=\"features\"", &shown]);
    server.line(&["a line of the function", &shown]);
    let other = server.line(&["session closed", "code=4000"]);
    assert!(!other.contains("trace="), "{other}");
    drop(blocking);
}

#[test]
fn a_trace_shows_in_the_line_of_a_request_that_is_refused() {
    let site = Site::with(&["features_wsh"]);
    let server = Server::start(&site);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let ask = |path: &str, parent: &str| {
        let header = format!("traceparent: {parent}\r\n");
        server.exchange(crate::harness::server::opening(path, &header).as_bytes())
    };

    // Before its handler is found, by the rules of the handshake, and by the handler itself, in three ways.
    for (path, status, shown) in [
        ("/nothing", " 404 ", "path=/nothing"),
        ("/features?handshake=reject", " 418 ", "status=418"),
        ("/features?handshake=fail", " 500 ", "status=500"),
        ("/features?handshake=abort", "", "the handler aborts"),
    ] {
        let answer = ask(path, &format!("00-{trace}-00f067aa0ba902b7-01"));
        assert!(answer.contains(status), "{answer}");
        let line = server.line(&["handshake refused", shown]);
        assert!(line.contains(&format!("trace={trace}")), "{line}");
    }

    assert!(ask("/other", "00-0-0-0").contains(" 404 "));
    let other = server.line(&["handshake refused", "path=/other"]);
    assert!(!other.contains("trace="), "{other}");
}
