//! How far wshd is to be ahead: its CPU time for a message or a handshake as a share of another's.

use crate::cell::{Cell, KIB, MIB};
use crate::fan::Crowd;

/// One line of the table of targets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    driven: Driven,
    /// The largest share of wshd's for each server of [`AGAINST`].
    pub(crate) shares: [Option<f64>; 5],
}

/// What a target is for.
#[derive(Clone, Copy, Debug)]
enum Driven {
    Echo(Cell),
    Handshake,
    Fan(Crowd),
}

impl Target {
    pub(crate) fn case(&self) -> String {
        match self.driven {
            Driven::Echo(cell) => cell.to_string(),
            Driven::Handshake => "handshake".to_owned(),
            Driven::Fan(crowd) => crowd.to_string(),
        }
    }

    /// The factor that the share may miss its target by: a median of one message a round trip repeats within a tenth only.
    pub(crate) fn tolerance(&self) -> f64 {
        match self.driven {
            Driven::Echo(cell) if cell.pipelining > 1 => 1.0,
            _ => 1.1,
        }
    }
}

/// Whether the case has targets.
pub(crate) fn has(case: &str) -> bool {
    TARGETS.iter().any(|target| target.case() == case)
}

/// The cells with targets.
pub(crate) fn cells() -> Vec<Cell> {
    let cells = TARGETS.iter().filter_map(|target| match target.driven {
        Driven::Echo(cell) => Some(cell),
        _ => None,
    });
    cells.collect()
}

/// The crowds with targets.
pub(crate) fn crowds() -> Vec<Crowd> {
    let crowds = TARGETS.iter().filter_map(|target| match target.driven {
        Driven::Fan(crowd) => Some(crowd),
        _ => None,
    });
    crowds.collect()
}

/// The servers that have targets. The first and the last come by `--peer` under these names.
pub(crate) const AGAINST: [&str; 5] = [
    "uWebSockets",
    "fastwebsockets",
    "tungstenite",
    "tungstenite-4k",
    "pywebsocket3",
];

pub(crate) const TARGETS: [Target; 10] = [
    Target {
        driven: Driven::Echo(Cell::new(20, 100, 1)),
        shares: [
            Some(1.05),
            Some(0.98),
            Some(0.40),
            Some(0.98),
            Some(1.0 / 9.0),
        ],
    },
    Target {
        driven: Driven::Echo(Cell::new(20, 100, 32)),
        shares: [
            Some(1.0),
            Some(1.0 / 18.0),
            Some(1.0 / 20.0),
            Some(0.62),
            Some(1.0 / 120.0),
        ],
    },
    Target {
        driven: Driven::Echo(Cell::new(KIB, 100, 32)),
        shares: [
            Some(0.70),
            Some(1.0 / 11.0),
            Some(1.0 / 12.0),
            Some(0.50),
            Some(1.0 / 350.0),
        ],
    },
    Target {
        driven: Driven::Echo(Cell::new(16 * KIB, 50, 1)),
        shares: [
            Some(1.0),
            Some(0.90),
            Some(0.60),
            Some(0.50),
            Some(1.0 / 150.0),
        ],
    },
    Target {
        driven: Driven::Echo(Cell::new(MIB, 4, 1)),
        shares: [Some(0.85), Some(1.05), Some(0.70), Some(0.45), None],
    },
    Target {
        driven: Driven::Handshake,
        shares: [Some(1.10), Some(1.05), Some(0.75), None, None],
    },
    Target {
        driven: Driven::Fan(Crowd::of(100)),
        shares: [Some(1.05), None, None, None, None],
    },
    Target {
        driven: Driven::Fan(Crowd::of(1_000)),
        shares: [Some(1.0), None, None, None, None],
    },
    Target {
        driven: Driven::Fan(Crowd::of(10_000)),
        shares: [Some(1.0), None, None, None, None],
    },
    Target {
        driven: Driven::Fan(Crowd::STORM),
        shares: [Some(1.10), None, None, None, None],
    },
];
