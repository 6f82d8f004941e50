//! wshd under valgrind: every instruction that it runs in user space, by function.
//!
//! Start, handshakes and end cost instructions, too. The difference between a longer and a shorter run is of the messages
//! alone.

use std::collections::HashMap;
use std::process::{Command, Stdio};

use crate::Result;
use crate::artifacts::Artifacts;
use crate::cell::Cell;
use crate::contender;
use crate::fan::{self, Crowd};
use crate::frame::Batch;
use crate::load::Load;
use crate::machine::Cores;
use crate::server::{self, Server};
use crate::socket::Offer;

/// The instructions of a number of messages.
#[derive(Debug)]
pub(crate) struct Profile {
    messages: u64,
    total: i64,
    /// The instructions of each function without what it calls.
    functions: HashMap<String, i64>,
}

/// Whether valgrind can be used.
pub(crate) fn is_there() -> bool {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--version").stdout(Stdio::null());
    valgrind.status().is_ok_and(|status| status.success())
}

/// Runs wshd from its start to its end, with this many batches on each connection.
pub(crate) fn profile(
    artifacts: &Artifacts,
    cores: Cores,
    cell: Cell,
    batches: u32,
) -> Result<Profile> {
    profile_of(artifacts, cores, "", |port| {
        let mut load = Load::open(port, "/echo", cell.connections, Offer::Nothing)?;
        let batch = Batch::binary(cell.payload_bytes, cell.pipelining);
        load.check(&batch)?;
        Ok(load.run_batches(&batch, batches)?.messages)
    })
}

/// Runs wshd from its start to its end, with this many publications of each publisher. A message is a delivery here.
pub(crate) fn profile_fan(
    artifacts: &Artifacts,
    cores: Cores,
    crowd: Crowd,
    publications: u32,
) -> Result<Profile> {
    profile_of(artifacts, cores, &crowd.configuration(), |port| {
        let mut load = fan::open(port, crowd)?;
        let batch = Batch::binary(fan::PAYLOAD_BYTES, crowd.messages);
        for _ in 0..crowd.publications_before() {
            load.publish(&batch, crowd.topics)?;
        }
        let mut deliveries = 0;
        for _ in 0..publications {
            deliveries += load.publish(&batch, crowd.topics)?.len() as u64;
        }
        Ok(deliveries)
    })
}

/// Runs wshd from its start to its end, with `more` at the end of its configuration. `drive` returns how many messages it
/// drove.
fn profile_of(
    artifacts: &Artifacts,
    cores: Cores,
    more: &str,
    drive: impl FnOnce(u16) -> Result<u64>,
) -> Result<Profile> {
    let port = server::free_port()?;
    let (program, arguments, site) = contender::wshd(artifacts, port, more)?;
    // The server forks, and each process writes a file of its own.
    let out = |pid: &str| site.path().join(format!("callgrind.out.{pid}"));
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out("%p").display()))
        .arg(program)
        .args(arguments);
    let server = Server::run(command, None, port, cores)?;
    let out = out(&server.pid().to_string());
    let messages = drive(port)?;
    server.stop()?;

    let annotate = Command::new("callgrind_annotate")
        .args(["--threshold=100", "--show-percs=no"])
        .arg(&out)
        .output()?;
    Profile::parse(messages, &String::from_utf8_lossy(&annotate.stdout))
}

impl Profile {
    /// Lines of a count and a place: `1,234  PROGRAM TOTALS`, `1,234  ???:function [object]`.
    fn parse(messages: u64, text: &str) -> Result<Profile> {
        let mut total = None;
        let mut functions = HashMap::new();
        for line in text.lines() {
            let Some((count, place)) = line.trim().split_once("  ") else {
                continue;
            };
            let Ok(count) = count.replace(',', "").parse::<i64>() else {
                continue;
            };
            let place = place.trim();
            if place == "PROGRAM TOTALS" {
                total = Some(count);
            } else {
                *functions.entry(function(place)).or_default() += count;
            }
        }
        Ok(Profile {
            messages,
            total: total.ok_or("`callgrind_annotate` prints no total")?,
            functions,
        })
    }

    /// Subtracts a shorter run: what is left is of the messages that only this run had.
    pub(crate) fn less(mut self, shorter: Profile) -> Profile {
        self.messages -= shorter.messages;
        self.total -= shorter.total;
        for (function, count) in shorter.functions {
            *self.functions.entry(function).or_default() -= count;
        }
        self
    }

    /// Returns the instructions of a message.
    pub(crate) fn instructions(&self) -> f64 {
        self.total as f64 / self.messages as f64
    }

    /// Returns the instructions of a message by function, without what the function calls, the most first.
    pub(crate) fn functions(&self) -> Vec<(&str, f64)> {
        let of_messages = |count: i64| count as f64 / self.messages as f64;
        let mut functions: Vec<(&str, f64)> = self
            .functions
            .iter()
            .map(|(function, count)| (&**function, of_messages(*count)))
            .collect();
        functions.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        functions
    }
}

/// Shortens `file:function [/path/to/object]` by the parts that differ between two runs.
fn function(place: &str) -> String {
    let place = place
        .split_once(':')
        .map_or(place, |(_, function)| function);
    match place.split_once(" [") {
        Some((function, object)) => {
            let object = object.rsplit('/').next().unwrap_or(object);
            format!("{function} [{object}")
        }
        None => place.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_two_runs_is_by_function() {
        let text = |total: &str, echo: &str| {
            format!(
                "Events recorded : Ir\n--\n{total}  PROGRAM TOTALS\n--\nIr\n{echo}  ???:echo [/lib/echo.so]\n"
            )
        };

        let few = Profile::parse(10, &text("2,000", "1,000")).unwrap();
        let many = Profile::parse(30, &text("6,000", "4,500")).unwrap();
        let difference = many.less(few);

        assert_eq!(difference.instructions(), 200.0);
        assert_eq!(difference.functions(), [("echo [echo.so]", 175.0)]);
    }
}
