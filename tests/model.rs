//! Random sequences of everything that can happen to a handler, through real files and sockets. A model says what must be
//! served after each step: what new connections get, which code each open session runs, and with which state.
//!
//! Many handlers live in one server at a time. Each has a sequence and a table of its own, so that sessions move, stay or
//! close when the code changes. The long form, `WSHD_LONG=1`, walks 2,000 sequences of 40 steps. `WSHD_SEED=N` walks the
//! one that failed, `WSHD_SEED=N-M` several.
//!
//! To see that the test finds faults, make one: in `Reconciler::swap` of `server/src/reload/reconciler/succession.rs`, swap the
//! table only `if !generation.number.is_multiple_of(5)`; or in `Session::plan_move` of
//! `server/src/session/migration.rs`, return at once `if self.conn.id().is_multiple_of(20)`. Already the
//! short form fails on either.

mod walker;
mod world;

use std::time::Duration;

use self::walker::Walker;
use self::world::World;
use crate::harness::is_long;

/// What can happen to one handler.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new build is renamed over the file, or comes where there is none.
    Replace,
    /// A new build is written over the file in place.
    Overwrite,
    /// A build from before comes back.
    Restore,
    /// The file that serves is put there once more.
    Repeat,
    Remove,
    /// A file that cannot be loaded comes by rename.
    Spoil,
    /// The handler's table changes, and with it what happens to its sessions.
    Configure,
    Connect,
    /// Every open session is sent a message.
    Ask,
    /// The newest session gets into a state in which its next moves fail.
    Trouble,
    /// The oldest session in such a state gets out of it.
    Calm,
    /// The oldest session closes.
    Close,
    /// The newest session makes its handler panic. Several panics put it out of service.
    Panic,
}

const STEPS: [Step; 13] = [
    Step::Replace,
    Step::Overwrite,
    Step::Restore,
    Step::Repeat,
    Step::Remove,
    Step::Spoil,
    Step::Configure,
    Step::Connect,
    Step::Ask,
    Step::Trouble,
    Step::Calm,
    Step::Close,
    Step::Panic,
];

#[test]
fn what_is_served_is_what_a_model_says_whatever_happens() {
    let (sequences, length) = if is_long() { (2_000, 40) } else { (24, 12) };
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let seeds: Vec<u64> = match std::env::var("WSHD_SEED") {
        Ok(chosen) => match chosen.split_once('-') {
            Some((first, last)) => (number(first)..=number(last)).collect(),
            None => vec![number(&chosen)],
        },
        Err(_) => (1..=sequences).collect(),
    };

    for batch in seeds.chunks(AT_A_TIME) {
        if is_long() {
            eprintln!("seeds {} to {}", batch[0], batch[batch.len() - 1]);
        }
        let world = World::start(batch);
        std::thread::scope(|scope| {
            for seed in batch {
                let world = &world;
                let walk = std::thread::Builder::new().name(format!("seed {seed}"));
                let walk = walk.spawn_scoped(scope, move || walk_one(*seed, length, world));
                walk.expect("a thread");
            }
        });
    }
}

fn walk_one(seed: u64, length: usize, world: &World) {
    let mut walker = Walker::new(seed, world);
    let mut steps = Vec::new();
    for _ in 0..length {
        let step = STEPS[walker.choose(STEPS.len())];
        steps.push(step);
        let walked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| walker.step(step)));
        if let Err(failure) = walked {
            eprintln!("WSHD_SEED={seed} fails at the last of {steps:?}");
            std::panic::resume_unwind(failure);
        }
    }
}

/// Handlers in one server.
const AT_A_TIME: usize = 24;
/// Two dozen walkers share two processors.
const LIMIT: Duration = Duration::from_secs(20);
