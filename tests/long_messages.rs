//! Messages of hundreds of megabytes come whole, their echoes fit whatever the outbound limit is, and the memory for both
//! goes back.
//!
//! `WSHD_LONG=1 cargo test -p wshd --test integration long_messages -- --nocapture` echoes a gibibyte, and says what the
//! server took for it.

use std::io::{Read, Write};
use std::iter;
use std::time::{Duration, Instant};

use flate2::{Compress, Compression};

use crate::harness::client::Raw;
use crate::harness::client_frame::{frame, header};
use crate::harness::deflating::{MODEST_OFFER, deflate};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{is_long, patience, within};

const MIB: u64 = 1024 * 1024;
/// A payload after this key follows as it is.
const NO_MASK: [u8; 4] = [0; 4];
const BLOCK: usize = 64 * 1024;
/// Chromium sends long messages in frames of so many bytes.
const FRAME_OF_CHROMIUM: usize = 131_000;
/// What the server may take besides the messages themselves.
const MORE_KIB_MAX: u64 = 8 * 1024;

/// A server that takes messages of up to a gibibyte, and whose outbound limit is the default: one mebibyte.
fn start() -> (Site, Server) {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nmessage_bytes_max = 1073741824\n");
    let server = Server::start(&site);
    // What the server makes for its first clients stays.
    server.connect("/echo").ask("hello");
    (site, server)
}

/// Runs `echo`, which takes so many bytes there and back. Fails if the server's memory grew by more than `times` as much
/// at its peak, or does not come back.
fn takes_at_most(server: &Server, bytes: u64, times: u64, what: &str, echo: impl FnOnce()) {
    let before = server.reset_peak();
    let began = Instant::now();
    echo();
    let elapsed = began.elapsed();
    let grown = server.proc_status("VmHWM").saturating_sub(before);
    within(Duration::from_secs(20), "memory comes back", || {
        server.proc_status("VmRSS") <= before + MORE_KIB_MAX
    });
    let after = server.proc_status("VmRSS").saturating_sub(before);
    eprintln!("{what}, {bytes} bytes: {elapsed:?}, {grown} KiB more at most, {after} KiB after");
    let most = times * bytes / 1024 + MORE_KIB_MAX;
    assert!(grown <= most, "{what}: {grown} of {most} KiB");
}

fn open(server: &Server, offer: &str) -> Raw {
    let (raw, _) = Raw::open_with(server, "/echo", offer);
    let limit = Some(Duration::from_secs(120) * patience());
    raw.stream.set_read_timeout(limit).expect("a timeout");
    raw
}

/// The bytes of a long message in blocks of 64 KiB, each with its number in front: a block that is missing, or comes twice,
/// is noticed.
fn blocks(bytes: u64) -> impl Iterator<Item = (u64, Vec<u8>)> {
    (0..bytes).step_by(BLOCK).map(move |at| {
        let mut block = vec![b'x'; BLOCK.min((bytes - at) as usize)];
        let number = at.to_be_bytes();
        let length = number.len().min(block.len());
        block[..length].copy_from_slice(&number[..length]);
        (at, block)
    })
}

/// Sends a binary message in frames of at most `frame_bytes`, and reads its echo.
fn echo_in_frames(raw: &mut Raw, bytes: u64, frame_bytes: u64) {
    let mut end = 0;
    for (mut at, block) in blocks(bytes) {
        let mut rest = &block[..];
        while !rest.is_empty() {
            if at == end {
                let length = frame_bytes.min(bytes - at);
                let opcode = if at == 0 { 2 } else { 0 };
                let fin = if at + length == bytes { 0x80 } else { 0 };
                raw.send(&header(fin | opcode, length, NO_MASK));
                end += length;
            }
            let (now, later) = rest.split_at(rest.len().min((end - at) as usize));
            raw.send(now);
            (at, rest) = (at + now.len() as u64, later);
        }
    }

    let mut head = [0; 10];
    raw.stream.read_exact(&mut head).expect("a header");
    assert_eq!(head[..2], [0x82, 127], "one frame");
    assert_eq!(head[2..], bytes.to_be_bytes());
    let mut came = vec![0; BLOCK];
    for (at, block) in blocks(bytes) {
        let came = &mut came[..block.len()];
        raw.stream.read_exact(came).expect("the echo");
        assert!(came == block, "behind {at}");
    }
}

