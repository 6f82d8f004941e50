//! Many peers at once that say little, nothing, or something wrong. A healthy client beside them notices nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::limits::{WithoutDescriptors, bound};
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::{eventually, is_long, within};

/// Starts a server of an echo with this configuration, at the level of logs that it is shipped with.
fn server(config: &str) -> (Site, Server) {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", config);
    let server = Server::bare(&site).args(["-p", "0", "-w", "handlers"]);
    (site, server.start())
}

/// Runs a flood, while a session echoes and new sessions are opened.
#[track_caller]
fn beside_a_healthy_client(server: &Server, flood: impl FnOnce()) {
    /// Ends the healthy client's work, also where the flood fails.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let healthy = scope.spawn(|| {
            let mut session = server.connect("/echo");
            let mut echoes = 0;
            while !is_over.load(Ordering::Relaxed) || echoes == 0 {
                assert_eq!(session.ask("still here?"), "still here?");
                assert_eq!(server.connect("/echo").ask("and new?"), "and new?");
                echoes += 1;
                thread::sleep(Duration::from_millis(20));
            }
        });
        let over = Over(&is_over);
        flood();
        drop(over);
        healthy.join().expect("the healthy client notices nothing");
    });
}

/// Reads what has come without waiting. `None` while the server has not closed and nothing came.
fn come(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 512];
    stream.set_nonblocking(true).expect("non-blocking");
    let read = stream.read(&mut bytes);
    stream.set_nonblocking(false).expect("blocking");
    match read {
        Ok(length) => {
            bytes.truncate(length);
            Some(bytes)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(_) => Some(Vec::new()),
    }
}

