//! Whether the peer of a request may have what it asks for.
//!
//! A token, and a password that was found right a while ago, are judged at once. Any other password is compared
//! on a blocking thread, since its hash is slow on purpose; a few are compared at a time, and the others wait.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::reply::{Challenge, Denial, FullOf, Reply};
use crate::auth::Auth;
use crate::auth::access::Access;
use crate::auth::authorization::Authorization;
use crate::auth::credentials::Comparison;
use crate::auth::guess_rate::GuessRate;
use crate::auth::verified::{Tag, VerifiedPasswords};

/// What the server knows of passwords that were tried.
pub(crate) struct Authenticator {
    verified: VerifiedPasswords,
    guesses: GuessRate,
    /// As many passwords may be compared at a time.
    comparisons: Arc<Semaphore>,
}

/// What the authenticator says of a request.
pub(super) enum Verdict {
    /// The peer may enter, with this user if it had to say one.
    Enter(Option<Box<str>>),
    Refuse(Reply),
    /// Its password must be compared first.
    Compare(PasswordCheck),
}

/// A password that is to be compared with a slow hash.
pub(super) struct PasswordCheck {
    user: Box<str>,
    password: Vec<u8>,
    comparison: Comparison,
    tag: Tag,
    ip: Option<IpAddr>,
    access: Access,
    challenge: Challenge,
}

impl Authenticator {
    pub(crate) fn new() -> Authenticator {
        let random = RandomState::new();
        let mut key = [0; 16];
        key[..8].copy_from_slice(&random.hash_one(0).to_le_bytes());
        key[8..].copy_from_slice(&random.hash_one(1).to_le_bytes());
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // Half of the processors are left for what serves.
        let at_once = processors.div_ceil(2).min(COMPARISONS_MAX);
        Authenticator {
            verified: VerifiedPasswords::new(key),
            guesses: GuessRate::default(),
            comparisons: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// Judges a peer that asks for something that `access` is the rule of. `lines` are the values of its header
    /// `Authorization`.
    pub(super) fn judge<'a>(
        &self,
        auth: &Auth,
        access: &Access,
        lines: impl Iterator<Item = &'a [u8]>,
        ip: Option<IpAddr>,
    ) -> Verdict {
        if *access == Access::Open {
            return Verdict::Enter(None);
        }
        let challenge = Challenge {
            basic: auth.credentials.has_users(),
            bearer: auth.credentials.has_tokens(),
        };
        let deny = |why| Verdict::Refuse(Reply::Unauthorized(challenge, why));
        match Authorization::read(lines) {
            Err(what) => Verdict::Refuse(Reply::Malformed(what)),
            Ok(Authorization::Nothing) => deny(Denial::Nothing),
            Ok(Authorization::Bearer(token)) => match auth.credentials.token_name(&token) {
                Some(name) => Verdict::of(admit(access, name.into())),
                None => deny(Denial::Token),
            },
            Ok(Authorization::Basic { .. }) if !challenge.basic => deny(Denial::Password),
            Ok(Authorization::Basic { user, password }) => {
                let comparison = auth.credentials.comparison(&user, &password);
                let tag = self.verified.tag(&user, &password, comparison.key());
                self.judge_password(PasswordCheck {
                    user: user.into(),
                    password,
                    comparison,
                    tag,
                    ip,
                    access: access.clone(),
                    challenge,
                })
            }
        }
    }

    /// Judges a password as far as that takes no time.
    fn judge_password(&self, check: PasswordCheck) -> Verdict {
        if let Some(outcome) = self.remembered(&check) {
            return Verdict::of(outcome);
        }
        if !check.comparison.is_cheap() {
            return Verdict::Compare(check);
        }
        match self.take_guess(&check) {
            Err(reply) => Verdict::Refuse(reply),
            Ok(()) => {
                let is_right = check.comparison.is_right(&check.password);
                Verdict::of(self.conclude(&check, is_right))
            }
        }
    }

    /// Compares a password, and answers the user. The caller may stop waiting; what was found is remembered
    /// nevertheless.
    ///
    /// # Errors
    ///
    /// The peer may not enter, and this is what it is told.
    pub(super) async fn compare(self: &Arc<Self>, check: PasswordCheck) -> Result<Box<str>, Reply> {
        let comparisons = self.comparisons.clone();
        let permit = comparisons.acquire_owned().await;
        // Another connection may have found it right meanwhile.
        if let Some(outcome) = self.remembered(&check) {
            return outcome;
        }
        self.take_guess(&check)?;
        let authenticator = self.clone();
        let compared = tokio::task::spawn_blocking(move || {
            let is_right = check.comparison.is_right(&check.password);
            drop(permit);
            authenticator.conclude(&check, is_right)
        });
        // The runtime stops, or the comparison panicked.
        compared
            .await
            .unwrap_or(Err(Reply::Full(FullOf::Comparisons)))
    }

    /// The outcome for a password that was found right a while ago.
    fn remembered(&self, check: &PasswordCheck) -> Option<Result<Box<str>, Reply>> {
        let now = Instant::now();
        if !self.verified.has(check.tag, now) {
            return None;
        }
        // Otherwise a peer could go on guessing a password that is remembered, as fast as it likes.
        let allowed = self.guesses.allows(check.ip, &check.user, now);
        Some(match allowed {
            Ok(()) => check.outcome(true),
            Err(after) => Err(Reply::TooManyGuesses { after }),
        })
    }

    fn take_guess(&self, check: &PasswordCheck) -> Result<(), Reply> {
        let taken = self.guesses.take(check.ip, &check.user, Instant::now());
        taken.map_err(|after: Duration| Reply::TooManyGuesses { after })
    }

    /// Notes what a comparison has found, and answers the user.
    fn conclude(&self, check: &PasswordCheck, is_right: bool) -> Result<Box<str>, Reply> {
        if is_right {
            let now = Instant::now();
            self.guesses.give_back(check.ip, &check.user, now);
            self.verified.add(check.tag, now);
        }
        check.outcome(is_right)
    }
}

impl PasswordCheck {
    fn outcome(&self, is_right: bool) -> Result<Box<str>, Reply> {
        match is_right {
            true => admit(&self.access, self.user.clone()),
            false => Err(Reply::Unauthorized(self.challenge, Denial::Password)),
        }
    }
}

impl Verdict {
    fn of(outcome: Result<Box<str>, Reply>) -> Verdict {
        match outcome {
            Ok(user) => Verdict::Enter(Some(user)),
            Err(reply) => Verdict::Refuse(reply),
        }
    }
}

/// The user, or the bearer of a token, if the rule admits it.
fn admit(access: &Access, user: Box<str>) -> Result<Box<str>, Reply> {
    match access.admits(&user) {
        true => Ok(user),
        false => Err(Reply::UserRefused(user)),
    }
}

/// So many passwords are compared at a time at most, since each may take as much memory as its hash asks for.
const COMPARISONS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::auth::access::PathRules;
    use crate::auth::credentials::{Credentials, SingleUser, Token, digest};

