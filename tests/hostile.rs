//! What a hostile peer costs the server is bounded, and others are answered meanwhile.
//!
//! `WSHD_LONG=1 cargo test -p wshd --test integration hostile -- --nocapture` sends a thousand bombs and says what they
//! cost.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flate2::{Decompress, FlushDecompress};

use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::deflating::bomb;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{is_long, patience};

/// How many bytes of a bomb inflate to the limit of a message, or a little less.
fn fuse(bomb: &[u8]) -> usize {
    let mut room = Vec::with_capacity(MESSAGE_BYTES_MAX + 1);
    let mut inflater = Decompress::new(false);
    let mut burns = |byte: &u8| {
        let piece = std::slice::from_ref(byte);
        let inflated = inflater.decompress_vec(piece, &mut room, FlushDecompress::None);
        inflated.expect("it inflates");
        room.len() <= MESSAGE_BYTES_MAX
    };
    bomb.iter().take_while(|byte| burns(byte)).count()
}

/// Asks for echoes until `stop` is set. Returns how many came, and how long the longest took.
fn echoes(mut bystander: Client, stop: &AtomicBool) -> (u32, Duration) {
    let (mut count, mut worst) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        assert_eq!(bystander.ask("still here?"), "still here?");
        worst = worst.max(asked.elapsed());
        count += 1;
    }
    (count, worst)
}

/// Lets all peers send these bytes at the same moment, and expects this close code for each.
fn all_at_once(peers: &mut [Raw], bytes: &[u8], code: u16) {
    let start = Barrier::new(peers.len());
    std::thread::scope(|scope| {
        for peer in peers {
            let attack = || {
                start.wait();
                peer.send(bytes);
                assert_eq!(peer.close_code(), code);
            };
            let thread = std::thread::Builder::new().stack_size(256 * 1024);
            thread.spawn_scoped(scope, attack).expect("a thread");
        }
    });
}

#[test]
fn bombs_at_once_are_each_too_big_and_hold_no_more_than_a_message_may() {
    let count = if is_long() { 1_000 } else { 50 };
    rlimit::increase_nofile_limit(2 * count + 1_000).expect("a limit of files");
    let bomb = bomb();
    let (lit, rest) = bomb.split_at(fuse(&bomb));
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let open = || -> Vec<Raw> {
        let peer = |_| Raw::open_with(&server, "/echo", OFFER).0;
        (0..count).map(peer).collect()
    };
    let mut whole = open();
    let mut lit_first = open();
    let bystander = server.connect("/echo");
    let before = server.proc_status("VmRSS");

    let stop = AtomicBool::new(false);
    let (held, (echoes, worst)) = std::thread::scope(|scope| {
        let bystander = scope.spawn(|| echoes(bystander, &stop));
        all_at_once(&mut whole, &frame(0xc2, &bomb), 1009);
        // While they wait, these hold the most. The Pong says that they have inflated.
        for peer in &mut lit_first {
            peer.send(&[frame(0x42, lit), frame(0x89, b"lit")].concat());
        }
        for peer in &mut lit_first {
            assert_eq!(peer.frame(), Some((0x8a, b"lit".to_vec())));
        }
        let held = server.proc_status("VmRSS");
        all_at_once(&mut lit_first, &frame(0x80, rest), 1009);
        stop.store(true, Ordering::Relaxed);
        (held, bystander.join().expect("every echo came"))
    });

    let (peak, after) = (server.proc_status("VmHWM"), server.proc_status("VmRSS"));
    eprintln!(
        "{count} bombs twice: {before} KiB before, {held} KiB with all lit, {peak} KiB at most, \
         {after} KiB after; meanwhile {echoes} echoes, the longest {worst:?}"
    );
    // What each thread keeps for all its sessions: two scratch buffers, rooms, decompressors.
    let shared = server.proc_status("Threads") * 2048;
    let bound = count * HELD_KIB_MAX + shared;
    assert!(peak - before <= bound, "{} of {bound} KiB", peak - before);
    assert!(echoes > 0);
    assert_eq!(server.connect("/echo").ask("and now?"), "and now?");
}

#[test]
fn an_echo_comes_back_beside_peers_that_ping_without_a_pause() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let pings = frame(0x89, b"").repeat(10_000);
    // More than there are workers.
    let floods = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let mut bystander = server.connect("/echo");

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..floods {
            let peer = Raw::open(&server, "/echo");
            let mut reader = peer.stream.try_clone().expect("a clone");
            let (mut stream, pings, stop) = (peer.stream, &pings, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && stream.write_all(pings).is_ok() {}
                let _ = stream.shutdown(Shutdown::Both);
            });
            scope
                .spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {});
        }
        let began = Instant::now();
        let asked = catch_unwind(AssertUnwindSafe(|| {
            for number in 0..20 {
                let message = format!("still here? {number}");
                assert_eq!(bystander.ask(&message), message);
            }
        }));
        let took = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        asked.expect("every echo came");
        // With a worker that looks for I/O only now and then, each takes seconds.
        assert!(took < Duration::from_secs(20) * patience(), "{took:?}");
    });
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
/// The default of `message_bytes_max`.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// What a session may hold in the middle of a compressed message: the limit of a message and a decompressor. A quarter of
/// that again is for everything else, most of which is memory that the allocator keeps.
const HELD_KIB_MAX: u64 = (1024 + 48) * 5 / 4;
