//! How far wshd is to be ahead: its CPU time for a message or a handshake as a share of another's.

use crate::cell::{Cell, KIB, MIB};
use crate::contender::WITHOUT_HISTORY;
use crate::fan::Crowd;

/// One line of the table of targets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    driven: Driven,
    /// The largest share of wshd's for each server that has a target here.
    shares: &'static [(&'static str, f64)],
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

    /// The largest share of wshd's for a server of [`AGAINST`].
    pub(crate) fn share_of(&self, server: &str) -> Option<f64> {
        let found = self.shares.iter().find(|(name, _)| *name == server);
        found.map(|(_, share)| *share)
    }

    /// The factor that the share may miss its target by: a median of one message a round trip repeats within a tenth only.
    pub(crate) fn tolerance(&self) -> f64 {
        match self.driven {
            Driven::Echo(cell) if cell.pipelining > 1 => 1.0,
            // Both servers are wshd, and the target is a tenth by itself.
            Driven::Fan(crowd) if crowd.has_history => 1.0,
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

/// The servers that have targets. `uWebSockets` and `pywebsocket3` come by `--peer` under these names.
pub(crate) const AGAINST: [&str; 6] = [
    UWEBSOCKETS,
    FASTWEBSOCKETS,
    TUNGSTENITE,
    TUNGSTENITE_4K,
    PYWEBSOCKET3,
    WITHOUT_HISTORY,
];

const UWEBSOCKETS: &str = "uWebSockets";
const FASTWEBSOCKETS: &str = "fastwebsockets";
const TUNGSTENITE: &str = "tungstenite";
const TUNGSTENITE_4K: &str = "tungstenite-4k";
const PYWEBSOCKET3: &str = "pywebsocket3";

pub(crate) const TARGETS: [Target; 11] = [
    Target {
        driven: Driven::Echo(Cell::new(20, 100, 1)),
        shares: &[
            (UWEBSOCKETS, 1.05),
            (FASTWEBSOCKETS, 0.98),
            (TUNGSTENITE, 0.40),
            (TUNGSTENITE_4K, 0.98),
            (PYWEBSOCKET3, 1.0 / 9.0),
        ],
    },
    Target {
        driven: Driven::Echo(Cell::new(20, 100, 32)),
        shares: &[
            (UWEBSOCKETS, 1.0),
            (FASTWEBSOCKETS, 1.0 / 18.0),
            (TUNGSTENITE, 1.0 / 20.0),
            (TUNGSTENITE_4K, 0.62),
            (PYWEBSOCKET3, 1.0 / 120.0),
        ],
    },
    Target {
        driven: Driven::Echo(Cell::new(KIB, 100, 32)),
        shares: &[
            (UWEBSOCKETS, 0.70),
            (FASTWEBSOCKETS, 1.0 / 11.0),
            (TUNGSTENITE, 1.0 / 12.0),
            (TUNGSTENITE_4K, 0.50),
            (PYWEBSOCKET3, 1.0 / 350.0),
        ],
    },
    Target {
        driven: Driven::Echo(Cell::new(16 * KIB, 50, 1)),
        shares: &[
            (UWEBSOCKETS, 1.0),
            (FASTWEBSOCKETS, 0.90),
            (TUNGSTENITE, 0.60),
            (TUNGSTENITE_4K, 0.50),
            (PYWEBSOCKET3, 1.0 / 150.0),
        ],
    },
    Target {
        driven: Driven::Echo(Cell::new(MIB, 4, 1)),
        shares: &[
            (UWEBSOCKETS, 0.85),
            (FASTWEBSOCKETS, 1.05),
            (TUNGSTENITE, 0.70),
            (TUNGSTENITE_4K, 0.45),
        ],
    },
    Target {
        driven: Driven::Handshake,
        shares: &[
            (UWEBSOCKETS, 1.10),
            (FASTWEBSOCKETS, 1.05),
            (TUNGSTENITE, 0.75),
        ],
    },
    Target {
        driven: Driven::Fan(Crowd::of(100)),
        shares: &[(UWEBSOCKETS, 1.05)],
    },
    Target {
        driven: Driven::Fan(Crowd::of(1_000)),
        shares: &[(UWEBSOCKETS, 1.0)],
    },
    Target {
        driven: Driven::Fan(Crowd::of(10_000)),
        shares: &[(UWEBSOCKETS, 1.0)],
    },
    Target {
        driven: Driven::Fan(Crowd::STORM),
        shares: &[(UWEBSOCKETS, 1.10)],
    },
    Target {
        driven: Driven::Fan(Crowd::of(1_000).with_history()),
        shares: &[(WITHOUT_HISTORY, 1.10)],
    },
];
