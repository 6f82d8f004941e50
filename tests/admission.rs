//! Connections are limited. One that only takes a permit keeps no other out.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::harness::server::{Server, opening};
use crate::harness::site::Site;
use crate::harness::{eventually, is_long, within};

/// Starts a server with this configuration and a limit of open files.
fn server(config: &str, open_files: u32) -> (Site, Server) {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    site.write("config.toml", config);
    let mut shell = Command::new("sh");
    let limited = format!("ulimit -n {open_files} && exec \"$@\"");
    shell.args(["-c", &limited, "sh"]);
    let server = Server::builder(&site).within(shell).start();
    (site, server)
}

/// Opens connections that send `said` and then nothing.
fn connections(server: &Server, count: usize, said: &[u8]) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = server.raw();
        // A connection that gave way meanwhile is closed.
        let _ = stream.write_all(said);
        stream
    };
    (0..count).map(connect).collect()
}

/// Whether the server has closed, even if bytes before the end are unread.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("non-blocking");
    let closed = !matches!(stream.read(&mut [0; 512]), Err(error)
        if error.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).expect("blocking");
    closed
}

#[test]
fn connections_that_say_nothing_or_half_a_request_give_way_to_those_that_ask() {
    let (max, rounds) = if is_long() { (1024, 40) } else { (16, 10) };
    let config = format!("[limits]\npending_handshakes_max = {max}\n");
    let (_site, server) = server(&config, 4096);
    let mut session = server.connect("/echo");
    let half = opening("/echo", "");
    for said in [&b""[..], b"G", &half.as_bytes()[..half.len() - 2]] {
        let mut held = connections(&server, max + 76, said);
        for _ in 0..rounds {
            held.extend(connections(&server, max / 8, said));
            assert_eq!(server.handshake_status("/echo"), 101, "{said:?}");
        }

        let oldest = held.iter_mut().take(max / 2);
        let oldest: Vec<&mut TcpStream> = oldest.collect();
        for stream in oldest {
            eventually("the oldest are closed", || is_closed(stream));
        }
        let newest = held.last_mut().expect("there are some");
        assert!(!is_closed(newest), "the newest is not");
    }
    assert_eq!(session.ask("still there"), "still there");
    server.line(&["WARN", "closed for a new one", "pending_handshakes_max"]);
}

#[test]
fn a_handshake_that_waits_for_its_handler_gives_no_way() {
    let config = "[limits]\npending_handshakes_max = 4\nhandshake_timeout_ms = 60000\n";
    let (_site, server) = server(config, 4096);
    let mut waiting = connections(
        &server,
        1,
        opening("/features?handshake=never", "").as_bytes(),
    );
    server.line(&["handler=features"]);
    eventually("its handler is asked", || server.sessions("features") == 1);

    let mut silent = connections(&server, 40, b"");
    // Otherwise the next request may be read before these connections, and give way to them.
    eventually("all but three have given way", || {
        silent.iter_mut().map(is_closed).filter(|it| *it).count() == 37
    });

    assert_eq!(server.handshake_status("/echo"), 101);
    assert_eq!(server.sessions("features"), 1);
    assert!(!is_closed(&mut waiting[0]));
    // No connection could give way, so the new one gets a 503.
    let more = opening("/features?handshake=never", "");
    eventually("four wait", || {
        // A connection whose request was not read in time has given way.
        waiting.extend(connections(&server, 1, more.as_bytes()));
        server.handshake_status("/echo") == 503
    });
    server.line(&["handshake refused", "status=503", "pending_handshakes_max"]);
}

#[test]
fn connections_that_keep_their_answer_open_give_way_at_the_limit_of_connections() {
    let (_site, server) = server("[limits]\nconnections_max = 20\n", 4096);
    let mut session = server.connect("/echo");

    for said in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "nonsense\r\n\r\n",
        "",
    ] {
        let _held = connections(&server, 60, said.as_bytes());
        for _ in 0..10 {
            assert_eq!(server.handshake_status("/echo"), 101, "{said:?}");
        }
    }

    assert_eq!(session.ask("still there"), "still there");
    // Sessions do not give way.
    let sessions: Vec<_> = (0..19).map(|_| server.connect("/echo")).collect();
    assert_eq!(server.handshake_status("/echo"), 503);
    assert_eq!(sessions.len(), 19);
    assert_eq!(session.ask("still there"), "still there");
}

#[test]
fn few_descriptors_leave_handlers_sessions_and_new_connections_as_they_are() {
    let (site, server) = server("", 256);
    let line = server.line(&["the limit of open files allows fewer connections"]);
    assert!(
        line.contains(" INFO ")
            && line.contains("connections_max=65536")
            && line.contains("open_files=256"),
        "{line}"
    );
    let mut session = server.connect("/echo");

    let mut held = connections(&server, 400, b"");
    for round in 0..10 {
        held.extend(connections(&server, 20, b""));
        assert_eq!(server.handshake_status("/echo"), 101, "round {round}");
    }
    // The control road has the descriptors that it needs.
    site.add("echo_wsh", "more_wsh.so");
    within(Duration::from_secs(3), "a new handler is served", || {
        server.handshake_status("/more") == 101
    });

    assert_eq!(session.ask("still there"), "still there");
    for lost in ["handler removed", "cannot be read", "cannot accept"] {
        assert_eq!(server.find_line(&[lost]), None);
    }
}

#[test]
fn the_number_of_connections_that_the_limit_of_open_files_allows_is_told_again_when_it_changes() {
    let (site, server) = server("[limits]\nconnections_max = 50\n", 256);
    assert_eq!(server.find_line(&["limit of open files"]), None);

    site.write("config.toml", "[limits]\nconnections_max = 5000\n");

    server.line(&["WARN", "limit of open files", "connections_max=5000"]);
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_the_system_allows() {
    let site = Site::with(&["echo_wsh"]);
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "ulimit -Sn 300 && ulimit -Hn 3000 && exec \"$@\"",
        "sh",
    ]);
    let server = Server::builder(&site).within(shell).start();

    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid()));
    let limits = limits.expect("the server runs");
    let open_files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words = open_files.map(|line| line.split_whitespace().skip(3).collect::<Vec<_>>());
    assert_eq!(words, Some(vec!["3000", "3000", "files"]));
    server.line(&["limit of open files", "open_files=3000"]);
}

#[test]
fn descriptors_that_something_else_has_taken_are_made_up_for_by_silent_connections() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut session = server.connect("/echo");
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid()));
    let limit = open.expect("the server runs").count() + 8;
    // As if a handler had opened all the others.
    let limited = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string()])
        .arg(format!("--nofile={limit}:{limit}"))
        .status();
    assert!(limited.expect("prlimit of util-linux runs").success());

    let mut held = connections(&server, 40, b"");
    for round in 0..5 {
        held.extend(connections(&server, 4, b""));
        assert_eq!(server.handshake_status("/echo"), 101, "round {round}");
    }

    server.line(&["WARN", "cannot accept"]);
    assert_eq!(session.ask("still there"), "still there");
}
