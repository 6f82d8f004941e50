#![forbid(unsafe_code)]
//! Answers at `/{{name}}` with events: one call for each message.

use serde::{Deserialize, Serialize};
use wsh::prelude::*;

/// The settings in the server's config.toml: `config = { greeting = "good day" }` in `[handler.{{name}}]`.
#[derive(Clone, Deserialize)]
#[serde(default)]
struct Settings {
    greeting: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            greeting: "hello".into(),
        }
    }
}

/// The handler, which makes the sessions.
struct Greeter {
    settings: Settings,
}

/// One open WebSocket, with what it remembers of its peer.
struct Guest {
    settings: Settings,
    visit: Visit,
}

/// The state of an open session, which newer code takes over after this file was saved.
#[derive(Default, Serialize, Deserialize)]
struct Visit {
    last: Option<String>,
}

impl Handler for Greeter {
    type Session = Guest;

    fn new(config: Config) -> Result<Self> {
        Ok(Greeter {
            settings: config.parse()?,
        })
    }

    fn open(&self, _conn: &mut Conn, _request: &Request) -> Result<Guest> {
        Ok(Guest {
            settings: self.settings.clone(),
            visit: Visit::default(),
        })
    }

    fn restore(&self, _conn: &mut Conn, state: &State) -> Result<Guest> {
        Ok(Guest {
            settings: self.settings.clone(),
            visit: state.parse()?,
        })
    }
}

impl Session for Guest {
    /// The versions of `Visit` that this code can read; it writes the last. Raise both ends when `Visit` changes
    /// so that older state can no longer be read.
    const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;

    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        let greeting = &self.settings.greeting;
        match self.visit.last.replace(message.to_string()) {
            None => conn.send(format!("{greeting} {message}"))?,
            Some(last) => conn.send(format!("{greeting} {message}, after {last}"))?,
        };
        Ok(())
    }

    fn snapshot(&self, _conn: &Conn) -> Result<Snapshot<Self>> {
        Snapshot::json(&self.visit)
    }
}

wsh::handler!(Greeter);

#[cfg(test)]
mod tests {
    use super::WSH_HANDLER;

    #[test]
    fn a_name_is_greeted_and_newer_code_remembers_it() {
        let mut client = wsh::test::connect(&WSH_HANDLER);

        client.send("Ann");
        assert_eq!(client.receive().unwrap(), "hello Ann");

        assert!(client.migrate());
        client.send("Ben");
        assert_eq!(client.receive().unwrap(), "hello Ben, after Ann");
    }

    /// Runs on a `wshd` of its own, with this library.
    #[test]
    fn a_server_greets_as_its_configuration_says() {
        let config = "[handler.{{name}}]\nconfig = { greeting = 'good day' }\n";
        let server = wsh::test::wshd_with(&WSH_HANDLER, config).unwrap();
        let mut client = server.connect();

        client.send("Ann");

        assert_eq!(client.receive().unwrap(), "good day Ann");
    }
}