#[test]
fn peers_that_send_a_byte_in_a_while_get_no_more_time_and_one_that_sends_on_does() {
    // With the defaults of the server the long form takes a byte a second of each, until all are closed.
    let (peers, timeout_ms, pause) = match is_long() {
        true => (1_000, 10_000, Duration::from_secs(1)),
        false => (100, 2_000, Duration::from_millis(100)),
    };
    let (_site, server) = server(&format!(
        "[limits]\nhandshake_timeout_ms = {timeout_ms}\nheader_bytes_per_s_min = 500\n"
    ));
    let resident = server.proc_status("VmRSS");
    let pieces = usize::try_from(timeout_ms).expect("it is small") * 13
        / 10
        / usize::try_from(pause.as_millis()).expect("it is small");
    // Whatever the pause is, the steady peer sends 700 bytes a second.
    let piece = usize::try_from(pause.as_millis()).expect("it is small") * 7 / 10;
    let value = "x".repeat(pieces * piece);
    let request = opening("/echo", &format!("X: {value}\r\n"));
    let (first, last) = request.as_bytes().split_at(request.len() - value.len() - 4);

    beside_a_healthy_client(&server, || {
        let mut steady = server.raw();
        steady.write_all(first).expect("sending");
        let mut slow: Vec<TcpStream> = (0..peers).map(|_| server.raw()).collect();
        let began = Instant::now();
        for (at, sent) in last[..last.len() - 4].chunks(piece).enumerate() {
            steady.write_all(sent).expect("it is not closed");
            for stream in &mut slow {
                // The server may have closed.
                let _ = stream.write_all(&first[at..=at]);
            }
            // A pause that the system makes longer shortens the next ones.
            let due = began + pause * (at as u32 + 1);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        // With time of its own for each byte a peer would have twice as much from now.
        let told = Duration::from_millis(timeout_ms / 2);
        within(told, "each is told that it is too slow", || {
            slow.retain_mut(|it| !come(it).is_some_and(|it| it.starts_with(b"HTTP/1.1 408 ")));
            slow.is_empty()
        });
        let answer = Server::exchange_over(steady, &last[last.len() - 4..]);
        assert_eq!(status_of(&answer), 101, "{answer}");
    });

    let grown = server.proc_status("VmRSS").saturating_sub(resident);
    assert!(grown < 16 * 1024, "{grown} KiB");
    let refused = server.count_lines(&["handshake refused", "status=408"]);
    assert!((1..=peers.min(60)).contains(&refused), "{refused} lines");
}

#[test]
fn peers_that_say_nothing_are_closed_in_time_and_take_no_line_of_the_log() {
    let (peers, timeout_ms) = if is_long() {
        (1_000, 10_000)
    } else {
        (200, 1_000)
    };
    let (_site, server) = server(&format!("[limits]\nhandshake_timeout_ms = {timeout_ms}\n"));
    beside_a_healthy_client(&server, || {
        let mut silent: Vec<TcpStream> = (0..peers).map(|_| server.raw()).collect();
        for stream in &mut silent {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("it is closed");
            assert_eq!(answer, b"", "a peer that says nothing is told nothing");
        }
    });
    let lines = server.lines(&["peer="]);
    let others = lines.iter().filter(|line| !line.contains("session closed"));
    let others: Vec<&String> = others
        .filter(|line| !line.contains("session opened"))
        .collect();
    assert_eq!(others, Vec::<&String>::new());
}

#[test]
fn heads_that_are_too_large_are_answered_at_once_however_many_come() {
    let times = if is_long() { 1_000 } else { 30 };
    let (_site, server) = server("");
    let long_line = opening("/echo", &format!("X: {}\r\n", "x".repeat(1 << 20)));
    let many_lines: String = (0..10_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many_lines = opening("/echo", &many_lines);
    let long_target = opening(&format!("/echo?{}", "x".repeat(64 << 10)), "");
    let resident = server.proc_status("VmRSS");

    beside_a_healthy_client(&server, || {
        for (request, status) in [(long_line, 431), (many_lines, 431), (long_target, 414)] {
            for _ in 0..times {
                let mut stream = server.raw();
                // The server closes before it has read all.
                let _ = stream.write_all(request.as_bytes());
                let answer = Server::exchange_over(stream, b"");
                assert_eq!(status_of(&answer), status, "{answer}");
            }
        }
    });

    let grown = server.proc_status("VmRSS").saturating_sub(resident);
    assert!(grown < 16 * 1024, "{grown} KiB");
}

/// Opening handshakes of which each breaks one rule of RFC 6455 §4.2.1 or of HTTP, with the status that each gets.
fn broken_handshakes() -> Vec<(String, u16)> {
    let right = opening("/echo", "");
    let changed = |from: &str, to: &str| {
        assert!(right.contains(from), "{from}");
        right.replacen(from, to, 1)
    };
    let mut broken = Vec::new();
    for version in (0..=255).filter(|version| *version != 13) {
        broken.push((changed("Version: 13", &format!("Version: {version}")), 426));
    }
    for length in (0..=40).filter(|length| *length != 24) {
        let key = "A".repeat(length);
        broken.push((changed("dGhlIHNhbXBsZSBub25jZQ==", &key), 400));
    }
    for key in [
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ= ",
        "dGhlIHNhbXBsZSBub25jZ===",
        "!GhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZR==",
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        broken.push((changed("dGhlIHNhbXBsZSBub25jZQ==", key), 400));
    }
    for line in [
        "Host: localhost\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Version: 13\r\n",
    ] {
        broken.push((changed(line, ""), 400));
        broken.push((changed(line, &line.repeat(2)), 400));
    }
    for method in ["POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "get", "PRI"] {
        broken.push((changed("GET", method), 400));
    }
    for (version, status) in [
        ("HTTP/1.0", 400),
        ("HTTP/0.9", 505),
        ("HTTP/2.0", 505),
        ("HTTP/1.2", 505),
        ("HTTPS/1.1", 400),
    ] {
        broken.push((changed("HTTP/1.1", version), status));
    }
    for line in [
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "X : 1\r\n",
        " X: 1\r\n",
        "X\r\n",
        ": 1\r\n",
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X: a\nb\r\n",
    ] {
        broken.push((opening("/echo", line), 400));
    }
    broken
}

#[test]
fn each_of_three_hundred_broken_handshakes_gets_its_status_once_and_no_session() {
    let (_site, server) = server("");
    let broken = broken_handshakes();
    assert!(broken.len() >= 300, "{}", broken.len());

    beside_a_healthy_client(&server, || {
        let behind = opening("/echo", "");
        let mut wrong = Vec::new();
        for (request, status) in &broken {
            let answer = server.exchange(format!("{request}{behind}").as_bytes());
            let has_version = answer.contains("\r\nSec-WebSocket-Version: 13\r\n");
            let is_right = status_of(&answer) == *status
                && answer.matches("HTTP/1.1 ").count() == 1
                && has_version == (*status == 426);
            if !is_right {
                wrong.push(format!("{status} is due for {request:?}, not {answer:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });

    eventually("all but the healthy client's sessions are over", || {
        server.sessions("echo") == 0
    });
}

/// Opens 400 sessions as far as the server lets them in. Returns those, and the statuses of the others.
fn four_hundred(server: &Server) -> (Vec<Raw>, Vec<u16>) {
    let request = opening("/echo", "");
    let mut refused = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..400 {
        let stream = server.raw();
        let kept = stream.try_clone().expect("a clone of a socket");
        match status_of(&Server::exchange_over(stream, request.as_bytes())) {
            101 => sessions.push(Raw { stream: kept }),
            status => refused.push(status),
        }
    }
    (sessions, refused)
}

/// Whether a session echoes.
#[track_caller]
fn echoes(session: &mut Raw) {
    session.send(&frame(0x81, b"here?"));
    assert_eq!(session.frame(), Some((0x81, b"here?".to_vec())));
}

#[test]
fn four_hundred_clients_of_256_descriptors_are_served_or_told_to_come_back() {
    let site = Site::with(&["echo_wsh"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 256 && exec \"$@\"", "sh"]);
    let server = Server::bare(&site).args(["-p", "0", "-w", "handlers"]);
    let server = server.within(shell).start();

    for _ in 0..3 {
        let began = Instant::now();
        let (mut sessions, refused) = four_hundred(&server);
        assert!(sessions.len() >= 100, "{}", sessions.len());
        assert!(refused.iter().all(|status| *status == 503), "{refused:?}");
        sessions.iter_mut().for_each(echoes);
        let seconds = usize::try_from(began.elapsed().as_secs()).expect("it is small") + 1;
        let lines = server.count_lines(&["handshake"]) + server.count_lines(&["accept"]);
        assert!((1..=3 * seconds + 3).contains(&lines), "{}", server.log());

        drop(sessions);
        eventually("a new client is let in", || {
            server.handshake_status("/echo") == 101
        });
    }
    assert_eq!(server.find_line(&["cannot accept"]), None);
}

#[test]
fn without_descriptors_sessions_go_on_and_clients_that_wait_are_served_afterwards() {
    let site = Site::with(&["echo_wsh"]);
    let server = bound(Server::bare(&site).args(["-p", "0", "-w", "handlers"])).start();
    let mut session = server.connect("/echo");
    let none = WithoutDescriptors::begin(&server);

    let request = opening("/echo", "");
    let mut waiting: Vec<TcpStream> = (0..40).map(|_| server.raw()).collect();
    for stream in &mut waiting {
        stream.write_all(request.as_bytes()).expect("sending");
    }
    server.line(&["cannot accept"]);
    let (began, ticks) = (Instant::now(), server.processor_ticks());
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(session.ask("still there"), "still there");
        thread::sleep(Duration::from_millis(50));
    }
    let ticks = server.processor_ticks() - ticks;
    let hundredths = began.elapsed().as_millis() / 10;
    assert!(
        u128::from(ticks) * 5 < hundredths,
        "{ticks} of {hundredths}"
    );
    assert_eq!(server.count_lines(&["cannot accept"]), 1);
    for stream in &mut waiting {
        assert_eq!(come(stream), None, "it waits");
    }

    if !none.end() {
        return;
    }
    for stream in waiting {
        assert_eq!(status_of(&Server::exchange_over(stream, b"")), 101);
    }
    assert_eq!(session.ask("still there"), "still there");
}
