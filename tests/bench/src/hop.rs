//! What the border costs a message: `on_message` and `send` of 32 B through the tables of a real
//! plugin and of the server, against the same work in a function of this program.

use std::time::Duration;

use wshd::Hop;

use crate::Result;
use crate::artifacts::Artifacts;
use crate::stats::Quartiles;

/// Measures, and answers whether the border costs no more than it may.
pub(crate) fn run() -> Result<bool> {
    let artifacts = Artifacts::build()?;
    let echo = artifacts.plugin("echo_wsh").ok_or("no `echo_wsh`")?;
    let mut hop = Hop::load(echo)?;
    let (mut direct, mut table, mut border) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        // Whoever goes second finds the other's caches.
        let (a, b) = if round % 2 == 0 {
            let a = hop.directly(MESSAGES, TEXT);
            (a, hop.through_the_table(MESSAGES, TEXT))
        } else {
            let b = hop.through_the_table(MESSAGES, TEXT);
            (hop.directly(MESSAGES, TEXT), b)
        };
        if round >= WARM_UP {
            direct.push(nanoseconds(a));
            table.push(nanoseconds(b));
            border.push(nanoseconds(b) - nanoseconds(a));
        }
    }
    println!(
        "ns per message of {} B, {ROUNDS} rounds of {MESSAGES} in turn",
        TEXT.len()
    );
    println!("{:<22}{:>8}{:>16}", "", "median", "quartiles");
    for (name, figures) in [("direct call", direct), ("through the tables", table)] {
        line(name, figures);
    }
    let median = line("the border", border);
    println!(
        "at most {LIMIT_NS} ns: {}",
        if median <= LIMIT_NS { "ok" } else { "FAILS" }
    );
    Ok(median <= LIMIT_NS)
}

fn nanoseconds(took: Duration) -> f64 {
    took.as_nanos() as f64 / f64::from(MESSAGES)
}

fn line(name: &str, figures: Vec<f64>) -> f64 {
    let Quartiles { low, median, high } = Quartiles::of(figures).expect("there are rounds");
    println!("{name:<22}{median:>8.2}{low:>9.2}-{high:.2}");
    median
}

const TEXT: &str = "thirty-two bytes, not one more..";
/// What a readiness event has at most, about.
const MESSAGES: u32 = 1_000;
const ROUNDS: u32 = 4_000;
const WARM_UP: u32 = 200;
const LIMIT_NS: f64 = 2.0;
