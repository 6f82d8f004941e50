//! Messages that claim to be long, and messages in very many frames.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::checks::{Checks, mib, ms, under_attack};
use crate::server::{Server, Setup};
use crate::wire::{self, BINARY, CLOSE, FIN, PING, PONG, Peer, TEXT, frame, header};
use crate::{Lab, Result};

/// Frames whose header claims more than a server has memory for.
pub(crate) fn claimed(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let repeats = lab.either(10_000, 500);
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let before = server.usage()?.resident_bytes;
        for (what, length, wanted) in [
            ("1 GiB", 1 << 30, 1009),
            ("2^63", 1 << 63, 1002),
            ("2^64-1", u64::MAX, 1002),
        ] {
            let bytes = header(FIN | BINARY, length, [1, 2, 3, 4]);
            let began = Instant::now();
            let mut others = 0;
            for _ in 0..repeats / 3 {
                let mut peer = Peer::open(server.port, "/echo")?;
                peer.send(&bytes)?;
                others += usize::from(peer.first_close()? != wanted);
            }
            let each = began.elapsed() / (repeats / 3) as u32;
            checks.holds(
                format!(
                    "{what}: {wanted} {} times of {}, each within {}",
                    repeats / 3 - others,
                    repeats / 3,
                    ms(each)
                ),
                others == 0,
            );
        }
        let growth = mib(server.usage()?.peak_bytes) - mib(before);
        checks.holds(format!("{growth:+.1} MiB at most"), growth < 8.0);
        Ok(())
    })
}

/// A message of a million frames that have nothing in them.
pub(crate) fn empty_fragments(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    under_attack(&server, checks, |checks| {
        let before = server.usage()?;
        let mut peer = Peer::open(server.port, "/echo")?;
        let mut writer = peer.stream.try_clone()?;
        let writing = std::thread::spawn(move || {
            // The server may have closed by then.
            let _ = writer.write_all(&frame(TEXT, b""));
            let many = frame(0, b"").repeat(1_000);
            for _ in 0..1_000 {
                if writer.write_all(&many).is_err() {
                    return;
                }
            }
        });
        let (code, closes) = peer.close_code()?;
        drop(peer);
        writing.join().map_err(|_| "the writer has panicked")?;
        let after = server.usage()?;
        let cpu = after.cpu - before.cpu;
        let growth = mib(after.peak_bytes) - mib(before.resident_bytes);
        checks.holds(
            format!("{code}, {closes} Close frame"),
            [1008, 1009].contains(&code) && closes == 1,
        );
        checks.holds(
            format!("{} of a processor", ms(cpu)),
            cpu < Duration::from_secs(1),
        );
        checks.holds(format!("{growth:+.1} MiB at most"), growth < 8.0);
        Ok(())
    })
}

/// 64 KiB, each byte in a frame of its own, with Pings between; also with a limit that lets them all pass.
pub(crate) fn tiny_fragments(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let config = "[limits]\nfragments_max = 100000\n";
    for (limit, config) in [("the default limit", ""), ("a limit of 100,000", config)] {
        let setup = Setup {
            config,
            ..Setup::default()
        };
        let server = Server::start(&lab.artifacts, &setup)?;
        under_attack(&server, checks, |checks| {
            let began = Instant::now();
            let mut peer = Peer::open(server.port, "/echo")?;
            let mut writer = peer.stream.try_clone()?;
            let writing = std::thread::spawn(move || {
                let _ = writer.write_all(&tiny());
            });
            let (mut pongs, mut disorder, mut end) = (0u32, 0, None);
            while end.is_none() {
                let Some(frame) = peer.frame()? else { break };
                match frame.opcode() {
                    PONG => {
                        disorder += usize::from(frame.payload < pongs.to_be_bytes().to_vec());
                        pongs += 1;
                    }
                    CLOSE => end = Some(frame.code()),
                    _ => end = Some(u16::from(frame.payload.len() == FRAGMENTS as usize)),
                }
            }
            let took = began.elapsed();
            drop(peer);
            writing.join().map_err(|_| "the writer has panicked")?;
            let what = match end {
                Some(1) => "the whole message".to_owned(),
                other => format!("{}", other.unwrap_or(1006)),
            };
            let is_right = match limit {
                "the default limit" => end == Some(1008),
                _ => end == Some(1) && took < Duration::from_secs(1),
            };
            checks.holds(
                format!(
                    "with {limit}: {what} after {}, {pongs} Pongs, {disorder} out of order",
                    ms(took)
                ),
                is_right && disorder == 0,
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// The message, with a Ping behind each 64th frame whose payload is its number.
fn tiny() -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..FRAGMENTS {
        let fin = if number == FRAGMENTS - 1 { FIN } else { 0 };
        let opcode = if number == 0 { wire::BINARY } else { 0 };
        bytes.extend(frame(fin | opcode, b"x"));
        if number % 64 == 0 {
            bytes.extend(frame(FIN | PING, &(number / 64).to_be_bytes()));
        }
    }
    bytes
}

const FRAGMENTS: u32 = 65_536;
