//! What is wrong with a line of a file of users or tokens. No sentence has anything of a password, a hash or a token.

use std::fmt;

use crate::auth::password_hash::HashFault;

/// Why a line says no user and no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialFault {
    /// It has no colon behind a name.
    NoName {
        /// What a line is.
        wanted: &'static str,
    },
    /// A line above has the name too.
    SecondOfName {
        /// The name.
        name: String,
        /// The line above.
        line: usize,
    },
    /// A line above has the token under another name.
    SecondNameOfToken {
        /// The name.
        name: String,
        /// The name in the line above.
        other: String,
        /// The line above.
        line: usize,
    },
    /// The hash of a password is none.
    Hash {
        /// The user.
        name: String,
        /// Why.
        why: HashFault,
    },
    /// What follows the name of a token is not its digest.
    NoDigest {
        /// The name.
        name: String,
    },
    /// A token has the hash of a password.
    SlowHash {
        /// The name of the token.
        name: String,
    },
}

impl fmt::Display for CredentialFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialFault::NoName { wanted } => write!(f, "a line is {wanted}, this one is not"),
            CredentialFault::SecondOfName { name, line } => {
                write!(f, "line {line} has user `{name}` too; a user has one line")
            }
            CredentialFault::SecondNameOfToken { name, other, line } => write!(
                f,
                "token `{name}` is that of `{other}` in line {line}; a token has one name"
            ),
            CredentialFault::Hash { name, why } => write!(f, "user `{name}` has {why}"),
            CredentialFault::NoDigest { name } => write!(
                f,
                "token `{name}` has no digest; wanted is `sha256:` and the 64 hexadecimal digits of the token's SHA-256"
            ),
            CredentialFault::SlowHash { name } => write!(
                f,
                "token `{name}` has the hash of a password, which would be computed for each line until one fits; a \
                 token is random, so wanted is `sha256:` and the 64 hexadecimal digits of its SHA-256"
            ),
        }
    }
}
