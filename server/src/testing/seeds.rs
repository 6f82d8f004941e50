//! Tests with random steps, which a number repeats.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Numbers that depend on a seed only (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// A number from 0 to below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Makes a test once for each seed. One that fails is printed; `WSHD_SEED=N` makes the test with that one only.
pub(crate) fn for_seeds(seeds: Range<u64>, test: impl Fn(&mut Dice)) {
    let only = std::env::var("WSHD_SEED").ok();
    let seeds = match only.and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => seeds,
    };
    let seeds_max = if cfg!(miri) { 4 } else { usize::MAX };
    for seed in seeds.take(seeds_max) {
        let tested = catch_unwind(AssertUnwindSafe(|| test(&mut Dice::new(seed))));
        if let Err(panic) = tested {
            eprintln!("WSHD_SEED={seed} fails");
            resume_unwind(panic);
        }
    }
}
