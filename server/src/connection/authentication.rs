//! Whether the peer of a request may have what it asks for.
//!
//! A token, and a password that was found right a while ago, are judged at once. Any other password is compared
//! on a blocking thread, since its hash is slow on purpose; a few are compared at a time, and the others wait. The
//! request is judged again after that, by the users and the rules that hold then.

mod comparing;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use self::comparing::Queue;
pub(super) use self::comparing::{Compared, PendingComparison};
use super::reply::{Challenge, Denial, Reply};
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
    queue: Mutex<Queue>,
}

/// What the authenticator says of a request.
pub(super) enum Verdict {
    /// The peer may enter, with this user if it had to say one.
    Enter(Option<Box<str>>),
    Refuse(Reply),
    /// The password is being compared, or waits for its turn.
    Compare(PendingComparison),
}

/// A user and a password that a peer says, and what the password is compared with.
struct Password {
    user: Box<str>,
    bytes: Vec<u8>,
    comparison: Comparison,
    tag: Tag,
    ip: Option<IpAddr>,
}

/// Who may enter, and what any other peer is told.
#[derive(Clone, Copy)]
struct Rule<'a> {
    access: &'a Access,
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
            queue: Queue::new(at_once).into(),
        }
    }

    /// Judges a peer that asks for something that `access` is the rule of. `lines` are the values of its header
    /// `Authorization`, and `compared` is what was found for them before, if they were judged before.
    pub(super) fn judge<'a>(
        self: &Arc<Self>,
        auth: &Auth,
        access: &Access,
        lines: impl Iterator<Item = &'a [u8]>,
        ip: Option<IpAddr>,
        compared: Option<Compared>,
    ) -> Verdict {
        if *access == Access::Open {
            return Verdict::Enter(None);
        }
        let challenge = Challenge {
            basic: auth.credentials.has_users(),
            bearer: auth.credentials.has_tokens(),
        };
        let rule = Rule { access, challenge };
        match Authorization::read(lines) {
            Err(what) => Verdict::Refuse(Reply::Malformed(what)),
            Ok(Authorization::Nothing) => rule.deny(Denial::Nothing),
            Ok(Authorization::Bearer(token)) => match auth.credentials.token_name(&token) {
                Some(name) => rule.admit(name.into()),
                None => rule.deny(Denial::Token),
            },
            Ok(Authorization::Basic { .. }) if !challenge.basic => rule.deny(Denial::Password),
            Ok(Authorization::Basic { user, password }) => {
                let comparison = auth.credentials.comparison(&user, &password);
                let tag = self.verified.tag(&user, &password, comparison.key());
                let password = Password {
                    user: user.into(),
                    bytes: password,
                    comparison,
                    tag,
                    ip,
                };
                self.judge_password(password, rule, compared)
            }
        }
    }

    /// Judges a password as far as that takes no time.
    fn judge_password(
        self: &Arc<Self>,
        password: Password,
        rule: Rule<'_>,
        compared: Option<Compared>,
    ) -> Verdict {
        // With another hash since, the user has another tag, and the password is compared again.
        if let Some(compared) = compared.filter(|compared| compared.tag == password.tag) {
            return rule.conclude(password, compared.is_right);
        }
        let too_many = |after| Verdict::Refuse(Reply::TooManyGuesses { after });
        let (ip, now) = (password.ip, Instant::now());
        if self.verified.has(password.tag, now) {
            // Otherwise a peer could go on guessing a password that is remembered, as fast as it likes.
            return match self.guesses.allows(ip, &password.user, now) {
                Ok(()) => rule.conclude(password, true),
                Err(after) => too_many(after),
            };
        }
        if password.comparison.is_cheap() {
            if let Err(after) = self.guesses.take(ip, &password.user, now) {
                return too_many(after);
            }
            let is_right = password.comparison.is_right(&password.bytes);
            self.note(&password, is_right);
            return rule.conclude(password, is_right);
        }
        if password.bytes.len() > PASSWORD_BYTES_MAX {
            return rule.deny(Denial::Password);
        }
        match self.ask(password) {
            Ok(comparison) => Verdict::Compare(comparison),
            Err(after) => too_many(after),
        }
    }

    /// Notes what a comparison has found.
    fn note(&self, password: &Password, is_right: bool) {
        if is_right {
            let now = Instant::now();
            self.guesses.give_back(password.ip, &password.user, now);
            self.verified.add(password.tag, now);
        }
    }
}

impl Rule<'_> {
    /// The verdict for a password that was compared.
    fn conclude(self, password: Password, is_right: bool) -> Verdict {
        match is_right {
            true => self.admit(password.user),
            false => self.deny(Denial::Password),
        }
    }

    /// Lets a user, or the bearer of a token, in if the rule admits it.
    fn admit(self, user: Box<str>) -> Verdict {
        match self.access.admits(&user) {
            true => Verdict::Enter(Some(user)),
            false => Verdict::Refuse(Reply::UserRefused(user)),
        }
    }

    fn deny(self, why: Denial) -> Verdict {
        Verdict::Refuse(Reply::Unauthorized(self.challenge, why))
    }
}

