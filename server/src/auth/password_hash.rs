//! The hash of a password, as a file of users has it (htpasswd, crypt(5), PHC).

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Argon2, PasswordVerifier};
use sha_crypt::{PasswordHashRef, ShaCrypt};

/// A hash that passwords can be compared with, at a bounded cost.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash {
    form: HashForm,
    text: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HashForm {
    Bcrypt,
    ShaCrypt,
    Argon2id,
}

/// Why a text is no hash that passwords are compared with. It never has anything of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashFault {
    /// It has the form of no hash.
    Unknown,
    /// It is of a kind that can be guessed too fast, or is not known here.
    Unwanted(&'static str),
    /// It is of a known kind and not whole.
    Damaged(&'static str),
    /// No program can have made it, because it asks for too little work.
    TooCheap {
        /// What its text says too little of.
        what: &'static str,
        /// How much.
        found: u64,
        /// How much it must be.
        min: u64,
    },
    /// To compare a password with it would take too long, or too much memory.
    TooCostly {
        /// What its text says too much of.
        what: &'static str,
        /// How much.
        found: u64,
        /// How much it may be.
        max: u64,
    },
}

impl PasswordHash {
    /// Reads a hash.
    pub(crate) fn parse(text: &str) -> Result<PasswordHash, HashFault> {
        let form = match text {
            _ if begins(text, &["$2y$", "$2b$", "$2a$"]) => bcrypt_form(text)?,
            _ if begins(text, &["$5$", "$6$"]) => sha_crypt_form(text)?,
            _ if text.starts_with("$argon2id$") => argon2id_form(text)?,
            _ => return Err(HashFault::of(text)),
        };
        let text = text.into();
        Ok(PasswordHash { form, text })
    }

    /// Whether it is the hash of this password. It takes tens of milliseconds, on purpose, and takes equally long
    /// for a right and a wrong password.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        #[cfg(test)]
        COMPARED.set(COMPARED.get() + 1);
        let text = &*self.text;
        match self.form {
            HashForm::Bcrypt => bcrypt::verify(password, text).unwrap_or(false),
            HashForm::ShaCrypt => PasswordHashRef::new(text)
                .is_ok_and(|hash| ShaCrypt::default().verify_password(password, hash).is_ok()),
            HashForm::Argon2id => phc::PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
        }
    }

    /// The text that it was read from.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for PasswordHash {
    /// Writes the kind only: a hash can be guessed at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({:?})", self.form)
    }
}

impl HashFault {
    /// What is wrong with a text of no kind that passwords are compared with.
    fn of(text: &str) -> HashFault {
        let kinds = [
            (&["{SHA}"][..], "SHA-1 without a salt"),
            (&["$apr1$", "$1$"], "MD5"),
            (&["$y$", "$gy$", "$7$"], "yescrypt or scrypt"),
            (&["$argon2i$", "$argon2d$"], "Argon2 other than argon2id"),
            (&["$2x$"], "bcrypt with the fault of 2x"),
        ];
        let kind = kinds
            .iter()
            .find(|(beginnings, _)| begins(text, beginnings));
        kind.map_or(HashFault::Unknown, |(_, kind)| HashFault::Unwanted(kind))
    }
}

impl fmt::Display for HashFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HashFault::Unknown => write!(
                f,
                "no known hash; wanted is {WANTED}, a password in plain text is not taken"
            ),
            HashFault::Unwanted(kind) => write!(f, "a hash of {kind}; wanted is {WANTED}"),
            HashFault::Damaged(kind) => write!(f, "a hash of {kind} that is not whole"),
            HashFault::TooCheap { what, found, min } => {
                write!(f, "a hash with {what} {found}, at least {min} is taken")
            }
            HashFault::TooCostly { what, found, max } => {
                write!(f, "a hash with {what} {found}, at most {max} is taken")
            }
        }
    }
}

fn begins(text: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|it| text.starts_with(it))
}

fn bcrypt_form(text: &str) -> Result<HashForm, HashFault> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashFault::Damaged("bcrypt"))?;
    let (what, found, min) = ("a cost of", parts.get_cost().into(), BCRYPT_COST_MIN);
    if found < min {
        return Err(HashFault::TooCheap { what, found, min });
    }
    bounded(what, found, BCRYPT_COST_MAX)?;
    Ok(HashForm::Bcrypt)
}

