//! A message allocates nothing, in the server or in a plugin, once the threads have the buffers that they keep.

use std::path::PathBuf;
use std::time::Instant;

use flate2::{Compress, Compression, FlushCompress};

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// A server whose allocations are counted.
struct Counted {
    server: Server,
    count: PathBuf,
    // Last, because fields are dropped in order: the site is removed after the server.
    _site: Site,
}

impl Counted {
    #[track_caller]
    fn start(plugins: &[&str]) -> Counted {
        let site = Site::with(plugins);
        Counted::of(site)
    }

    #[track_caller]
    fn of(site: Site) -> Counted {
        let shim = compile(
            "tests/fixtures/c/counts_allocations.c",
            &["-O2", "-fno-builtin"],
        );
        let preloaded = site.root().join("counts_allocations.so");
        std::fs::write(&preloaded, shim).expect("writing");
        // Its memory is measured all the while.
        site.write(
            "config.toml",
            "[limits]\nmemory_bytes_max = 4_000_000_000\n",
        );
        let count = site.root().join("allocations");
        std::fs::write(&count, [0; 8]).expect("writing");
        let server = Server::builder(&site)
            .env("LD_PRELOAD", &preloaded.to_string_lossy())
            .env("ALLOCATIONS", &count.to_string_lossy())
            .start();
        let counted = Counted {
            server,
            count,
            _site: site,
        };
        assert!(counted.so_far() > 100, "a start without allocations");
        counted
    }

    fn so_far(&self) -> u64 {
        let bytes = std::fs::read(&self.count).expect("the count");
        u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
    }

    /// Asserts that a thousand messages allocate nothing. `round` sends `messages` of them.
    ///
    /// One try of twenty with next to no allocation is enough: what a message takes would show in all of them. A thread
    /// makes its buffers at its first message, and any thread may get the next one. On a busy machine a late worker is
    /// relieved several times a second, which allocates a little.
    #[track_caller]
    fn assert_nothing_taken(&self, what: &str, messages: usize, mut round: impl FnMut()) {
        let rounds = 1_000_usize.div_ceil(messages);
        let mut taken = Vec::new();
        while taken.len() < 20 {
            let (before, began) = (self.so_far(), Instant::now());
            (0..rounds).for_each(|_| round());
            taken.push(self.so_far() - before);
            if taken.last() < Some(&(20 * (1 + began.elapsed().as_secs()))) {
                return;
            }
        }
        panic!("{what}: {taken:?} allocations for a thousand messages, again and again");
    }
}

/// Asserts that echoes at `path` of these messages, written together, allocate nothing.
#[track_caller]
fn assert_echoes(counted: &Counted, path: &str, messages: usize, payload: &[u8]) {
    let mut peer = Raw::open(&counted.server, path);
    let bytes = frame(0x82, payload).repeat(messages);
    let what = format!("{messages} times {} bytes at {path}", payload.len());
    counted.assert_nothing_taken(&what, messages, || {
        peer.send(&bytes);
        for _ in 0..messages {
            assert_eq!(peer.frame().expect("an echo"), (0x82, payload.to_vec()));
        }
    });
}

#[test]
fn an_echo_takes_nothing_from_the_heap() {
    let counted = Counted::start(&["echo_wsh"]);

    for (messages, length) in [
        (1, 20),
        (32, 20),
        (1, 1024),
        (32, 1024),
        (1, 16_384),
        (1, 60_000),
    ] {
        assert_echoes(&counted, "/echo", messages, &vec![7; length]);
    }
}

#[test]
fn a_message_that_comes_in_pieces_takes_nothing_from_the_heap() {
    let counted = Counted::start(&["echo_wsh"]);
    let mut peer = Raw::open(&counted.server, "/echo");

    let mut fragments = frame(0x02, &[7; 1000]);
    fragments.extend(frame(0x00, &[7; 1000]));
    fragments.extend(frame(0x80, &[7; 1000]));
    counted.assert_nothing_taken("a message of three frames", 1, || {
        peer.send(&fragments);
        assert_eq!(peer.frame().expect("an echo"), (0x82, vec![7; 3000]));
    });

    // Each piece is one receive: the echo of the message before it has come back.
    let bytes = frame(0x82, &[7; 100]);
    let (first, rest) = bytes.split_at(50);
    let mut message_and_half = bytes.clone();
    message_and_half.extend(first);
    let mut rest_and_half = rest.to_vec();
    rest_and_half.extend(first);
    peer.send(&message_and_half);
    assert_eq!(peer.frame().expect("an echo"), (0x82, vec![7; 100]));
    counted.assert_nothing_taken("a frame of two receives", 1, || {
        peer.send(&rest_and_half);
        assert_eq!(peer.frame().expect("an echo"), (0x82, vec![7; 100]));
    });
}

