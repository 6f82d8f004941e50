//! `tests/abuse/README.md`: the table, written by a long run. Rows of tests that did not run keep what they say.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::Result;
use crate::checks::Checks;
use crate::table::{Case, How};

/// What a test has found.
pub(crate) struct Verdict {
    pub(crate) figure: String,
    pub(crate) faults: Vec<String>,
}

impl Verdict {
    pub(crate) fn of(checks: &Checks, took: Duration) -> Verdict {
        Verdict {
            figure: format!("{}; {} s in all", checks.figure(), took.as_secs()),
            faults: checks.faults().to_vec(),
        }
    }

    pub(crate) fn holds(&self) -> bool {
        self.faults.is_empty()
    }

    fn word(&self) -> String {
        match self.holds() {
            true => "pass".to_owned(),
            false => format!("**fails**: {}", self.faults.join("; ")),
        }
    }
}

/// The figure and the result of each row, by its number.
pub(crate) struct Report {
    rows: BTreeMap<String, (String, String)>,
}

impl Report {
    /// Reads what the last runs have written.
    pub(crate) fn read() -> Result<Report> {
        let text = fs::read_to_string(path()).unwrap_or_default();
        let mut rows = BTreeMap::new();
        for line in text.lines() {
            let Some(line) = line.strip_prefix("| ") else {
                continue;
            };
            let cells: Vec<&str> = line.trim_end_matches(" |").split(" | ").collect();
            if let [number, _, _, figure, result, ..] = cells[..] {
                rows.insert(number.to_owned(), (figure.to_owned(), result.to_owned()));
            }
        }
        Ok(Report { rows })
    }

    pub(crate) fn keep(&mut self, number: &str, verdict: Verdict) {
        let cells = (cell(&verdict.figure), cell(&verdict.word()));
        self.rows.insert(number.to_owned(), cells);
    }

    pub(crate) fn write(&self, cases: &[Case]) -> Result<()> {
        let mut text = HEAD.to_owned();
        text += &machine()?;
        text += TABLE;
        for case in cases {
            text += &self.row(case);
        }
        text += TOGETHER;
        let (figure, result) = self.of("combined");
        text += &format!(
            "| combined | All at once | {COMBINED} | {figure} | {result} | `cargo run --profile dist -p abuse -- combined` |\n"
        );
        fs::write(path(), text)?;
        Ok(())
    }

    fn row(&self, case: &Case) -> String {
        let number = case.number.to_string();
        let (figure, result) = match case.how {
            How::Run(_) | How::Apart => self.of(&number),
            How::Elsewhere(figure) => (figure, "held elsewhere"),
            How::NotBuilt(why) => (why, "not built"),
        };
        let held_by: Vec<String> = case.held_by.iter().map(|it| format!("`{it}`")).collect();
        let held_by = match held_by.is_empty() {
            true => "–".to_owned(),
            false => held_by.join(", "),
        };
        format!(
            "| {number} | {} | {} | {figure} | {result} | {held_by} |\n",
            cell(case.name),
            cell(case.criterion),
        )
    }

    fn of(&self, row: &str) -> (&str, &str) {
        let cells = self.rows.get(row);
        let cells = cells.map(|(figure, result)| (&**figure, &**result));
        cells.unwrap_or(("–", "not run"))
    }
}

/// A text as it may stand in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// What the last run ran on.
fn machine() -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    // What follows the version names a build of it.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    let processors = std::thread::available_parallelism()?;
    let profile = if cfg!(debug_assertions) {
        "built for debugging"
    } else {
        "built with optimisation"
    };
    Ok(format!(
        "The last run: {processors} processors, which server, prober and attackers share, Linux {kernel}, {profile}.\n"
    ))
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "README.md"].iter().collect()
}

const HEAD: &str = "# What hostile peers and bad luck do

This page is written by a run of all tests, which takes about a quarter of an hour and wants a machine with nothing else to
do. It runs as root, and needs `cc`, haproxy, nginx and the tools of util-linux. The soak has an hour of its own.

```sh
cargo run --profile dist --locked -p abuse -- all
cargo run --profile dist --locked -p abuse -- soak --minutes 60
```

Numbers behind `--` run only those tests, and change only their rows; `combined` is the last row. `--short` runs less of
everything and writes nothing. `--wshd PATH` takes a server that is built, with its plugins beside it. The exit status is 0
if every criterion holds.

Server, prober and attackers are processes of their own on one machine. The prober is a client that asks for an echo every
100 ms: no error, and 99 of 100 answers within 50 ms. Attackers write their bytes themselves, without a library of
WebSockets. They stand for other machines, so they get a processor when server and prober want none (nice 19). Beside each
echo of the server the prober asks for one of a thread that does nothing else: *a bare echo*, which says what the wait for a
processor of this machine has to do with a figure. The second server of the combined run stands for another machine, too
(nice -10). Within 10 s of each attack, descriptors are back (5 %), resident memory too (8 MiB), and the log has no panic.
Images of retired generations, which are never unmapped, are counted apart, with 8 KiB more for each. The soak
measures that part before its load: what the loader and the server note of a generation for ever.

The runtime runs tasks in the order in which they became ready. So that an echo does not wait behind ten thousand sessions that
end at one moment (26), or behind as many TLS handshakes, a few of them are worked off at a time (`server/src/runtime/pacer.rs`).

";
const TABLE: &str = "
*held elsewhere*: another program tests it, and the figure is that of its last run. *not built*: wshd has no such part. The last
column names tests that hold the row besides; a test of `tests/papers.rs` looks whether they exist.

| # | Test | Criterion | Figure | Result | Held by |
|---|---|---|---|---|---|
";
const TOGETHER: &str = "
## Together

| # | Test | Criterion | Figure | Result | Run it with |
|---|---|---|---|---|---|
";
const COMBINED: &str = "the prober; descriptors and memory back where they were";
