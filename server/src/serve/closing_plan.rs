//! When each of many sessions is told to close, so that their clients do not all come back at one moment.

use std::time::Duration;

use fastrand::Rng;

/// How fast sessions are told to close.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClosingPace {
    /// Sessions that are told within [`BATCH_TIME`].
    pub(super) batch_max: usize,
    /// The time in which all of them have to be told, whatever that makes of a batch.
    pub(super) time_max: Duration,
}

/// How many sessions are told to close in each [`TICK`] from the start on.
#[derive(Debug)]
pub(super) struct ClosingPlan {
    ticks: Vec<usize>,
    /// Whether batches follow one another faster than they should.
    pub(super) is_hurried: bool,
}

impl ClosingPlan {
    /// Plans batches one after the other, and a random moment within the time of its batch for each session. A batch that
    /// is not full takes less time, so a few sessions are told at once.
    pub(super) fn new(sessions: usize, pace: ClosingPace, random: &mut Rng) -> ClosingPlan {
        let batch_max = pace.batch_max.max(1);
        // The share of all that is told by a batch of one session.
        let wanted = BATCH_TIME.as_secs_f64() * sessions as f64 / batch_max as f64;
        let is_hurried = wanted > pace.time_max.as_secs_f64();
        let time = wanted.min(pace.time_max.as_secs_f64());
        let tick_count = (time / TICK.as_secs_f64()).ceil().max(1.0);
        let mut ticks = vec![0; tick_count as usize];
        let mut begun = 0;
        while begun < sessions {
            let batch = batch_max.min(sessions - begun);
            for _ in 0..batch {
                // Where in the whole it is, from 0 to 1.
                let place = (begun as f64 + random.f64() * batch as f64) / sessions as f64;
                let tick = (place * tick_count) as usize;
                let last = ticks.len() - 1;
                ticks[tick.min(last)] += 1;
            }
            begun += batch;
        }
        ClosingPlan { ticks, is_hurried }
    }

    /// The time from the first session to the last.
    pub(super) fn time(&self) -> Duration {
        TICK * u32::try_from(self.ticks.len() - 1).unwrap_or(u32::MAX)
    }

    /// How long after the start each group of sessions is told, and how many they are.
    pub(super) fn groups(&self) -> impl Iterator<Item = (Duration, usize)> {
        let ticks = (0..).zip(&self.ticks);
        ticks
            .filter(|(_, count)| **count > 0)
            .map(|(tick, count)| (TICK * tick, *count))
    }
}

/// The time in which one batch is told to close.
pub(super) const BATCH_TIME: Duration = Duration::from_secs(2);
/// Sessions that are told within this time are told together.
const TICK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sessions: usize, batch_max: usize, seconds: u64) -> ClosingPlan {
        let time_max = Duration::from_secs(seconds);
        let pace = ClosingPace {
            batch_max,
            time_max,
        };
        ClosingPlan::new(sessions, pace, &mut Rng::with_seed(7))
    }

    fn told_before(plan: &ClosingPlan, moment: Duration) -> usize {
        let groups = plan.groups().filter(|(at, _)| *at < moment);
        groups.map(|(_, count)| count).sum()
    }

    #[test]
    fn each_batch_is_told_within_its_own_two_seconds_and_spread_over_them() {
        let plan = plan(35_000, 10_000, 30);

        assert!(!plan.is_hurried);
        for batch in 1..=3 {
            let told = told_before(&plan, BATCH_TIME * batch);
            assert_eq!(told, 10_000 * batch as usize);
        }
        assert_eq!(told_before(&plan, BATCH_TIME * 7 / 2), 35_000);
        let most = plan.groups().map(|(_, count)| count).max();
        assert!(most.is_some_and(|most| most < 300), "{most:?} at a time");
    }

    #[test]
    fn a_few_sessions_are_told_at_once_and_a_part_of_a_batch_in_a_part_of_the_time() {
        for sessions in [0, 1, 100] {
            assert_eq!(plan(sessions, 10_000, 30).time(), Duration::ZERO);
        }
        let half = plan(5_000, 10_000, 30).time();
        assert!(half < Duration::from_secs(1) && half > Duration::from_millis(900));
    }

    #[test]
    fn all_are_told_in_time_where_batches_would_take_too_long() {
        let plan = plan(1_000, 10, 25);

        assert!(plan.is_hurried);
        assert_eq!(told_before(&plan, Duration::from_secs(25)), 1_000);
        let first = told_before(&plan, Duration::from_millis(12_500));
        assert_eq!(first, 500, "half of them in half of the time");
    }

    #[test]
    fn no_time_at_all_is_one_group() {
        let plan = plan(1_000, 10, 0);

        assert_eq!(plan.groups().collect::<Vec<_>>(), [(Duration::ZERO, 1_000)]);
    }
}
