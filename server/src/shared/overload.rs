//! How near the memory of the process is to its limit, and what follows from that.

use std::sync::atomic::{AtomicU8, Ordering};

/// What the server does against an overload. Each level does what those before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OverloadLevel {
    #[default]
    Normal = 0,
    /// New sessions are refused, and the server is not ready.
    RefuseNew = 1,
    /// What was kept for later is given back.
    Shed = 2,
    /// Sessions are closed, a few at a time.
    Close = 3,
}

/// The level of this server, as last measured.
#[derive(Debug, Default)]
pub(crate) struct Overload(AtomicU8);

impl OverloadLevel {
    /// The level after a measurement of `used` of `max` bytes. 0 as `max` is no limit.
    ///
    /// A level ends 3 % below where it begins, so that it does not come and go.
    pub(crate) fn after(self, used: u64, max: u64) -> OverloadLevel {
        let percent = u128::from(used) * 100 / u128::from(max.max(1));
        let begins = |at: u128| max > 0 && percent >= at;
        let lasts = |level: OverloadLevel, at: u128| self >= level && begins(at - 3);
        for (level, at) in [
            (OverloadLevel::Close, 95),
            (OverloadLevel::Shed, 92),
            (OverloadLevel::RefuseNew, 85),
        ] {
            if begins(at) || lasts(level, at) {
                return level;
            }
        }
        OverloadLevel::Normal
    }

    /// The word in the log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            OverloadLevel::Normal => "normal",
            OverloadLevel::RefuseNew => "refuse_new",
            OverloadLevel::Shed => "shed",
            OverloadLevel::Close => "close",
        }
    }
}

impl Overload {
    pub(crate) fn level(&self) -> OverloadLevel {
        match self.0.load(Ordering::Relaxed) {
            0 => OverloadLevel::Normal,
            1 => OverloadLevel::RefuseNew,
            2 => OverloadLevel::Shed,
            _ => OverloadLevel::Close,
        }
    }

    pub(crate) fn set(&self, level: OverloadLevel) {
        self.0.store(level as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::OverloadLevel::{Close, Normal, RefuseNew, Shed};

    #[test]
    fn a_level_begins_at_its_percentage_and_ends_three_below() {
        for (before, used, after) in [
            (Normal, 84, Normal),
            (Normal, 85, RefuseNew),
            (Normal, 92, Shed),
            (Normal, 95, Close),
            (Normal, 1_000, Close),
            (RefuseNew, 82, RefuseNew),
            (RefuseNew, 81, Normal),
            (RefuseNew, 92, Shed),
            (Shed, 89, Shed),
            (Shed, 88, RefuseNew),
            (Shed, 81, Normal),
            (Close, 92, Close),
            (Close, 91, Shed),
            (Close, 88, RefuseNew),
            (Close, 10, Normal),
        ] {
            assert_eq!(before.after(used, 100), after, "{before:?} {used}");
            assert_eq!(before.after(used, 0), Normal, "without a limit");
        }
    }
}
