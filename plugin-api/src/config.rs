//! What the server's configuration says to a handler.

#[cfg(feature = "serde")]
pub(crate) mod used_keys;

#[cfg(feature = "serde")]
use serde_core::de::DeserializeOwned;

#[cfg(feature = "serde")]
use crate::config::used_keys::{ConfigTable, UsedKeys};

/// The handler's own table of the configuration, `[handler.chat.config]`, and what it is loaded as.
///
/// A key of the table that is not asked for while the handler is built is a warning in the server's log,
/// with the key that it looks like.
///
/// ```
/// use std::collections::BTreeMap;
/// use wsh::prelude::*;
///
/// #[derive(serde::Deserialize)]
/// struct Settings {
///     history: usize,
///     #[serde(default)]
///     rooms: BTreeMap<String, String>,
/// }
///
/// struct Chat {
///     settings: Settings,
/// }
///
/// impl Shared for Chat {
///     fn new(config: Config) -> Result<Self> {
///         if !config.is_check() {
///             wsh::info!("{} begins its generation {}", config.name(), config.generation());
///         }
///         wsh::debug!("configured with {}", config.json());
///         Ok(Chat { settings: config.parse()? })
///     }
/// }
/// # async fn chat(conn: &mut AsyncConn, chat: &Chat) -> Result {
/// #     conn.send(format!("{} {}", chat.settings.history, chat.settings.rooms.len())).await?;
/// #     Ok(())
/// # }
/// # let chat = wsh::descriptor!(async chat, shared = Chat);
/// # let server = wsh::test::load(&chat, r#"{"history": 100, "rooms": {"tea": "for two"}}"#).unwrap();
/// # assert_eq!(server.connect().receive().unwrap(), "100 1");
/// # assert!(wsh::test::load(&chat, "{}").unwrap_err().contains("missing field `history`"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    pub(crate) name: &'a str,
    pub(crate) json: &'a str,
    pub(crate) generation: u64,
    pub(crate) is_check: bool,
    #[cfg(feature = "serde")]
    pub(crate) asked: &'a UsedKeys,
}

impl<'a> Config<'a> {
    /// The handler's name, by which its route and its table are found: `chat`.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The table as a JSON object.
    #[must_use]
    pub fn json(&self) -> &'a str {
        #[cfg(feature = "serde")]
        self.asked.all();
        self.text()
    }

    fn text(&self) -> &'a str {
        if self.json.is_empty() {
            "{}"
        } else {
            self.json
        }
    }

    /// The number of this generation of the handler, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the handler is loaded to be checked: no traffic will follow.
    ///
    /// The server tries each file in a process of its own before it loads it, and `wshd check` does the
    /// same, so `new` runs once with this and then once without. What it builds goes with that process;
    /// what it changes outside (files, a database, other servers) does not, and belongs into `serving`.
    #[must_use]
    pub fn is_check(&self) -> bool {
        self.is_check
    }

    /// One key of the table. For one that may be missing ask for an `Option`.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// ```
    /// # fn new(config: wsh::Config) -> wsh::Result {
    /// let history: Option<usize> = config.get("history")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The key is missing or is something else; the sentence names key and table.
    #[cfg(feature = "serde")]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> crate::Result<T> {
        let table = self.table()?;
        self.asked.key(key);
        let name = self.name;
        match table.get(key) {
            Some(value) => T::deserialize(value)
                .map_err(|error| format!("`{key}` in [handler.{name}.config]: {error}").into()),
            None => T::deserialize(serde_json::Value::Null)
                .map_err(|_| format!("`{key}` is missing in [handler.{name}.config]").into()),
        }
    }

    /// The whole table.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// # Errors
    /// It is something else; the sentence names the table.
    #[cfg(feature = "serde")]
    pub fn parse<T: DeserializeOwned>(&self) -> crate::Result<T> {
        let (asked, table) = (self.asked, self.table()?);
        T::deserialize(ConfigTable { asked, table })
            .map_err(|error| format!("[handler.{}.config]: {error}", self.name).into())
    }

    #[cfg(feature = "serde")]
    fn table(&self) -> crate::Result<serde_json::Map<String, serde_json::Value>> {
        serde_json::from_str(self.text())
            .map_err(|error| format!("[handler.{}.config]: {error}", self.name).into())
    }

    /// Tells of the keys of the table that nothing asked for.
    #[cfg(feature = "serde")]
    pub(crate) fn warn_of_the_rest(&self) {
        for (key, meant) in self.asked.rest(self.text()) {
            let name = self.name;
            let meant =
                meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            crate::warn!("`{key}` in [handler.{name}.config] is not known to the handler{meant}");
        }
    }
}
