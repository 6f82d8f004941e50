//! What the clients of one handler notice while another handler is replaced: the latency of echoes, in slices with and
//! without replacements in turn.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Result;
use crate::artifacts::Artifacts;
use crate::contender::Contender;
use crate::load::Load;
use crate::machine::{self, Cores};
use crate::pace::Pace;
use crate::server::Server;
use crate::socket::Offer;
use crate::stats::{Quartiles, percentile};

/// How often a handler is replaced, and how many sessions it has.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// How often the handler is replaced in all.
    #[arg(long, default_value_t = 1_000)]
    reloads: usize,
    /// Milliseconds from one replacement to the next, if the last one is over by then.
    #[arg(long, default_value_t = 100, value_name = "MILLISECONDS")]
    every: u64,
    /// Open sessions of the handler that is replaced. They move each time.
    #[arg(long, default_value_t = 1_000)]
    sessions: usize,
    /// How often ten thousand idle sessions move after that.
    #[arg(long, default_value_t = 20)]
    moves: usize,
}

/// Measures and prints. Returns whether the targets are met.
pub(crate) fn run(plan: &Plan) -> Result<bool> {
    let artifacts = Artifacts::build_with(&["echo_wsh", REPLACED])?;
    machine::raise_descriptors()?;
    let cores = Cores::take()?;
    let wshd = Contender::wshd_with(artifacts, UNPINGED);
    let disturbed = disturb(&wshd, cores, plan)?;
    let moved = plan.moves == 0 || move_many(&wshd, cores, plan.moves)?;
    Ok(disturbed && moved)
}

/// Measures echoes of one handler, with and without replacements of the other.
fn disturb(wshd: &Contender, cores: Cores, plan: &Plan) -> Result<bool> {
    let every = Duration::from_millis(plan.every.max(1));
    let slice = every * RELOADS_A_SLICE as u32;
    println!(
        "echoes of 125 B on {PROBES} connections, one each {PERIOD:?}, while another handler with {} sessions\n\
         is replaced {} times, every {every:?} in slices of {slice:?} that take turns with slices without;\n\
         the server on one core, the load on another",
        plan.sessions, plan.reloads
    );
    let server = Server::start(wshd, cores)?;
    let sessions = open_sessions(&server, plan.sessions)?;
    let mut replacer = Replacer::new(&server, plan.sessions)?;
    let mut pace = Pace::open(server.port, "/echo", PROBES, PERIOD)?;
    pace.run(slice, || Ok(()))?;
    let (mut without, mut with) = (Samples::default(), Samples::default());
    while replacer.done < plan.reloads {
        without.take(pace.run(slice, || Ok(()))?);
        let mut next = Instant::now();
        with.take(pace.run(slice, || {
            replacer.look()?;
            if replacer.is_idle() && next <= Instant::now() && replacer.done < plan.reloads {
                next += every;
                replacer.replace()?;
            }
            Ok(())
        })?);
        replacer.finish()?;
    }
    let done = replacer.done;
    drop(sessions);

    println!(
        "\n{:<10} {:>9} {:>9} {:>9} {:>9}",
        "", "echoes", "p50 µs", "p99 µs", "max µs"
    );
    without.show("without");
    with.show("with");
    let ratios = with
        .p99
        .iter()
        .zip(&without.p99)
        .map(|(with, without)| with / without);
    let ratio = Quartiles::of(ratios).ok_or("no slice was measured")?;
    let took = replacer.moves.iter().map(|it| *it as f64);
    let took = Quartiles::of(took).ok_or("no session has moved")?;
    let verdict = verdict(ratio.median <= RATIO_MAX);
    println!(
        "\n{verdict}  p99 with over p99 without: {:.2} (quartiles {:.2}–{:.2} of {} pairs of slices), at most {RATIO_MAX}\n       \
         {done} replacements; all sessions moved each time, in {} ms (quartiles {}–{})",
        ratio.median,
        ratio.low,
        ratio.high,
        with.p99.len(),
        took.median,
        took.low,
        took.high
    );
    Ok(ratio.median <= RATIO_MAX)
}

