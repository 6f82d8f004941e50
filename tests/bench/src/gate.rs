//! What a message may cost wshd, in figures that do not depend on the machine's speed: instructions in user space, and
//! system calls.

use std::time::Duration;

use crate::Result;
use crate::artifacts::Artifacts;
use crate::callgrind::{self, Profile};
use crate::cell::{Cell, KIB};
use crate::contender::Contender;
use crate::echo::{Echo, Echoed};
use crate::fan::Crowd;
use crate::machine::{self, Cores};
use crate::server::Server;
use crate::syscalls::Counter;

/// Measures and prints. Returns whether everything holds.
pub(crate) fn run(top: usize) -> Result<bool> {
    let artifacts = Artifacts::build()?;
    machine::raise_descriptors()?;
    let cores = Cores::take()?;
    let mut holds = true;

    let counter = Counter::find();
    if counter == Counter::Nothing {
        return Err(
            "system calls cannot be counted: neither `perf` nor `strace` may be used here".into(),
        );
    }
    let wshd = Contender::wshd(artifacts.clone());
    for (cell, most) in SYSCALLS {
        let server = Server::start(&wshd, cores)?;
        let pid = server.pid();
        let mut echo = Echo::start(server, &Echoed::plain(cell))?;
        let (sample, count) = counter.count(pid, || echo.drive(COUNTED))?;
        let count = count.ok_or("system calls were not counted")?;
        holds &= verdict(
            cell,
            "system calls",
            count as f64 / sample.units as f64,
            most,
        );
    }

    if !callgrind::is_there() {
        return Err("instructions are counted by valgrind, which is not here; \
             on Debian `apt-get install valgrind` brings it"
            .into());
    }
    for (cell, most) in INSTRUCTIONS {
        let mut profile = measure(&artifacts, cores, cell)?;
        // On a loaded machine a worker sleeps more often between two messages, so the least counts.
        for _ in 1..ATTEMPTS {
            if profile.instructions() <= most {
                break;
            }
            let again = measure(&artifacts, cores, cell)?;
            if again.instructions() < profile.instructions() {
                profile = again;
            }
        }
        holds &= verdict(cell, "instructions", profile.instructions(), most);
        show(&profile, top);
    }
    for (crowd, most) in DELIVERIES {
        let mut profile = measure_fan(&artifacts, cores, crowd)?;
        for _ in 1..ATTEMPTS {
            if profile.instructions() <= most {
                break;
            }
            let again = measure_fan(&artifacts, cores, crowd)?;
            if again.instructions() < profile.instructions() {
                profile = again;
            }
        }
        holds &= verdict(crowd, "instructions", profile.instructions(), most);
        show(&profile, top);
    }
    Ok(holds)
}

/// Measures another plugin that echoes, and prints the figures.
pub(crate) fn show_echo(plugin: &str, top: usize) -> Result<bool> {
    let artifacts = Artifacts::build_styles()?.echoing(plugin);
    machine::raise_descriptors()?;
    let cores = Cores::take()?;
    for (cell, _) in INSTRUCTIONS {
        let profile = measure(&artifacts, cores, cell)?;
        let instructions = profile.instructions();
        println!("       {cell:<12} {instructions:>8.0} instructions a message of `{plugin}`");
        show(&profile, top);
    }
    Ok(true)
}

fn measure(artifacts: &Artifacts, cores: Cores, cell: Cell) -> Result<Profile> {
    let batches = rounds_of(cell.connections * cell.pipelining as usize);
    let few = callgrind::profile(artifacts, cores, cell, batches)?;
    let many = callgrind::profile(artifacts, cores, cell, batches * 3)?;
    Ok(many.less(few))
}

fn measure_fan(artifacts: &Artifacts, cores: Cores, crowd: Crowd) -> Result<Profile> {
    let publications = rounds_of(crowd.connections() * crowd.messages as usize);
    let few = callgrind::profile_fan(artifacts, cores, crowd, publications)?;
    let many = callgrind::profile_fan(artifacts, cores, crowd, publications * 3)?;
    Ok(many.less(few))
}

/// The rounds of the shorter of two runs, where a round has so many messages.
fn rounds_of(messages: usize) -> u32 {
    u32::try_from(MESSAGES / messages).map_or(ROUNDS_MIN, |rounds| rounds.max(ROUNDS_MIN))
}

fn verdict(case: impl std::fmt::Display, what: &str, found: f64, most: f64) -> bool {
    let holds = found <= most;
    let word = if holds { "holds" } else { "FAILS" };
    let digits = if found < 10.0 { 3 } else { 0 };
    let case = case.to_string();
    println!("{word}  {case:<16} {found:>8.digits$} {what} a message, at most {most}");
    holds
}

fn show(profile: &Profile, top: usize) {
    for (function, instructions) in profile.functions().into_iter().take(top) {
        let function: String = function.chars().take(100).collect();
        println!("       {instructions:>8.1}  {function}");
    }
}

const SYSCALLS: [(Cell, f64); 2] = [
    (Cell::new(20, 100, 1), 2.15),
    (Cell::new(20, 100, 32), 0.075),
];
const INSTRUCTIONS: [(Cell, f64); 3] = [
    (Cell::new(20, 100, 32), 350.0),
    (Cell::new(20, 100, 1), 1_400.0),
    (Cell::new(KIB, 100, 32), 650.0),
];
/// Instructions of a delivery, with the publisher's share of them.
const DELIVERIES: [(Crowd, f64); 4] = [
    (Crowd::of(100), 200.0),
    (Crowd::of(1_000), 200.0),
    (Crowd::of(1_000).with_history(), 170.0),
    (Crowd::STORM, 200.0),
];
const COUNTED: Duration = Duration::from_secs(1);
/// About as many messages has the shorter of the two runs. What wshd does by the clock, whatever comes, is little beside
/// the messages then.
const MESSAGES: usize = 32_000;
const ROUNDS_MIN: u32 = 20;
/// Runs of a cell until one is within its limit.
const ATTEMPTS: usize = 5;