fn sha_crypt_form(text: &str) -> Result<HashForm, HashFault> {
    let damaged = HashFault::Damaged("SHA-crypt");
    let digits = if text.starts_with("$5$") { 43 } else { 86 };
    let fields: Vec<&str> = text[3..].split('$').collect();
    let (salt, hash) = match *fields {
        [salt, hash] => (salt, hash),
        [rounds, salt, hash] => {
            let rounds = rounds.strip_prefix("rounds=").and_then(number);
            let rounds = rounds.filter(|rounds| *rounds >= 1_000);
            let rounds = rounds.ok_or(damaged.clone())?;
            bounded("rounds of", rounds, SHA_CRYPT_ROUNDS_MAX)?;
            (salt, hash)
        }
        _ => return Err(damaged),
    };
    let is_of_crypt = |text: &str| {
        let mut bytes = text.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte))
    };
    let is_whole = hash.len() == digits && is_of_crypt(hash) && is_of_crypt(salt);
    match is_whole && !salt.is_empty() && PasswordHashRef::new(text).is_ok() {
        true => Ok(HashForm::ShaCrypt),
        false => Err(damaged),
    }
}

fn argon2id_form(text: &str) -> Result<HashForm, HashFault> {
    let damaged = HashFault::Damaged("Argon2");
    // Read first, since numbers past 32 bits are none to the parser.
    let params = text.split('$').find(|part| part.starts_with("m="));
    for param in params.into_iter().flat_map(|params| params.split(',')) {
        let (name, value) = param.split_once('=').unwrap_or_default();
        let value = number(value).ok_or(damaged.clone())?;
        match name {
            "m" => bounded("m (KiB) of", value, ARGON2_KIB_MAX)?,
            "t" => bounded("t of", value, ARGON2_PASSES_MAX)?,
            "p" => bounded("p of", value, ARGON2_LANES_MAX)?,
            _ => {}
        }
    }
    let hash = phc::PasswordHash::new(text).map_err(|_| damaged.clone())?;
    let params = argon2::Params::try_from(&hash).map_err(|_| damaged.clone())?;
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err(damaged);
    }
    // Parameters that do not begin with `m=` were not read above.
    bounded("m (KiB) of", params.m_cost().into(), ARGON2_KIB_MAX)?;
    bounded("t of", params.t_cost().into(), ARGON2_PASSES_MAX)?;
    bounded("p of", params.p_cost().into(), ARGON2_LANES_MAX)?;
    Ok(HashForm::Argon2id)
}

/// Reads a number in digits. One that has no room in 64 bits is the largest that has.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn bounded(what: &'static str, found: u64, max: u64) -> Result<(), HashFault> {
    match found <= max {
        true => Ok(()),
        false => Err(HashFault::TooCostly { what, found, max }),
    }
}

/// The kinds that are taken, as messages name them.
const WANTED: &str = "bcrypt (`$2y$`), SHA-crypt (`$5$`, `$6$`) or Argon2 (`$argon2id$`)";
/// The least that bcrypt has. No password fits a hash that says less.
const BCRYPT_COST_MIN: u64 = 4;
/// About 2 s of a processor. Each step more takes twice as long.
const BCRYPT_COST_MAX: u64 = 15;
/// About 1 s of a processor for a short password, and 4 s for one of 256 bytes.
const SHA_CRYPT_ROUNDS_MAX: u64 = 5_000_000;
/// 256 MiB, for each password that is compared at a time.
const ARGON2_KIB_MAX: u64 = 256 * 1024;
const ARGON2_PASSES_MAX: u64 = 16;
const ARGON2_LANES_MAX: u64 = 64;

