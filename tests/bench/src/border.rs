//! What the border costs a message: `on_message` and `send` of 32 B through the tables of a real
//! plugin and of the server, against the same work in functions of this program.

use std::path::Path;
use std::time::Duration;

use wshd::testing::border_bench::BorderBench;

use crate::Result;
use crate::artifacts::Artifacts;
use crate::stats::Quartiles;

/// Measures a plugin that echoes. Returns whether the border costs no more than it may.
pub(crate) fn run(plugin: Option<&Path>) -> Result<bool> {
    let artifacts = Artifacts::build()?;
    let plugin = plugin.or(artifacts.plugin("echo_wsh"));
    let mut bench = BorderBench::load(plugin.ok_or("no `echo_wsh`")?)?;
    let ways: [Way; 3] = [
        BorderBench::in_one,
        BorderBench::directly,
        BorderBench::through_the_table,
    ];
    let mut figures: [Vec<f64>; 3] = Default::default();
    for round in 0..WARM_UP + ROUNDS {
        // In turn, each first as often as the others: the next one finds the caches of the last.
        for turn in 0..ways.len() {
            let way = (round as usize + turn) % ways.len();
            let took = ways[way](&mut bench, MESSAGES, PAYLOAD);
            if round >= WARM_UP {
                figures[way].push(took.as_nanos() as f64 / f64::from(MESSAGES));
            }
        }
    }
    let [in_one, direct, table] = figures;
    let less = |base: &[f64]| -> Vec<f64> {
        let pairs = table.iter().zip(base);
        pairs.map(|(table, base)| table - base).collect()
    };
    let (border, to_in_one) = (less(&direct), less(&in_one));
    println!(
        "ns per message of {} B, {ROUNDS} rounds of {MESSAGES} in turn",
        PAYLOAD.len()
    );
    println!("{:<38}{:>8}{:>16}", "", "median", "quartiles");
    line("one function of the program", in_one);
    line("two: the handler's and `send`", direct);
    line("two of the border's tables", table);
    line("the tables less one function", to_in_one);
    let border = line("the tables less two functions", border);
    let verdict = if border <= LIMIT_NS { "ok" } else { "FAILS" };
    println!("at most {LIMIT_NS} ns more than two functions: {verdict}");
    Ok(border <= LIMIT_NS)
}

fn line(name: &str, figures: Vec<f64>) -> f64 {
    let Quartiles { low, median, high } = Quartiles::of(figures).expect("there are rounds");
    println!("{name:<38}{median:>8.2}{low:>9.2}-{high:.2}");
    median
}

type Way = fn(&mut BorderBench, u32, &[u8]) -> Duration;

const PAYLOAD: &[u8] = b"thirty-two bytes, not one more..";
/// About as many as one readiness event brings at most.
const MESSAGES: u32 = 1_000;
const ROUNDS: u32 = 4_000;
const WARM_UP: u32 = 200;
const LIMIT_NS: f64 = 2.0;
