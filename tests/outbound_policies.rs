//! What happens to messages that do not fit into the queue of a peer that reads too slowly.

use std::io::{Read, Write};

use crate::harness::at_once;
use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::tls::Tls;

fn start(policy: &str) -> (Site, Server) {
    let site = site(policy);
    let server = Server::start(&site);
    (site, server)
}

fn site(policy: &str) -> Site {
    let site = Site::with(&["fan_wsh", "features_wsh"]);
    let bytes = compile("tests/fixtures/c/counts_sends.c", &[]);
    site.add_bytes(&bytes, "counts_sends_wsh.so");
    let config =
        format!("outbound_policy = \"{policy}\"\n[limits]\noutbound_bytes_max = 1000000\n");
    site.write("config.toml", &config);
    site
}

/// What the handler says of what it has sent: how many messages were queued, dropped and refused otherwise.
fn counts(server: &Server) -> [usize; 3] {
    let line = server.line(&["sent: queued"]);
    let numbers = line.split_once("sent: ").expect("the counts").1;
    let words = numbers.split([' ', ';', '"']);
    let mut numbers = words.filter_map(|word| word.parse().ok());
    [(); 3].map(|()| numbers.next().expect("a number"))
}

/// Reads numbered messages until the last of them, `last`. Returns all numbers.
#[track_caller]
fn numbers<S: Read + Write>(raw: &mut Raw<S>, bytes: usize, last: u32) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let (first, payload) = raw.frame().expect("a message");
        if first == 0x8a {
            continue;
        }
        assert_eq!((first, payload.len()), (0x82, bytes));
        let number = payload.first_chunk().expect("a number");
        numbers.push(u32::from_be_bytes(*number));
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    numbers
}

/// Has the handler send `count` messages of `bytes` at once, before anything is read. The policy drops the oldest of them.
#[track_caller]
fn newest_come<S: Read + Write>(server: &Server, raw: &mut Raw<S>, count: u32, bytes: usize) {
    raw.send(&frame(0x81, format!("{count} {bytes}").as_bytes()));
    assert_eq!(counts(server), [count as usize, 0, 0]);

    let came = numbers(raw, bytes, count - 1);

    let dropped = count as usize - came.len();
    assert!(dropped > 0, "the kernel has taken all of it");
    // What fits into the queue are the newest, one after another.
    let fit = 900_000 / (bytes + 10);
    let newest: Vec<u32> = (count - fit as u32..count).collect();
    assert_eq!(came[came.len() - fit..], newest);
    raw.send(&frame(0x88, &1000_u16.to_be_bytes()));
    server.line(&["session closed", "code=1000", &format!("dropped={dropped}")]);
}

#[test]
fn with_drop_oldest_a_slow_peer_gets_the_newest_messages_whole_and_in_order() {
    // Long ones leave from where they lie, short ones share a buffer.
    at_once(
        [(300, 100_000), (3_000, 9_000), (400_000, 40)],
        |(count, bytes)| {
            let (_site, server) = start("drop_oldest");
            let mut raw = Raw::open(&server, "/counts_sends");
            newest_come(&server, &mut raw, count, bytes);
        },
    );
}

#[test]
fn over_tls_no_message_is_dropped_of_which_a_part_is_encrypted() {
    let site = site("drop_oldest");
    let tls = Tls::new(&site);
    let server = tls.builder(&site).start();
    let (mut raw, _) = tls.client().open_raw(&server, "/counts_sends", "");

    newest_come(&server, &mut raw, 3_000, 9_000);
}

#[test]
fn with_drop_new_a_slow_peer_keeps_what_waits_and_its_session() {
    let (_site, server) = start("drop_new");
    let mut raw = Raw::open(&server, "/counts_sends");

    raw.send(&frame(0x81, b"300 100000"));
    let [queued, dropped, other] = counts(&server);
    assert!(queued >= 9 && dropped > 0, "{queued} {dropped}");
    assert_eq!(other, 0);

    let mut came = Vec::new();
    while came.len() < queued {
        let (_, payload) = raw.frame().expect("a message");
        came.push(u32::from_be_bytes(
            *payload.first_chunk().expect("a number"),
        ));
    }
    assert!(came.is_sorted_by(|a, b| a < b), "{came:?}");
    // The first to come are those that were sent first.
    assert_eq!(came[..9], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    raw.send(&frame(0x81, b"1 10"));
    assert_eq!(raw.frame().map(|(_, bytes)| bytes.len()), Some(10));
    raw.send(&frame(0x88, &1000_u16.to_be_bytes()));
    server.line(&["session closed", "code=1000", &format!("dropped={dropped}")]);
}

#[test]
fn with_close_the_session_ends_and_nothing_is_dropped() {
    let (_site, server) = start("close");
    let mut raw = Raw::open(&server, "/counts_sends");

    raw.send(&frame(0x81, b"300 100000"));

    let [_, dropped, other] = counts(&server);
    assert_eq!((dropped, other > 0), (0, true));
    let line = server.line(&["session closed", "cause=outbound_bytes_max"]);
    assert!(!line.contains("dropped="), "{line}");
}

#[test]
fn a_pong_and_a_close_are_never_dropped() {
    let (_site, server) = start("drop_oldest");
    let mut raw = Raw::open(&server, "/counts_sends");
    let ask = frame(0x81, b"100 100000");

    // Each turn queues much more than fits, with Pings before, between and behind.
    let ping = |n: u8| frame(0x89, &[n]);
    raw.send(&[ping(1), ask.clone(), ping(2), ask.clone(), ping(3)].concat());
    counts(&server);
    raw.send(&frame(0x88, &1000_u16.to_be_bytes()));

    let mut pongs = Vec::new();
    loop {
        match raw.frame().expect("a frame") {
            (0x8a, payload) => pongs.extend(payload),
            (0x88, _) => break,
            (first, payload) => assert_eq!((first, payload.len()), (0x82, 100_000)),
        }
    }
    assert_eq!(pongs.last(), Some(&3), "the latest stands for those before");
}

#[test]
fn a_subscriber_that_does_not_read_stays_and_misses_what_does_not_fit() {
    at_once(["drop_new", "drop_oldest"], |policy| {
        let (_site, server) = start(policy);
        let mut slow = Raw::open(&server, "/fan");
        let mut publisher = Raw::open(&server, "/fan");
        let message = |n: u32| {
            let mut payload = vec![7; 60_000];
            payload[..4].copy_from_slice(&n.to_be_bytes());
            frame(0x82, &payload)
        };

        for n in 0..500 {
            publisher.send(&message(n));
            let (_, payload) = publisher.frame().expect("its own");
            assert_eq!(payload[..4], n.to_be_bytes());
        }

        // The newest of these wait, or the oldest, and then there is room for what is published next.
        let last = if policy == "drop_oldest" { 499 } else { 500 };
        let mut came: Vec<u32> = Vec::new();
        while came.last().is_none_or(|n| *n < last) {
            if policy == "drop_new" {
                publisher.send(&message(500 + came.len() as u32));
            }
            let (first, payload) = slow.frame().expect("the slow subscriber lives");
            assert_eq!((first, payload.len()), (0x82, 60_000));
            came.push(u32::from_be_bytes(
                *payload.first_chunk().expect("a number"),
            ));
        }
        assert!(came.is_sorted_by(|a, b| a < b), "{policy}: {came:?}");
        assert!(came.len() < 500, "{policy}: the kernel has taken all of it");
        slow.send(&frame(0x88, &1000_u16.to_be_bytes()));
        server.line(&["session closed", "session=1", "code=1000", "dropped="]);
    });
}
