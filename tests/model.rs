//! Random sequences of everything that can happen to a handler, against a model of what must then
//! be served, through real files and sockets.
//!
//! Many handlers live in one server at a time, each with a sequence of its own; the sessions of every
//! other one drain, those of the others move to what serves. The long form,
//! `WSHD_LONG=1`, walks 2,000 sequences of 40 steps; `WSHD_SEED=N` walks the one that failed.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::patch::versioned;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{is_long, within};

/// What can happen to one handler.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new file is renamed over the old one.
    Replace,
    /// A new file is written over the old one in place.
    Overwrite,
    /// A file that cannot be loaded comes by rename.
    Spoil,
    /// What serves is put there once more.
    Repeat,
    Remove,
    Connect,
    /// Every open session is asked for its version.
    Ask,
    /// The oldest session closes.
    Close,
    /// The newest session makes its handler panic.
    Panic,
}

const STEPS: [Step; 9] = [
    Step::Replace,
    Step::Overwrite,
    Step::Spoil,
    Step::Repeat,
    Step::Remove,
    Step::Connect,
    Step::Ask,
    Step::Close,
    Step::Panic,
];

/// What the model knows of one handler.
struct Walker<'a> {
    name: String,
    path: PathBuf,
    site: &'a Site,
    server: &'a Server,
    /// The version that new sessions run.
    serving: Option<u32>,
    /// Whether open sessions move to what serves.
    migrates: bool,
    /// Open sessions and the version that each runs, the oldest first.
    sessions: Vec<(Client, u32)>,
    refusals: usize,
    panics: usize,
}

impl Walker<'_> {
    fn step(&mut self, step: Step) {
        match step {
            Step::Replace => {
                let number = fresh_version();
                self.site.add_bytes(&versioned(number), &self.file());
                self.serving = Some(number);
            }
            Step::Overwrite => {
                let number = fresh_version();
                fs::write(&self.path, versioned(number)).expect("writing");
                self.serving = Some(number);
            }
            Step::Spoil => {
                // Different every time: the same fault twice is said once.
                let text = format!("#!/bin/sh {}\n", fresh_version());
                self.site.add_bytes(text.as_bytes(), &self.file());
                self.refusals += 1;
                let refused = format!("cannot load `{}`: it is not a shared library", self.file());
                within(LIMIT, "the bad file is refused", || {
                    self.server.count_lines(&[&refused]) == self.refusals
                });
            }
            Step::Repeat => {
                if let Some(number) = self.serving {
                    self.site.add_bytes(&versioned(number), &self.file());
                }
            }
            Step::Remove => {
                // A file that is not there cannot be removed again.
                let _ = fs::remove_file(&self.path);
                self.serving = None;
            }
            Step::Connect => {
                if let Some(number) = self.serving {
                    self.sessions
                        .push((self.server.connect(&self.route()), number));
                }
            }
            Step::Ask => self.ask(),
            Step::Close => {
                if !self.sessions.is_empty() {
                    let (mut session, _) = self.sessions.remove(0);
                    assert_eq!(session.close(1000), 1000);
                }
            }
            // Five panics within ten seconds take a handler out of service; that has its own test.
            Step::Panic if self.panics < 4 => {
                if let Some((mut session, _)) = self.sessions.pop() {
                    self.panics += 1;
                    session.send("panic");
                    assert_eq!(session.close_code(), 1011);
                }
            }
            Step::Panic => {}
        }
        self.serves();
        if let (true, Some(number)) = (self.migrates, self.serving) {
            self.sessions.iter_mut().for_each(|it| it.1 = number);
        }
        self.ask();
    }

    /// What is served is what the model says.
    fn serves(&self) {
        let wanted = self.serving.map(version);
        within(LIMIT, &format!("{} serves {wanted:?}", self.name), || {
            let status = self.server.handshake_status(&self.route());
            match &wanted {
                None => status == 404,
                Some(version) => {
                    status == 101 && self.server.connect(&self.route()).ask("which?") == *version
                }
            }
        });
    }

    /// Every session runs what the model says; one that moves does so a moment after the swap.
    fn ask(&mut self) {
        for (session, number) in &mut self.sessions {
            let wanted = version(*number);
            if self.migrates {
                within(LIMIT, &format!("a session runs {wanted}"), || {
                    session.ask("which?") == wanted
                });
            } else {
                assert_eq!(session.ask("which?"), wanted);
            }
        }
    }

    fn file(&self) -> String {
        format!("{}_wsh.so", self.name)
    }

    fn route(&self) -> String {
        format!("/{}", self.name)
    }
}

#[test]
fn what_is_served_is_what_a_model_says_whatever_happens_to_the_files() {
    let (sequences, length) = if is_long() { (2_000, 40) } else { (24, 12) };
    let first: u64 = std::env::var("WSHD_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let sequences = if std::env::var_os("WSHD_SEED").is_some() {
        1
    } else {
        sequences
    };
    let seeds: Vec<u64> = (first..first + sequences).collect();

    for batch in seeds.chunks(AT_A_TIME) {
        let site = Site::empty();
        let tables = batch.iter().filter(|seed| !migrates(**seed));
        let tables = tables.map(|seed| format!("[handler.h{seed}]\nreload = \"drain\"\n"));
        site.write("config.toml", &tables.collect::<String>());
        let server = Server::start(&site);
        std::thread::scope(|scope| {
            for seed in batch {
                let (site, server) = (&site, &server);
                let walk = std::thread::Builder::new().name(format!("seed {seed}"));
                let walk = walk.spawn_scoped(scope, move || walk_one(*seed, length, site, server));
                walk.expect("a thread");
            }
        });
    }
}

fn walk_one(seed: u64, length: usize, site: &Site, server: &Server) {
    let name = format!("h{seed}");
    let path = site.handlers().join(format!("{name}_wsh.so"));
    let mut walker = Walker {
        name,
        path,
        site,
        server,
        serving: None,
        migrates: migrates(seed),
        sessions: Vec::new(),
        refusals: 0,
        panics: 0,
    };
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for number in 0..length {
        // xorshift64
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let step = STEPS[(random >> 32) as usize % STEPS.len()];
        let walked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| walker.step(step)));
        if let Err(failure) = walked {
            eprintln!("WSHD_SEED={seed}: step {number}, {step:?}");
            std::panic::resume_unwind(failure);
        }
    }
}

fn migrates(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// A version that no file had before.
fn fresh_version() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(2);
    NEXT.fetch_add(1, Ordering::Relaxed) % 10_000
}

fn version(number: u32) -> String {
    format!("version-{number:04}")
}

/// Handlers in one server.
const AT_A_TIME: usize = 24;
/// Two dozen walkers share two processors.
const LIMIT: Duration = Duration::from_secs(10);
