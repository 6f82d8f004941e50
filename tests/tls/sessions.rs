//! Sessions over TLS: what they do as without, at the limits and at the end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use tungstenite::Message;

use super::serve;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::deflating::{Deflating, MODEST_OFFER, NO_TAKEOVER, OFFER, TAKEOVER};
use crate::harness::patch::{build, build_name};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::tls::Tls;
use crate::harness::{eventually, patience};
use crate::migration::answered;

/// Starts a server with this configuration beside that of TLS.
fn configured(plugins: &[&str], c: &[(&str, &str)], config: &str) -> (Site, Tls, Server) {
    let site = Site::with(plugins);
    for (source, file) in c {
        site.add_bytes(&compile(source, &[]), file);
    }
    let tls = Tls::new(&site);
    site.write("config.toml", config);
    let server = tls.builder(&site).start();
    (site, tls, server)
}

#[test]
fn a_publication_reaches_every_session_over_tls_in_order() {
    let (_site, tls, server) = serve(&["features_wsh"]);
    let client = tls.client();
    let mut subscribers: Vec<_> = (0..30)
        .map(|_| {
            let mut session = client.connect(&server, "/features");
            session.send("join news");
            session.send("protocol");
            session.text();
            session
        })
        .collect();
    let mut publisher = client.connect(&server, "/features");

    for number in 0..100 {
        publisher.send(format!("publish news {number}"));
    }

    for session in &mut subscribers {
        for number in 0..100 {
            assert_eq!(session.text(), number.to_string());
        }
    }
}

#[test]
fn compression_is_agreed_on_and_used_over_tls() {
    let (_site, tls, server) = serve(&["echo_wsh"]);
    let numbers: String = (0..500)
        .map(|number| format!("{{\"n\":{number}}},"))
        .collect();
    for (offer, agreed) in [(MODEST_OFFER, NO_TAKEOVER), (OFFER, TAKEOVER)] {
        let (raw, answer) = tls.client().open_raw(&server, "/echo", offer);
        let mut client = Deflating::over(raw, &answer, agreed);
        for _ in 0..3 {
            client.send(&numbers);
            let (first, text, length) = client.receive();
            assert_eq!((first, &text), (0xc1, &numbers));
            assert!(length < numbers.len() / 2, "{length}");
        }
    }
}

#[test]
fn sessions_over_tls_move_to_new_code_with_their_state() {
    let site = Site::empty();
    site.add_bytes(&build("ledger_wsh", 1), "ledger_wsh.so");
    let tls = Tls::new(&site);
    let server = tls.builder(&site).start();
    let mut sessions: Vec<_> = (0..20)
        .map(|_| tls.client().connect(&server, "/ledger"))
        .collect();
    for session in &mut sessions {
        assert_eq!(answered(session, 0), (build_name(1), 0));
    }

    site.add_bytes(&build("ledger_wsh", 2), "ledger_wsh.so");
    server.line(&["sessions moved", "moved=20 drained=0 refused=0"]);

    for session in &mut sessions {
        assert_eq!(answered(session, 1), (build_name(2), 1));
    }
}

#[test]
fn pings_keep_a_session_and_find_a_silent_peer() {
    let config = "[limits]\nping_interval_ms = 100\npong_timeout_ms = 200\n";
    let (_site, tls, server) = configured(&["echo_wsh", "features_wsh"], &[], config);
    let mut lively = tls.client().connect(&server, "/features");
    let (mut silent, _) = tls.client().open_raw(&server, "/echo", "");

    lively.send(Message::Ping("here".into()));
    let mut pings = 0;
    while pings < 6 {
        match lively.try_read().expect("a message") {
            Message::Ping(_) => pings += 1,
            Message::Pong(payload) => assert_eq!(&payload[..], b"here"),
            _ => {}
        }
        lively.flush();
    }
    // Our answers to its Pings were told to the handler, so the session is open.
    server.line(&["session closed", "path=/echo", "pong_timeout_ms"]);
    while silent.frame().is_some() {}
    assert_eq!(server.count_lines(&["session closed", "path=/features"]), 0);
}

#[test]
fn a_peer_that_stops_reading_is_given_up_and_others_go_on() {
    let config = "[limits]\noutbound_timeout_ms = 300\noutbound_bytes_max = 1000000\n";
    let pours = [("tests/fixtures/c/pours.c", "pours_wsh.so")];
    let (_site, tls, server) = configured(&["echo_wsh"], &pours, config);
    let (mut deaf, _) = tls.client().open_raw(&server, "/pours", "");
    let mut other = tls.client().connect(&server, "/echo");

    deaf.send(&frame(0x81, b"begin"));

    server.line(&["session closed", "path=/pours", "outbound_timeout_ms"]);
    assert_eq!(other.ask("still here"), "still here");
}

