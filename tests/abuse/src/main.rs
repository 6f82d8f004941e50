//! What hostile peers and bad luck do to wshd: 54 tests, each with its criterion and its figure.
//!
//! A server runs as a process of its own, and so does a prober, which asks it for an echo every 100 ms. Attackers write their
//! bytes themselves. `tests/abuse/README.md` is the table of what was found; a long run writes it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its table is what it is for"
)]

mod artifacts;
mod cases;
#[path = "../../../server/src/testing/certificates.rs"]
mod certificates;
mod checks;
#[path = "../../../server/src/testing/client_frame.rs"]
mod client_frame;
mod combined;
#[path = "../../harness/compile.rs"]
#[allow(dead_code, reason = "integration tests use the rest of it")]
mod compile;
#[path = "../../harness/hostile.rs"]
mod hostile;
mod prober;
mod report;
mod server;
mod soak;
mod swarm;
mod table;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::artifacts::Artifacts;
use crate::checks::Checks;
use crate::report::{Report, Verdict};
use crate::table::{Case, How};

/// What hostile peers and bad luck do to wshd.
#[derive(Parser)]
#[command(name = "abuse", args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Run all tests one after the other, and then the attacks together: everything but the soak. This is what writes the
    /// whole table.
    All(Options),
    /// Run the attacks together, on one server.
    Combined {
        /// Only these attacks: slow-heads, churn, pings, readers, malformed, hangups, disk, descriptors. The table is not
        /// written.
        #[arg(long, value_delimiter = ',', value_name = "ATTACKS")]
        only: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Run a mixed load for long, with a replacement every ten seconds.
    Soak {
        #[arg(long, default_value_t = 60)]
        minutes: u64,
        #[command(flatten)]
        options: Options,
    },
    /// Be the prober.
    #[command(hide = true)]
    Probe { port: u16 },
}

#[derive(Args)]
struct Run {
    /// Only these tests. Without numbers all of them run.
    numbers: Vec<u8>,
    #[command(flatten)]
    options: Options,
}

/// What to run against.
#[derive(Args)]
struct Options {
    /// This server, with its plugins beside it, instead of one that is built now.
    #[arg(long, value_name = "PATH")]
    wshd: Option<PathBuf>,
    /// Less of everything, in about two minutes. The table is not written.
    #[arg(long)]
    short: bool,
}

/// What a test runs with.
pub(crate) struct Lab {
    pub(crate) artifacts: Artifacts,
    is_short: bool,
}

impl Lab {
    fn new(options: &Options) -> Result<Lab> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        let artifacts = match &options.wshd {
            Some(path) => Artifacts::at(path)?,
            None => Artifacts::build()?,
        };
        Ok(Lab {
            artifacts,
            is_short: options.short,
        })
    }

    /// Chooses between the long form and the short one.
    pub(crate) fn either<T>(&self, long: T, short: T) -> T {
        if self.is_short { short } else { long }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

/// Lets the server and the prober have a processor before this thread and those that it makes. Attackers in the world have
/// processors of their own.
pub(crate) fn quietly() {
    // A system that does not let it be is measured as it is.
    let _ = rustix::process::nice(19);
}

fn main() -> ExitCode {
    let CommandLine { command, run } = CommandLine::parse();
    let done = match command {
        None => suite(&run),
        Some(Command::All(options)) => all(options),
        Some(Command::Combined { only, options }) => {
            let is_whole = only.is_empty();
            alone("combined", &options, is_whole, |lab, checks| {
                combined::run(lab, &only, checks)
            })
        }
        Some(Command::Soak { minutes, options }) => alone("53", &options, true, |lab, checks| {
            soak::run(lab, checks, minutes)
        }),
        Some(Command::Probe { port }) => prober::probe(port).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("abuse: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything but the soak. Returns whether all criteria hold.
fn all(options: Options) -> Result<bool> {
    let run = Run {
        numbers: Vec::new(),
        options,
    };
    let lab = Lab::new(&run.options)?;
    let began = Instant::now();
    let suite = suite_in(&lab, &run)?;
    let together = judge(&lab, "combined", "all at once", true, |lab, checks| {
        combined::run(lab, &[], checks)
    })?;
    println!("{} s in all", began.elapsed().as_secs());
    Ok(suite && together)
}

fn suite(run: &Run) -> Result<bool> {
    if let Some(unknown) = run.numbers.iter().find(|it| !(1..=54).contains(*it)) {
        return Err(format!("there is no test {unknown}; they are 1 to 54").into());
    }
    suite_in(&Lab::new(&run.options)?, run)
}

/// Runs the tests that are asked for, one after the other. Returns whether all criteria hold.
fn suite_in(lab: &Lab, run: &Run) -> Result<bool> {
    let cases: Vec<Case> = table::cases();
    let is_asked_for = |case: &&Case| run.numbers.is_empty() || run.numbers.contains(&case.number);
    let mut failed = Vec::new();
    for case in cases.iter().filter(is_asked_for) {
        let number = case.number.to_string();
        let How::Run(attack) = case.how else {
            println!("{number:>2}  –     {}: {}", case.name, case.how.why());
            continue;
        };
        if !judge(lab, &number, case.name, true, attack)? {
            failed.push(number);
        }
    }
    if !failed.is_empty() {
        println!("not held: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

/// Runs what has a row of its own.
fn alone(
    row: &str,
    options: &Options,
    is_whole: bool,
    attack: impl FnOnce(&Lab, &mut Checks) -> Result<()>,
) -> Result<bool> {
    judge(&Lab::new(options)?, row, "", is_whole, attack)
}

/// Runs one test and shows what it found; the table says so at once, so that a run that is broken off loses nothing. One
/// that breaks off or panics has failed, and the next one runs. Returns whether its criterion holds.
fn judge(
    lab: &Lab,
    row: &str,
    name: &str,
    is_whole: bool,
    attack: impl FnOnce(&Lab, &mut Checks) -> Result<()>,
) -> Result<bool> {
    let began = Instant::now();
    let mut checks = Checks::default();
    let running = AssertUnwindSafe(|| attack(lab, &mut checks));
    match catch_unwind(running) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => checks.holds(format!("it broke off: {error}"), false),
        Err(_) => checks.holds("it panicked", false),
    }
    let verdict = Verdict::of(&checks, began.elapsed());
    show(row, name, &verdict);
    let holds = verdict.holds();
    if is_whole && !lab.is_short {
        let mut report = Report::read()?;
        report.keep(row, verdict);
        report.write(&table::cases())?;
    }
    Ok(holds)
}

fn show(number: &str, name: &str, verdict: &Verdict) {
    let word = if verdict.holds() { "holds" } else { "FAILS" };
    println!("{number:>2}  {word} {name}: {}", verdict.figure);
    if !verdict.holds() {
        println!("          not held: {}", verdict.faults.join("; "));
    }
}