/// Measures moves of many idle sessions.
fn move_many(wshd: &Contender, cores: Cores, moves: usize) -> Result<bool> {
    let server = Server::start(wshd, cores)?;
    let sessions = open_sessions(&server, MANY)?;
    let mut replacer = Replacer::new(&server, MANY)?;
    let mut pace = Pace::open(server.port, "/echo", PROBES, PERIOD)?;
    let slice = Duration::from_millis(500);
    let (mut without, mut with) = (Samples::default(), Samples::default());
    for _ in 0..moves {
        without.take(pace.run(slice, || Ok(()))?);
        let mut is_begun = false;
        with.take(pace.run(slice, || {
            replacer.look()?;
            if !std::mem::replace(&mut is_begun, true) {
                replacer.replace()?;
            }
            Ok(())
        })?);
        replacer.finish()?;
    }
    drop(sessions);

    println!("\n{MANY} idle sessions move, {moves} times; echoes of the other handler meanwhile");
    println!(
        "\n{:<10} {:>9} {:>9} {:>9} {:>9}",
        "", "echoes", "p50 µs", "p99 µs", "max µs"
    );
    without.show("without");
    with.show("with");
    let took = replacer.moves.iter().map(|it| *it as f64);
    let took = Quartiles::of(took).ok_or("no session has moved")?;
    let slices = || replacer.slices.iter().map(|it| *it as f64 / 1e3);
    let slice = Quartiles::of(slices()).ok_or("no session has moved")?;
    let longest = slices().fold(0.0, f64::max);
    let (in_time, unheld) = (took.median < MOVE_MS, longest <= HELD_MS);
    println!(
        "\n{}  all of them, in ms: {} (quartiles {}–{}), less than {MOVE_MS}",
        verdict(in_time),
        took.median,
        took.low,
        took.high
    );
    println!(
        "{}  the longest slice of each move, in ms: {:.2} (quartiles {:.2}–{:.2}, longest {longest:.2}), at most {HELD_MS}\n       \
         the longest that an echo waited, in ms: {:.1} with moves, {:.1} without; longer than {HELD_MS}: {} and {} of a million",
        verdict(unheld),
        slice.median,
        slice.low,
        slice.high,
        with.max_us / 1e3,
        without.max_us / 1e3,
        with.longer_than(HELD_MS),
        without.longer_than(HELD_MS)
    );
    Ok(in_time && unheld)
}

fn open_sessions(server: &Server, count: usize) -> Result<Load> {
    Load::open(
        server.port,
        &format!("/{}", REPLACED.trim_end_matches("_wsh")),
        count,
        Offer::Nothing,
    )
}

/// Replaces a handler by rename, by two builds in turn, and reads the outcome in the server's log.
struct Replacer<'a> {
    server: &'a Server,
    sessions: usize,
    builds: [PathBuf; 2],
    hidden: PathBuf,
    file: PathBuf,
    /// How many bytes of the log are read.
    read: u64,
    rest: String,
    begun: usize,
    done: usize,
    /// How many milliseconds the moves of each replacement took.
    moves: Vec<u64>,
    /// How many microseconds the longest slice of moves took at each replacement.
    slices: Vec<u64>,
}

