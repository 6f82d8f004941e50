//! How many connections the system's limit of open files allows.

use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::{info, warn};

use crate::config::Limits;

/// The limit of open files, and how many of them are open before the first connection.
#[derive(Debug)]
pub(crate) struct Descriptors {
    /// An operator may change it from outside while the server runs.
    limit: AtomicUsize,
    open: usize,
}

impl Descriptors {
    /// Reads the limit and the open files of this process. `main` has raised the limit as far as the
    /// system allows.
    pub(crate) fn now() -> Descriptors {
        let limit = rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
        Descriptors {
            limit: AtomicUsize::new(usize::try_from(limit).unwrap_or(usize::MAX)),
            // Without /proc they count as none; the reserve covers them.
            open: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        }
    }

    /// Takes over a limit that was changed from outside.
    pub(crate) fn follow(&self, limit: u64, connections_max: usize) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let before = self.limit.swap(limit, Ordering::Relaxed);
        if before == limit {
            return;
        }
        info!(
            open_files = limit,
            before,
            connections = self.capacity().min(connections_max),
            "the limit of open files was changed from outside, and holds from now on"
        );
        self.tell_if_short(connections_max);
    }

    /// How many descriptors connections may take, together with the files that are sent to them.
    pub(crate) fn capacity(&self) -> usize {
        capacity(self.limit.load(Ordering::Relaxed), self.open)
    }

    /// Logs it if the limit allows fewer connections than the configuration.
    pub(crate) fn tell_if_short(&self, connections_max: usize) {
        let open_files = self.limit.load(Ordering::Relaxed);
        let connections = self.capacity();
        if connections >= connections_max {
            return;
        }
        let way_out = format!(
            "raise it (`LimitNOFILE=` in a systemd unit, `ulimit -Hn` in a shell), or set \
             `connections_max = {connections}`"
        );
        // No operator has asked for the default, and many machines allow less.
        if connections_max == Limits::default().connections_max {
            info!(
                connections_max,
                connections, open_files, "{SHORT}; {way_out}"
            );
        } else {
            warn!(
                connections_max,
                connections, open_files, "{SHORT}; {way_out}"
            );
        }
    }
}

/// What is left of the limit after `open` files and the reserve; at least 1.
fn capacity(limit: usize, open: usize) -> usize {
    limit.saturating_sub(open + reserve(limit)).max(1)
}

/// Descriptors that no connection gets. The server looks for changes and loads handlers, and handlers
/// open files, also when connections are at their limit.
fn reserve(limit: usize) -> usize {
    let wanted = (limit / 8).clamp(RESERVE_LEAST, RESERVE_MOST);
    wanted.min(limit / 2)
}

const SHORT: &str = "the limit of open files allows fewer connections than `connections_max`";

const RESERVE_LEAST: usize = 64;
const RESERVE_MOST: usize = 4096;

#[cfg(test)]
mod tests {
    #[test]
    fn connections_get_what_the_limit_leaves_over_the_reserve() {
        for (limit, open, capacity) in [
            (256, 16, 256 - 16 - 64),
            (1024, 20, 1024 - 20 - 128),
            (4096, 20, 4096 - 20 - 512),
            (1_048_576, 20, 1_048_576 - 20 - 4096),
            (usize::MAX, 20, usize::MAX - 20 - 4096),
            // Half of very few, and never none.
            (64, 16, 16),
            (64, 40, 1),
            (10, 40, 1),
        ] {
            assert_eq!(super::capacity(limit, open), capacity, "{limit}, {open}");
        }
    }
}
