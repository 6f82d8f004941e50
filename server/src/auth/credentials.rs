//! Users and tokens, and how what a request says is compared with them.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::password_hash::PasswordHash;

/// Every user and every token that may enter.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// The users of the file; `None` without a file.
    pub(crate) users: Option<BTreeMap<Box<str>, PasswordHash>>,
    /// The one user whose password the configuration says.
    pub(crate) single: Option<SingleUser>,
    /// The tokens of the file; `None` without a file.
    pub(crate) tokens: Option<Vec<Token>>,
}

/// A user whose password the configuration says. Only a digest of it is kept.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SingleUser {
    name: Box<str>,
    digest: [u8; 32],
}

/// A token's name and the SHA-256 of the token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) name: Box<str>,
    pub(crate) digest: [u8; 32],
}

/// What a password is compared with.
pub(crate) struct Comparison {
    /// The hash of the user, or of another one where the name is that of no user: the answer is no then, and
    /// takes as long as for a user.
    hash: Option<PasswordHash>,
    is_user: bool,
    /// Whether it is the password of the single user.
    is_single: bool,
}

impl SingleUser {
    pub(crate) fn new(name: &str, password: &[u8]) -> SingleUser {
        SingleUser {
            name: name.into(),
            digest: pair_digest(name, password),
        }
    }
}

impl Credentials {
    /// Whether users with passwords may enter.
    pub(crate) fn has_users(&self) -> bool {
        self.users.is_some() || self.single.is_some()
    }

    /// How many users and tokens there are.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let users = self.users.as_ref().map_or(0, BTreeMap::len);
        let single = usize::from(self.single.is_some());
        (users + single, self.tokens.as_ref().map_or(0, Vec::len))
    }

    /// Each name that a rule can have.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let users = self.users.iter().flat_map(BTreeMap::keys);
        let single = self.single.iter().map(|single| &single.name);
        let tokens = self.tokens.iter().flatten().map(|token| &token.name);
        users.chain(single).chain(tokens).map(|name| &**name)
    }

    /// Whether tokens are taken.
    pub(crate) fn has_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// The name of a token. It takes equally long for each token that is not known.
    pub(crate) fn token_name(&self, token: &[u8]) -> Option<&str> {
        let found = digest(token);
        let tokens = self.tokens.as_deref().unwrap_or_default();
        let mut at = u64::MAX;
        for (index, token) in tokens.iter().enumerate() {
            let is_it = token.digest.ct_eq(&found);
            at.conditional_assign(&(index as u64), is_it);
        }
        let token = tokens.get(usize::try_from(at).ok()?)?;
        Some(&token.name)
    }

    /// What the password of `user` is compared with.
    pub(crate) fn comparison(&self, user: &str, password: &[u8]) -> Comparison {
        let is_single = self.single.as_ref().is_some_and(|single| {
            let found = pair_digest(user, password);
            bool::from(single.digest.ct_eq(&found))
        });
        let users = self.users.as_ref();
        let own = users.and_then(|users| users.get(user));
        // Looked for in any case, since that takes a moment, too.
        let other = self.other_hash(user);
        Comparison {
            hash: own.or(other).cloned(),
            is_user: own.is_some(),
            is_single,
        }
    }

    /// The hash of some user, always the same one for a name that is no user's. Where the users' hashes cost
    /// different times, so do those of names that are no user's.
    fn other_hash(&self, name: &str) -> Option<&PasswordHash> {
        let users = self.users.as_ref().filter(|users| !users.is_empty())?;
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        // A peer cannot compute it beforehand: hashes have salts.
        users.values().next()?.text().hash(&mut hasher);
        // The first few stand for all, since to find one further behind takes time in a large file.
        let at = hasher.finish() % users.len().min(OTHERS_MAX) as u64;
        users.values().nth(at as usize)
    }
}

impl Comparison {
    /// What a right answer is remembered with besides the user and the password: it is another one as soon as the
    /// user has another hash.
    pub(crate) fn key(&self) -> &[u8] {
        match &self.hash {
            // Whether it is the single user's password is compared anew each time.
            _ if self.is_single => b"single",
            Some(hash) if self.is_user => hash.text().as_bytes(),
            _ => b"",
        }
    }

    /// Whether the password is right. It takes as long as the hash wants.
    pub(crate) fn is_right(&self, password: &[u8]) -> bool {
        if self.is_single {
            return true;
        }
        let is_of_hash = self.hash.as_ref().is_some_and(|hash| hash.is_of(password));
        is_of_hash & self.is_user
    }