    fn auth() -> Auth {
        let token = Token {
            name: "ci".into(),
            digest: digest(b"token"),
        };
        let credentials = Credentials {
            single: Some(SingleUser::new("ann", b"tea")),
            tokens: Some(vec![token]),
            ..Credentials::default()
        };
        let paths = PathRules::default();
        Auth {
            credentials,
            paths,
            remarks: Vec::new(),
        }
    }

    fn told(verdict: Verdict) -> String {
        match verdict {
            Verdict::Enter(user) => format!("enter {}", user.as_deref().unwrap_or("-")),
            Verdict::Refuse(reply) => format!("{} {}", reply.status(), reply.reason()),
            Verdict::Compare(_) => "compare".to_owned(),
        }
    }

    fn judge(authenticator: &Authenticator, access: &Access, line: &str) -> String {
        let lines = Some(line.as_bytes()).filter(|line| !line.is_empty());
        let ip = Some([192, 0, 2, 1].into());
        told(authenticator.judge(&auth(), access, lines.into_iter(), ip))
    }

    #[test]
    fn a_rule_and_what_a_peer_says_make_a_verdict() {
        let only = |user: &str| Access::Users(vec![user.to_owned()]);
        let (right, wrong) = ("Basic YW5uOnRlYQ==", "Basic YW5uOm5vcGU=");
        for (access, line, expected) in [
            (Access::Open, "", "enter -"),
            (Access::Open, right, "enter -"),
            (Access::Open, "Basic !", "enter -"),
            (Access::Required, "", "401 no user and no token"),
            (Access::Required, right, "enter ann"),
            (Access::Required, wrong, "401 wrong user or password"),
            (Access::Required, "Bearer token", "enter ci"),
            (Access::Required, "Bearer other", "401 unknown token"),
            (Access::Required, "Digest a", "401 no user and no token"),
            (
                Access::Required,
                "Basic !",
                "400 `Authorization: Basic` is not in Base64",
            ),
            (only("ann"), right, "enter ann"),
            (only("ci"), "Bearer token", "enter ci"),
            (only("ci"), right, "403 the user `ann` may not enter here"),
            (only("ci"), wrong, "401 wrong user or password"),
        ] {
            let found = judge(&Authenticator::new(), &access, line);
            assert_eq!(found, expected, "{access:?} {line}");
        }
    }

    #[test]
    fn after_many_wrong_passwords_a_right_one_is_not_told_from_a_wrong_one() {
        let authenticator = Authenticator::new();
        assert_eq!(
            judge(&authenticator, &Access::Required, "Basic YW5uOnRlYQ=="),
            "enter ann"
        );
        let guess = |line| judge(&authenticator, &Access::Required, line);
        let refused = (0..100).find(|_| guess("Basic YW5uOm5vcGU=").starts_with("429"));

        assert!(refused.is_some());
        // Remembered or not, the answer is the same.
        assert!(guess("Basic YW5uOnRlYQ==").starts_with("429"));
        assert_eq!(guess("Bearer token"), "enter ci");
    }
}
