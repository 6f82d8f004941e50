//! How echoes are driven: the bytes of a message, the connections, and the messages in flight on each.

use std::fmt;

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) payload_bytes: usize,
    pub(crate) connections: usize,
    /// Messages that are written together, and whose echoes are awaited before the next ones.
    pub(crate) pipelining: u32,
}

impl Cell {
    pub(crate) const fn new(payload_bytes: usize, connections: usize, pipelining: u32) -> Cell {
        Cell {
            payload_bytes,
            connections,
            pipelining,
        }
    }

    /// Every payload with every number of connections and every depth, except cells with too many bytes in flight.
    pub(crate) fn grid() -> Vec<Cell> {
        let mut cells = Vec::new();
        for payload_bytes in [20, 125, KIB, 16 * KIB, MIB] {
            for connections in [1, 100, 1_000] {
                for pipelining in [1, 32] {
                    let cell = Cell::new(payload_bytes, connections, pipelining);
                    if payload_bytes * connections * pipelining as usize <= IN_FLIGHT_BYTES_MAX {
                        cells.push(cell);
                    }
                }
            }
        }
        cells
    }

    /// Describes the cell in a sentence. Its `Display` is the name for a command line.
    pub(crate) fn title(&self) -> String {
        let payload = match self.payload_bytes {
            bytes if bytes >= MIB => format!("{} MiB", bytes / MIB),
            bytes if bytes >= KIB => format!("{} KiB", bytes / KIB),
            bytes => format!("{bytes} B"),
        };
        let many = if self.connections == 1 { "" } else { "s" };
        format!(
            "echo of {payload}, {} connection{many}, {} in flight on each",
            self.connections, self.pipelining
        )
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.payload_bytes {
            bytes if bytes >= MIB => (bytes / MIB, "MiB"),
            bytes if bytes >= KIB => (bytes / KIB, "KiB"),
            bytes => (bytes, "B"),
        };
        write!(f, "{number}{unit}x{}x{}", self.connections, self.pipelining)
    }
}

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;
const IN_FLIGHT_BYTES_MAX: usize = 64 * MIB;
