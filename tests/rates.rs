//! How much a peer may send in a second: one that sends more is paused, or closed.

use std::time::{Duration, Instant};

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::deflating::{Deflating, NO_TAKEOVER};
use crate::harness::eventually;
use crate::harness::server::Server;
use crate::harness::site::Site;

fn echo(config: &str) -> (Site, Server) {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    let batches = compile("tests/fixtures/c/batches.c", &[]);
    site.add_bytes(&batches, "batches_wsh.so");
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

/// The next frame must be a Close. Returns its code and its reason.
#[track_caller]
fn close_of(frame: Option<(u8, Vec<u8>)>) -> (u16, String) {
    let (first, body) = frame.expect("a Close frame");
    assert_eq!(first, 0x88, "{body:?}");
    let (code, reason) = body.split_at(2);
    let reason = String::from_utf8(reason.to_vec()).expect("text");
    (u16::from_be_bytes([code[0], code[1]]), reason)
}

#[test]
fn a_peer_over_its_rate_is_paused_loses_nothing_and_holds_up_no_other() {
    let (_site, server) = echo("[handler.echo]\nmessages_per_s_max = 20\n");
    let mut paused = Raw::open(&server, "/echo");
    let mut other = Raw::open(&server, "/features");

    let began = Instant::now();
    let sent = (0..40).flat_map(|n: u32| frame(0x82, &n.to_be_bytes()));
    paused.send(&sent.collect::<Vec<u8>>());
    let numbers = |raw: &mut Raw, numbers: std::ops::Range<u32>| {
        for n in numbers {
            assert_eq!(raw.frame(), Some((0x82, n.to_be_bytes().to_vec())));
        }
    };
    numbers(&mut paused, 0..20);
    // The rate of one handler is none of another one's.
    for _ in 0..100 {
        other.send(&frame(0x81, b"here"));
        assert_eq!(other.frame(), Some((0x81, b"here".to_vec())));
    }
    numbers(&mut paused, 20..40);

    let took = began.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
    paused.send(&frame(0x88, &1000_u16.to_be_bytes()));
    assert_eq!(paused.close_code(), 1000);
}

#[test]
fn with_the_policy_close_a_peer_is_told_which_rate_it_is_over() {
    let config = "rate_policy = \"close\"\n[limits]\nmessages_per_s_max = 3\nbytes_per_s_max = 10000\n\
                  [handler.features]\nmessages_per_s_max = 0\n";
    let (_site, server) = echo(config);
    let messages = (1008, "too many messages: messages_per_s_max = 3");
    let bytes = (1008, "too many bytes: bytes_per_s_max = 10000");
    let long = vec![b'x'; 12_000];
    let fragments = [frame(0x01, b"a"), frame(0x00, b"b"), frame(0x80, b"c")].concat();
    for (what, path, sent, answers, told) in [
        (
            "messages",
            "/echo",
            frame(0x81, b"hi").repeat(4),
            3,
            messages,
        ),
        ("Pings", "/echo", frame(0x89, b"hi").repeat(4), 3, messages),
        ("Pongs", "/echo", frame(0x8a, b"hi").repeat(4), 0, messages),
        (
            "messages in fragments",
            "/echo",
            fragments.repeat(4),
            3,
            messages,
        ),
        (
            "a batch",
            "/batches",
            frame(0x81, b"hi").repeat(4),
            3,
            messages,
        ),
        // The first one passes, however long it is.
        (
            "long messages",
            "/features",
            frame(0x81, &long).repeat(2),
            1,
            bytes,
        ),
    ] {
        let mut raw = Raw::open(&server, path);
        raw.send(&sent);
        for _ in 0..answers {
            let (first, _) = raw.frame().expect("an answer");
            assert_ne!(first, 0x88, "{what}");
        }
        assert_eq!(close_of(raw.frame()), (told.0, told.1.to_owned()), "{what}");
    }
    eventually("each has its line", || {
        let closed = |cause| server.count_lines(&["session closed", "code=1008", cause]);
        let messages = closed("cause=messages_per_s_max limit=3");
        (messages, closed("cause=bytes_per_s_max limit=10000")) == (5, 1)
    });

    // A bomb counts by what it inflates to.
    let mut deflating = Deflating::open(&server, "/features", NO_TAKEOVER);
    deflating.send(&"long ".repeat(10_000));
    assert_eq!(deflating.receive().1.len(), 50_000);
    deflating.send("next");
    let told = close_of(deflating.raw.frame());
    assert_eq!(told, (bytes.0, bytes.1.to_owned()));
}

#[test]
fn a_peer_that_keeps_to_its_rate_is_never_closed() {
    let (_site, server) = echo("rate_policy = \"close\"\n[limits]\nmessages_per_s_max = 50\n");
    let mut raw = Raw::open(&server, "/echo");

    for n in 0..60_u32 {
        // 25 ms a message are 40 in a second, and the server's clock may be some milliseconds behind.
        std::thread::sleep(Duration::from_millis(25));
        raw.send(&frame(0x82, &n.to_be_bytes()));
        assert_eq!(raw.frame(), Some((0x82, n.to_be_bytes().to_vec())));
    }
}

#[test]
fn the_bytes_of_a_long_message_are_waited_for_before_the_next_one() {
    let (_site, server) = echo("[limits]\nbytes_per_s_max = 100000\n");
    let mut raw = Raw::open(&server, "/echo");
    let long = frame(0x82, &vec![7; 150_000]);

    let began = Instant::now();
    raw.send(&[long, frame(0x81, b"next")].concat());
    assert_eq!(raw.frame().map(|(_, bytes)| bytes.len()), Some(150_000));
    assert_eq!(raw.frame(), Some((0x81, b"next".to_vec())));

    let took = began.elapsed();
    assert!(took > Duration::from_millis(400), "{took:?}");
}

#[test]
fn a_paused_peer_gets_pings_and_is_noticed_when_it_leaves() {
    let config =
        "[limits]\nmessages_per_s_max = 1\nping_interval_ms = 200\npong_timeout_ms = 300\n";
    let (_site, server) = echo(config);
    let mut raw = Raw::open(&server, "/echo");
    // An hour's worth.
    raw.send(&frame(0x81, b"hi").repeat(3600));

    assert_eq!(raw.frame(), Some((0x81, b"hi".to_vec())));
    // It answers no Ping while it is paused, and need not.
    let frames = std::iter::from_fn(|| raw.frame()).take(12);
    let pings = frames.filter(|(first, _)| *first == 0x89).count();
    assert!(pings >= 8, "{pings}");
    assert_eq!(server.sessions("echo"), 1);
    drop(raw);

    eventually("its session is over", || server.sessions("echo") == 0);
}

#[test]
fn a_flood_of_pings_that_reads_no_pong_leaves_one_pong_waiting_the_latest() {
    let (_site, server) = echo("[limits]\noutbound_bytes_max = 100000000\n");
    let mut raw = Raw::open(&server, "/echo");

    // More than any kernel takes, so that the Pongs wait behind the rest of it.
    let long = vec![7; 1 << 20];
    for _ in 0..16 {
        raw.send(&frame(0x82, &long));
    }
    let ping = |n: u32| frame(0x89, &[&n.to_be_bytes()[..], &[b'p'; 121]].concat());
    for n in 0..3_000 {
        let some: Vec<u8> = (n * 32..(n + 1) * 32).flat_map(ping).collect();
        raw.send(&some);
    }
    // What comes of the kernel before it is read may make room, so the flood is over by now.
    eventually("the server has read all of it", || unread_by(&server) == 0);

    for _ in 0..16 {
        assert_eq!(raw.frame().map(|(_, bytes)| bytes.len()), Some(1 << 20));
    }
    let (first, payload) = raw.frame().expect("a Pong");
    let n = payload.first_chunk().map(|n| u32::from_be_bytes(*n));
    assert_eq!((first, n), (0x8a, Some(95_999)));
    raw.send(&frame(0x81, b"next"));
    assert_eq!(raw.frame(), Some((0x81, b"next".to_vec())));
}

/// The bytes that clients have sent and the server has not received, as the kernel tells.
fn unread_by(server: &Server) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let local = format!(":{:04X}", server.port());
    let rows = table.lines().map(str::split_whitespace);
    let queues = rows.filter_map(|row| {
        let row: Vec<&str> = row.collect();
        let is_ours = row.get(1)?.ends_with(&local) || row.get(2)?.ends_with(&local);
        let (sending, received) = row.get(4)?.split_once(':')?;
        // What the server has to receive, and what its client's kernel still has of it.
        let bytes = if row.get(1)?.ends_with(&local) {
            received
        } else {
            sending
        };
        is_ours.then(|| u64::from_str_radix(bytes, 16).unwrap_or(0))
    });
    queues.sum()
}