#[test]
fn a_peer_that_reads_late_gets_everything_in_its_order() {
    for version in [&TLS12, &TLS13] {
        let (_site, tls, server) = serve(&["echo_wsh"]);
        let (mut raw, _) = tls
            .client_of(&[version], None)
            .open_raw(&server, "/echo", "");
        let count = 3_000_u32;
        let message = |number: u32| [&number.to_be_bytes()[..], &[9; 8_000]].concat();
        let (conn, sock) = (&mut raw.stream.conn, &mut raw.stream.sock);
        sock.set_nonblocking(true).expect("no waiting");
        conn.set_buffer_limit(None);
        for number in 0..count {
            let frame = frame(0x82, &message(number));
            conn.writer().write_all(&frame).expect("queueing");
        }
        // The server stops reading while its answers are not read, so that a part of this waits here.
        while conn.wants_write() && conn.write_tls(sock).is_ok() {}
        assert!(conn.wants_write(), "all of it was taken");

        let mut received = Vec::new();
        let began = Instant::now();
        // A frame of the server has a header of four bytes.
        while received.len() < count as usize * 8_008 {
            assert!(began.elapsed() < Duration::from_secs(60) * patience());
            let written = conn.wants_write() && conn.write_tls(sock).is_ok();
            let read = conn.read_tls(sock).is_ok();
            conn.process_new_packets().expect("records");
            let _ = conn.reader().read_to_end(&mut received);
            if !written && !read {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        for (number, frame) in (0..count).zip(received.chunks(8_008)) {
            assert_eq!(frame[..4], [0x82, 126, 0x1f, 0x44]);
            assert!(frame[4..] == message(number), "{number}");
        }
    }
}

#[test]
fn large_messages_go_both_ways_over_tls() {
    let config = "[limits]\nmessage_bytes_max = 67108864\n";
    let (_site, tls, server) = configured(&["echo_wsh"], &[], config);
    for version in [&TLS12, &TLS13] {
        let mut client = tls.client_of(&[version], None).connect(&server, "/echo");
        let bytes: Vec<u8> = (0..64_000_000_u32).map(|at| (at % 251) as u8).collect();
        client.send(Message::binary(bytes.clone()));
        assert!(client.receive() == Message::binary(bytes), "64 MB");
        assert_eq!(client.ask("small"), "small");
    }
}

#[test]
fn a_lost_connection_and_a_half_closed_one_end_the_session() {
    let (_site, tls, server) = serve(&["features_wsh"]);
    // Without a Close frame and without the alert.
    drop(tls.client().connect(&server, "/features").into_stream());
    server.line(&["session closed", "path=/features", "code=1006"]);

    for version in [&TLS12, &TLS13] {
        let client = tls.client_of(&[version], None);
        // The alert alone, with the connection still open. It is an error if the server ends without its own.
        let (mut raw, _) = client.open_raw(&server, "/features", "");
        raw.stream.conn.send_close_notify();
        raw.stream.flush().expect("the alert leaves");
        let mut rest = Vec::new();
        raw.stream
            .read_to_end(&mut rest)
            .expect("the server's alert");
        assert_eq!(rest, b"");

        // Before a request, too.
        let mut socket = client.open(server.port());
        socket.conn.send_close_notify();
        socket.flush().expect("the alert leaves");
        socket.read_to_end(&mut rest).expect("the server's alert");
        assert_eq!(rest, b"");
    }
    eventually("the sessions have ended", || {
        server.count_lines(&["session closed", "code=1006"]) == 3
    });

    // What stands before the alert is still answered.
    let (mut raw, _) = tls.client().open_raw(&server, "/features", "");
    raw.send(&frame(0x81, b"protocol"));
    raw.stream.conn.send_close_notify();
    raw.stream.flush().expect("the alert leaves");
    raw.stream.sock.shutdown(Shutdown::Write).expect("an end");
    assert_eq!(raw.frame().map(|(first, _)| first), Some(0x81));
}

#[test]
fn a_request_in_many_records_is_one_and_a_slow_one_is_refused() {
    let config = "[limits]\nhandshake_timeout_ms = 500\n";
    let (_site, tls, server) = configured(&["echo_wsh"], &[], config);
    let mut socket = tls.client().open(server.port());
    for byte in crate::harness::server::opening("/echo", "").as_bytes() {
        // Each is a record of its own.
        socket.write_all(&[*byte]).expect("sending");
        socket.flush().expect("sending");
    }
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 101");

    let answer = tls
        .client()
        .exchange(&server, b"GET /echo HTTP/1.1\r\nHost: ");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // A handshake that stops halfway cannot be answered, and ends by an alert.
    let mut half = server.raw();
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        .expect("sending");
    let mut alert = Vec::new();
    half.read_to_end(&mut alert).expect("an end");
    assert_eq!(alert, b"\x15\x03\x03\x00\x02\x02\x50");
    server.line(&["handshake refused", "status=408", "`handshake_timeout_ms`"]);
}

#[test]
fn a_handler_that_pauses_hears_of_a_peer_that_has_left() {
    let config = "[limits]\nping_interval_ms = 200\n";
    let (_site, tls, server) = configured(&["features_wsh"], &[], config);
    for version in [&TLS12, &TLS13] {
        let before = server.count_lines(&["session closed"]);
        let (mut raw, _) = tls
            .client_of(&[version], None)
            .open_raw(&server, "/features", "");
        raw.send(&frame(0x81, b"pause 600000"));
        server.line(&["session opened"]);
        raw.send(&frame(0x81, b"protocol"));
        // The alert is all that waits behind what is not read.
        raw.stream.conn.send_close_notify();
        raw.stream.flush().expect("the alert leaves");
        raw.stream.sock.shutdown(Shutdown::Both).expect("an end");
        drop(raw);
        eventually("the session has ended", || {
            server.count_lines(&["session closed"]) > before
        });
    }
}
