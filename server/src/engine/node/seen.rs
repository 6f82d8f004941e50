//! Which publications of a topic have come, so that none goes on twice where the topic has no history.

use std::collections::VecDeque;

use crate::engine::Origin;

/// The last publications of one topic.
#[derive(Debug, Default)]
pub(super) struct Seen(VecDeque<(Origin, u64)>);

impl Seen {
    /// Notes a publication. False if it is noted already.
    pub(super) fn note(&mut self, origin: Origin, number: u64) -> bool {
        let publication = (origin, number);
        // The newest first, because a repeated one comes soon.
        if self.0.iter().rev().any(|other| *other == publication) {
            return false;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(publication);
        true
    }
}

/// A repetition comes from a connection that was made anew, and has no more in it than was under way.
const KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_new_once_and_each_server_counts_for_itself() {
        let mut seen = Seen::default();
        let origin = |node, incarnation| Origin { node, incarnation };

        assert!(seen.note(origin(1, 7), 1));
        assert!(seen.note(origin(2, 7), 1));
        assert!(seen.note(origin(1, 8), 1));
        assert!(!seen.note(origin(1, 7), 1));

        (2..2_000).for_each(|number| assert!(seen.note(origin(1, 7), number)));
        assert_eq!(seen.0.len(), KEPT);
    }
}