/// Bytes of which compression leaves about half.
fn half_random(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut random = || -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()
        };
        (0..64).flat_map(|_| next()).collect()
    };
    let twice = iter::repeat_with(|| random().repeat(2));
    let mut bytes_of_it = Vec::with_capacity(bytes + 512);
    bytes_of_it.extend(twice.take(bytes / 512 + 1).flatten());
    bytes_of_it.truncate(bytes);
    bytes_of_it
}

/// Sends a binary message compressed, in one frame, and reads its echo, which is too long to be compressed. Returns how
/// many bytes the frame had.
fn echo_compressed(raw: &mut Raw, payload: &[u8]) -> usize {
    let wire = deflate(&mut Compress::new(Compression::fast(), false), payload);
    let sent = wire.len();
    raw.send(&header(0xc2, sent as u64, NO_MASK));
    raw.send(&wire);

    let (first, echo) = raw.frame().expect("the echo");
    assert_eq!(first, 0x82);
    assert!(echo == payload, "{} bytes", echo.len());
    sent
}

#[test]
fn an_echo_of_a_hundred_megabytes_comes_back_whole_and_its_memory_goes_back() {
    let (_site, server) = start();
    for bytes in [64 * MIB, 100_000_000] {
        takes_at_most(&server, bytes, 2, "in one frame", || {
            let mut raw = open(&server, "");
            echo_in_frames(&mut raw, bytes, bytes);
            raw.send(&frame(0x81, b"small"));
            assert_eq!(raw.frame(), Some((0x81, b"small".to_vec())));
        });
        takes_at_most(&server, bytes, 2, "in many frames", || {
            echo_in_frames(&mut open(&server, ""), bytes, FRAME_OF_CHROMIUM as u64);
        });
    }
    if is_long() {
        let bytes = 1024 * MIB;
        takes_at_most(&server, bytes, 2, "in many frames", || {
            echo_in_frames(&mut open(&server, ""), bytes, FRAME_OF_CHROMIUM as u64);
        });
        // One byte more is too much.
        let mut raw = open(&server, "");
        raw.send(&header(0x82, bytes + 1, NO_MASK));
        assert_eq!(raw.close_code(), 1009);
    }
}

#[test]
fn a_hundred_megabytes_that_come_compressed_take_no_more_than_the_message_and_its_echo() {
    let (_site, server) = start();
    for bytes in [64 * MIB, 100_000_000] {
        let payload = half_random(bytes as usize);
        takes_at_most(&server, bytes, 2, "compressed by half", || {
            let sent = echo_compressed(&mut open(&server, MODEST_OFFER), &payload);
            assert!(sent < payload.len() * 6 / 10, "{sent}");
        });
        let zeros = vec![0; payload.len()];
        takes_at_most(&server, bytes, 2, "compressed to nearly nothing", || {
            let sent = echo_compressed(&mut open(&server, MODEST_OFFER), &zeros);
            assert!(sent < zeros.len() / 100, "{sent}");
        });
    }
}

#[test]
fn a_length_that_a_peer_declares_takes_no_memory() {
    let (_site, server) = start();
    let before = server.reset_peak();

    // Each is a gibibyte, of which little comes. The Pong says that it has been read with the Ping.
    let peers: Vec<Raw> = (0..200)
        .map(|_| {
            let mut raw = open(&server, "");
            let declared = header(0x82, 1024 * MIB, NO_MASK);
            raw.send(&[frame(0x89, b"read?"), declared, vec![7; 1000]].concat());
            assert_eq!(raw.frame(), Some((0x8a, b"read?".to_vec())));
            raw
        })
        .collect();
    assert_eq!(server.connect("/echo").ask("still here?"), "still here?");

    let grown = server.proc_status("VmHWM").saturating_sub(before);
    assert!(grown < 200 * 64, "{grown} KiB");
    drop(peers);
}

#[test]
fn a_message_of_one_mebibyte_passes_by_default_and_one_byte_more_does_not() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    for _ in 0..3 {
        client.send("x".repeat(1 << 20));
        assert_eq!(client.text().len(), 1 << 20);
    }

    let mut raw = Raw::open(&server, "/echo");
    raw.send(&frame(0x81, &[b'x'; (1 << 20) + 1]));
    assert_eq!(raw.close_code(), 1009);
    // A browser sends all at once and reads the reason afterwards.
    let mut raw = Raw::open(&server, "/echo");
    raw.send(&header(0x82, 100_000_000, NO_MASK));
    let _ = (0..100).try_for_each(|_| raw.stream.write_all(&[0; 100_000]));
    assert_eq!(raw.close_code(), 1009);
}
