//! Reads the files of users and of tokens. Messages about them have names and line numbers, and nothing of a hash.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::error::ConfigError;
use super::fault::{ConfigFault, CredentialFault, What};
use super::source::{Place, shown};
use crate::auth::credentials::Token;
use crate::auth::password_hash::PasswordHash;
use crate::process::file_mode::exposure;
use crate::process::regular_file::Content;

/// What a file says, and a sentence if every user of the machine can read it.
pub(super) struct CredentialsFile<T> {
    pub(super) says: T,
    pub(super) exposure: Option<String>,
}

/// The users of a file, with their hashes.
type Users = BTreeMap<Box<str>, PasswordHash>;

/// Reads a file of users as htpasswd writes it: lines `NAME:HASH`. What follows another colon is a comment.
pub(super) fn users(
    path: &Path,
    content: &Content,
    working_dir: &Path,
) -> Result<CredentialsFile<Users>, ConfigError> {
    let mut users = BTreeMap::new();
    let mut lines = BTreeMap::new();
    let exposure = read(
        path,
        content,
        working_dir,
        "`NAME:HASH`",
        |name, rest, number| {
            match lines.entry(name.to_owned()) {
                Entry::Vacant(entry) => entry.insert(number),
                Entry::Occupied(first) => {
                    let (name, line) = (name.to_owned(), *first.get());
                    return Err(CredentialFault::SecondOfName { name, line });
                }
            };
            let hash = rest.split(':').next().unwrap_or_default();
            let hash = PasswordHash::parse(hash).map_err(|why| CredentialFault::Hash {
                name: name.to_owned(),
                why,
            })?;
            users.insert(name.into(), hash);
            Ok(())
        },
    )?;
    let says = users;
    Ok(CredentialsFile { says, exposure })
}

/// Reads a file of tokens: lines `NAME:sha256:HEX`. A name may have several tokens, as while one replaces another. A
/// token has one name.
pub(super) fn tokens(
    path: &Path,
    content: &Content,
    working_dir: &Path,
) -> Result<CredentialsFile<Vec<Token>>, ConfigError> {
    let mut tokens = Vec::new();
    let mut lines: BTreeMap<[u8; 32], (String, usize)> = BTreeMap::new();
    let exposure = read(
        path,
        content,
        working_dir,
        "`NAME:sha256:HEX`",
        |name, rest, number| {
            let name = name.to_owned();
            if rest.starts_with('$') {
                return Err(CredentialFault::SlowHash { name });
            }
            let hex = rest.strip_prefix("sha256:").unwrap_or_default();
            let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok();
            let Some(digest) = bytes.and_then(|bytes| bytes.try_into().ok()) else {
                return Err(CredentialFault::NoDigest { name });
            };
            // Otherwise the order of the lines would decide who its bearer is, and which rules hold for it.
            let (other, line) = lines.entry(digest).or_insert((name.clone(), number));
            if *other != name {
                let (other, line) = (other.clone(), *line);
                return Err(CredentialFault::SecondNameOfToken { name, other, line });
            }
            tokens.push(Token {
                name: name.into(),
                digest,
            });
            Ok(())
        },
    )?;
    let says = tokens;
    Ok(CredentialsFile { says, exposure })
}

/// Calls `take` for the name, the rest and the number of each line. Blank lines and those with `#` say nothing.
/// Answers a sentence if every user of the machine can read the file.
fn read(
    path: &Path,
    content: &Content,
    working_dir: &Path,
    wanted: &'static str,
    mut take: impl FnMut(&str, &str, usize) -> Result<(), CredentialFault>,
) -> Result<Option<String>, ConfigError> {
    let file = shown(path, working_dir);
    let file = file.display().to_string();
    let mut faults = Vec::new();
    // Editors of other systems begin a text with it.
    let bytes = content.bytes.strip_prefix(BYTE_ORDER_MARK);
    let bytes = bytes.unwrap_or(&content.bytes);
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let fault = |name: &str, what| ConfigFault {
            place: place(&file, number, name),
            what,
        };
        let Ok(line) = std::str::from_utf8(line) else {
            faults.push(fault("", What::NotUtf8));
            continue;
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once(':');
        let is_name = |name: &str| !name.is_empty() && !name.chars().any(char::is_control);
        let Some((name, rest)) = pair.filter(|(name, _)| is_name(name)) else {
            faults.push(fault(
                "",
                What::Credential(CredentialFault::NoName { wanted }),
            ));
            continue;
        };
        if let Err(why) = take(name, rest, number) {
            faults.push(fault(name, What::Credential(why)));
        }
    }
    match faults.is_empty() {
        true => Ok(exposure(path, &content.metadata)),
        false => Err(ConfigError::BadCredentials(faults)),
    }
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The place of a line, of which only the name is shown.
fn place(file: &str, line: usize, name: &str) -> Place {
    Place {
        file: file.to_owned(),
        line,
        column: 1,
        text: match name {
            "" => "…".to_owned(),
            name => format!("{name}:…"),
        },
        width: name.chars().count().max(1),
    }
}
