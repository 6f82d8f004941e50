//! Slow readers live. Peers that read nothing, silent peers and messages that never end do not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::deflating::{Deflating, NO_TAKEOVER};
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

/// Starts a server whose handler sends without an end.
fn pours(config: &str) -> (Site, Server) {
    let site = Site::empty();
    let bytes = compile("tests/fixtures/c/pours.c", &[]);
    site.add_bytes(&bytes, "pours_wsh.so");
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

/// Opens a socket with a receive buffer of about `buffer` bytes, and asks for the stream.
fn asked(port: u16, buffer_bytes: Option<usize>) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    if let Some(bytes) = buffer_bytes {
        socket.set_recv_buffer_size(bytes).expect("a buffer");
    }
    let server: std::net::SocketAddr = ([127, 0, 0, 1], port).into();
    socket.connect(&server.into()).expect("the server listens");
    let mut stream = TcpStream::from(socket);
    let request = [opening("/pours", "").as_bytes(), &frame(0x81, b"begin")].concat();
    stream.write_all(&request).expect("sending");
    stream
}

/// Reads at this rate for this time. `false` if the server ends the connection.
fn read_steadily(mut stream: TcpStream, bytes_a_second: usize, time: Duration) -> bool {
    let mut buffer = vec![0; bytes_a_second / 20];
    let began = Instant::now();
    for turn in 1.. {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
        if began.elapsed() >= time {
            return true;
        }
        let next = began + Duration::from_millis(50) * turn;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    false
}

#[test]
fn a_slow_reader_lives_and_a_peer_that_reads_nothing_does_not() {
    // The short form is ten times as fast, with a buffer and timeouts to match.
    let (config, buffer, rates, time) = if is_long() {
        ("", None, [2, 10, 40, 200], 100_000)
    } else {
        let config = "[limits]\noutbound_timeout_ms = 1000\nping_interval_ms = 300\n\
                      pong_timeout_ms = 300\n";
        (config, Some(4_096), [20, 40, 200, 400], 2_500)
    };
    let (_site, server) = pours(config);
    let port = server.port();
    let readers = rates.map(|rate| {
        let time = Duration::from_millis(time);
        std::thread::spawn(move || read_steadily(asked(port, buffer), rate * 1_024, time))
    });
    let mut deaf = asked(port, buffer);

    for (reader, rate) in readers.into_iter().zip(rates) {
        let lives = reader.join().expect("it ends");
        assert!(lives, "{rate} KiB/s was ended");
    }

    let closed = server.line(&["session closed", "code=1006"]);
    assert!(closed.contains("session=5") || server.count_lines(&["session closed"]) == 1);
    deaf.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    let mut rest = Vec::new();
    let _ = deaf.read_to_end(&mut rest);
}

#[test]
fn pings_go_by_their_interval_whether_they_are_answered_or_not() {
    let site = Site::with(&["echo_wsh"]);
    site.write(
        "config.toml",
        "[limits]\nping_interval_ms = 200\npong_timeout_ms = 1500\n",
    );
    let server = Server::start(&site);
    let mut silent = Raw::open(&server, "/echo");
    let mut answers = Raw::open(&server, "/echo");

    let began = Instant::now();
    let mut answered = 0;
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(answers.frame(), Some((0x89, Vec::new())));
        answers.send(&frame(0x8a, b""));
        answered += 1;
    }
    // 180 to 220 ms and a tick of the wheel.
    assert!((6..=11).contains(&answered), "{answered}");

    // The silent session was given up 1.5 s after its first Ping, and got every Ping until then.
    let mut pings = 0;
    while let Some((first, _)) = silent.frame() {
        assert_eq!(first, 0x89);
        pings += 1;
    }
    assert!((4..=8).contains(&pings), "{pings}");
    assert!(server.find_line(&["session closed", "code=1006"]).is_some());
    answers.send(&frame(0x81, b"still here"));
    let answer = std::iter::from_fn(|| answers.frame()).find(|(first, _)| *first != 0x89);
    assert_eq!(answer, Some((0x81, b"still here".to_vec())));
}

