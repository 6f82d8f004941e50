//! How fast passwords can be guessed from one address.
//!
//! There is no lockout: with one, any peer could keep a user out by guessing wrong. Wrong guesses of one address
//! are limited, and among them those for one user. A peer whose password is remembered is kept out by the second
//! limit only, so guesses for one user from behind a proxy keep no other user out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::network::Network;

/// The guesses that each address has left.
#[derive(Default)]
pub(crate) struct GuessRate {
    /// When all guesses are there again, of each source that has made one a while ago.
    whole_at: Mutex<HashMap<Source, Instant>>,
    /// Hashes the names of users.
    names: RandomState,
}

/// Where guesses come from. With the hash of a name, it is the guesses for this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source {
    network: Network,
    user: Option<u64>,
}

impl GuessRate {
    /// Takes one guess of the address for `user`. No address stands for Unix sockets.
    ///
    /// # Errors
    ///
    /// There is none left, and this is the time until there is.
    pub(crate) fn take(
        &self,
        ip: Option<IpAddr>,
        user: &str,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = self.sources(ip, user);
        for source in sources {
            after_one(&whole_at, source, now)?;
        }
        for source in sources {
            let then = after_one(&whole_at, source, now)?;
            if whole_at.len() >= SOURCES_MAX && !whole_at.contains_key(&source) {
                make_room(&mut whole_at, now);
            }
            whole_at.insert(source, then);
        }
        Ok(())
    }

    /// Fails if the address has no guess left for `user`, whatever it has guessed for others. It takes none.
    ///
    /// # Errors
    ///
    /// The time until there is one.
    pub(crate) fn allows(
        &self,
        ip: Option<IpAddr>,
        user: &str,
        now: Instant,
    ) -> Result<(), Duration> {
        let whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let [_, of_user] = self.sources(ip, user);
        after_one(&whole_at, of_user, now).map(drop)
    }

    /// Gives one guess back, because it was right, or was not compared.
    pub(crate) fn give_back(&self, ip: Option<IpAddr>, user: &str, now: Instant) {
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        for source in self.sources(ip, user) {
            let Some(whole) = whole_at.get_mut(&source) else {
                continue;
            };
            *whole -= GUESS_EVERY;
            if *whole <= now {
                whole_at.remove(&source);
            }
        }
    }

    /// The address, and the address with the user.
    fn sources(&self, ip: Option<IpAddr>, user: &str) -> [Source; 2] {
        let network = Network::of(ip);
        let user = Some(self.names.hash_one(user));
        [None, user].map(|user| Source { network, user })
    }
}

/// When all guesses of a source will be there again after one more.
fn after_one(
    whole_at: &HashMap<Source, Instant>,
    source: Source,
    now: Instant,
) -> Result<Instant, Duration> {
    let whole = whole_at.get(&source).copied().unwrap_or(now);
    let then = whole.max(now) + GUESS_EVERY;
    let over = then.saturating_duration_since(now + GUESS_EVERY * GUESSES_AT_ONCE);
    match over.is_zero() {
        true => Ok(then),
        false => Err(over),
    }
}

/// Forgets each source that has all guesses again. If there is none, it forgets the one with the most left.
fn make_room(whole_at: &mut HashMap<Source, Instant>, now: Instant) {
    whole_at.retain(|_, whole| *whole > now);
    if whole_at.len() >= SOURCES_MAX {
        let least = whole_at.iter().min_by_key(|(_, whole)| **whole);
        if let Some(least) = least.map(|(source, _)| *source) {
            whole_at.remove(&least);
        }
    }
}

/// Guesses that an address has at once.
const GUESSES_AT_ONCE: u32 = 20;
/// The time after which there is one guess more.
const GUESS_EVERY: Duration = Duration::from_secs(2);
/// Sources that are remembered.
const SOURCES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn an_address_has_a_few_guesses_at_once_and_then_one_in_a_while() {
        let (rate, start) = (GuessRate::default(), Instant::now());
        let take = |address, now| rate.take(ip(address), "ann", now);
        for _ in 0..GUESSES_AT_ONCE {
            assert_eq!(take("192.0.2.1", start), Ok(()));
        }
        assert_eq!(take("192.0.2.1", start), Err(GUESS_EVERY));
        // A guess that was refused costs nothing.
        assert_eq!(take("192.0.2.1", start), Err(GUESS_EVERY));
        assert_eq!(take("192.0.2.2", start), Ok(()));
        assert_eq!(rate.take(None, "ann", start), Ok(()));
        let later = start + GUESS_EVERY;
        assert_eq!(take("192.0.2.1", later), Ok(()));
        assert_eq!(take("192.0.2.1", later), Err(GUESS_EVERY));
        let much_later = start + GUESS_EVERY * 1_000;
        for _ in 0..GUESSES_AT_ONCE {
            assert_eq!(take("192.0.2.1", much_later), Ok(()));
        }
        assert_eq!(take("192.0.2.1", much_later), Err(GUESS_EVERY));
    }

    #[test]
    fn guesses_for_one_user_keep_no_other_remembered_user_out() {
        let (rate, start) = (GuessRate::default(), Instant::now());
        for _ in 0..GUESSES_AT_ONCE {
            assert_eq!(rate.take(ip("192.0.2.1"), "ann", start), Ok(()));
        }
        assert_eq!(rate.take(ip("192.0.2.1"), "bob", start), Err(GUESS_EVERY));
        assert_eq!(rate.allows(ip("192.0.2.1"), "bob", start), Ok(()));
        assert_eq!(rate.allows(ip("192.0.2.1"), "ann", start), Err(GUESS_EVERY));
        assert_eq!(rate.allows(ip("192.0.2.2"), "ann", start), Ok(()));
    }

    #[test]
    fn a_right_password_costs_no_guess() {
        let (rate, start) = (GuessRate::default(), Instant::now());
        for _ in 0..GUESSES_AT_ONCE * 10 {
            assert_eq!(rate.take(ip("192.0.2.1"), "ann", start), Ok(()));
            rate.give_back(ip("192.0.2.1"), "ann", start);
        }
        assert!(rate.whole_at.lock().unwrap().is_empty());
    }

    #[test]
    fn a_swarm_of_addresses_takes_bounded_memory_and_frees_none_of_the_worst() {
        let (rate, start) = (GuessRate::default(), Instant::now());
        for _ in 0..GUESSES_AT_ONCE {
            assert_eq!(rate.take(ip("192.0.2.1"), "ann", start), Ok(()));
        }
        for number in 0..SOURCES_MAX as u32 {
            let _ = rate.take(Some(IpAddr::V4(number.into())), "ann", start);
        }
        assert_eq!(rate.whole_at.lock().unwrap().len(), SOURCES_MAX);
        assert_eq!(rate.take(ip("192.0.2.1"), "ann", start), Err(GUESS_EVERY));
    }
}
