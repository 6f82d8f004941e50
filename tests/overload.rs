//! What hostile sessions can hold of the server's memory, and what it does when its memory is nearly spent.

use std::io::Write;

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

/// The memory of a process, in bytes.
fn resident_bytes(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.expect("the process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|it| it.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<usize>().ok())
        .expect("a number")
        * 1024
}

#[test]
fn hostile_sessions_hold_no_more_than_the_budget_and_a_healthy_one_is_served() {
    let hostile = if is_long() { 1_000 } else { 120 };
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nbuffered_bytes_max = 16000000\n");
    let server = Server::start(&site);
    let mut healthy = server.connect("/echo");
    assert_eq!(healthy.ask("before"), "before");
    let before = resident_bytes(&server);

    // Half of them send nearly all of a message, the others read nothing of what they ask for.
    let incomplete = &frame(0x82, &[7; 1_000_000])[..900_000];
    let unread = frame(0x82, &[7; 900_000]);
    let mut sessions = Vec::new();
    for n in 0..hostile {
        let mut raw = Raw::open(&server, "/echo");
        let timeout = Some(std::time::Duration::from_millis(300));
        raw.stream.set_write_timeout(timeout).expect("a timeout");
        // The server may end it while it sends, or not read all of it.
        let _ = match n % 2 {
            0 => raw.stream.write_all(incomplete),
            _ => raw.stream.write_all(&unread.repeat(8)[..]),
        };
        sessions.push(raw);
        assert_eq!(healthy.ask("meanwhile"), "meanwhile");
    }

    let grown = resident_bytes(&server).saturating_sub(before);
    // What the C library and the pools of threads keep comes on top.
    assert!(
        grown < 80_000_000,
        "{grown} bytes more for {hostile} sessions"
    );
    let ended = || server.count_lines(&["session closed", "cause=buffered_bytes_max"]);
    eventually("some were ended", || ended() > 0);
    let told = sessions.iter_mut().step_by(2).last().expect("a session");
    assert_eq!(told.close_code(), 1013);

    drop(sessions);
    eventually("they are gone", || server.sessions("echo") == 1);
    // There is room again.
    healthy.send(vec![7; 1_000_000]);
    assert_eq!(healthy.receive().len(), 1_000_000);
}

fn eats(config: &str) -> (Site, Server) {
    let site = Site::with(&["echo_wsh"]);
    let bytes = compile("tests/fixtures/c/eats.c", &[]);
    site.add_bytes(&bytes, "eats_wsh.so");
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

/// Lets the handler take memory until the server's is at so many percent of 400 MB.
fn eat_up_to(server: &Server, eater: &mut crate::harness::client::Client, percent: usize) {
    let wanted = 4_000_000 * percent;
    let more = wanted.saturating_sub(resident_bytes(server)) >> 20;
    assert_eq!(eater.ask(&(more + 1).to_string()), "done");
}

#[test]
fn a_server_near_its_limit_of_memory_refuses_new_sessions_and_recovers() {
    let (site, server) = eats("");
    let mut eater = server.connect("/eats");
    let mut open = server.connect("/echo");
    let ready = || {
        server
            .exchange(b"GET /.wshd/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    };
    assert!(ready().starts_with("HTTP/1.1 200"));
    site.write("config.toml", "[limits]\nmemory_bytes_max = 400000000\n");
    server.line(&["configuration applied"]);

    eat_up_to(&server, &mut eater, 87);
    server.line(&[
        "overload has changed",
        "level=refuse_new",
        "limit=400000000",
    ]);
    let answer = server.exchange(crate::harness::server::opening("/echo", "").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    assert!(ready().starts_with("HTTP/1.1 503"));
    assert_eq!(open.ask("still served"), "still served");

    assert_eq!(eater.ask("0"), "done");
    server.line(&["overload has changed", "level=normal"]);
    assert_eq!(server.handshake_status("/echo"), 101);
    assert!(ready().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_server_whose_memory_is_spent_closes_sessions_until_it_is_not() {
    let (_site, server) = eats("[limits]\nmemory_bytes_max = 400000000\n");
    let mut eater = server.connect("/eats");
    // Older than the others, and with most of a message.
    let mut holder = Raw::open(&server, "/echo");
    holder.send(&[frame(0x02, &[7; 800_000]), frame(0x89, b"come?")].concat());
    assert_eq!(holder.frame().map(|(first, _)| first), Some(0x8a));
    let mut newest = Vec::new();
    for _ in 0..5 {
        newest.push(server.connect("/echo"));
    }

    eat_up_to(&server, &mut eater, 97);

    server.line(&["overload has changed", "level=close"]);
    assert_eq!(newest.pop().expect("the newest").close_code(), 1013);
    assert_eq!(holder.close_code(), 1013);
    let first = server.line(&["session closed", "code=1013 cause=memory_bytes_max"]);
    assert!(first.contains("session=2 "), "{first}");
    let counted = |page: &str| {
        let line = page
            .lines()
            .find(|line| line.starts_with("wshd_limits_hit_total{limit=\"memory_bytes_max\"}"));
        line.is_some_and(|line| !line.ends_with(" 0"))
    };
    let ask = b"GET /.wshd/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(counted(&server.exchange(ask)));
}
