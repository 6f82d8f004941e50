#![forbid(unsafe_code)]
//! Answers at `/{{name}}` with an async function, which is called once for each session.

use serde::{Deserialize, Serialize};
use wsh::prelude::*;

/// The settings in the server's config.toml: `config = { greeting = "good day" }` in `[handler.{{name}}]`.
/// All sessions share them.
#[derive(Deserialize)]
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

impl Shared for Settings {
    fn new(config: Config) -> Result<Self> {
        config.parse()
    }
}

/// The state of an open session. After this file was saved, the newer `greet` begins with it.
#[derive(Default, Serialize, Deserialize)]
struct Visit {
    last: Option<String>,
}

/// One open WebSocket, from its first message to its end.
async fn greet(conn: &mut AsyncConn<Visit>, settings: &Settings) -> Result {
    let greeting = &settings.greeting;
    while let Some(message) = conn.recv().await {
        let answer = match conn.state.last.replace(message.to_string()) {
            None => format!("{greeting} {message}"),
            Some(last) => format!("{greeting} {message}, after {last}"),
        };
        conn.send(answer).await?;
    }
    Ok(())
}

wsh::handler!(async greet, shared = Settings);

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
