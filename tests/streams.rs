//! Messages of any length pass through handlers that take and send them in parts, in memory that does not grow.
//!
//! `WSHD_LONG=1 cargo test -p wshd --test integration streams -- --nocapture` sends a gibibyte each way, and
//! says what the server took for it.

use std::io::Read;
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::harness::client::Raw;
use crate::harness::client_frame::{frame, header};
use crate::harness::deflating::OFFER;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

/// A payload after this key follows as it is.
const NO_MASK: [u8; 4] = [0; 4];
const PART: usize = 64 * 1024;
/// What the server's resident set may grow by, for a message of any length.
const GROWTH_KIB_MAX: u64 = 4 * 1024;
const STYLES: [&str; 3] = ["streams", "async_streams", "blocking_streams"];

/// How many parts of 64 KiB go each way: a gibibyte in the long form.
fn parts() -> u64 {
    if is_long() { 16_384 } else { 512 }
}

fn start() -> (Server, Site) {
    let site = Site::with(
        &STYLES
            .map(|style| format!("{style}_wsh"))
            .each_ref()
            .map(String::as_str),
    );
    (Server::start(&site), site)
}

/// Runs `transfer` with few parts, so that threads have the buffers that they keep, and then with many. Returns by how many
/// KiB the server's memory grew at its peak.
fn growth(server: &Server, transfer: impl Fn(u64)) -> u64 {
    transfer(8);
    let before = server.reset_peak();
    let began = Instant::now();
    transfer(parts());
    let grown = server.proc_status("VmHWM").saturating_sub(before);
    let mib = parts() / 16;
    eprintln!("{mib} MiB in {:?}, {grown} KiB more", began.elapsed());
    grown
}

/// Sends one binary message of this many parts in one frame.
fn upload_in_one_frame(raw: &mut Raw, parts: u64) {
    raw.send(&header(0x82, parts * PART as u64, NO_MASK));
    for _ in 0..parts {
        raw.send(&[b'u'; PART]);
    }
}

/// Sends one binary message of this many parts, a frame each.
fn upload_in_frames(raw: &mut Raw, parts: u64) {
    for number in 0..parts {
        let opcode = if number == 0 { 2 } else { 0 };
        let fin = if number + 1 == parts { 0x80 } else { 0 };
        raw.send(&header(fin | opcode, PART as u64, NO_MASK));
        raw.send(&[b'u'; PART]);
    }
}

/// Returns what the handler says of an upload: its bytes, its parts, and the bytes of the longest part.
fn counted(raw: &mut Raw) -> [u64; 3] {
    let (first, payload) = raw.frame().expect("an answer");
    let text = String::from_utf8(payload).expect("text");
    assert_eq!(first, 0x81, "{text}");
    let numbers: Vec<u64> = text
        .split(' ')
        .map(|it| it.parse().expect("a number"))
        .collect();
    numbers.try_into().expect("three numbers")
}

#[test]
fn an_upload_of_any_length_takes_no_memory_in_any_style() {
    let (server, _site) = start();
    for style in STYLES {
        for upload in [upload_in_one_frame, upload_in_frames] {
            let grown = growth(&server, |parts| {
                let mut raw = Raw::open(&server, &format!("/{style}"));
                raw.stream
                    .set_read_timeout(Some(Duration::from_secs(120)))
                    .expect("a timeout");
                upload(&mut raw, parts);
                let [bytes, pieces, longest] = counted(&mut raw);
                assert_eq!(bytes, parts * PART as u64);
                assert!(
                    pieces >= parts && longest <= PART as u64,
                    "{pieces} {longest}"
                );
            });
            assert!(grown < GROWTH_KIB_MAX, "{style}: {grown} KiB");
        }
    }
}

#[test]
fn a_download_of_any_length_takes_no_memory_in_any_style_and_is_one_message() {
    let (server, _site) = start();
    for style in STYLES {
        let grown = growth(&server, |parts| {
            let mut raw = Raw::open(&server, &format!("/{style}"));
            raw.send(&frame(0x81, parts.to_string().as_bytes()));
            for number in 0..parts {
                let opcode = if number == 0 { 2 } else { 0 };
                let fin = if number + 1 == parts { 0x80 } else { 0 };
                let (first, payload) = raw.frame().expect("a part");
                assert_eq!(first, fin | opcode, "{number}");
                assert_eq!((payload.len(), payload[PART - 1]), (PART, b'd'));
            }
        });
        assert!(grown < GROWTH_KIB_MAX, "{style}: {grown} KiB");
    }
}

