//! All servers run, and one at a time is driven, round after round. What else the machine does meets all of them alike, and a
//! ratio is taken within one round.

use std::time::Duration;

use crate::Result;
use crate::contender::Contender;
use crate::echo::{Echo, Echoed};
use crate::fan::{Crowd, Fan};
use crate::handshakes::Handshakes;
use crate::machine::Cores;
use crate::server::Server;
use crate::stats::percentile;
use crate::syscalls::Counter;

/// How a case is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) cores: Cores,
    pub(crate) counter: Counter,
    /// The connections that this process may have open at a time.
    pub(crate) connections_max: usize,
    pub(crate) rounds: u32,
    /// How long one server is driven in one round.
    pub(crate) slice: Duration,
}

/// What drives every server.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Echo(Echoed),
    Handshakes,
    /// Publications.
    Fan(Crowd),
    /// The echoes of another session during publications.
    EchoBesideFan(Crowd),
}

/// The figures of one slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Messages, handshakes or deliveries.
    pub(crate) units: u64,
    pub(crate) units_per_second: f64,
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Sample {
    /// Makes a sample of what was done, the time, the server's CPU time, and the latencies in nanoseconds.
    pub(crate) fn new(units: u64, elapsed: Duration, cpu: Duration, mut each: Vec<u32>) -> Sample {
        Sample {
            units,
            units_per_second: units as f64 / elapsed.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / units as f64,
            p50_us: f64::from(percentile(&mut each, 0.5)) / 1e3,
            p99_us: f64::from(percentile(&mut each, 0.99)) / 1e3,
        }
    }
}

/// The figures of a server, or why there are none.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) shown: Result<Shown, String>,
}

/// A sample of each round, and the system calls of each unit where they can be counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) samples: Vec<Sample>,
    pub(crate) syscalls: Option<f64>,
}

/// Measures every contender.
pub(crate) fn measure(contenders: &[Contender], setting: Setting, work: &Work) -> Vec<Row> {
    match work {
        // Each server alone, where a process may not have connections to all of them open.
        Work::Fan(crowd) | Work::EchoBesideFan(crowd)
            if crowd.connections() * contenders.len() > setting.connections_max =>
        {
            contenders
                .chunks(1)
                .flat_map(|one| measure_in_turn(one, setting, work))
                .collect()
        }
        _ => measure_in_turn(contenders, setting, work),
    }
}

fn measure_in_turn(contenders: &[Contender], setting: Setting, work: &Work) -> Vec<Row> {
    let start = |contender: &Contender| Subject::start(contender, setting.cores, work);
    let mut entries: Vec<Entry> = contenders
        .iter()
        .map(|contender| match start(contender) {
            Ok(subject) => Ok((subject, Shown::default())),
            Err(error) => Err(error.to_string()),
        })
        .collect();
    for _ in 0..setting.rounds {
        for entry in &mut entries {
            step(entry, |subject, shown| {
                shown.samples.push(subject.drive(setting.slice)?);
                Ok(())
            });
        }
    }
    // System calls are counted apart from the rounds, because counting may slow the server down.
    for entry in &mut entries {
        step(entry, |subject, shown| {
            let pid = subject.server().pid();
            let counter = setting.counter;
            let (sample, count) = counter.count(pid, || subject.drive(setting.slice))?;
            shown.syscalls = count.map(|count| count as f64 / sample.units as f64);
            Ok(())
        });
        step(entry, |subject, _| subject.check());
    }
    let names = contenders.iter().map(|contender| contender.name.clone());
    let shown = entries
        .into_iter()
        .map(|entry| entry.map(|(_, shown)| shown));
    names
        .zip(shown)
        .map(|(name, shown)| Row { name, shown })
        .collect()
}

type Entry = Result<(Subject, Shown), String>;

/// Notes a fault of a server, which is left out from then on.
fn step(entry: &mut Entry, work: impl FnOnce(&mut Subject, &mut Shown) -> Result<()>) {
    if let Ok((subject, shown)) = entry
        && let Err(error) = work(subject, shown)
    {
        *entry = Err(error.to_string());
    }
}

/// A server and its load.
enum Subject {
    Echo(Echo),
    Handshakes(Handshakes),
    Fan(Fan),
    EchoBesideFan(Fan),
}

impl Subject {
    fn start(contender: &Contender, cores: Cores, work: &Work) -> Result<Subject> {
        let server = Server::start(contender, cores)?;
        Ok(match work {
            Work::Echo(echoed) => Subject::Echo(Echo::start(server, echoed)?),
            Work::Handshakes => Subject::Handshakes(Handshakes::start(server)?),
            Work::Fan(crowd) => Subject::Fan(Fan::start(server, *crowd)?),
            Work::EchoBesideFan(crowd) => Subject::EchoBesideFan(Fan::start(server, *crowd)?),
        })
    }

    fn drive(&mut self, slice: Duration) -> Result<Sample> {
        match self {
            Subject::Echo(it) => it.drive(slice),
            Subject::Handshakes(it) => it.drive(slice),
            Subject::Fan(it) => it.drive(slice),
            Subject::EchoBesideFan(it) => it.drive_beside_echoes(slice),
        }
    }

    /// Compares a last echo with what was sent.
    fn check(&mut self) -> Result<()> {
        match self {
            Subject::Echo(it) => it.check(),
            Subject::Handshakes(_) | Subject::Fan(_) | Subject::EchoBesideFan(_) => Ok(()),
        }
    }

    fn server(&self) -> &Server {
        match self {
            Subject::Echo(it) => &it.server,
            Subject::Handshakes(it) => &it.server,
            Subject::Fan(it) | Subject::EchoBesideFan(it) => &it.server,
        }
    }
}
