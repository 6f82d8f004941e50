//! How many system calls a process makes, counted from outside.
//!
//! `perf` counts in the kernel and costs the process next to nothing. Where it is missing or not permitted, `strace` stops the
//! process at every call. That makes it much slower, and changes the number only where more messages arrive meanwhile.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Result;

/// The tool that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    Perf,
    Strace,
    Nothing,
}

impl Counter {
    /// Finds a tool that works.
    pub(crate) fn find() -> Counter {
        let works = |command: &mut Command| {
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        if works(Command::new("perf").args(["stat", "-e", TRACEPOINT, "--", "true"])) {
            Counter::Perf
        } else if works(Command::new("strace").args(["-c", "-f", "--", "true"])) {
            Counter::Strace
        } else {
            Counter::Nothing
        }
    }

    /// Returns how many system calls the process makes while `work` runs.
    pub(crate) fn count<T>(
        self,
        pid: u32,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Option<u64>)> {
        match self {
            Counter::Perf => perf(pid, work),
            Counter::Strace => strace(pid, work),
            Counter::Nothing => Ok((work()?, None)),
        }
    }
}

fn perf<T>(pid: u32, work: impl FnOnce() -> Result<T>) -> Result<(T, Option<u64>)> {
    // `perf` counts while its command runs. The command is `cat`: its first answer shows that the count has begun, and the end
    // of its input ends the count.
    let mut perf = Ended(
        Command::new("perf")
            .args(["stat", "-x", ",", "-e", TRACEPOINT, "-p", &pid.to_string()])
            .args(["--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?,
    );
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) = (
        perf.0.stdin.take(),
        perf.0.stdout.take(),
        perf.0.stderr.take(),
    ) else {
        return Err("`perf` has no pipes".into());
    };
    stdin.write_all(b"?")?;
    stdout.read_exact(&mut [0])?;
    let done = work()?;
    drop(stdin);
    let mut said = String::new();
    stderr.read_to_string(&mut said)?;
    let count = said
        .lines()
        .find(|line| line.contains(TRACEPOINT))
        .and_then(|line| line.split(',').next()?.parse().ok());
    Ok((done, count))
}

fn strace<T>(pid: u32, work: impl FnOnce() -> Result<T>) -> Result<(T, Option<u64>)> {
    let mut strace = Ended(
        Command::new("strace")
            .args(["-c", "-f", "-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()?,
    );
    let stderr = strace.0.stderr.take().ok_or("`strace` has no pipe")?;
    let mut lines = BufReader::new(stderr).lines();
    let attached = lines.next().transpose()?.unwrap_or_default();
    if !attached.contains("attached") {
        return Err(format!("`strace` does not attach: {attached}").into());
    }
    let done = work()?;
    kill(Pid::from_raw(strace.0.id() as i32), Signal::SIGINT)?;
    let total = lines
        .map_while(std::io::Result::ok)
        .find(|line| line.ends_with(" total"));
    // % time, seconds, usecs/call, calls, errors if there were any, `total`
    let count = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    Ok((done, count))
}

/// A process that is waited for when this is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const TRACEPOINT: &str = "raw_syscalls:sys_enter";
