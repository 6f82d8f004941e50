//! The handler's own part of the server's configuration.

#[cfg(feature = "serde")]
pub(crate) mod used_keys;

#[cfg(feature = "serde")]
use serde_core::de::DeserializeOwned;

#[cfg(feature = "serde")]
use crate::config::used_keys::{ConfigTable, UsedKeys};

/// The handler's own table of the configuration, such as `[handler.chat.config]`, and under which name and number the
/// handler is loaded.
///
/// A key of the table that the handler does not ask for while it is built is a warning in the server's log. The warning
/// names the known key that the unknown one looks like.
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
    pub(crate) used_keys: &'a UsedKeys,
}

impl<'a> Config<'a> {
    /// The handler's name, such as `chat`, which its route and its table have as well.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The table as a JSON object.
    #[must_use]
    pub fn json(&self) -> &'a str {
        #[cfg(feature = "serde")]
        self.used_keys.all();
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

    /// Whether the handler is only loaded to be checked: no client will come.
    ///
    /// The server tries each file in a process of its own before it loads it, and so does `wshd check`. So `new` runs first
    /// with `true` here and then with `false`. What it builds ends with that process. What it changes outside (files, a
    /// database, other servers) does not, and belongs in `serving`.
    #[must_use]
    pub fn is_check(&self) -> bool {
        self.is_check
    }

    /// The value of one key of the table. A key that may be missing is asked for as an `Option`.
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
    /// The key is missing, or its value is no `T`. The error names the key and the table.
    #[cfg(feature = "serde")]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> crate::Result<T> {
        let table = self.table()?;
        self.used_keys.key(key);
        let name = self.name;
        match table.get(key) {
            Some(value) => T::deserialize(value)
                .map_err(|error| format!("`{key}` in [handler.{name}.config]: {error}").into()),
            None => T::deserialize(serde_json::Value::Null)
                .map_err(|_| format!("`{key}` is missing in [handler.{name}.config]").into()),
        }
    }

    /// The whole table as a `T`.
    ///
    /// Needs the feature `serde`, which is on by default.
    ///
    /// # Errors
    /// The table is no `T`. The error names the table.
    #[cfg(feature = "serde")]
    pub fn parse<T: DeserializeOwned>(&self) -> crate::Result<T> {
        let (used_keys, table) = (self.used_keys, self.table()?);
        T::deserialize(ConfigTable { used_keys, table })
            .map_err(|error| format!("[handler.{}.config]: {error}", self.name).into())
    }

    #[cfg(feature = "serde")]
    fn table(&self) -> crate::Result<serde_json::Map<String, serde_json::Value>> {
        serde_json::from_str(self.text())
            .map_err(|error| format!("[handler.{}.config]: {error}", self.name).into())
    }

    /// Logs a warning for each key of the table that the handler has not asked for.
    #[cfg(feature = "serde")]
    pub(crate) fn warn_of_the_rest(&self) {
        for (key, meant) in self.used_keys.rest(self.text()) {
            let name = self.name;
            let meant =
                meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            crate::warn!("`{key}` in [handler.{name}.config] is not known to the handler{meant}");
        }
    }
}