#[test]
fn a_client_that_does_not_read_holds_a_download_up_and_the_server_keeps_little_of_it() {
    let (server, _site) = start();
    for style in STYLES {
        Raw::open(&server, &format!("/{style}"));
        let before = server.reset_peak();
        let mut raw = Raw::open(&server, &format!("/{style}"));
        raw.send(&frame(0x81, b"16384"));

        let mut waiting = vec![0; PART / 2];
        eventually("what the client does not read fills its buffer", || {
            raw.stream.peek(&mut waiting).expect("looking") == waiting.len()
        });
        let grown = server.proc_status("VmHWM").saturating_sub(before);

        assert!(grown < GROWTH_KIB_MAX, "{style}: {grown} KiB");
        drop(raw);
        eventually("the session is over", || server.sessions(style) == 0);
    }
}

#[test]
fn a_part_that_does_not_fit_is_refused_and_the_session_goes_on() {
    let (server, _site) = start();
    let mut raw = Raw::open(&server, "/streams");
    raw.send(&frame(0x81, b"512!"));
    eventually("what the client does not read fills its buffer", || {
        raw.stream.peek(&mut [0; PART / 2]).expect("looking") == PART / 2
    });

    let mut bytes = 0;
    loop {
        let (first, payload) = raw.frame().expect("a part");
        bytes += payload.len();
        if first & 0x80 != 0 {
            break;
        }
    }

    assert_eq!(bytes, 512 * PART);
}

#[test]
fn a_handler_that_pauses_holds_the_next_part_back() {
    let (server, _site) = start();
    let mut raw = Raw::open(&server, "/streams");
    // The handler pauses for a tenth of a second at a part that begins with this.
    for (first, payload) in [(0x02, &b"pause"[..]), (0x00, b"after"), (0x80, b"last")] {
        raw.send(&frame(first, payload));
    }

    let [bytes, parts, _] = counted(&mut raw);

    assert_eq!((bytes, parts), (14, 3));
    assert!(server.find_line(&["part while it is paused"]).is_none());
}

#[test]
fn a_compressed_upload_comes_in_parts_that_are_no_longer_than_others() {
    let (server, _site) = start();
    let mut deflater = Compress::new(Compression::best(), false);
    // Zeros compress a thousand to one.
    let zeros = vec![0; 64 * PART];
    let mut wire = Vec::with_capacity(1024 * 1024);
    for _ in 0..parts() / 64 {
        deflater
            .compress_vec(&zeros, &mut wire, FlushCompress::Sync)
            .expect("compressing");
    }
    wire.truncate(wire.len() - 4);
    let grown = growth(&server, |_| {
        let (mut raw, answer) = Raw::open_with(&server, "/streams", OFFER);
        assert!(answer.contains("permessage-deflate"), "{answer}");
        raw.send(&frame(0xc2, &wire));
        let [bytes, _, longest] = counted(&mut raw);
        assert_eq!(
            (bytes, longest),
            (parts() / 64 * zeros.len() as u64, PART as u64)
        );
    });
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
}

#[test]
fn a_compressed_download_is_one_message_whose_parts_inflate_one_after_another() {
    let (server, _site) = start();
    for style in STYLES {
        let grown = growth(&server, |parts| {
            let (mut raw, _) = Raw::open_with(&server, &format!("/{style}"), OFFER);
            raw.send(&frame(0x81, parts.to_string().as_bytes()));
            let (mut inflater, mut bytes) = (Decompress::new(false), 0);
            for number in 0..parts {
                let (first, mut payload) = raw.frame().expect("a part");
                let opcode = if number == 0 { 0x42 } else { 0 };
                let is_last = number + 1 == parts;
                assert_eq!(first, opcode | if is_last { 0x80 } else { 0 }, "{number}");
                assert!(payload.len() < PART / 10, "{}", payload.len());
                if is_last {
                    payload.extend_from_slice(b"\x00\x00\xff\xff");
                }
                let mut part = Vec::with_capacity(2 * PART);
                inflater
                    .decompress_vec(&payload, &mut part, FlushDecompress::Sync)
                    .expect("a part of a compressed message");
                assert!(part.iter().all(|byte| *byte == b'd'));
                bytes += part.len();
            }
            assert_eq!(bytes, parts as usize * PART);
        });
        assert!(grown < GROWTH_KIB_MAX, "{style}: {grown} KiB");
    }
}

#[test]
fn a_handler_that_takes_messages_whole_keeps_its_limits_beside_one_that_does_not() {
    let site = Site::with(&["streams_wsh", "echo_wsh"]);
    site.write(
        "config.toml",
        "[handler.streams]\nmessage_bytes_max = 1000\nfragments_max = 2\n[handler.echo]\nmessage_bytes_max = 1000\n",
    );
    let server = Server::start(&site);

    let mut raw = Raw::open(&server, "/streams");
    upload_in_frames(&mut raw, 5);
    let [bytes, _, longest] = counted(&mut raw);
    assert_eq!((bytes, longest), (5 * PART as u64, 1000));

    let mut raw = Raw::open(&server, "/echo");
    raw.send(&frame(0x82, &[0; 1001]));
    assert_eq!(raw.close_code(), 1009);
    let mut nothing = [0];
    assert_eq!(raw.stream.read(&mut nothing).unwrap_or(0), 0);
}