#[cfg(test)]
thread_local! {
    /// How many passwords this thread has compared with a hash.
    pub(super) static COMPARED: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes of `tea` that other programs have made: crypt(3) of glibc and libxcrypt, `openssl passwd`, and the
    /// reference implementation of Argon2.
    const OF_TEA: &[&str] = &[
        "$2y$05$abcdefghijklmnopqrstuud6G93R2mClriPOkUzylPQG1gEj0ICEq",
        "$2b$04$abcdefghijklmnopqrstuuPHboQSso93A9LgX56mhJlsAVxcpLvtq",
        "$5$saltsalt$kWwMLQhDW1TzF9cDGZ7aP0rxs0VbLpf/VaG3Wsxmwm.",
        "$6$saltsalt$ALYggeVEYq7qBVmrAtSGW/2lVTQvNb6FyLnPgQr6.pppuhpaRfNWYvmZi6E5E2HC8ZGektNiMokKXmsAZzt6O0",
        "$6$rounds=10000$saltsalt$S.8/Lkf6j.ulRmku8rL0SEJJzf6AKHDtiru9HszcL3zqeiLI.0ss38klbEPvlmXTRQDO1ivEFfsKfStNJaPb00",
        "$argon2id$v=19$m=256,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$15XVMjVssO0JHZ0aiA9DQthMonHWB+fqepL2Sscdm9U",
    ];

    #[test]
    fn hashes_of_other_programs_fit_their_password_and_no_other() {
        for text in OF_TEA {
            let hash = PasswordHash::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert!(hash.is_of(b"tea"), "{text}");
            for other in ["", "Tea", "te", "teaa", "tea\0"] {
                assert!(!hash.is_of(other.as_bytes()), "{text} {other:?}");
            }
        }
        let umlauts = "$5$rounds=1000$s$y41lsgd9AMoYFI5a21EqRwn1rb6w9HhYFHOBelTe7Y6";
        let umlauts = PasswordHash::parse(umlauts).expect("a hash");
        assert!(umlauts.is_of("größe".as_bytes()));
    }

    #[test]
    fn what_is_no_hash_or_a_bad_one_is_refused_with_its_kind() {
        let unwanted = HashFault::Unwanted;
        let (sha, md5) = (unwanted("SHA-1 without a salt"), unwanted("MD5"));
        let damaged = HashFault::Damaged;
        for (text, expected) in [
            ("", HashFault::Unknown),
            ("tea", HashFault::Unknown),
            ("rqXexS6ZhobKA", HashFault::Unknown),
            ("!", HashFault::Unknown),
            ("{PLAIN}tea", HashFault::Unknown),
            ("{SHA}5Q8jrkvS6JR6PxUrRZFVYvmZi6E=", sha),
            ("$apr1$saltsalt$vQrd5XGixEVwk.P/CZH8i/", md5.clone()),
            ("$1$saltsalt$vQrd5XGixEVwk.P/CZH8i/", md5),
            ("$y$j9T$salt$hash", unwanted("yescrypt or scrypt")),
            (
                "$argon2i$v=19$m=256,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$foQRBLBabkGukNx9mWbD",
                unwanted("Argon2 other than argon2id"),
            ),
            ("$2y$05$abcdefghijklmnopqrstuu", damaged("bcrypt")),
            ("$2y$05$", damaged("bcrypt")),
            ("$5$saltsalt", damaged("SHA-crypt")),
            (
                "$5$$kWwMLQhDW1TzF9cDGZ7aP0rxs0VbLpf/VaG3Wsxmwm.",
                damaged("SHA-crypt"),
            ),
            (
                "$5$saltsalt$kWwMLQhDW1TzF9cDGZ7aP0rxs0VbLpf/VaG3Wsxmwm",
                damaged("SHA-crypt"),
            ),
            (
                "$5$rounds=10$saltsalt$kWwMLQhDW1TzF9cDGZ7aP0rxs0VbLpf/VaG3Wsxmwm.",
                damaged("SHA-crypt"),
            ),
            (
                "$6$saltsalt$kWwMLQhDW1TzF9cDGZ7aP0rxs0VbLpf/VaG3Wsxmwm.",
                damaged("SHA-crypt"),
            ),
            (
                "$argon2id$v=19$m=256,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA",
                damaged("Argon2"),
            ),
            ("$argon2id$", damaged("Argon2")),
        ] {
            assert_eq!(PasswordHash::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_hash_of_bcrypt_that_fits_no_password_is_refused() {
        for cost in 0..4 {
            let text = OF_TEA[0].replace("$05$", &format!("$0{cost}$"));
            let why = PasswordHash::parse(&text).expect_err(&text);
            let expected = format!("a hash with a cost of {cost}, at least 4 is taken");
            assert_eq!(why.to_string(), expected);
        }
        assert!(PasswordHash::parse(&OF_TEA[0].replace("$05$", "$04$")).is_ok());
    }

    #[test]
    fn a_hash_that_takes_too_long_or_too_much_memory_is_refused() {
        let costly = |text: &str| match PasswordHash::parse(text) {
            Err(HashFault::TooCostly { found, .. }) => found,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(costly(&OF_TEA[0].replace("$05$", "$31$")), 31);
        let rounds = OF_TEA[4].replace("10000", "999999999");
        assert_eq!(costly(&rounds), 999_999_999);
        let rounds = OF_TEA[4].replace("10000", "99999999999999999999");
        assert_eq!(costly(&rounds), u64::MAX);
        let four_tib = OF_TEA[5].replace("m=256", "m=4294967296");
        assert_eq!(costly(&four_tib), 1 << 32);
        assert_eq!(costly(&OF_TEA[5].replace("p=1", "p=65")), 65);
        assert_eq!(costly(&OF_TEA[5].replace("m=256", "m=4194304")), 4_194_304);
        assert_eq!(costly(&OF_TEA[5].replace("t=2", "t=1000")), 1_000);
    }

    #[test]
    fn no_message_has_anything_of_the_text() {
        let texts = [
            "geheim",
            "{SHA}geheim",
            "$apr1$geheim",
            "$2y$31$geheim",
            "$5$geheim",
        ];
        for text in texts {
            let why = PasswordHash::parse(text).expect_err("it is none");
            assert!(!format!("{why} {why:?}").contains("geheim"), "{text}");
        }
        let hash = PasswordHash::parse(OF_TEA[2]).expect("a hash");
        assert_eq!(format!("{hash:?}"), "PasswordHash(ShaCrypt)");
    }
}
