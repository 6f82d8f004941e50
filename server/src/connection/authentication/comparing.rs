//! Passwords with slow hashes: asked for, compared on blocking threads, and waited for.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Authenticator, Password};
use crate::auth::comparison_queue::{ComparisonKey, ComparisonQueue, WaiterNumber};
use crate::auth::network::Network;
use crate::auth::verified::Tag;

/// The comparisons of a server. What waits for one is told whether the password is right.
pub(super) type Queue = ComparisonQueue<Password, oneshot::Sender<bool>>;

/// A password whose comparison a connection waits for. Dropping it gives the comparison up.
pub(in crate::connection) struct PendingComparison {
    authenticator: Arc<Authenticator>,
    key: ComparisonKey,
    number: WaiterNumber,
    outcome: oneshot::Receiver<bool>,
}

/// The outcome of a comparison, which says nothing of a user whose hash is another one by now.
#[derive(Clone, Copy)]
pub(in crate::connection) struct Compared {
    pub(super) tag: Tag,
    pub(super) is_right: bool,
}

impl Authenticator {
    /// Has a password compared. That takes one guess, unless it waits for its comparison already.
    ///
    /// # Errors
    ///
    /// The peer's address has no guess left, and this is the time until it has.
    pub(super) fn ask(self: &Arc<Self>, password: Password) -> Result<PendingComparison, Duration> {
        let key = ComparisonKey {
            network: Network::of(password.ip),
            tag: password.tag,
        };
        let (waiter, outcome) = oneshot::channel();
        let mut queue = self.queue();
        if !queue.has(key) {
            // Before it waits, so that no address has more comparisons waiting than it has guesses.
            self.guesses
                .take(password.ip, &password.user, Instant::now())?;
        }
        let number = queue.join(key, waiter, || password);
        let begun = queue.begin();
        drop(queue);
        if begun.is_some() {
            let authenticator = self.clone();
            tokio::task::spawn_blocking(move || authenticator.compare_from(begun));
        }
        Ok(PendingComparison {
            authenticator: self.clone(),
            key,
            number,
            outcome,
        })
    }

    /// Compares one password after the other until no other waits.
    fn compare_from(&self, mut begun: Option<(ComparisonKey, Password)>) {
        while let Some((key, password)) = begun {
            let is_right = self.is_right(&password);
            self.note(&password, is_right);
            let mut queue = self.queue();
            let waiters = queue.end(key);
            begun = queue.begin();
            drop(queue);
            for waiter in waiters {
                // One whose connection has ended hears nothing.
                let _ = waiter.send(is_right);
            }
        }
    }

    fn is_right(&self, password: &Password) -> bool {
        // Another address may have sent it meanwhile.
        if self.verified.has(password.tag, Instant::now()) {
            return true;
        }
        let compare = || password.comparison.is_right(&password.bytes);
        // After a panic, those that wait are to have their turn too.
        catch_unwind(AssertUnwindSafe(compare)).unwrap_or(false)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PendingComparison {
    /// The outcome, when the password has had its turn.
    pub(in crate::connection) async fn outcome(&mut self) -> Compared {
        let tag = self.key.tag;
        match (&mut self.outcome).await {
            Ok(is_right) => Compared { tag, is_right },
            // The runtime stops, and the connection hears that by itself.
            Err(_) => pending().await,
        }
    }
}

impl Drop for PendingComparison {
    fn drop(&mut self) {
        let abandoned = self.authenticator.queue().leave(self.key, self.number);
        if let Some(password) = abandoned {
            let guesses = &self.authenticator.guesses;
            guesses.give_back(password.ip, &password.user, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::auth::credentials::Credentials;
    use crate::auth::password_hash::PasswordHash;

    /// `tea`, by `openssl passwd -5`.
    const OF_TEA: &str = "$5$saltsalt$kWwMLQhDW1TzF9cDGZ7aP0rxs0VbLpf/VaG3Wsxmwm.";

    /// An authenticator that compares nothing until it is told to.
    fn stalled() -> Arc<Authenticator> {
        let mut authenticator = Authenticator::new();
        authenticator.queue = Queue::new(0).into();
        Arc::new(authenticator)
    }

    fn password(authenticator: &Authenticator, text: &str, last: u8) -> Password {
        let hash = PasswordHash::parse(OF_TEA).expect("a hash");
        let credentials = Credentials {
            users: Some([("ann".into(), hash)].into()),
            ..Credentials::default()
        };
        let comparison = credentials.comparison("ann", text.as_bytes());
        let tag = authenticator
            .verified
            .tag("ann", text.as_bytes(), comparison.key());
        Password {
            user: "ann".into(),
            bytes: text.into(),
            comparison,
            tag,
            ip: Some(IpAddr::from([192, 0, 2, last])),
        }
    }

    #[test]
    fn an_address_has_as_many_comparisons_waiting_as_it_has_guesses() {
        let authenticator = stalled();
        let ask = |text: &str, last| authenticator.ask(password(&authenticator, text, last));
        let guesses = (0..100).map(|number: u32| ask(&number.to_string(), 1));
        let waiting: Vec<PendingComparison> = guesses.map_while(Result::ok).collect();
        assert_eq!(waiting.len(), 20);

        assert!(ask("another", 1).is_err());
        // It waits already, and another address has guesses of its own.
        let again = ask("0", 1);
        assert!(again.is_ok() && ask("another", 2).is_ok());

        // A comparison that was given up is no guess.
        drop(waiting);
        assert!(ask("another", 1).is_ok());
        // One of the twenty is still waited for.
        let guesses = (0..100).map(|number: u32| ask(&format!("later {number}"), 1));
        assert_eq!(guesses.map_while(Result::ok).collect::<Vec<_>>().len(), 19);
    }

    #[tokio::test]
    async fn all_that_wait_for_a_comparison_hear_of_its_outcome() {
        let authenticator = Arc::new(Authenticator::new());
        for (text, expected) in [("tea", true), ("wrong", false)] {
            let ask = || authenticator.ask(password(&authenticator, text, 1));
            let waiting: Vec<_> = (0..50)
                .map(|_| ask().unwrap_or_else(|_| panic!("one guess")))
                .collect();
            for mut comparison in waiting {
                let compared = comparison.outcome().await;
                assert_eq!(compared.is_right, expected, "{text}");
                assert!(compared.tag == password(&authenticator, text, 1).tag);
            }
        }
    }
}