impl<'a> Replacer<'a> {
    fn new(server: &'a Server, sessions: usize) -> Result<Replacer<'a>> {
        let site = server.site().ok_or("the server has no directory")?;
        let handlers = site.join("handlers");
        let file = handlers.join(format!("lib{REPLACED}.so"));
        // The files are written beforehand, so that a replacement costs this process next to nothing.
        let mut bytes = fs::read(&file)?;
        let builds = ["one", "two"].map(|name| site.join(name));
        for build in &builds {
            // Bytes behind an ELF file do not change what it does, and make it another file.
            bytes.push(0);
            fs::write(build, &bytes)?;
        }
        let mut replacer = Replacer {
            server,
            sessions,
            builds,
            hidden: handlers.join(".incoming"),
            file,
            read: 0,
            rest: String::new(),
            begun: 0,
            done: 0,
            moves: Vec::new(),
            slices: Vec::new(),
        };
        replacer.look()?;
        Ok(replacer)
    }

    fn replace(&mut self) -> Result<()> {
        fs::hard_link(&self.builds[self.begun % 2], &self.hidden)?;
        fs::rename(&self.hidden, &self.file)?;
        self.begun += 1;
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.done == self.begun
    }

    /// Reads the new lines of the log.
    fn look(&mut self) -> Result<()> {
        let new = self.server.said(self.read)?;
        self.read += new.len() as u64;
        self.rest += &new;
        while let Some(end) = self.rest.find('\n') {
            let line: String = self.rest.drain(..=end).collect();
            if [" WARN ", "ERROR "].iter().any(|it| line.contains(it)) {
                return Err(format!("the server says: {}", line.trim_end()).into());
            }
            if !line.contains("sessions moved") {
                continue;
            }
            let moved = format!("moved={} drained=0 refused=0", self.sessions);
            if !line.contains(&moved) {
                return Err(format!("not all sessions moved: {}", line.trim_end()).into());
            }
            for (name, figures) in [
                ("elapsed_ms=", &mut self.moves),
                ("slice_us=", &mut self.slices),
            ] {
                let figure = line.split(name).nth(1).unwrap_or_default();
                let figure = figure.split_whitespace().next().unwrap_or_default();
                let figure = figure.parse();
                figures.push(figure.map_err(|_| format!("no {name} in: {line}"))?);
            }
            self.done += 1;
        }
        Ok(())
    }

    /// Waits until the last replacement is over.
    fn finish(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_idle() {
            if Instant::now() > deadline {
                return Err("a replacement does not end".into());
            }
            std::thread::sleep(Duration::from_millis(2));
            self.look()?;
        }
        Ok(())
    }
}

/// Latencies of many slices.
#[derive(Default)]
struct Samples {
    /// The p99 of each slice.
    p99: Vec<f64>,
    all: Vec<u32>,
    max_us: f64,
}

impl Samples {
    fn take(&mut self, mut slice: Vec<u32>) {
        self.p99.push(f64::from(percentile(&mut slice, 0.99)) / 1e3);
        let max = slice.iter().max().copied().unwrap_or_default();
        self.max_us = self.max_us.max(f64::from(max) / 1e3);
        self.all.append(&mut slice);
    }

    /// Returns how many echoes of a million took longer than this.
    fn longer_than(&self, ms: f64) -> usize {
        let longer = self.all.iter().filter(|it| f64::from(**it) > ms * 1e6);
        longer.count() * 1_000_000 / self.all.len().max(1)
    }

    fn show(&mut self, name: &str) {
        let [p50, p99] = [0.5, 0.99].map(|share| f64::from(percentile(&mut self.all, share)) / 1e3);
        let (count, max) = (self.all.len(), self.max_us);
        println!("{name:<10} {count:>9} {p50:>9.1} {p99:>9.1} {max:>9.1}");
    }
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "FAILS" }
}

/// The handler that is replaced. Its sessions have a state, and each build reads the other's.
const REPLACED: &str = "ledger_wsh";
/// The bench does not read on idle sessions, so they would answer no Ping.
const UNPINGED: &str = "\n[handler.ledger]\nping_interval_ms = 3600000\n";
const RELOADS_A_SLICE: usize = 20;
const PROBES: usize = 100;
const PERIOD: Duration = Duration::from_micros(500);
const RATIO_MAX: f64 = 1.5;
const MANY: usize = 10_000;
const MOVE_MS: f64 = 100.0;
const HELD_MS: f64 = 5.0;
const PATIENCE: Duration = Duration::from_secs(30);
