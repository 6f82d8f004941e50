//! What the machine has.

use std::fs;

/// The memory of the machine in bytes; the largest number if it is not known.
///
/// It is read from /proc, because a filter that ends a process for `sysinfo` would end every trial.
pub(crate) fn memory_bytes() -> u64 {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = told.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|it| it.trim().strip_suffix(" kB")?.parse().ok());
    kib.map_or(u64::MAX, |kib: u64| kib.saturating_mul(1024))
}