#[test]
fn an_echo_of_an_async_handler_takes_nothing_from_the_heap() {
    let counted = Counted::start(&["async_echo_wsh"]);

    for (messages, length) in [(1, 20), (32, 20), (32, 1024), (1, 16_384), (1, 60_000)] {
        assert_echoes(&counted, "/async_echo", messages, &vec![7; length]);
    }
}

#[test]
fn an_echo_of_a_blocking_handler_takes_nothing_from_the_heap() {
    let counted = Counted::start(&["blocking_echo_wsh"]);

    for (messages, length) in [(1, 20), (8, 20), (8, 1024), (1, 16_384), (1, 60_000)] {
        assert_echoes(&counted, "/blocking_echo", messages, &vec![7; length]);
    }
}

#[test]
fn a_publication_takes_nothing_from_the_heap() {
    let counted = Counted::start(&["fan_wsh"]);
    let mut plain = [(); 3].map(|()| Raw::open(&counted.server, "/fan"));
    let mut compressed = [(); 3].map(|()| Raw::open_with(&counted.server, "/fan", OFFER).0);
    for message in [[7; 125].to_vec(), [7; 5_000].to_vec()] {
        let bytes = frame(0x82, &message);
        let what = format!("a publication of {} bytes", message.len());
        counted.assert_nothing_taken(&what, 1, || {
            plain[0].send(&bytes);
            for peer in &mut plain {
                assert_eq!(
                    peer.frame().expect("a publication"),
                    (0x82, message.clone())
                );
            }
            for peer in &mut compressed {
                let (first, payload) = peer.frame().expect("a publication");
                assert_eq!(first == 0xc2, payload.len() < message.len());
            }
        });
    }
}

#[test]
fn a_message_written_in_place_takes_nothing_from_the_heap() {
    let site = Site::empty();
    site.add_bytes(
        &compile("tests/fixtures/c/reserves.c", &[]),
        "reserves_wsh.so",
    );
    let counted = Counted::of(site);

    for (messages, length) in [(1, 20), (32, 20), (32, 1024), (1, 16_384), (1, 60_000)] {
        assert_echoes(&counted, "/reserves", messages, &vec![7; length]);
    }
}

#[test]
fn a_ping_takes_nothing_from_the_heap() {
    let counted = Counted::start(&["echo_wsh"]);
    let mut peer = Raw::open(&counted.server, "/echo");

    counted.assert_nothing_taken("a Ping", 1, || {
        peer.send(&frame(0x89, b"there?"));
        assert_eq!(peer.frame(), Some((0x8a, b"there?".to_vec())));
    });
}

#[test]
fn a_compressed_echo_takes_nothing_from_the_heap() {
    let site = Site::with(&["echo_wsh"]);
    site.add("echo_wsh", "keeps_wsh.so");
    site.write(
        "config.toml",
        "[handler.keeps]\ndeflate_context_takeover = true\n",
    );
    let counted = Counted::of(site);
    let text: String = (0..1_000).map(|number| format!("{number},")).collect();
    let mut wire = Vec::with_capacity(text.len());
    Compress::new(Compression::best(), false)
        .compress_vec(text.as_bytes(), &mut wire, FlushCompress::Sync)
        .expect("compressing");
    let bytes = frame(0xc1, &wire[..wire.len() - 4]);

    for path in ["/echo", "/keeps"] {
        let (mut peer, answer) = Raw::open_with(&counted.server, path, OFFER);
        assert!(answer.contains("permessage-deflate"), "{answer}");
        counted.assert_nothing_taken(&format!("a compressed message at {path}"), 1, || {
            peer.send(&bytes);
            assert_eq!(peer.frame().expect("an echo").0, 0xc1);
        });
    }
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
