//! The tables, 120 columns wide and as CSV.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::Result;
use crate::idle::Idle;
use crate::rounds::{Row, Sample, Shown};
use crate::stats::Quartiles;
use crate::targets::{self, AGAINST, TARGETS};

/// A report that is printed as its parts come.
pub(crate) struct Report {
    csv: Option<File>,
    /// The CPU ratios of every case and server.
    ratios: Vec<(String, String, Quartiles)>,
}

impl Report {
    pub(crate) fn new(csv: Option<&Path>) -> Result<Report> {
        let mut csv = csv.map(File::create).transpose()?;
        if let Some(csv) = &mut csv {
            writeln!(
                csv,
                "case,server,rounds,per_second,cpu_us,cpu_ratio_low,cpu_ratio,cpu_ratio_high,syscalls,p50_us,p99_us,\
                 plain_bytes,deflate_bytes,note"
            )?;
        }
        Ok(Report {
            csv,
            ratios: Vec::new(),
        })
    }

    /// Prints a sentence between the tables.
    pub(crate) fn say(&self, sentence: &str) {
        println!("{sentence}");
    }

    /// Prints a case that was measured in rounds. wshd is the first row.
    pub(crate) fn rows(
        &mut self,
        case: &str,
        title: &str,
        unit: &str,
        rows: Vec<Row>,
    ) -> Result<()> {
        let wshd = rows.first().and_then(|row| row.shown.clone().ok());
        let rounds = wshd.as_ref().map_or(0, |shown| shown.samples.len());
        println!("\n{title} [{case}], {rounds} rounds");
        println!(
            "{:<16} {:>10} {:>6} {:>10} {:>6} {:<13} {:>8} {:>6} {:>9} {:>6} {:>9} {:>6}",
            "",
            format!("{unit}/s"),
            "wshd÷",
            format!("CPU µs/{unit}"),
            "wshd÷",
            "quartiles",
            format!("sys/{unit}"),
            "wshd÷",
            "p50 µs",
            "wshd÷",
            "p99 µs",
            "wshd÷"
        );
        for row in rows {
            match row.shown {
                Ok(shown) => self.row(case, &row.name, &shown, wshd.as_ref())?,
                Err(why) => {
                    println!("{:<16} – {}", row.name, why.trim_end());
                    self.csv(&format!("{case},{},,,,,,,,,,,,{}", row.name, quoted(&why)))?;
                }
            }
        }
        Ok(())
    }

    fn row(&mut self, case: &str, name: &str, shown: &Shown, wshd: Option<&Shown>) -> Result<()> {
        let median = |figure: Figure| {
            Quartiles::of(shown.samples.iter().map(figure)).map_or(f64::NAN, |it| it.median)
        };
        let ratio = |figure: Figure| {
            let pairs = wshd?.samples.iter().zip(&shown.samples);
            Quartiles::of(pairs.map(|(ours, theirs)| figure(ours) / figure(theirs)))
        };
        let is_wshd = name == "wshd";
        let share = |figure: Figure| match ratio(figure) {
            Some(ratio) if !is_wshd => short(ratio.median),
            _ => String::new(),
        };
        let cpu = ratio(|it| it.cpu_us).filter(|_| !is_wshd);
        let quartiles = cpu.map_or(String::new(), |it| {
            format!("{}–{}", short(it.low), short(it.high))
        });
        let syscalls_share = match (wshd.and_then(|it| it.syscalls), shown.syscalls) {
            (Some(ours), Some(theirs)) if !is_wshd => short(ours / theirs),
            _ => String::new(),
        };
        let (rate, cpu_us) = (median(|it| it.units_per_second), median(|it| it.cpu_us));
        let (p50, p99) = (median(|it| it.p50_us), median(|it| it.p99_us));
        println!(
            "{name:<16} {:>10} {:>6} {:>10} {:>6} {quartiles:<13} {:>8} {syscalls_share:>6} {:>9} {:>6} {:>9} {:>6}",
            grouped(rate),
            share(|it| it.units_per_second),
            figure(cpu_us),
            share(|it| it.cpu_us),
            shown.syscalls.map_or("–".to_owned(), figure),
            figure(p50),
            share(|it| it.p50_us),
            figure(p99),
            share(|it| it.p99_us),
        );
        let cell = |number: Option<f64>| number.map_or(String::new(), |it| format!("{it:.4}"));
        self.csv(&format!(
            "{case},{name},{},{rate:.1},{cpu_us:.4},{},{},{},{},{p50:.2},{p99:.2},,,",
            shown.samples.len(),
            cell(cpu.map(|it| it.low)),
            cell(cpu.map(|it| it.median)),
            cell(cpu.map(|it| it.high)),
            cell(shown.syscalls),
        ))?;
        if let Some(cpu) = cpu {
            self.ratios.push((case.to_owned(), name.to_owned(), cpu));
        }
        Ok(())
    }

