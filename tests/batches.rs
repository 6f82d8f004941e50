//! A handler is told that another message follows, and functions take and answer such messages together.

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::deflating::{Deflating, NO_TAKEOVER};
use crate::harness::server::Server;
use crate::harness::site::Site;

fn batches(config: &str, options: &[&str]) -> (Site, Server) {
    let site = Site::with(&["async_echo_wsh", "blocking_echo_wsh"]);
    let bytes = compile("tests/fixtures/c/batches.c", options);
    site.add_bytes(&bytes, "batches_wsh.so");
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

fn text(raw: &mut Raw) -> String {
    let (_, payload) = raw.frame().expect("an answer");
    String::from_utf8(payload).expect("text")
}

#[test]
fn a_message_says_that_another_whole_one_follows_in_the_same_receive() {
    let (_site, server) = batches("", &[]);
    let mut raw = Raw::open(&server, "/batches");
    let (one, ping, bytes) = (
        frame(0x81, b"one"),
        frame(0x89, b""),
        frame(0x82, &[0; 5000]),
    );

    raw.send(&one.repeat(5));
    assert_eq!(text(&mut raw), "FFFF.");
    raw.send(&one);
    assert_eq!(text(&mut raw), ".");

    // A control frame, a fragment or the start of a frame is no message that follows.
    raw.send(&[&one[..], &bytes, &ping, &one, &one].concat());
    assert_eq!(text(&mut raw), "F.");
    assert_eq!(raw.frame(), Some((0x8a, Vec::new())));
    assert_eq!(text(&mut raw), "F.");
    raw.send(&[&one[..], &frame(0x01, b"o"), &frame(0x80, b"ne"), &one].concat());
    assert_eq!(text(&mut raw), ".");
    assert_eq!(text(&mut raw), "F.");
    raw.send(&[&one[..], &one, &one[..4]].concat());
    assert_eq!(text(&mut raw), "F.");
    raw.send(&one[4..]);
    assert_eq!(text(&mut raw), ".");
}

#[test]
fn what_follows_may_be_compressed_or_wrong_or_come_too_late() {
    let (_site, server) = batches("", &[]);
    let mut deflating = Deflating::open(&server, "/batches", NO_TAKEOVER);
    let long = "long ".repeat(400);
    let compressed = frame(0xc1, &deflating.deflate(&long));
    let (plain, close) = (frame(0x81, b"plain"), frame(0x81, b"close"));
    deflating
        .raw
        .send(&[&compressed[..], &plain, &compressed, &compressed].concat());
    assert_eq!(text(&mut deflating.raw), "FFF.");

    let mut raw = Raw::open(&server, "/batches");
    raw.send(&[&plain[..], &plain, &frame(0x81, b"\xff")].concat());
    assert_eq!(raw.close_code(), 1007);
    server.line(&["batches", "FF"]);

    let mut raw = Raw::open(&server, "/batches");
    raw.send(&[&plain[..], &close, &plain].concat());
    assert_eq!(raw.close_code(), 4000);
    server.says(&["FF"], 1);
}

#[test]
fn so_many_follow_that_answers_as_long_have_room() {
    let (_site, server) = batches("[limits]\noutbound_bytes_max = 4000\n", &[]);
    let mut raw = Raw::open(&server, "/batches");
    // Each echo takes 514 bytes and a header; half of the limit is 2000.
    raw.send(&frame(0x81, &[b'x'; 500]).repeat(8));
    let mut noted = String::new();
    while noted.len() < 8 {
        noted.push_str(&text(&mut raw));
    }
    assert_eq!(noted, "FF.FF.F.");
}

#[test]
fn a_peer_that_sends_thousands_at_once_has_no_more_than_512_handled_before_others_have_their_turn()
{
    let (_site, server) = batches("", &[]);
    let mut raw = Raw::open(&server, "/batches");
    let (message, ping) = (frame(0x81, b"x"), frame(0x89, b""));

    raw.send(&message.repeat(5000));
    let mut noted = String::new();
    while noted.len() < 5000 {
        noted.push_str(&text(&mut raw));
    }
    let longest = noted.split('.').map(|batch| batch.len() + 1).max();
    assert!(longest <= Some(512), "{longest:?}");

    // Pings count, and nothing is lost or overtaken where a turn ends.
    raw.send(
        &[
            ping.repeat(511),
            message.repeat(3),
            ping.repeat(1500),
            message,
        ]
        .concat(),
    );
    let mut noted = String::new();
    while noted.len() < 4 {
        let (first, payload) = raw.frame().expect("an answer");
        if first == 0x81 {
            noted.push_str(&String::from_utf8(payload).expect("text"));
        }
    }
    assert_eq!(noted, ".F..");
}

#[test]
fn a_handler_that_does_not_ask_is_told_nothing() {
    let (_site, server) = batches("", &["-DSINGLY"]);
    let mut raw = Raw::open(&server, "/batches");
    raw.send(&frame(0x81, b"one").repeat(3));
    for _ in 0..3 {
        assert_eq!(text(&mut raw), ".");
    }
}

#[test]
fn functions_answer_batches_of_any_length_in_order() {
    let (_site, server) = batches("", &[]);
    for path in ["/async_echo", "/blocking_echo"] {
        let mut raw = Raw::open(&server, path);
        for count in [1, 2, 33, 64, 65, 200] {
            let numbers = (0..count).map(|number| format!("{number}").repeat(1 + number % 300));
            let sent: Vec<_> = numbers.collect();
            let frames: Vec<_> = sent.iter().map(|it| frame(0x81, it.as_bytes())).collect();
            raw.send(&frames.concat());
            for expected in &sent {
                assert_eq!(&text(&mut raw), expected);
            }
        }
        // The Close comes behind a batch.
        raw.send(
            &[
                frame(0x81, b"a"),
                frame(0x81, b"b"),
                frame(0x88, b"\x0f\xa1"),
            ]
            .concat(),
        );
        assert_eq!((text(&mut raw), text(&mut raw)), ("a".into(), "b".into()));
        assert_eq!(raw.close_code(), 4001);
    }
}
