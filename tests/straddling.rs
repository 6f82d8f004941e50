//! What is half done when a session moves belongs to the server and goes on: compression, a half-received message, a
//! half-sent queue, a topic, a timer.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::client_frame::frame;
use crate::harness::deflating::{Deflating, NO_TAKEOVER, TAKEOVER};
use crate::harness::eventually;
use crate::harness::patch::{build_again, build_name};
use crate::harness::server::Server;
use crate::harness::site::{Site, library};

/// Replaces `echo_wsh` by another file of its code, and waits until this many sessions have moved.
#[track_caller]
fn replace_echo(site: &Site, server: &Server, file: &str, generation: u8, sessions: usize) {
    let mut bytes = std::fs::read(library("echo_wsh")).expect("the plugin's library");
    bytes.push(generation);
    site.add_bytes(&bytes, file);
    let generation = format!("generation={generation}");
    let moved = format!("moved={sessions} drained=0 refused=0");
    server.line(&["sessions moved", &generation, &moved]);
}

/// Text that compresses badly unless it came before.
fn noise(seed: u32) -> String {
    let mut state = seed;
    let word = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("{state:08x} ")
    };
    (0..300).map(word).collect()
}

#[test]
fn messages_go_on_referring_to_those_before_the_move_both_ways() {
    let site = Site::empty();
    site.add("echo_wsh", "keeps_wsh.so");
    site.write(
        "config.toml",
        "[handler.keeps]\ndeflate_context_takeover = true\n",
    );
    let server = Server::start(&site);
    let mut client = Deflating::open(&server, "/keeps", TAKEOVER);
    let texts = [noise(1), noise(2)];
    for text in &texts {
        let (sent, received) = (client.send(text), client.receive());
        assert_eq!((received.0, &received.1), (0xc1, text));
        assert!(sent > 1_000 && received.2 > 1_000, "{sent}, {}", received.2);
    }

    replace_echo(&site, &server, "keeps_wsh.so", 2, 1);

    for text in &texts {
        let (sent, received) = (client.send(text), client.receive());
        assert_eq!((received.0, &received.1), (0xc1, text));
        assert!(sent < 100 && received.2 < 100, "{sent}, {}", received.2);
    }
    // The agreement of an open session holds, even if new sessions get another one.
    site.write(
        "config.toml",
        "[handler.keeps]\ndeflate = false\nconfig = { note = 1 }\n",
    );
    server.line(&["sessions moved", "generation=3", "moved=1 "]);
    let (sent, received) = (client.send(&texts[0]), client.receive());
    assert_eq!((received.0, &received.1), (0xc1, &texts[0]));
    assert!(sent < 100 && received.2 < 100, "{sent}, {}", received.2);
    client.raw.send(&frame(0x88, &1000_u16.to_be_bytes()));
    assert_eq!(client.raw.close_code(), 1000);
}

#[test]
fn a_compressed_message_in_fragments_is_received_across_moves() {
    let site = Site::empty();
    for file in ["keeps_wsh.so", "resets_wsh.so"] {
        site.add("echo_wsh", file);
    }
    site.write(
        "config.toml",
        "[handler.keeps]\ndeflate_context_takeover = true\n",
    );
    let server = Server::start(&site);
    for (name, agreed) in [("keeps", TAKEOVER), ("resets", NO_TAKEOVER)] {
        let file = format!("{name}_wsh.so");
        let mut client = Deflating::open(&server, &format!("/{name}"), agreed);
        let first = noise(1);
        client.send(&first);
        assert_eq!(client.receive().1, first);

        let second = first + &noise(2);
        let payload = client.deflate(&second);
        let pieces: Vec<&[u8]> = payload.chunks(payload.len().div_ceil(4)).collect();
        let last = pieces.len() - 1;
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = if index == 0 { 0x41 } else { 0 };
            let fin = if index == last { 0x80 } else { 0 };
            let wire = frame(fin | opcode, piece);
            // The frame is cut, and the session moves between its two parts.
            client.raw.send(&wire[..wire.len() / 2]);
            replace_echo(&site, &server, &file, 2 + index as u8, 1);
            client.raw.send(&wire[wire.len() / 2..]);
            if index < last {
                client.raw.send(&frame(0x89, b"between"));
                assert_eq!(client.raw.frame(), Some((0x8a, b"between".to_vec())));
            }
        }

        assert_eq!(client.receive().1, second, "{name}");
        let third = noise(3);
        client.send(&third);
        assert_eq!(client.receive().1, third, "{name}");
    }
}

#[test]
fn a_queue_that_is_half_sent_leaves_whole_and_in_order() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    let message = |number: usize| {
        let mut bytes = vec![number as u8; 32 * 1024];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    let mut writer = client.raw_writer();
    let sent = AtomicUsize::new(0);

    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..MESSAGES {
                let wire = frame(0x82, &message(number));
                writer
                    .write_all(&wire)
                    .expect("the server reads in the end");
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        // The client does not read, so in the end every buffer between the two is full.
        let mut before = 0;
        eventually("the server takes no more", || {
            std::thread::sleep(Duration::from_millis(100));
            let now = sent.load(Ordering::Relaxed);
            now > 0 && std::mem::replace(&mut before, now) == now
        });
        for generation in 2..5 {
            replace_echo(&site, &server, "echo_wsh.so", generation, 1);
        }
        let taken = sent.load(Ordering::Relaxed);
        assert!(taken < MESSAGES, "all of it lies in the kernel");

        for number in 0..MESSAGES {
            assert_eq!(client.receive().into_data(), message(number), "{number}");
        }
    });
    assert_eq!(client.close(1000), 1000);
}

#[test]
fn a_room_and_a_timer_of_an_async_session_go_on_in_the_new_code() {
    let site = Site::empty();
    site.add_bytes(&build_again("async_ledger_wsh", 1), "async_ledger_wsh.so");
    let server = Server::start(&site);
    let mut ticking = server.connect("/async_ledger");
    let mut member = server.connect("/async_ledger");
    ticking.send("tick");
    assert_eq!(ticking.text(), "tick 0 build-0001");
    assert_eq!(member.ask("join tea"), "joined tea");
    member.send("publish tea before");
    assert_eq!(member.text(), "news before");

    for build in 2..6 {
        let bytes = build_again("async_ledger_wsh", build);
        site.add_bytes(&bytes, "async_ledger_wsh.so");
        let generation = format!("generation={build}");
        server.line(&["sessions moved", &generation, "moved=2 drained=0 refused=0"]);
    }

    member.send("publish tea after");
    assert_eq!(member.text(), "news after");
    // A session on newer code publishes to the same topic.
    server
        .connect("/async_ledger")
        .send("publish tea from afar");
    assert_eq!(member.text(), "news from afar");
    let mut next = 1;
    eventually("the timer ticks in the last build", || {
        let tick = ticking.text();
        let (number, build) = tick.rsplit_once(' ').expect("a number and a build");
        assert_eq!(number, format!("tick {next}"));
        next += 1;
        build == build_name(5)
    });
}

/// More than the kernel holds for both sides of a connection.
const MESSAGES: usize = 1_200;
