//! Durations, counted in ranges of a fixed length each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Counts of durations.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One for each of [`BOUNDS`], and one for what is longer.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// The counts of a histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct HistogramCounts {
    /// The durations up to each bound and not up to the one before. The last are longer than every bound.
    pub(crate) counts: Vec<u64>,
    /// The sum of all durations in seconds.
    pub(crate) seconds: f64,
}

impl Histogram {
    pub(crate) fn record(&self, duration: Duration) {
        let at = BOUNDS.iter().take_while(|(bound, _)| duration > *bound);
        self.counts[at.count()].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> HistogramCounts {
        let counts = self.counts.iter();
        HistogramCounts {
            counts: counts.map(|it| it.load(Ordering::Relaxed)).collect(),
            seconds: self.nanos.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }
}

impl HistogramCounts {
    /// How many durations there are.
    pub(crate) fn all(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// The ranges' upper ends, each with its seconds as a text.
pub(crate) const BOUNDS: [(Duration, &str); 12] = [
    (Duration::from_micros(1), "1e-06"),
    (Duration::from_micros(5), "5e-06"),
    (Duration::from_micros(20), "2e-05"),
    (Duration::from_micros(100), "0.0001"),
    (Duration::from_micros(500), "0.0005"),
    (Duration::from_millis(1), "0.001"),
    (Duration::from_millis(5), "0.005"),
    (Duration::from_millis(20), "0.02"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(500), "0.5"),
    (Duration::from_secs(1), "1"),
    (Duration::from_secs(10), "10"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_range_that_ends_with_it_or_after_it() {
        let histogram = Histogram::default();
        for micros in [0, 1, 2, 1_000, 1_001, 11_000_000] {
            histogram.record(Duration::from_micros(micros));
        }

        let counts = histogram.counts();

        let expected = [2, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1];
        assert_eq!(counts.counts, expected);
        assert_eq!(counts.all(), 6);
        assert!((counts.seconds - 11.002_004).abs() < 1e-9, "{counts:?}");
    }

    #[test]
    fn the_texts_are_the_bounds() {
        for (bound, text) in BOUNDS {
            assert_eq!(text.parse(), Ok(bound.as_secs_f64()));
        }
        assert!(BOUNDS.is_sorted());
    }
}
