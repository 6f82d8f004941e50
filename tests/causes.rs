//! Why a session ended: what the peer is told, and what the log says.

use std::io::Write;
use std::time::Duration;

use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::deflating::{Deflating, NO_TAKEOVER};
use crate::harness::eventually;
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;

fn features(config: &str) -> (Site, Server) {
    let site = Site::with(&["features_wsh", "speaks_later_wsh", "panics_wsh"]);
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

/// Reads until a Close frame. Returns its code and its reason.
#[track_caller]
fn close(raw: &mut Raw) -> (u16, String) {
    loop {
        match raw.frame().expect("a Close frame") {
            (0x88, body) => {
                let (code, reason) = body.split_at(2);
                let code = u16::from_be_bytes([code[0], code[1]]);
                return (code, String::from_utf8_lossy(reason).into_owned());
            }
            (first, _) => assert_ne!(first & 0x0f, 0x08),
        }
    }
}

fn closing(code: u16, reason: &str) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

#[test]
fn each_end_of_a_session_has_its_word_in_the_log_and_each_limit_its_key() {
    let config = "[limits]\nmessage_bytes_max = 1000\nfragments_max = 2\npong_timeout_ms = 300\n\
                  ping_interval_ms = 300\nclose_timeout_ms = 300\nmessage_timeout_ms = 5000\n";
    let (_site, server) = features(config);
    let fragments = [frame(0x01, b"a"), frame(0x00, b"b"), frame(0x80, b"c")].concat();
    for (what, bytes, sent, line) in [
        (
            "a large message",
            frame(0x82, &[0; 1001]),
            Some((1009, "message too big: message_bytes_max = 1000")),
            "code=1009 cause=message_bytes_max limit=1000",
        ),
        (
            "many fragments",
            fragments,
            Some((1008, "too many fragments: fragments_max = 2")),
            "code=1008 cause=fragments_max limit=2",
        ),
        (
            "an unmasked frame",
            b"\x81\x02hi".to_vec(),
            Some((1002, "")),
            "code=1002 cause=protocol_error error=\"a frame came unmasked\"",
        ),
        (
            "text that is none",
            frame(0x81, b"\xff"),
            Some((1007, "")),
            "code=1007 cause=protocol_error error=\"text is not UTF-8\"",
        ),
        (
            "the handler closes",
            frame(0x81, b"close 4321 enough"),
            Some((4321, "enough")),
            "code=4321 cause=handler_closed",
        ),
        (
            "the handler fails",
            frame(0x81, b"fail on purpose"),
            Some((1011, "")),
            "code=1011 cause=handler_failed",
        ),
        (
            "the handler fails and says how to close",
            frame(0x81, b"deny come back tomorrow"),
            Some((4403, "come back tomorrow")),
            "code=4403 cause=handler_closed",
        ),
        (
            "the peer closes",
            closing(4000, "that was it"),
            Some((4000, "that was it")),
            "code=4000 cause=peer_closed",
        ),
        (
            "the handler aborts",
            frame(0x81, b"abort"),
            None,
            "code=1006 cause=handler_aborted",
        ),
    ] {
        let mut raw = Raw::open(&server, "/features");
        raw.send(&bytes);
        match sent {
            Some((code, reason)) => {
                assert_eq!(close(&mut raw), (code, reason.to_owned()), "{what}");
                let _ = raw.stream.write_all(&closing(code, ""));
                assert_eq!(raw.frame(), None, "{what}");
            }
            None => assert_eq!(raw.frame(), None, "{what}"),
        }
        let line = server.line(&["session closed", line]);
        assert!(!line.contains("cut_short"), "{what}: {line}");
    }

    for (how, code) in [("fail", 1011), ("deny", 4403)] {
        let mut unopened = Raw::open(&server, &format!("/features?open={how}"));
        assert_eq!(unopened.close_code(), code, "{how}");
    }

    // One code, three causes.
    drop(Raw::open(&server, "/features"));
    server.line(&["session closed", "code=1006 cause=connection_lost"]);
    let _silent = Raw::open(&server, "/features");
    server.line(&[
        "session closed",
        "code=1006 cause=pong_timeout_ms limit=300",
    ]);
    let mut unanswered = Raw::open(&server, "/features");
    unanswered.send(&frame(0x81, b"close 4001"));
    server.line(&[
        "session closed",
        "code=4001 cause=handler_closed cut_short=close_timeout_ms",
    ]);
}

#[test]
fn a_handler_is_told_what_ended_its_session() {
    let limits = "[limits]\nmessage_bytes_max = 1000\npong_timeout_ms = 300\nping_interval_ms = 300\n\
                  close_timeout_ms = 300\nmessage_timeout_ms = 5000\n";
    let config = format!("{limits}[handler.features]\nreload = \"close\"\n");
    let (site, mut server) = features(&config);
    let told = |number: usize, cause: &str| {
        let ended = format!("ended by {cause}");
        server.line(&[&ended, &format!("session={number}")]);
    };
    for (number, (bytes, cause)) in [
        (frame(0x82, &[0; 1001]), "Limit"),
        (b"\x81\x02hi".to_vec(), "Protocol"),
        (frame(0x81, b"close 4321 enough"), "Handler"),
        (frame(0x81, b"abort"), "Handler"),
        (frame(0x81, b"fail on purpose"), "Failed"),
        (closing(4000, "that was it"), "Peer"),
        // It answers no Ping.
        (Vec::new(), "Lost"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = Raw::open(&server, "/features");
        raw.send(&bytes);
        told(number + 1, cause);
    }
    drop(Raw::open(&server, "/features"));
    told(8, "Lost");

    let mut late = server.connect("/features");
    site.write("config.toml", &format!("{config}config = {{ a = 1 }}\n"));
    assert_eq!(late.close_code(), 1012);
    told(9, "Replaced");
    let mut last = server.connect("/features");
    assert_eq!(last.ask("here"), "here");
    server.signal("TERM");
    assert_eq!(last.close_code(), 1001);
    told(10, "Stopping");
    server.wait(Duration::from_secs(10));
}

#[test]
fn a_peer_that_does_not_read_is_told_which_limit_it_met() {
    let (_site, server) =
        features("[limits]\noutbound_bytes_max = 100000\nclose_timeout_ms = 300\n");

    let mut raw = Raw::open(&server, "/speaks_later");
    raw.send(&frame(0x81, b"flood"));
    server.line(&["flood ended"]);

    let reason = "reads too slowly: outbound_bytes_max = 100000";
    assert_eq!(close(&mut raw), (1008, reason.to_owned()));
    drop(raw);
    let line = "code=1008 cause=outbound_bytes_max limit=100000";
    server.line(&["session closed", line]);
}

#[test]
fn what_comes_after_a_message_that_is_too_big_is_skipped_until_the_peers_close() {
    let (_site, server) = features("[limits]\nmessage_bytes_max = 1000\n");

    // Half of the message arrives, then the rest of it, other messages and a Ping.
    let mut plain = Raw::open(&server, "/features");
    let large = frame(0x82, &[7; 100_000]);
    plain.send(&large[..50_000]);
    assert_eq!(close(&mut plain).0, 1009);
    plain.send(&large[50_000..]);
    for bytes in [
        frame(0x81, b"more"),
        frame(0x89, b"ping"),
        frame(0x82, &[7; 5_000]),
    ] {
        plain.send(&bytes);
    }
    plain
        .stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    let mut byte = [0];
    let waits = std::io::Read::read(&mut plain.stream, &mut byte);
    assert!(waits.is_err(), "neither answered nor ended: {waits:?}");
    plain
        .stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    plain.send(&closing(1009, ""));
    assert_eq!(plain.frame(), None, "then the server closes first");

    // A message that inflates to too much, and text that is not UTF-8, end alike.
    let mut inflated = Deflating::open(&server, "/features", NO_TAKEOVER);
    inflated.send(&"long ".repeat(1_000));
    assert_eq!(close(&mut inflated.raw).0, 1009);
    inflated.raw.send(&closing(1009, ""));
    assert_eq!(inflated.raw.frame(), None);
    let mut text = Raw::open(&server, "/features");
    text.send(&frame(0x01, b"\xff"));
    assert_eq!(close(&mut text).0, 1007);
    text.send(&frame(0x80, b"rest"));
    text.send(&closing(1007, ""));
    assert_eq!(text.frame(), None);
    eventually("three ended cleanly", || {
        let closed = server.count_lines(&["session closed", "cause="]);
        closed == 3 && server.count_lines(&["session closed", "cut_short"]) == 0
    });
}

#[test]
fn a_session_that_opens_has_its_line_and_what_came_with_its_request_counts() {
    let (_site, server) = features("");
    let early = frame(0x81, b"protocol");
    let request = opening("/features", "Sec-WebSocket-Protocol: v1\r\n");

    let mut stream = server.raw();
    stream
        .write_all(&[request.as_bytes(), &early].concat())
        .expect("sending");
    let mut raw = Raw { stream };
    raw.skip_head();
    assert_eq!(raw.frame(), Some((0x81, b"v1".to_vec())));
    let last = closing(1000, "");
    raw.send(&last);
    assert_eq!(raw.close_code(), 1000);

    server.line(&[
        "DEBUG session opened",
        "path=/features",
        "protocol=v1",
        "deflate=false",
    ]);
    let bytes = format!("bytes_in={}", early.len() + last.len());
    server.line(&["session closed", &bytes]);
}

#[test]
fn no_value_in_the_log_looks_like_another_field_or_another_line() {
    let site = Site::with(&["features_wsh"]);
    site.write(
        "config.toml",
        "[routes]\n\"/rooms/{room}\" = \"/features\"\n",
    );
    let server = Server::start(&site);

    for (path, shown) in [
        ("/rooms/a%20code=1000", "path=\"/rooms/a code=1000\""),
        ("/rooms/a%22b", "path=\"/rooms/a\\\"b\""),
        ("/rooms/%c3%a9", "path=/rooms/é"),
        ("/rooms/a%0aWARN", "path=\"/rooms/a\\nWARN\""),
    ] {
        let mut client = Client::connect(server.port(), path, &[]);
        client.close(1000);
        server.line(&["session closed", shown]);
    }

    site.add_bytes(b"no library", "a\nWARN forged=1_wsh.so");
    server.line(&["cannot load", "a\\nWARN forged=1"]);
    assert!(!server.log().lines().any(|line| line.starts_with("WARN")));
}

#[test]
fn a_handler_that_passes_over_what_clients_offer_is_named_once() {
    let site = Site::with(&["features_wsh", "echo_wsh"]);
    let server = Server::start(&site);
    let offer = |protocols| [("Sec-WebSocket-Protocol", protocols)];

    for _ in 0..3 {
        // tungstenite refuses such an answer, as browsers do.
        let (_, answer) = Raw::open_with(
            &server,
            "/features",
            "Sec-WebSocket-Protocol: soap, wamp\r\n",
        );
        assert!(!answer.contains("Sec-WebSocket-Protocol"), "{answer}");
    }
    let chosen = Client::connect(server.port(), "/features", &offer("v1"));
    assert_eq!(chosen.response.headers()["sec-websocket-protocol"], "v1");
    let echo = Client::connect(server.port(), "/echo", &offer("chat, echo"));
    assert_eq!(echo.response.headers()["sec-websocket-protocol"], "echo");

    let warned = [
        "WARN",
        "chooses none",
        "handler=features",
        "offered=\"soap, wamp\"",
    ];
    server.line(&warned);
    assert_eq!(server.count_lines(&["chooses none"]), 1);
}
