//! Which passwords were found right a while ago, so that each connection of a user does not cost a hash.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use siphasher::sip128::{Hasher128, SipHasher24};

/// Remembers right passwords by a keyed hash. The key is made anew by each process and never leaves it, so what
/// is remembered says nothing of a password.
pub(crate) struct VerifiedPasswords {
    key: [u8; 16],
    /// Until when each is remembered.
    until: Mutex<HashMap<Tag, Instant>>,
}

/// The keyed hash of a user, a password and what it was compared with. A user with another hash has another tag,
/// so a password that was changed is not remembered.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Tag(pub(super) u128);

impl VerifiedPasswords {
    /// Remembers by this key, which is random.
    pub(crate) fn new(key: [u8; 16]) -> VerifiedPasswords {
        VerifiedPasswords {
            key,
            until: Mutex::default(),
        }
    }

    /// The tag of a password that is compared with `hash`.
    pub(crate) fn tag(&self, user: &str, password: &[u8], hash: &[u8]) -> Tag {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        // With its length before each part, two triples never are one text.
        for part in [user.as_bytes(), password, hash] {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        Tag(hasher.finish128().as_u128())
    }

    /// Whether it was found right, and not too long ago.
    pub(crate) fn has(&self, tag: Tag, now: Instant) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(&tag).is_some_and(|until| now < *until)
    }

    /// Remembers that it was found right.
    pub(crate) fn add(&self, tag: Tag, now: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= ENTRIES_MAX {
            until.retain(|_, until| now < *until);
        }
        if until.len() >= ENTRIES_MAX {
            let oldest = until.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(tag, _)| *tag) {
                until.remove(&oldest);
            }
        }
        until.insert(tag, now + REMEMBERED_FOR);
    }
}

/// How long a right password is remembered.
pub(crate) const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// How many are remembered. Each takes about 50 bytes.
const ENTRIES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_password_is_remembered_for_a_while_and_for_its_hash_only() {
        let (verified, start) = (VerifiedPasswords::new([1; 16]), Instant::now());
        let tag = verified.tag("ann", b"tea", b"hash");
        assert!(!verified.has(tag, start));
        verified.add(tag, start);

        for (user, password, hash, expected) in [
            ("ann", "tea", "hash", true),
            ("ann", "teA", "hash", false),
            ("ann", "tea", "changed", false),
            ("bob", "tea", "hash", false),
            ("annt", "ea", "hash", false),
            ("ann", "teah", "ash", false),
        ] {
            let tag = verified.tag(user, password.as_bytes(), hash.as_bytes());
            assert_eq!(
                verified.has(tag, start),
                expected,
                "{user} {password} {hash}"
            );
        }
        let other_process = VerifiedPasswords::new([2; 16]);
        assert!(other_process.tag("ann", b"tea", b"hash") != tag);
        let end = start + REMEMBERED_FOR;
        assert!(verified.has(tag, end - Duration::from_millis(1)));
        assert!(!verified.has(tag, end));
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_the_oldest_goes_first() {
        let (verified, start) = (VerifiedPasswords::new([1; 16]), Instant::now());
        let tag = |number: usize| verified.tag("ann", &number.to_le_bytes(), b"hash");
        let at = |number: usize| start + Duration::from_millis(number as u64);
        for number in 0..ENTRIES_MAX + 1 {
            verified.add(tag(number), at(number));
        }

        assert_eq!(verified.until.lock().unwrap().len(), ENTRIES_MAX);
        let now = at(ENTRIES_MAX);
        assert!(!verified.has(tag(0), now));
        assert!(verified.has(tag(1), now) && verified.has(tag(ENTRIES_MAX), now));
    }
}
