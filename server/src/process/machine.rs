//! What the machine has.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The memory of the machine in bytes; the largest number if it is not known.
///
/// It is read from /proc, because a filter that ends a process for `sysinfo` would end every trial.
pub(crate) fn memory_bytes() -> u64 {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kib_of(&told, "MemTotal:").map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}

/// The memory that the process may take: the machine's, or what its control groups leave of it.
pub(crate) fn usable_memory_bytes() -> u64 {
    memory_bytes().min(group_memory_bytes().unwrap_or(u64::MAX))
}

/// The memory that the process has now; 0 if it is not known. It allocates nothing, since it is asked several times a second
/// and when memory runs out.
pub(crate) fn resident_bytes() -> u64 {
    own_status("VmRSS:")
}

/// The part of it that is of no file: the heap, stacks, and what plugins have written to of their images.
pub(super) fn resident_anonymous_bytes() -> u64 {
    own_status("RssAnon:")
}

/// Bytes of this name in the process's own status; 0 if they are not known.
///
/// They are not read in pages from `statm`: to learn how large a page is, `rustix` reads the header of the vDSO, which is not
/// where the kernel says under valgrind.
fn own_status(name: &str) -> u64 {
    // The kernel gives out all of it at one read; it has some 1,500 bytes.
    let mut told = [0; 4096];
    let length = fs::File::open("/proc/self/status")
        .and_then(|mut file| file.read(&mut told))
        .unwrap_or(0);
    // A name that is not UTF-8 may stand in its first line.
    let lines = told[..length].utf8_chunks().map(|chunk| chunk.valid());
    let kib = lines.filter_map(|lines| kib_of(lines, name)).next();
    kib.map_or(0, |kib| kib.saturating_mul(1024))
}

/// The number in the line that begins with `name`.
fn kib_of(lines: &str, name: &str) -> Option<u64> {
    let value = lines.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

/// The least limit of memory of the control groups that the process is in, if there is one.
pub(crate) fn group_memory_bytes() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let (root, group, file) = memory_group(&groups)?;
    let group = root.join(group.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|it| it.starts_with(&root));
    let limits =
        groups.filter_map(|it| fs::read_to_string(it.join(file)).ok()?.trim().parse().ok());
    // Without a limit the file says `max`, or a number next to the largest.
    limits.filter(|bytes: &u64| *bytes < 1 << 60).min()
}

/// Where the groups are mounted, the process's own below that, and the file with the limit of each.
fn memory_group(groups: &str) -> Option<(PathBuf, &str, &'static str)> {
    let of = |controller: &str| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let is_it = fields.next()?.split(',').any(|name| name == controller);
            is_it.then(|| fields.next()).flatten()
        })
    };
    let root = Path::new("/sys/fs/cgroup");
    match of("memory") {
        Some(group) => Some((root.join("memory"), group, "memory.limit_in_bytes")),
        None => of("").map(|group| (root.to_owned(), group, "memory.max")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_with_the_limit_is_found_in_both_versions() {
        for (groups, found) in [
            (
                "0::/system.slice/wshd.service\n",
                Some(("/sys/fs/cgroup", "/system.slice/wshd.service")),
            ),
            (
                "5:cpu,memory:/a:b\n0::/\n",
                Some(("/sys/fs/cgroup/memory", "/a:b")),
            ),
            ("3:cpu:/\n", None),
            ("", None),
        ] {
            let group = memory_group(groups);
            let group = group
                .as_ref()
                .map(|(root, group, _)| (root.to_str().unwrap(), *group));
            assert_eq!(group, found, "{groups}");
        }
        assert!(resident_bytes() > resident_anonymous_bytes());
        assert!(resident_anonymous_bytes() > 1 << 16);
        assert!(usable_memory_bytes() > 1 << 20);
    }
}
