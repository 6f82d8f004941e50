//! What metrics count of messages: how many there are and their bytes, those that wait, and those that are dropped.

use std::io::Write;
use std::time::Duration;

use super::{Page, shows};
use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, patience};

#[test]
fn messages_and_bytes_of_each_handler_are_counted_exactly_while_sessions_are_open_and_after() {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    let server = Server::start(&site);
    let message = frame(0x82, &[7; 20]);
    let mut echo = Raw::open(&server, "/echo");
    let mut sent = 0;
    // Many at once, one alone, one in two parts, and control frames, which are no messages.
    for bytes in [
        message.repeat(50),
        message.clone(),
        [frame(0x02, b"a"), frame(0x89, b"ping"), frame(0x80, b"b")].concat(),
        frame(0x82, &[7; 40_000]),
        frame(0x8a, b"pong"),
    ] {
        sent += bytes.len();
        echo.send(&bytes);
    }
    let mut received = 0;
    for _ in 0..54 {
        let (_, payload) = echo.frame().expect("an echo or a Pong");
        received += payload.len() + if payload.len() > 125 { 4 } else { 2 };
    }
    assert_eq!(received, 51 * 22 + 6 + 4 + 40_004);

    let head = 129.0;
    let received = received as f64;
    let open = [
        ("wshd_sessions{handler=\"echo\"}", 1.0),
        ("wshd_sessions{handler=\"features\"}", 0.0),
        ("wshd_messages_received_total{handler=\"echo\"}", 53.0),
        ("wshd_messages_sent_total{handler=\"echo\"}", 53.0),
        ("wshd_received_bytes_total{handler=\"echo\"}", sent as f64),
        ("wshd_sent_bytes_total{handler=\"echo\"}", head + received),
        ("wshd_queue_bytes{handler=\"echo\"}", 0.0),
        ("wshd_messages_received_total{handler=\"features\"}", 0.0),
    ];
    shows(&server, &open);
    let mut other = server.connect("/echo");
    assert_eq!(other.ask("hello"), "hello");
    assert_eq!(other.close(4001), 4001);
    echo.send(&frame(0x88, &1000_u16.to_be_bytes()));
    assert_eq!(echo.close_code(), 1000);
    server.says(&["session closed"], 2);

    shows(
        &server,
        &[
            ("wshd_sessions{handler=\"echo\"}", 0.0),
            ("wshd_sessions_opened_total{handler=\"echo\"}", 2.0),
            (
                "wshd_sessions_ended_total{handler=\"echo\",cause=\"peer_closed\"}",
                2.0,
            ),
            ("wshd_closes_total{code=\"1000\",side=\"peer\"}", 1.0),
            ("wshd_closes_total{code=\"4xxx\",side=\"peer\"}", 1.0),
            ("wshd_messages_received_total{handler=\"echo\"}", 54.0),
            ("wshd_messages_sent_total{handler=\"echo\"}", 54.0),
            (
                "wshd_received_bytes_total{handler=\"echo\"}",
                sum(&server, "bytes_in"),
            ),
            (
                "wshd_sent_bytes_total{handler=\"echo\"}",
                sum(&server, "bytes_out"),
            ),
        ],
    );
}

#[test]
fn compressed_published_and_streamed_messages_are_counted_once_each() {
    let site = Site::with(&["features_wsh", "upload_wsh"]);
    let server = Server::start(&site);
    let mut readers: Vec<_> = (0..3).map(|_| server.connect("/features")).collect();
    for reader in &mut readers {
        reader.send("join news");
        assert_eq!(reader.ask("there"), "there");
    }
    let deflate = ("Sec-WebSocket-Extensions", "permessage-deflate");
    let (mut compressing, head) = Raw::open_with(
        &server,
        "/features",
        &format!("{}: {}\r\n", deflate.0, deflate.1),
    );
    assert!(head.contains(deflate.1), "{head}");

    compressing.send(&frame(
        0x81,
        format!("publish news {}", "x".repeat(500)).as_bytes(),
    ));
    for reader in &mut readers {
        assert_eq!(reader.text().len(), 500);
    }
    compressing.send(&frame(0x81, &[b'y'; 2_000]));
    let (first, payload) = compressing.frame().expect("an echo");
    assert_eq!((first, payload.len() < 100), (0xc1, true));
    compressing.send(&frame(
        0x81,
        format!("plain_parts {}", "z".repeat(100)).as_bytes(),
    ));
    for _ in 0..2 {
        compressing.frame().expect("a part");
    }

    shows(
        &server,
        &[
            // Joining, asking, publishing, the long one, the one in parts.
            (
                "wshd_messages_received_total{handler=\"features\"}",
                3.0 + 3.0 + 1.0 + 1.0 + 1.0,
            ),
            (
                "wshd_messages_sent_total{handler=\"features\"}",
                3.0 + 3.0 + 1.0 + 1.0,
            ),
        ],
    );
}

#[test]
fn what_waits_for_a_peer_that_does_not_read_shows_as_its_handlers_queue() {
    let site = Site::with(&["features_wsh"]);
    let server = Server::start(&site);
    let slow = server.connect("/features");
    let mut writer = slow.raw_writer();
    let echoes = frame(0x82, &[1; 60_000]).repeat(8);
    writer
        .set_write_timeout(Some(Duration::from_millis(500) * patience()))
        .expect("a timeout");
    while writer.write_all(&echoes).is_ok() {}

    eventually("bytes wait", || {
        Page::of(&server).value("wshd_queue_bytes{handler=\"features\"}") > 100_000.0
    });
    drop((slow, writer));
    shows(&server, &[("wshd_queue_bytes{handler=\"features\"}", 0.0)]);
}

#[test]
fn messages_that_outbound_policy_drops_are_counted_while_their_session_is_open_and_after() {
    let site = Site::with(&["fan_wsh"]);
    let bytes = compile("tests/fixtures/c/counts_sends.c", &[]);
    site.add_bytes(&bytes, "counts_sends_wsh.so");
    site.write(
        "config.toml",
        "outbound_policy = \"drop_new\"\n[limits]\noutbound_bytes_max = 1000000\n",
    );
    let server = Server::start(&site);
    let mut slow = Raw::open(&server, "/counts_sends");

    slow.send(&frame(0x81, b"300 100000"));

    let line = server.line(&["sent: queued"]);
    let dropped = line.split("dropped ").nth(1).expect("a count");
    let dropped = dropped.split([' ', ';']).next().expect("a number");
    let dropped: f64 = dropped.trim_end_matches(',').parse().expect("a number");
    assert!(dropped > 0.0, "{line}");
    let counts = [
        (
            "wshd_messages_dropped_total{handler=\"counts_sends\"}",
            dropped,
        ),
        ("wshd_messages_dropped_total{handler=\"fan\"}", 0.0),
    ];
    shows(&server, &counts);
    drop(slow);
    let closed = server.line(&["session closed", "dropped="]);
    assert!(closed.contains(&format!("dropped={dropped}")), "{closed}");
    shows(&server, &counts);
}

/// Sums a number of all lines about sessions that are over.
fn sum(server: &Server, field: &str) -> f64 {
    let lines = server.lines(&["session closed"]);
    let numbers = lines.iter().map(|line| {
        let (_, rest) = line.split_once(&format!(" {field}=")).expect("a field");
        let number = rest.split_whitespace().next().expect("a number");
        number.parse::<f64>().expect("a number")
    });
    numbers.sum()
}
