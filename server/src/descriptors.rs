//! How many connections the system's limit of open files leaves room for.

use tracing::warn;

/// The limit of open files, and how many of them are open before the first connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    limit: usize,
    open: usize,
}

impl Descriptors {
    /// What holds for this process now. `main` has raised the limit as far as the system allows.
    pub(crate) fn now() -> Descriptors {
        let limit = rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX);
        Descriptors {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            // Without /proc the reserve has to cover them.
            open: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        }
    }

    /// Descriptors that connections may take, with the files that are sent to them.
    pub(crate) fn room(self) -> usize {
        let room = self.limit.saturating_sub(self.open + self.reserve());
        room.max(1)
    }

    /// Descriptors that no connection gets: looking for changes, loading handlers, and what the
    /// handlers open themselves must go on when connections are at their limit.
    fn reserve(self) -> usize {
        let wanted = (self.limit / 8).clamp(RESERVE_LEAST, RESERVE_MOST);
        wanted.min(self.limit / 2)
    }

    /// Says so if there can be fewer connections than the configuration allows.
    pub(crate) fn tell_if_short(self, connections_max: usize) {
        let room = self.room();
        if room < connections_max {
            warn!(
                connections_max,
                connections = room,
                open_files = self.limit,
                "the limit of open files allows fewer connections than `connections_max`; raise it \
                 (`LimitNOFILE=` in a systemd unit, `ulimit -n` in a shell), or lower \
                 `connections_max` to {room}"
            );
        }
    }
}

const RESERVE_LEAST: usize = 64;
const RESERVE_MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_the_limit_leaves_over_the_reserve() {
        for (limit, open, room) in [
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
            assert_eq!(Descriptors { limit, open }.room(), room, "{limit}, {open}");
        }
    }
}
