//! Which cases a run has, in which order, and how long each takes.

use std::time::{Duration, Instant};

use crate::cell::{Cell, KIB};
use crate::contender::Contender;
use crate::echo::Echoed;
use crate::fan::Crowd;
use crate::machine::{self, Cores};
use crate::report::Report;
use crate::rounds::{self, Setting, Work};
use crate::syscalls::Counter;
use crate::targets;
use crate::{Result, Run, idle};

/// One table of the report.
#[derive(Clone, Copy, Debug)]
enum Case {
    Echo(Cell),
    Json(Cell),
    Handshake,
    Idle,
    Fan(Crowd),
    EchoBesideFan(Crowd),
}

impl Case {
    /// The name that `--only` is compared with.
    fn name(&self) -> String {
        match self {
            Case::Echo(cell) => cell.to_string(),
            Case::Json(cell) => format!("json-{cell}"),
            Case::Handshake => "handshake".to_owned(),
            Case::Idle => "idle".to_owned(),
            Case::Fan(crowd) => crowd.to_string(),
            Case::EchoBesideFan(crowd) => format!("echo-beside-{crowd}"),
        }
    }

    /// How many descriptors this process needs at a time.
    fn descriptors(&self, servers: usize) -> u64 {
        let connections = match self {
            Case::Echo(cell) | Case::Json(cell) => cell.connections * servers,
            Case::Handshake => 100,
            Case::Idle => MANY,
            // Where there are not enough for all servers at a time, they are measured one after another.
            Case::Fan(crowd) | Case::EchoBesideFan(crowd) => crowd.connections(),
        };
        connections as u64 + SPARE
    }

    fn title(&self) -> String {
        match self {
            Case::Echo(cell) => cell.title(),
            Case::Json(cell) => format!("{}, JSON, permessage-deflate", cell.title()),
            Case::Handshake => "opening handshakes".to_owned(),
            Case::Idle => format!("memory of {MANY} idle connections"),
            Case::Fan(crowd) => crowd.title(),
            Case::EchoBesideFan(crowd) => {
                format!("another session's echoes beside {}", crowd.title())
            }
        }
    }
}

/// Measures the chosen cases, and prints the tables.
pub(crate) fn run(run: &Run) -> Result<()> {
    let began = Instant::now();
    let cases = cases(run)?;
    let contenders = Contender::all(run)?;
    let descriptors = machine::raise_descriptors()?;
    let cores = Cores::take()?;
    let counter = Counter::find();
    let rounds = run.rounds.unwrap_or(if run.quick { 4 } else { 24 });
    let fewer = rounds.div_ceil(4).max(3);
    let slice = Duration::from_millis(if run.quick { 100 } else { 200 });

    let mut report = Report::new(run.csv.as_deref())?;
    report.say(&format!(
        "{} servers, on one core and driven in turn from another: {rounds} rounds of {slice:?} for the cases with targets,\n\
         a quarter of the rounds for the others. Figures are medians; `wshd÷` is wshd's figure over this server's,\n\
         the median of the pairs within a round, and `quartiles` are those of the CPU ratio.",
        contenders.len(),
    ));
    if counter == Counter::Nothing {
        report.say("System calls are not counted: neither `perf` nor `strace` may be used here.");
    }
    for (index, case) in cases.iter().enumerate() {
        eprintln!("{}/{} {}", index + 1, cases.len(), case.name());
        let needed = case.descriptors(contenders.len());
        if descriptors < needed {
            let title = case.title();
            report.say(&format!(
                "\n{title}: not measured, it needs {needed} descriptors and `ulimit -n` is {descriptors}"
            ));
            continue;
        }
        let has_targets = targets::has(&case.name());
        let setting = Setting {
            cores,
            counter,
            connections_max: PORTS.min(descriptors.saturating_sub(SPARE) as usize),
            rounds: if has_targets { rounds } else { fewer },
            slice,
        };
        measure(*case, &contenders, setting, &mut report)?;
    }
    report.targets();
    report.say(&format!("took {:.0?}", began.elapsed()));
    Ok(())
}

fn measure(
    case: Case,
    contenders: &[Contender],
    setting: Setting,
    report: &mut Report,
) -> Result<()> {
    let (unit, work) = match case {
        Case::Echo(cell) => ("msg", Work::Echo(Echoed::plain(cell))),
        Case::Json(cell) => ("msg", Work::Echo(Echoed::json(cell)?)),
        Case::Handshake => ("hs", Work::Handshakes),
        Case::Fan(crowd) => ("dlv", Work::Fan(crowd)),
        Case::EchoBesideFan(crowd) => ("echo", Work::EchoBesideFan(crowd)),
        Case::Idle => {
            let rows = idle::measure(contenders, setting.cores, MANY);
            return report.idle(&case.name(), &case.title(), &rows);
        }
    };
    let pair = match case {
        Case::Fan(crowd) if crowd.has_history => contenders
            .first()
            .and_then(Contender::artifacts)
            .map(|artifacts| Contender::pair(artifacts, crowd)),
        _ => None,
    };
    let contenders = pair.as_ref().map_or(contenders, |pair| &pair[..]);
    let rows = rounds::measure(contenders, setting, &work);
    report.rows(&case.name(), &case.title(), unit, rows)
}

/// Returns the chosen cases. Those with targets come first, because they matter most.
fn cases(run: &Run) -> Result<Vec<Case>> {
    let with_targets = targets::cells();
    let mut cases: Vec<Case> = with_targets.iter().copied().map(Case::Echo).collect();
    cases.push(Case::Handshake);
    cases.extend(targets::crowds().into_iter().map(Case::Fan));
    cases.extend([Case::Idle, Case::EchoBesideFan(Crowd::of(MANY))]);
    cases.push(Case::Json(Cell::new(4 * KIB, 100, 1)));
    // `--quick` leaves out most cases without targets, unless `--only` names cases.
    if !run.quick || !run.only.is_empty() {
        cases.push(Case::Json(Cell::new(4 * KIB, 100, 32)));
        let grid = Cell::grid().into_iter();
        let others = grid.filter(|cell| !with_targets.contains(cell));
        cases.extend(others.map(Case::Echo));
    }
    cases.retain(|case| {
        let name = case.name();
        run.only.is_empty() || run.only.iter().any(|only| name.contains(&**only))
    });
    if cases.is_empty() {
        return Err(format!("no case is called `{}`", run.only.join("` or `")).into());
    }
    Ok(cases)
}

/// The descriptors that are not for connections.
const SPARE: u64 = 100;
/// The connections that one address may have, by the range of ports that Linux uses without being told otherwise.
const PORTS: usize = 28_000;
/// The connections of `idle`, and the subscribers beside which echoes are measured.
const MANY: usize = 10_000;
