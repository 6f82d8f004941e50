//! Who may enter: the table `[auth]`, the settings beside it, and the files that they name.

use std::path::Path;

use toml::de::DeValue;

use super::Config;
use super::credentials_file::{tokens, users};
use super::fault::{ConfigError, What};
use super::file::{KeyTable, unknown};
use super::values::{FileEntry, Reader};
use crate::auth::Auth;
use crate::auth::access::{Access, PathRules};
use crate::auth::credentials::{Credentials, SingleUser};

/// What the layers say, while they are put together.
#[derive(Default)]
pub(super) struct AuthDraft {
    /// Whether `basic_auth` asks for passwords; `None` where nothing says it.
    pub(super) basic: Option<bool>,
    /// `USER:PASSWORD`, not checked yet.
    pub(super) credential: Option<String>,
    paths: PathRules,
}

impl AuthDraft {
    /// Reads one line of `[auth]`: a path, and who may have what lies there.
    pub(super) fn read_rule(&mut self, reader: &mut Reader<'_>, entry: FileEntry<'_>) {
        if !entry.key.starts_with('/') {
            return unknown(reader, entry, KeyTable::Auth);
        }
        let Some(access) = access(reader, entry) else {
            return;
        };
        if !self.paths.add(entry.key, access) {
            let found = entry.key.to_owned();
            reader.fault(reader.key_place(entry), What::BadAccessPath { found });
        }
    }

    /// Reads the files of users and tokens; `None` if every peer may enter.
    ///
    /// # Errors
    ///
    /// A file cannot be read or has a fault, or users are asked for and there are none.
    pub(super) fn finish(
        self,
        config: &Config,
        working_dir: &Path,
    ) -> Result<Option<Auth>, ConfigError> {
        let mut credentials = Credentials::default();
        let has_password = config.users_file.is_some() || self.credential.is_some();
        if self.basic == Some(true) && !has_password {
            return Err(ConfigError::NoPassword);
        }
        let single = self.credential.as_deref().map(single).transpose()?;
        // Both files are read even if passwords are not asked for, so that the faults are told now.
        let users_file = config.users_file.as_deref();
        let users = users_file
            .map(|path| users(path, working_dir))
            .transpose()?;
        if self.basic != Some(false) {
            (credentials.users, credentials.single) = (users, single);
        }
        let tokens_file = config.tokens_file.as_deref();
        let tokens = tokens_file.map(|path| tokens(path, working_dir));
        credentials.tokens = tokens.transpose()?;
        if credentials.has_users() || credentials.has_tokens() {
            let paths = self.paths;
            return Ok(Some(Auth { credentials, paths }));
        }
        match rule_for_users(&self.paths, config) {
            None => Ok(None),
            Some(by) => Err(ConfigError::NoUsers { by }),
        }
    }
}

/// The table with a rule that asks for users.
fn rule_for_users(paths: &PathRules, config: &Config) -> Option<String> {
    let asks = |access: &Access| *access != Access::Open;
    if paths.iter().any(asks) {
        return Some("`[auth]`".to_owned());
    }
    let mut handlers = config.handlers.iter();
    let found = handlers.find(|(_, handler)| handler.access.as_ref().is_some_and(asks));
    found.map(|(name, _)| format!("`{}`", super::handler_table(name)))
}

/// Reads `USER:PASSWORD`.
fn single(text: &str) -> Result<SingleUser, ConfigError> {
    let pair = text.split_once(':');
    let pair = pair.filter(|(name, password)| {
        !name.is_empty() && !password.is_empty() && !text.chars().any(char::is_control)
    });
    let (name, password) = pair.ok_or(ConfigError::BadSingleUser)?;
    Ok(SingleUser::new(name, password.as_bytes()))
}

/// Reads `"open"`, `"required"`, or a list of users.
pub(super) fn access(reader: &mut Reader<'_>, entry: FileEntry<'_>) -> Option<Access> {
    let items = match entry.value.get_ref() {
        DeValue::String(word) if word == "open" => return Some(Access::Open),
        DeValue::String(word) if word == "required" => return Some(Access::Required),
        DeValue::Array(items) => items,
        _ => {
            reader.unwanted(entry, ACCESS_WANTED, None);
            return None;
        }
    };
    let mut users = Vec::new();
    for value in items {
        match value.get_ref().as_str() {
            Some(name) if !name.is_empty() && !name.contains(':') => users.push(name.to_owned()),
            _ => reader.unwanted(FileEntry { value, ..entry }, USER_WANTED, None),
        }
    }
    Some(Access::Users(users))
}

const ACCESS_WANTED: &str = "`open`, `required` or a list of users like `[\"ann\", \"bob\"]`";
const USER_WANTED: &str = "the name of a user or a token, which has no colon";
