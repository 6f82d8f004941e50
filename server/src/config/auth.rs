//! Who may enter: the table `[auth]`, the settings beside it, and the files that they name.

use std::path::Path;

use percent_encoding::percent_decode_str;
use toml::de::DeValue;

use super::credentials_file::{tokens, users};
use super::endpoint::Endpoint;
use super::error::ConfigError;
use super::fault::nearest;
use super::file::{KeyTable, unknown};
use super::findings::Findings;
use super::last_good::NamedContents;
use super::path_rules::WrittenRules;
use super::source::Place;
use super::values::{FileEntry, Reader};
use super::{Config, handler_table};
use crate::auth::Auth;
use crate::auth::access::{Access, PathRules};
use crate::auth::credentials::{Credentials, SingleUser};
use crate::process::regular_file::{Content, NotRead};

/// What the layers say, while they are put together.
#[derive(Default)]
pub(super) struct AuthDraft {
    /// Whether `basic_auth` asks for passwords; `None` where nothing says it.
    pub(super) basic: Option<bool>,
    /// `USER:PASSWORD`, not checked yet.
    pub(super) credential: Option<String>,
    paths: WrittenRules<Access>,
    /// What is remarkable about the files that were read.
    pub(super) remarks: Vec<String>,
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
        self.paths.add(reader, entry, "[auth]", access);
    }

    /// Reads the files of users and tokens; `None` if every peer may enter.
    ///
    /// What is wrong is added to `findings`: a file cannot be read or has a fault, or users are asked for and there are
    /// none.
    pub(super) fn finish(
        mut self,
        config: &Config,
        working_dir: &Path,
        named: &mut NamedContents<'_>,
        findings: &mut Findings,
    ) -> Option<Auth> {
        let mut credentials = Credentials::default();
        let is_judged = !findings.is_spoiled(&KEYS);
        let told = findings.len();
        let has_password = config.users_file.is_some() || self.credential.is_some();
        if self.basic == Some(true) && !has_password && is_judged {
            findings.push(ConfigError::NoPassword);
        }
        let single = self.credential.as_deref().map(single);
        let single = single.and_then(|it| findings.take(it));
        // Both files are read even if passwords are not asked for, so that the faults are told now.
        let users_file = config.users_file.as_deref();
        let users = users_file.map(|path| {
            let parse = |content: &Content| users(path, content, working_dir);
            let place = findings.place(path);
            named.parse(path, |error| no_credentials(path, &place, error), parse)
        });
        let users = users.and_then(|it| findings.take(it));
        if self.basic != Some(false) {
            credentials.single = single;
            credentials.users = users.map(|file| {
                self.remarks.extend(file.exposure);
                file.says
            });
        }
        let tokens_file = config.tokens_file.as_deref();
        let tokens = tokens_file.map(|path| {
            let parse = |content: &Content| tokens(path, content, working_dir);
            let place = findings.place(path);
            named.parse(path, |error| no_credentials(path, &place, error), parse)
        });
        let tokens = tokens.and_then(|it| findings.take(it));
        credentials.tokens = tokens.map(|file| {
            self.remarks.extend(file.exposure);
            file.says
        });
        if credentials.has_users() || credentials.has_tokens() {
            let AuthDraft { paths, remarks, .. } = self;
            let mut auth = Auth {
                credentials,
                paths: paths.rules,
                remarks,
            };
            auth.remarks.extend(no_one(&auth, config));
            auth.remarks.extend(unknown_users(&auth, config));
            auth.remarks.extend(encoded_paths(&auth));
            auth.remarks.extend(unencrypted(config));
            return Some(auth);
        }
        // Where a file of them is broken, there may be users.
        if is_judged && findings.len() == told {
            let by = rule_for_users(&self.paths.rules, config);
            findings.extend(by.map(|by| ConfigError::NoUsers { by }));
        }
        None
    }
}

fn no_credentials(path: &Path, place: &Option<Place>, error: NotRead) -> ConfigError {
    ConfigError::NoCredentials {
        place: place.clone(),
        path: path.to_owned(),
        source: error.into(),
    }
}

