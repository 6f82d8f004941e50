//! Files under names of plugins that are none, and damaged plugins.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use crate::cases::files::SOON;
use crate::checks::{Checks, Leaves, ms, under_attack_that_leaves};
use crate::server::{Server, Setup};
use crate::wire::Peer;
use crate::{Lab, Result};

/// Files that are no plugins take the place of handlers that serve. Then copies of a plugin come with damage anywhere.
pub(crate) fn instead_of_a_plugin(lab: &Lab, checks: &mut Checks) -> Result<()> {
    let (truncated, changed) = lab.either((200, 400), (20, 20));
    let server = Server::start(&lab.artifacts, &Setup::default())?;
    let good = fs::read(lab.artifacts.plugin("ledger_wsh"))?;
    for number in 0..AT_ONCE {
        server.add(&format!("old{number}"), &good)?;
    }
    let mut random = Random(7);
    let other = no_plugins(&good);
    let lengths = (0..truncated).map(|_| random.below(good.len()));
    let mut cut_off = vec![
        ("zeros".to_owned(), vec![0; good.len()]),
        ("a head and zeros".to_owned(), {
            let mut bytes = good.clone();
            bytes[64..].fill(0);
            bytes
        }),
    ];
    for length in [0, 1].into_iter().chain(lengths) {
        cut_off.push((format!("the first {length} bytes"), good[..length].to_vec()));
    }
    let leaves = Leaves::images_of("damaged");
    under_attack_that_leaves(leaves, &server, checks, |checks| {
        let mut old = Old::open(&server)?;
        let soon = Duration::from_secs(1);
        refused(
            &server,
            checks,
            &mut old,
            ("that are no plugins", &other),
            soon,
        )?;
        // Their rest is waited for.
        refused(
            &server,
            checks,
            &mut old,
            ("that are cut off", &cut_off),
            2 * soon,
        )?;
        odd_kinds(&server, checks)?;
        let copies = (0..changed).map(|_| {
            let mut bytes = good.clone();
            for _ in 0..=random.below(16) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            bytes
        });
        damaged(&server, checks, &copies.collect::<Vec<_>>())
    })
}

/// Puts each of these files in the place of a handler that has a session.
fn refused(
    server: &Server,
    checks: &mut Checks,
    old: &mut Old,
    (what, files): (&str, &[(String, Vec<u8>)]),
    most: Duration,
) -> Result<()> {
    let lines = || server.log().matches(REFUSED).count();
    let before = lines();
    let (mut put, mut longest, mut wrong) = (0, Duration::ZERO, Vec::new());
    for batch in files.chunks(AT_ONCE) {
        let began = Instant::now();
        for (number, (_, bytes)) in batch.iter().enumerate() {
            server.put(&format!("handlers/old{number}_wsh.so"), bytes)?;
            put += 1;
        }
        server.await_lines(REFUSED, before + put, SOON)?;
        longest = longest.max(began.elapsed());
        for (number, (file, _)) in batch.iter().enumerate() {
            if !old.serves(server, number)? {
                wrong.push(file.as_str());
            }
        }
    }
    // A file that is told of twice would be by now.
    std::thread::sleep(Duration::from_millis(200));
    let lines = lines() - before;
    checks.holds(
        format!(
            "{put} files {what}, up to {AT_ONCE} at once: {lines} lines, within {}; the old code serves behind {} {}",
            ms(longest),
            put - wrong.len(),
            wrong.join(", ")
        ),
        lines == put && wrong.is_empty() && longest < most,
    );
    Ok(())
}