/// So many passwords are compared at a time at most, since each may take as much memory as its hash asks for.
const COMPARISONS_MAX: usize = 4;
/// The bytes of a password that is compared with a slow hash. Those of SHA-crypt take longer the longer it is, and
/// `htpasswd` takes none that is longer.
const PASSWORD_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;
    use crate::auth::access::PathRules;
    use crate::auth::credentials::{Credentials, SingleUser, Token, digest};
    use crate::auth::password_hash::PasswordHash;

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

    fn judge(authenticator: &Arc<Authenticator>, access: &Access, line: &str) -> String {
        told(judge_by(authenticator, &auth(), access, line, None))
    }

    fn judge_by(
        authenticator: &Arc<Authenticator>,
        auth: &Auth,
        access: &Access,
        line: &str,
        compared: Option<Compared>,
    ) -> Verdict {
        let lines = Some(line.as_bytes()).filter(|line| !line.is_empty());
        let ip = Some([192, 0, 2, 1].into());
        authenticator.judge(auth, access, lines.into_iter(), ip, compared)
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
            let found = judge(&Arc::new(Authenticator::new()), &access, line);
            assert_eq!(found, expected, "{access:?} {line}");
        }
    }

    #[test]
    fn after_many_wrong_passwords_a_right_one_is_not_told_from_a_wrong_one() {
        let authenticator = Arc::new(Authenticator::new());
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

    /// A hash of `tea`, by `openssl passwd -5 -salt`.
    const OF_TEA: &str = "$5$saltsalt$kWwMLQhDW1TzF9cDGZ7aP0rxs0VbLpf/VaG3Wsxmwm.";
    /// Another one.
    const ALSO_OF_TEA: &str = "$2b$04$abcdefghijklmnopqrstuuPHboQSso93A9LgX56mhJlsAVxcpLvtq";

    fn with_users(users: &[(&str, &str)]) -> Auth {
        let user = |(name, hash): &(&str, &str)| {
            let hash = PasswordHash::parse(hash).expect("a hash");
            (Box::from(*name), hash)
        };
        let mut auth = auth();
        auth.credentials = Credentials {
            users: Some(users.iter().map(user).collect()),
            ..Credentials::default()
        };
        auth
    }

    fn basic(pair: &str) -> String {
        format!("Basic {}", BASE64.encode(pair.as_bytes()))
    }

    #[tokio::test]
    async fn an_outcome_is_for_the_users_and_the_rules_that_hold_when_it_is_there() {
        let before = with_users(&[("ann", OF_TEA), ("bob", OF_TEA)]);
        let without_ann = with_users(&[("bob", OF_TEA)]);
        let with_another_hash = with_users(&[("ann", ALSO_OF_TEA)]);
        let only_bob = Access::Users(vec!["bob".to_owned()]);
        for (password, after, access, expected) in [
            ("tea", &before, &Access::Required, "enter ann"),
            ("tea", &before, &Access::Open, "enter -"),
            (
                "tea",
                &before,
                &only_bob,
                "403 the user `ann` may not enter here",
            ),
            ("tea", &without_ann, &Access::Required, "compare"),
            ("tea", &with_another_hash, &Access::Required, "compare"),
            ("tea", &auth(), &Access::Required, "enter ann"),
            (
                "no",
                &before,
                &Access::Required,
                "401 wrong user or password",
            ),
            ("no", &with_another_hash, &Access::Required, "compare"),
        ] {
            let authenticator = Arc::new(Authenticator::new());
            let line = basic(&format!("ann:{password}"));
            let asked = judge_by(&authenticator, &before, &Access::Required, &line, None);
            let Verdict::Compare(mut comparison) = asked else {
                panic!("{password}");
            };
            let compared = Some(comparison.outcome().await);
            let verdict = judge_by(&authenticator, after, access, &line, compared);
            assert_eq!(told(verdict), expected, "{password} {access:?}");
        }
    }

    #[tokio::test]
    async fn a_password_that_is_too_long_costs_no_comparison_and_no_guess() {
        let users = with_users(&[("ann", OF_TEA)]);
        let authenticator = Arc::new(Authenticator::new());
        let judge = |length| {
            let line = basic(&format!("ann:{}", "x".repeat(length)));
            told(judge_by(
                &authenticator,
                &users,
                &Access::Required,
                &line,
                None,
            ))
        };
        for _ in 0..100 {
            assert_eq!(judge(PASSWORD_BYTES_MAX + 1), "401 wrong user or password");
        }
        assert_eq!(judge(PASSWORD_BYTES_MAX), "compare");

        // One that is not compared with a slow hash may be longer.
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        let mut single = users.clone();
        single.credentials.single = Some(SingleUser::new("zoe", long.as_bytes()));
        let line = basic(&format!("zoe:{long}"));
        let verdict = judge_by(&authenticator, &single, &Access::Required, &line, None);
        assert_eq!(told(verdict), "enter zoe");
    }
}
