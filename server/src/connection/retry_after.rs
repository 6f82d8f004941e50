//! When a client that is refused for now may try again.

use std::time::Duration;

/// The seconds of `Retry-After`: not before `earliest`, and spread over some time, so that clients which were refused at
/// one moment do not all come back at one moment.
pub(super) fn retry_after(earliest: Duration) -> u64 {
    let first = u64::try_from(earliest.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX);
    let first = first.max(1);
    first.saturating_add(fastrand::u64(0..RETRY_SPREAD_S))
}

/// Seconds over which clients that were refused come back.
const RETRY_SPREAD_S: u64 = 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn clients_are_told_different_times_to_come_back_and_none_too_early() {
        for (earliest_ms, first) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (60_000, 60)] {
            let told = || retry_after(Duration::from_millis(earliest_ms));
            let told: BTreeSet<u64> = (0..1_000).map(|_| told()).collect();
            let all: BTreeSet<u64> = (first..first + RETRY_SPREAD_S).collect();
            assert_eq!(told, all, "{earliest_ms}");
        }
        let told = retry_after(Duration::MAX);
        assert!(told >= u64::MAX / 1_000, "{told}");
    }
}
