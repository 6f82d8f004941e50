//! How sessions ended, by close code and by the side that began the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts of ends.
#[derive(Debug, Default)]
pub(crate) struct Closes(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Closes {
    /// Counts the end of a session. `side` is a word of the server's own.
    pub(crate) fn count(&self, code: u16, side: &'static str) {
        let mut closes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *closes.entry((label(code), side)).or_default() += 1;
    }

    /// Each code and side with its count, in order.
    pub(crate) fn counts(&self) -> Vec<(&'static str, &'static str, u64)> {
        let closes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = closes.iter();
        counts
            .map(|((code, side), count)| (*code, *side, *count))
            .collect()
    }
}

/// A code as a label. Peers choose codes, so those that have no name of their own count together: they must not make labels
/// without end.
fn label(code: u16) -> &'static str {
    const NAMED: [&str; 16] = [
        "1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1010",
        "1011", "1012", "1013", "1014", "1015",
    ];
    match code {
        1_000..=1_015 => NAMED[usize::from(code - 1_000)],
        3_000..=3_999 => "3xxx",
        4_000..=4_999 => "4xxx",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_peers_choose_make_two_labels() {
        let closes = Closes::default();
        for code in [1000, 1000, 1015, 1016, 3000, 3001, 4000, 4999, 5000] {
            closes.count(code, "peer");
        }
        closes.count(1000, "server");
        assert_eq!(
            closes.counts(),
            [
                ("1000", "peer", 2),
                ("1000", "server", 1),
                ("1015", "peer", 1),
                ("3xxx", "peer", 2),
                ("4xxx", "peer", 2),
                ("other", "peer", 2),
            ]
        );
    }
}