    /// Prints the memory of a connection.
    pub(crate) fn idle(&mut self, case: &str, title: &str, rows: &[Idle]) -> Result<()> {
        println!("\n{title} [{case}], after each has echoed 16 KiB");
        println!(
            "{:<16} {:>14} {:>6} {:>14} {:>6}",
            "", "plain B/conn", "wshd÷", "deflate B/conn", "wshd÷"
        );
        for row in rows {
            let column = |ours: &Result<f64, String>, theirs: &Result<f64, String>| {
                let figure = match theirs {
                    Ok(bytes) => grouped(*bytes),
                    Err(_) => "–".to_owned(),
                };
                let share = match (ours, theirs) {
                    (Ok(ours), Ok(theirs)) if row.name != "wshd" => short(ours / theirs),
                    _ => String::new(),
                };
                format!("{figure:>14} {share:>6}")
            };
            let why = match (&row.plain, &row.deflate) {
                (Err(why), _) => format!("  {why}"),
                (_, Err(why)) => format!("  deflate: {why}"),
                _ => String::new(),
            };
            println!(
                "{:<16} {} {}{why}",
                row.name,
                column(&rows[0].plain, &row.plain),
                column(&rows[0].deflate, &row.deflate)
            );
            let cell = |it: &Result<f64, String>| {
                it.clone().map_or(String::new(), |it| format!("{it:.0}"))
            };
            let (plain, deflate) = (cell(&row.plain), cell(&row.deflate));
            self.csv(&format!(
                "{case},{},,,,,,,,,,{plain},{deflate},{}",
                row.name,
                quoted(&why)
            ))?;
        }
        Ok(())
    }

    /// Prints the CPU ratios beside their targets.
    pub(crate) fn targets(&self) {
        let measured = |case: &str, name: &str| {
            self.ratios
                .iter()
                .find(|(of, against, _)| of == case && against == name)
                .map(|(.., ratio)| ratio.median)
        };
        let has_both = |name: &&str| {
            let mut ratios = self.ratios.iter();
            ratios.any(|(case, against, _)| against == name && targets::has(case))
        };
        let columns: Vec<&str> = AGAINST.into_iter().filter(has_both).collect();
        if columns.is_empty() {
            return;
        }
        println!(
            "\nCPU time of wshd as a share of another's, and what it is to be at most; `!` where it is more"
        );
        print!("{:<16}", "");
        for name in &columns {
            print!(" {name:>18}");
        }
        println!();
        let is_measured = |case: &String| self.ratios.iter().any(|(of, ..)| of == case);
        for target in TARGETS {
            let case = target.case();
            if !is_measured(&case) {
                continue;
            }
            print!("{case:<16}");
            for name in &columns {
                let text = match (measured(&case, name), target.share_of(name)) {
                    (Some(ratio), Some(most)) => {
                        let mark = if ratio > most * target.tolerance() {
                            " !"
                        } else {
                            "  "
                        };
                        format!("{} ≤ {}{mark}", short(ratio), short(most))
                    }
                    (Some(ratio), None) => format!("{}  ", short(ratio)),
                    (None, _) => "–  ".to_owned(),
                };
                print!(" {text:>18}");
            }
            println!();
        }
    }

    fn csv(&mut self, line: &str) -> Result<()> {
        if let Some(csv) = &mut self.csv {
            writeln!(csv, "{line}")?;
        }
        Ok(())
    }
}

type Figure = fn(&Sample) -> f64;

/// A ratio in at most six columns: `0.97`, `12.3`, and `1/18` for a small one.
fn short(ratio: f64) -> String {
    match ratio {
        small if small > 0.0 && small < 0.095 => format!("1/{:.0}", 1.0 / small),
        below_ten if below_ten < 9.995 => format!("{below_ten:.2}"),
        large => format!("{large:.0}"),
    }
}

/// A number with three significant digits.
fn figure(number: f64) -> String {
    match number {
        large if large >= 1000.0 => grouped(large),
        large if large >= 100.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small if small >= 0.1 => format!("{small:.2}"),
        tiny => format!("{tiny:.3}"),
    }
}

/// A whole number with a separator between its thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let first = digits.len() % 3;
    let mut out = digits[..first].to_owned();
    for group in (first..digits.len()).step_by(3) {
        if !out.is_empty() && out != "-" {
            out.push(',');
        }
        out += &digits[group..group + 3];
    }
    out
}

fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.trim().replace('"', "\"\"").replace('\n', " ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_enough_for_their_columns() {
        assert_eq!([0.055, 0.974, 12.34].map(short), ["1/18", "0.97", "12"]);
        assert_eq!(
            [0.0635, 0.51, 20.24, 682.4, 1_234_567.0].map(figure),
            ["0.064", "0.51", "20.2", "682", "1,234,567"]
        );
    }
}
