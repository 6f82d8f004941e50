//! What the process takes of the system: processor time, memory and descriptors, as /proc tells it.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

/// What the process takes. A number that the system does not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) virtual_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) open_fds: Option<u64>,
    /// `None` also where there is no limit.
    pub(crate) max_fds: Option<u64>,
    /// In seconds since 1970.
    pub(crate) started_at: Option<f64>,
}

impl Usage {
    /// What the process takes now.
    pub(crate) fn now() -> Usage {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name of the program stands in parentheses, and may have blanks and parentheses itself.
        let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
        let fields: Vec<u64> = (fields.split_ascii_whitespace())
            .map(|field| field.parse().unwrap_or(0))
            .collect();
        // By the numbers of `proc_pid_stat(5)`. The first field here is the third there.
        let field = |number: usize| fields.get(number - 3).copied();
        let ticks = clock_ticks_per_second() as f64;
        let seconds = |ticks_taken: u64| ticks_taken as f64 / ticks;
        Usage {
            cpu_seconds: field(14)
                .zip(field(15))
                .map(|(user, kernel)| seconds(user + kernel)),
            threads: field(20),
            started_at: field(22)
                .zip(booted_at())
                .map(|(after, boot)| boot as f64 + seconds(after)),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages * page_size() as u64),
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

/// When the machine has booted, in seconds since 1970.
fn booted_at() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// The number of open descriptors. Since Linux 6.2 it is the size of the directory.
fn open_fds() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        // One of them is that of the directory, while it is read.
        0 => Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_this_process() {
        let kept = vec![1_u8; 64 << 20];
        let usage = Usage::now();

        assert!(usage.resident_bytes.unwrap() >= kept.iter().map(|it| u64::from(*it)).sum());
        assert!(usage.virtual_bytes > usage.resident_bytes);
        assert!(usage.threads.unwrap() >= 2);
        assert!((3..10_000).contains(&usage.open_fds.unwrap()));
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let age = now - usage.started_at.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "{age}");
        assert!(usage.cpu_seconds.unwrap() < 86_400.0);
    }
}