    /// Whether the answer takes no time worth speaking of.
    pub(crate) fn is_cheap(&self) -> bool {
        self.is_single || self.hash.is_none()
    }
}

impl fmt::Debug for Credentials {
    /// Writes numbers only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("users", &self.users.as_ref().map(BTreeMap::len))
            .field("single", &self.single.as_ref().map(|single| &single.name))
            .field("tokens", &self.tokens.as_ref().map(Vec::len))
            .finish()
    }
}

/// Of so many users, the hash is compared with for a name that is no user's.
const OTHERS_MAX: usize = 64;

/// The SHA-256 of a token, which is what its file has of it.
pub(crate) fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The digest of a name and a password, which no name has a colon in.
fn pair_digest(user: &str, password: &[u8]) -> [u8; 32] {
    digest(&[user.as_bytes(), b":", password].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password_hash::COMPARED;

    /// `tea`, by `openssl passwd -6 -salt saltsalt tea`.
    const ANN: &str = "$6$saltsalt$ALYggeVEYq7qBVmrAtSGW/2lVTQvNb6FyLnPgQr6.pppuhpaRfNWYvmZi6E5E2HC8ZGektNiMokKXmsAZzt6O0";

    fn credentials() -> Credentials {
        let hash = PasswordHash::parse(ANN).expect("a hash");
        let token = |name: &str, text: &[u8]| Token {
            name: name.into(),
            digest: digest(text),
        };
        Credentials {
            users: Some(BTreeMap::from([("ann".into(), hash)])),
            single: Some(SingleUser::new("test", b"a:b")),
            tokens: Some(vec![token("ci", b"one"), token("app", b"two")]),
        }
    }

    #[test]
    fn a_user_has_one_password_and_no_other_name_has_it() {
        let credentials = credentials();
        for (user, password, expected) in [
            ("ann", "tea", true),
            ("ann", "Tea", false),
            ("ann", "", false),
            ("bob", "tea", false),
            ("", "tea", false),
            ("test", "a:b", true),
            ("test", "a", false),
            ("ann", "a:b", false),
        ] {
            let comparison = credentials.comparison(user, password.as_bytes());
            let found = comparison.is_right(password.as_bytes());
            assert_eq!(found, expected, "{user} {password}");
        }
        let nobody = Credentials::default();
        assert!(!nobody.comparison("ann", b"tea").is_right(b"tea"));
        assert!(nobody.comparison("ann", b"tea").is_cheap());
    }

    #[test]
    fn a_name_that_is_no_users_is_compared_with_a_users_hash() {
        let credentials = credentials();
        for user in ["ann", "bob", "", "Ann"] {
            let comparison = credentials.comparison(user, b"wrong");
            let hash = comparison.hash.as_ref().map(PasswordHash::text);
            assert_eq!(hash, Some(ANN), "{user}");
            assert!(!comparison.is_cheap() && !comparison.is_right(b"wrong"));
        }
    }

    #[test]
    fn a_password_costs_one_hash_whether_its_user_exists_or_not() {
        let credentials = credentials();
        for user in ["ann", "bob", ""] {
            let before = COMPARED.get();
            assert!(!credentials.comparison(user, b"wrong").is_right(b"wrong"));
            assert_eq!(COMPARED.get() - before, 1, "{user:?}");
        }
    }

    #[test]
    fn a_token_says_its_name() {
        let credentials = credentials();
        assert_eq!(credentials.token_name(b"one"), Some("ci"));
        assert_eq!(credentials.token_name(b"two"), Some("app"));
        for other in ["", "One", "onetwo", "three"] {
            assert_eq!(credentials.token_name(other.as_bytes()), None, "{other}");
        }
        assert_eq!(Credentials::default().token_name(b"one"), None);
    }

    #[test]
    fn what_is_remembered_of_a_user_depends_on_the_hash() {
        let credentials = credentials();
        let key = |user| credentials.comparison(user, b"tea").key().to_vec();
        assert_eq!(key("ann"), ANN.as_bytes());
        assert_eq!(key("bob"), b"");
    }

    #[test]
    fn nothing_secret_is_written_for_debugging() {
        let told = format!("{:?}", credentials());
        assert_eq!(
            told,
            "Credentials { users: Some(1), single: Some(\"test\"), tokens: Some(2) }"
        );
    }
}