/// A copy whose changed bytes nothing reads is a plugin that works.
fn damaged(server: &Server, checks: &mut Checks, copies: &[Vec<u8>]) -> Result<()> {
    let lines = |text: &str| server.log().matches(text).count();
    let (refused, loaded) = (lines(REFUSED), lines(LOADED));
    let said = || lines(REFUSED) + lines(LOADED) - refused - loaded;
    let mut put = 0;
    for batch in copies.chunks(AT_ONCE) {
        for (number, bytes) in batch.iter().enumerate() {
            server.put(&format!("handlers/damaged{put}_{number}_wsh.so"), bytes)?;
        }
        let deadline = Instant::now() + SOON;
        while said() < put + batch.len() {
            if Instant::now() > deadline {
                return Err(
                    format!("{} of {} files are told of", said(), put + batch.len()).into(),
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        for number in 0..batch.len() {
            fs::remove_file(server.path(&format!("handlers/damaged{put}_{number}_wsh.so")))?;
        }
        put += batch.len();
    }
    checks.holds(
        format!(
            "{put} copies with up to 16 bits changed: {} refused, {} load",
            lines(REFUSED) - refused,
            lines(LOADED) - loaded
        ),
        said() == put,
    );
    Ok(())
}

/// A session of each handler that is replaced.
struct Old {
    sessions: Vec<Peer>,
    asked: Vec<usize>,
}

impl Old {
    fn open(server: &Server) -> Result<Old> {
        let sessions = (0..AT_ONCE).map(|number| Peer::open(server.port, &format!("/old{number}")));
        Ok(Old {
            sessions: sessions.collect::<Result<_>>()?,
            asked: vec![0; AT_ONCE],
        })
    }

    /// Whether the session goes on, and a new one opens.
    fn serves(&mut self, server: &Server, number: usize) -> Result<bool> {
        let asked = self.asked[number];
        self.asked[number] += 1;
        let answer = self.sessions[number].ask_text(&asked.to_string())?;
        let is_old = answer.starts_with(&format!("{asked} build-0001"));
        Ok(is_old && server.handshake_status(&format!("/old{number}"))? == 101)
    }
}

/// What is put under the name of a plugin and is none, and a few bytes that say another thing than they should.
fn no_plugins(good: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut random = Random(3);
    let noise: Vec<u8> = (0..100_000).map(|_| random.below(256) as u8).collect();
    let changed = |at: usize, bytes: &[u8]| {
        let mut all = good.to_vec();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        all
    };
    let at = |text: &[u8]| good.windows(text.len()).position(|it| it == text);
    // The major follows the magic: nothing else begins so.
    let descriptor = at(b"\x89WSH\r\n\x1a\n\x01\0\0\0").unwrap_or(0);
    let symbol = at(b"WSH_HANDLER\0").unwrap_or(0);
    let files: [(&str, Vec<u8>); 10] = [
        ("text", b"#!/bin/sh\necho\n".to_vec()),
        ("noise", noise.clone()),
        (
            "a Windows program",
            [b"MZ\x90\0".as_slice(), &noise].concat(),
        ),
        ("32 bits", changed(4, &[1])),
        ("aarch64", changed(18, &183u16.to_le_bytes())),
        ("i386", changed(18, &3u16.to_le_bytes())),
        ("an object file", changed(16, &1u16.to_le_bytes())),
        ("no symbol", changed(symbol, b"WSH_HANDLEX")),
        ("ABI 0", changed(descriptor + 8, &0u32.to_ne_bytes())),
        ("ABI 2", changed(descriptor + 8, &2u32.to_ne_bytes())),
    ];
    files.map(|(what, bytes)| (what.to_owned(), bytes)).into()
}

/// What is no regular file, or far too large, under a name of a plugin.
fn odd_kinds(server: &Server, checks: &mut Checks) -> Result<()> {
    let place = |name: &str| server.path(&format!("handlers/{name}_wsh.so"));
    let began = Instant::now();
    nix::unistd::mkfifo(&place("fifo"), nix::sys::stat::Mode::S_IRWXU)?;
    fs::create_dir(place("folder"))?;
    symlink("nowhere", place("dangling"))?;
    symlink("/proc/self/mem", place("memory"))?;
    fs::File::create(place("sparse"))?.set_len(2 << 30)?;
    server.line(&[REFUSED, "`sparse_wsh.so`"], SOON)?;
    let took = began.elapsed();
    let mut serve = 0;
    for name in ["fifo", "folder", "dangling", "memory", "sparse"] {
        serve += usize::from(server.handshake_status(&format!("/{name}"))? == 101);
        match name {
            "folder" => fs::remove_dir(place(name))?,
            _ => fs::remove_file(place(name))?,
        }
    }
    checks.holds(
        format!(
            "a FIFO, a folder, a link to nothing, one to memory and 2 GiB of nothing: {serve} serve, after {}",
            ms(took)
        ),
        serve == 0 && took < Duration::from_secs(2),
    );
    Ok(())
}

/// Numbers that are the same in every run (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

const REFUSED: &str = "plugin refused";
const LOADED: &str = "handler loaded";
const AT_ONCE: usize = 20;