#[test]
fn a_paused_session_ends_when_its_peer_is_gone_and_lives_while_it_is_there() {
    let site = Site::with(&["features_wsh"]);
    site.write(
        "config.toml",
        "[limits]\nping_interval_ms = 200\npong_timeout_ms = 300\n",
    );
    let server = Server::start(&site);
    let paused = || {
        let mut raw = Raw::open(&server, "/features");
        raw.send(&frame(0x81, b"pause 600000"));
        raw
    };
    let mut stays = paused();
    // A paused session sends Pings only, so every frame is one.
    assert_eq!(stays.frame(), Some((0x89, Vec::new())));

    for last in [&b""[..], &frame(0x81, b"unread"), &frame(0x88, b"\x03\xe8")] {
        let mut leaves = paused();
        assert_eq!(leaves.frame(), Some((0x89, Vec::new())));
        assert_eq!(server.sessions("features"), 2);
        leaves.send(last);
        drop(leaves);
        eventually("the session is over", || server.sessions("features") == 1);
    }

    for _ in 0..3 {
        assert_eq!(stays.frame(), Some((0x89, Vec::new())));
    }
}

#[test]
fn a_message_that_never_ends_is_ended_and_a_slow_one_that_goes_on_is_not() {
    let site = Site::with(&["echo_wsh"]);
    site.write(
        "config.toml",
        "[limits]\nmessage_timeout_ms = 400\nmessage_bytes_max = 1000000\n",
    );
    let server = Server::start(&site);

    // A fragment of one byte at a time, a compressed one, and a frame whose header never ends.
    let mut fragments = Raw::open(&server, "/echo");
    fragments.send(&frame(0x01, b"a"));
    let mut compressed = Deflating::open(&server, "/echo", NO_TAKEOVER);
    let message = compressed.deflate(&"compressed ".repeat(50));
    compressed.raw.send(&frame(0x41, &message[..4]));
    let mut header = Raw::open(&server, "/echo");
    header.send(&frame(0x81, b"hello")[..1]);
    // 256 KiB in one second are enough: as much time again for each 64.
    let mut slow = Raw::open(&server, "/echo");
    let long = frame(0x82, &vec![7; 256 * 1024]);
    for part in long.chunks(long.len() / 10) {
        slow.send(part);
        std::thread::sleep(Duration::from_millis(100));
        let _ = fragments.stream.write_all(&frame(0x00, b"b"));
    }

    assert_eq!(
        slow.frame().map(|(_, payload)| payload.len()),
        Some(256 * 1024)
    );
    for mut raw in [fragments, compressed.raw, header] {
        let (first, body) = raw.frame().expect("a Close frame");
        assert_eq!((first, &body[..2]), (0x88, &1008u16.to_be_bytes()[..]));
    }

    // Messages that each end in time may be cut anywhere.
    let mut cut = Raw::open(&server, "/echo");
    let message = frame(0x81, b"hello");
    cut.send(&message[..4]);
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(100));
        cut.send(&[&message[4..], &message[..4]].concat());
        assert_eq!(cut.frame(), Some((0x81, b"hello".to_vec())));
    }

    // This server takes a message that comes in two parts in time.
    let mut prompt = Raw::open(&server, "/echo");
    for message in [frame(0x01, b"hel"), frame(0x80, b"lo")] {
        prompt.send(&message);
    }
    assert_eq!(prompt.frame(), Some((0x81, b"hello".to_vec())));
    std::thread::sleep(Duration::from_millis(600));
    prompt.send(&frame(0x81, b"again"));
    assert_eq!(prompt.frame(), Some((0x81, b"again".to_vec())));
}

#[test]
fn what_a_slow_link_still_carries_arrives_before_the_close() {
    let (_site, server) = pours("[limits]\nclose_timeout_ms = 500\n");
    let mut slow = asked(server.port(), Some(4_096));
    eventually("the queue is full", || {
        server.find_line(&["handler answers"]).is_some()
    });
    std::thread::sleep(Duration::from_millis(200));

    server.signal("TERM");

    // Reading what is on its way takes about two seconds, and the Close comes last.
    let mut read = Vec::new();
    let mut buffer = vec![0; 100_000];
    loop {
        match slow.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => read.extend_from_slice(&buffer[..length]),
        }
        if read.ends_with(&[0x88, 2, 0x03, 0xe9]) {
            return;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    panic!("no Close after {} bytes", read.len());
}
