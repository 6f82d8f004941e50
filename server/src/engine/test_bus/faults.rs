//! What goes wrong on the connections of the test bus, and how often.

use super::message::Delivery;

/// Shares of 1,000, and times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// The longest way of what is sent.
    pub(crate) delay_ms: u64,
    /// How often a way takes 20 times as long.
    pub(crate) slow: u32,
    pub(crate) lost_publications: u32,
    pub(crate) repeated_publications: u32,
    pub(crate) lost_answers: u32,
    pub(crate) repeated_requests: u32,
}

impl Faults {
    /// Everything arrives, in a millisecond at most.
    pub(crate) fn none() -> Faults {
        Faults {
            delay_ms: 1,
            slow: 0,
            lost_publications: 0,
            repeated_publications: 0,
            lost_answers: 0,
            repeated_requests: 0,
        }
    }

    /// More than any network does.
    pub(crate) fn many() -> Faults {
        Faults {
            delay_ms: 20,
            slow: 20,
            lost_publications: 50,
            repeated_publications: 50,
            lost_answers: 20,
            repeated_requests: 50,
        }
    }

    pub(super) fn delay(&self, random: &mut fastrand::Rng) -> u64 {
        let delay = random.u64(0..=self.delay_ms);
        match happens(self.slow, random) {
            true => delay * 20,
            false => delay,
        }
    }

    pub(super) fn loses_answer(&self, random: &mut fastrand::Rng) -> bool {
        happens(self.lost_answers, random)
    }

    pub(super) fn repeats_request(&self, random: &mut fastrand::Rng) -> bool {
        happens(self.repeated_requests, random)
    }

    /// What arrives of something that the broker sends to a server. Changes of members are never lost on a connection.
    pub(super) fn on_the_way(
        &self,
        delivery: Delivery,
        random: &mut fastrand::Rng,
    ) -> Vec<Delivery> {
        let Delivery::Publication(publication, _) = &delivery else {
            return vec![delivery];
        };
        if happens(self.lost_publications, random) {
            let gap = Delivery::Gap(publication.topic.clone());
            // Sometimes the engine knows it.
            return vec![gap; usize::from(happens(200, random))];
        }
        let times = 1 + usize::from(happens(self.repeated_publications, random));
        vec![delivery; times]
    }
}

fn happens(of_1000: u32, random: &mut fastrand::Rng) -> bool {
    of_1000 > 0 && random.u32(0..1_000) < of_1000
}