/// A sentence where the files of users and tokens have none, so that no password and no token lets a peer in.
fn no_one(auth: &Auth, config: &Config) -> Option<String> {
    if auth.credentials.counts() != (0, 0) {
        return None;
    }
    let users = auth
        .credentials
        .users
        .as_ref()
        .and(config.users_file.as_deref());
    let tokens = auth
        .credentials
        .tokens
        .as_ref()
        .and(config.tokens_file.as_deref());
    let said = |path: &Path, what: &str| format!("`{}` has no {what}", path.display());
    let users = users.map(|path| said(path, "user"));
    let tokens = tokens.map(|path| said(path, "token"));
    let empty: Vec<String> = users.into_iter().chain(tokens).collect();
    let empty = empty.join(", and ");
    Some(format!(
        "{empty}: every peer is refused, but where a rule says `open`"
    ))
}

/// A sentence for each name in a rule that no user and no token has.
fn unknown_users(auth: &Auth, config: &Config) -> Vec<String> {
    let of_paths = auth.paths.iter();
    let of_paths =
        of_paths.map(|(path, access)| ("`[auth]`".to_owned(), format!("to `{path}`"), access));
    let of_handlers = config.handlers.iter().filter_map(|(name, handler)| {
        let table = format!("`{}`", handler_table(name));
        Some((table, String::new(), handler.access.as_ref()?))
    });
    let mut sentences = Vec::new();
    for (table, path, access) in of_paths.chain(of_handlers) {
        let Access::Users(users) = access else {
            continue;
        };
        for user in users {
            let known = || auth.credentials.names();
            if known().any(|known| known == user) {
                continue;
            }
            let meant = nearest(user, known());
            let meant = meant.map(|meant| format!("; did you mean `{meant}`?"));
            let meant = meant.unwrap_or_default();
            sentences.push(format!(
                "{table} lets `{user}` in{path}, and there is no user or token of that name{meant}"
            ));
        }
    }
    sentences
}

/// A sentence for each path of a rule that seems to be percent-encoded.
fn encoded_paths(auth: &Auth) -> Vec<String> {
    let sentence = |pattern: String| {
        let decoded = percent_decode_str(&pattern).decode_utf8().ok()?;
        (decoded != pattern).then(|| {
            format!(
                "`[auth]` has a rule for `{pattern}`, and paths are written in their decoded form; did you mean \
                 `{decoded}`?"
            )
        })
    };
    let patterns = auth.paths.iter().map(|(pattern, _)| pattern);
    patterns.filter_map(sentence).collect()
}

/// A sentence for each address that other machines reach without TLS.
fn unencrypted(config: &Config) -> Vec<String> {
    let listen = config.listen.iter();
    let reached = listen.filter(|endpoint| !endpoint.is_tls() && !endpoint.is_loopback());
    let sentence = |endpoint: &Endpoint| {
        let encrypted = endpoint.with_tls();
        format!(
            "passwords and tokens cross the network to `{endpoint}` unencrypted; `{encrypted}` in `listen` encrypts \
             them, and so does a proxy on this machine before a loopback address"
        )
    };
    reached.map(sentence).collect()
}

/// The table with a rule that asks for users.
fn rule_for_users(paths: &PathRules, config: &Config) -> Option<String> {
    let asks = |access: &Access| *access != Access::Open;
    if paths.iter().any(|(_, access)| asks(access)) {
        return Some("`[auth]`".to_owned());
    }
    let mut handlers = config.handlers.iter();
    let found = handlers.find(|(_, handler)| handler.access.as_ref().is_some_and(asks));
    found.map(|(name, _)| format!("`{}`", handler_table(name)))
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

/// The keys that say which users there are.
const KEYS: [&str; 4] = [
    "users_file",
    "tokens_file",
    "basic_auth",
    "basic_auth_credential",
];
const ACCESS_WANTED: &str = "`open`, `required` or a list of users like `[\"ann\", \"bob\"]`";
const USER_WANTED: &str = "the name of a user or a token, which has no colon";
