//! The subscribers of a topic, as a value that publications on their way keep while others join and leave.

use std::sync::Arc;

use crate::sessions::mailbox::Mailbox;

/// Subscribers, each at a place that a change of others moves only if it was the last one.
///
/// A clone shares them all. A change of one that is shared copies one block and the list of blocks, and not the ten
/// thousand counts of references that a plain vector would.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    /// All blocks are full but the last, and none is empty.
    blocks: Arc<Vec<Arc<Block>>>,
    len: usize,
}

type Block = Vec<Arc<Mailbox>>;

impl Members {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a subscriber at the place [`len`](Self::len).
    pub(super) fn push(&mut self, mailbox: Arc<Mailbox>) {
        let blocks = Arc::make_mut(&mut self.blocks);
        match blocks.last_mut() {
            Some(last) if last.len() < BLOCK => Arc::make_mut(last).push(mailbox),
            _ => blocks.push(Arc::new(vec![mailbox])),
        }
        self.len += 1;
    }

    /// Removes the subscriber at `place`, which is one. The last one takes its place, and is returned if it is another.
    pub(super) fn swap_remove(&mut self, place: usize) -> Option<&Arc<Mailbox>> {
        let blocks = Arc::make_mut(&mut self.blocks);
        let last_block = Arc::make_mut(blocks.last_mut()?);
        let last = last_block.pop()?;
        if last_block.is_empty() {
            blocks.pop();
        }
        self.len -= 1;
        if place == self.len {
            return None;
        }
        let block = Arc::make_mut(&mut blocks[place / BLOCK]);
        block[place % BLOCK] = last;
        Some(&block[place % BLOCK])
    }

    /// The subscribers from `place` on that lie together, at most `most` of them.
    pub(super) fn run_from(&self, place: usize, most: usize) -> &[Arc<Mailbox>] {
        let Some(block) = self.blocks.get(place / BLOCK) else {
            return &[];
        };
        let rest = &block[place % BLOCK..];
        &rest[..rest.len().min(most)]
    }

    /// Whether both are the subscribers of one moment.
    pub(super) fn are(&self, others: &Members) -> bool {
        Arc::ptr_eq(&self.blocks, &others.blocks)
    }
}

/// The subscribers of a block: a copy of one takes about as long as a copy of the list of blocks of a large topic.
const BLOCK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(id: u64) -> Arc<Mailbox> {
        Arc::new(Mailbox::new(id, Arc::from("chat"), 1, 100))
    }

    fn ids(members: &Members) -> Vec<u64> {
        let mut ids = Vec::new();
        while ids.len() < members.len() {
            let run = members.run_from(ids.len(), 50);
            assert!((1..=50).contains(&run.len()));
            ids.extend(run.iter().map(|mailbox| mailbox.id));
        }
        assert!(members.run_from(ids.len(), 50).is_empty());
        ids
    }

    #[test]
    fn members_are_those_of_a_vector_and_a_clone_keeps_those_of_its_moment() {
        let (mut members, mut vector) = (Members::default(), Vec::new());
        let mut dice = 11_u64;
        // Miri takes minutes for more.
        let last = if cfg!(miri) { 120 } else { 2_000 };
        for id in 1..last {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (before, ids_before) = (members.clone(), vector.clone());
            // More join at first, and more leave in the end.
            if vector.is_empty() || (dice >> 40) % last > id {
                members.push(mailbox(id));
                vector.push(id);
            } else {
                let place = (dice >> 20) as usize % vector.len();
                let moved = members.swap_remove(place).map(|it| it.id);
                vector.swap_remove(place);
                assert_eq!(moved, vector.get(place).copied());
            }

            assert_eq!(ids(&members), vector);
            assert_eq!(ids(&before), ids_before);
            assert!(!members.are(&before));
        }
        assert!(members.clone().are(&members));
    }
}
