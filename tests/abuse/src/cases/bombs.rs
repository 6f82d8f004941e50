//! Compressed messages that inflate to far more, and odd offers of compression.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::checks::{Checks, mib, under_attack};
use crate::server::{Server, Setup};
use crate::swarm::{AllFrames, Came, Swarm};
use crate::wire::{self, BINARY, CLOSE, FIN, Peer, RSV1, connect, frame, opening};
use crate::{Lab, Result};

/// All send the same bomb at once.
pub(crate) fn at_once(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let count = lab.either(1_000, 100);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let before = server.usage()?;
        let bomb = frame(FIN | RSV1 | BINARY, &deflate(&vec![0; 64 << 20])?);
        let mut swarm = Swarm::new()?;
        for _ in 0..count {
            let peer = Peer::open_with(server.port, "/echo", OFFER)?;
            swarm.add(peer.stream)?;
        }
        let (mut at, mut codes) = (vec![0; count], Vec::new());
        let mut frames = AllFrames::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        while swarm.open() > 0 && Instant::now() < deadline {
            for (number, at) in at.iter_mut().enumerate() {
                *at += swarm.write(number, &bomb[*at..])?;
            }
            let mut answered = Vec::new();
            swarm.look(Duration::from_millis(5), |number, came| {
                if let Came::Bytes(bytes) = came {
                    let _ = frames.take(number, bytes, |it| {
                        if it.opcode() == CLOSE {
                            answered.push((number, it.code()));
                        }
                    });
                }
            })?;
            for (number, code) in answered {
                codes.push(code);
                swarm.drop_one(number);
            }
        }
        let right = codes.iter().filter(|code| **code == 1009).count();
        let growth = mib(server.usage()?.peak_bytes) - mib(before.resident_bytes);
        checks.holds(
            format!(
                "1009 {right} times of {count}, a bomb of {} KiB",
                bomb.len() >> 10
            ),
            right == count,
        );
        checks.holds(
            format!("{growth:+.1} MiB at most"),
            growth < 1.25 * count as f64,
        );
        Ok(())
    })
}

/// Offers in many forms, and an echo with each that is accepted.
pub(crate) fn offers(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let random = lab.either(3_000, 300);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let (mut declined, mut accepted, mut refused) = (0, 0, 0);
        let mut faults = Vec::new();
        let fixed = OFFERS.iter().map(|it| (*it).to_owned());
        let mut seed = 1;
        let random = (0..random).map(|_| random_offer(&mut seed));
        for offer in fixed.chain(random) {
            match try_offer(server.port, &offer)? {
                Answer::Refused(400) => refused += 1,
                Answer::Refused(status) => faults.push(format!("`{offer}`: {status}")),
                Answer::Declined(true) => declined += 1,
                Answer::Accepted(true) => accepted += 1,
                Answer::Declined(false) | Answer::Accepted(false) => {
                    faults.push(format!("`{offer}`: another echo"));
                }
            }
        }
        checks.holds(
            format!(
                "{accepted} accepted, {declined} declined, {refused} × 400, {} otherwise",
                faults.len()
            ),
            faults.is_empty() && accepted > 0 && declined > 0 && refused > 0,
        );
        for fault in faults.into_iter().take(3) {
            checks.holds(fault, false);
        }
        Ok(())
    })
}

enum Answer {
    /// Whether the echo was equal.
    Accepted(bool),
    Declined(bool),
    Refused(u16),
}

fn try_offer(port: u16, offer: &str) -> Result<Answer> {
    let mut stream = connect(port)?;
    let line = format!("Sec-WebSocket-Extensions: {offer}\r\n");
    stream.write_all(opening("/echo", &line).as_bytes())?;
    let answer = wire::read_answer(&mut stream)?;
    if wire::status_of(&answer) != 101 {
        return Ok(Answer::Refused(wire::status_of(&answer)));
    }
    let is_accepted = answer.contains("permessage-deflate");
    let mut peer = Peer {
        stream,
        frames: wire::Frames::default(),
    };
    let message = b"round and round and round".repeat(100);
    let mut is_equal = true;
    // Also an empty one, whose compressed form is a byte.
    for message in [&message[..], b"", &message] {
        match is_accepted {
            true => peer.send(&frame(FIN | RSV1 | BINARY, &deflate(message)?))?,
            false => peer.send(&frame(FIN | BINARY, message))?,
        }
        let came = peer.frame()?.ok_or("no echo")?;
        let payload = match came.first & RSV1 {
            0 => came.payload,
            _ => inflate(&came.payload)?,
        };
        is_equal &= payload == message;
    }
    Ok(match is_accepted {
        true => Answer::Accepted(is_equal),
        false => Answer::Declined(is_equal),
    })
}

/// Compresses as RFC 7692 §7.2.1 says, without reference to earlier messages.
pub(crate) fn deflate(payload: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(payload.len() / 500 + 4096);
    let mut compress = Compress::new(Compression::best(), false);
    let mut read = 0;
    while read < payload.len() || out.len() == out.capacity() || out.is_empty() {
        out.reserve(4096);
        compress.compress_vec(&payload[read..], &mut out, FlushCompress::Sync)?;
        read = compress.total_in() as usize;
    }
    let tail = [0, 0, 0xff, 0xff];
    match out.strip_suffix(&tail) {
        Some([]) => Ok(vec![0]),
        Some(out) => Ok(out.to_vec()),
        None => Err("the payload does not compress".into()),
    }
}

fn inflate(payload: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(1 << 16);
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&whole, &mut out, FlushDecompress::Sync)?;
    Ok(out)
}

/// An offer made of the words that offers have, by a seed.
fn random_offer(seed: &mut u64) -> String {
    let mut next = |most: usize| {
        // xorshift
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        (*seed % most as u64) as usize
    };
    let mut offer = "permessage-deflate".to_owned();
    for _ in 0..next(4) {
        offer += [";", "; ", ",", "; ;", " "][[0, 1, 1, 1, 1, 1, 2, 3, 4][next(9)]];
        offer += WORDS[next(WORDS.len())];
    }
    offer
}

const WORDS: [&str; 16] = [
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits=15",
    "server_max_window_bits=9",
    "server_max_window_bits=8",
    "server_max_window_bits",
    "client_max_window_bits",
    "client_max_window_bits=9",
    "client_max_window_bits=\"15\"",
    "client_max_window_bits=abc",
    "server_max_window_bits=99999999999999999999",
    "server_no_context_takeover=1",
    "permessage-deflate",
    "x-webkit-deflate-frame",
    "unknown=1",
    "\"",
];
const OFFERS: [&str; 16] = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits=16",
    "permessage-deflate; client_max_window_bits=abc",
    "permessage-deflate; client_max_window_bits=08",
    "permessage-deflate; server_max_window_bits=7",
    "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits=-1",
    "permessage-deflate; server_max_window_bits=9",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; unknown",
    "permessage-deflate; unknown, permessage-deflate",
    "x-webkit-deflate-frame",
];
pub(crate) const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; \
     server_no_context_takeover\r\n";
