//! The members of one topic, by the ids of their sessions.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::footprint::{b_tree_entry, shared};
use crate::engine::{ChangeKind, Member, MembersPage, PageLimit};

/// The members of a topic, and the version of the list.
#[derive(Debug)]
pub(super) struct Members {
    values: BTreeMap<u64, Arc<[u8]>>,
    /// The number of changes, counted from the version that the list began with.
    version: u64,
    /// The memory of all members.
    bytes: usize,
}

impl Members {
    /// No members. The first change has the version after `version`.
    pub(super) fn new(version: u64) -> Members {
        Members {
            values: BTreeMap::new(),
            version,
            bytes: 0,
        }
    }

    /// What the memory of all members would be with this one, and what it is. `None` if nothing would change.
    pub(super) fn bytes_with(&self, member: &Member) -> Option<(usize, usize)> {
        let before = match self.values.get(&member.id) {
            Some(value) if *value == member.value => return None,
            Some(value) => member_bytes(value.len()),
            None => 0,
        };
        let after = self.bytes - before + member_bytes(member.value.len());
        Some((after, self.bytes))
    }

    /// Adds a member or gives it another value. `None` if it has this value.
    pub(super) fn enter(&mut self, member: &Member) -> Option<ChangeKind> {
        let (after, _) = self.bytes_with(member)?;
        self.bytes = after;
        self.version += 1;
        match self.values.insert(member.id, member.value.clone()) {
            Some(_) => Some(ChangeKind::Changed),
            None => Some(ChangeKind::Joined),
        }
    }

    /// Removes a member, and returns it with the value that it had.
    pub(super) fn leave(&mut self, id: u64) -> Option<Member> {
        let value = self.values.remove(&id)?;
        self.bytes -= member_bytes(value.len());
        self.version += 1;
        Some(Member { id, value })
    }

    /// Reads members by rising id.
    pub(super) fn page(&self, after: Option<u64>, limit: PageLimit) -> MembersPage {
        let mut page = MembersPage {
            version: self.version,
            ..MembersPage::default()
        };
        let mut bytes = 0;
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (&id, value) in self.values.range((behind, Bound::Unbounded)) {
            bytes += value.len();
            let is_first = page.members.is_empty();
            if !is_first && (page.members.len() >= limit.items || bytes > limit.bytes) {
                page.has_more = true;
                break;
            }
            let value = value.clone();
            page.members.push(Member { id, value });
        }
        page
    }

    /// The number of the last change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The memory of all members.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a member with a value of `len` bytes takes.
fn member_bytes(len: usize) -> usize {
    shared(len) + b_tree_entry(size_of::<(u64, Arc<[u8]>)>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::seeds::{Dice, for_seeds};

    const ALL: PageLimit = PageLimit {
        items: usize::MAX,
        bytes: usize::MAX,
    };

    fn member(id: u64, value: &[u8]) -> Member {
        Member {
            id,
            value: value.into(),
        }
    }

    #[test]
    fn a_change_has_a_kind_and_the_next_version_and_an_equal_value_is_no_change() {
        let mut members = Members::new(6);
        for (id, value, kind, version) in [
            (5, "ann", Some(ChangeKind::Joined), 7),
            (5, "ann", None, 7),
            (5, "Ann", Some(ChangeKind::Changed), 8),
            (2, "", Some(ChangeKind::Joined), 9),
            (2, "", None, 9),
        ] {
            assert_eq!(members.enter(&member(id, value.as_bytes())), kind);
            assert_eq!(members.version(), version);
        }

        assert_eq!(members.leave(5), Some(member(5, b"Ann")));
        assert_eq!(members.leave(5), None);

        assert_eq!(members.version(), 10);
        assert_eq!(members.page(None, ALL).members, [member(2, b"")]);
    }

    #[test]
    fn a_page_has_at_least_one_member_and_says_whether_more_follow() {
        let mut members = Members::new(0);
        for id in [3, 1, 2] {
            members.enter(&member(id, &[id as u8; 10]));
        }
        for (after, items, bytes, ids, has_more) in [
            (None, 9, 99, &[1, 2, 3][..], false),
            (None, 2, 99, &[1, 2], true),
            (None, 9, 29, &[1, 2], true),
            (None, 9, 30, &[1, 2, 3], false),
            (None, 0, 0, &[1], true),
            (Some(1), 0, 0, &[2], true),
            (Some(2), 1, 1, &[3], false),
            (Some(3), 9, 99, &[], false),
            (Some(u64::MAX), 9, 99, &[], false),
        ] {
            let page = members.page(after, PageLimit { items, bytes });
            let found: Vec<u64> = page.members.iter().map(|member| member.id).collect();
            assert_eq!((&*found, page.has_more, page.version), (ids, has_more, 3));
        }
    }

    #[test]
    fn a_list_and_the_changes_after_it_are_a_later_list() {
        for_seeds(0..2_000, |dice| {
            let mut members = Members::new(dice.below(3));
            let mut changes = Vec::new();
            (0..dice.below(20)).for_each(|_| change(&mut members, dice, &mut changes));

            // The list is read in pages, while it changes.
            changes.clear();
            let began = members.version();
            let (mut list, mut after) = (BTreeMap::new(), None);
            loop {
                let items = dice.below(4) as usize;
                let page = members.page(after, PageLimit { items, bytes: 9 });
                list.extend(page.members.iter().map(|it| (it.id, it.value.clone())));
                after = page.members.last().map(|it| it.id).or(after);
                if !page.has_more {
                    break;
                }
                (0..dice.below(4)).for_each(|_| change(&mut members, dice, &mut changes));
            }
            (0..dice.below(9)).for_each(|_| change(&mut members, dice, &mut changes));

            for (index, (version, id, value)) in changes.iter().enumerate() {
                assert_eq!(*version, began + 1 + index as u64, "versions have no holes");
                match value {
                    Some(value) => list.insert(*id, value.clone()),
                    None => list.remove(id),
                };
            }
            assert_eq!(list, members.values);
            let bytes = members.values.values().map(|it| member_bytes(it.len()));
            assert_eq!(members.bytes(), bytes.sum::<usize>());
        });
    }

    type Change = (u64, u64, Option<Arc<[u8]>>);

    /// Changes one of eight members, or nothing.
    fn change(members: &mut Members, dice: &mut Dice, changes: &mut Vec<Change>) {
        let id = dice.below(8);
        let changed = match dice.below(3) {
            0 => members.leave(id).map(|_| None),
            value => {
                let member = member(id, &b"ab"[..value as usize]);
                members.enter(&member).map(|_| Some(member.value))
            }
        };
        changes.extend(changed.map(|value| (members.version(), id, value)));
    }
}
