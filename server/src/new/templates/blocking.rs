#![forbid(unsafe_code)]
//! Answers at `/{{name}}` with a blocking function, which is called for each session on a thread of its own.

use serde::Deserialize;
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

/// One open WebSocket, from its first message to its end. A session stays on the code that it began with.
fn greet(conn: BlockingConn, settings: &Settings) -> Result {
    let greeting = &settings.greeting;
    let mut last = None;
    for message in &conn {
        match last.replace(message.to_string()) {
            None => conn.send(format!("{greeting} {message}"))?,
            Some(last) => conn.send(format!("{greeting} {message}, after {last}"))?,
        }
    }
    Ok(())
}

wsh::handler!(blocking greet, shared = Settings);

#[cfg(test)]
mod tests {
    use super::WSH_HANDLER;

    #[test]
    fn a_name_is_greeted_and_remembered() {
        let mut client = wsh::test::connect(&WSH_HANDLER);

        client.send("Ann");
        assert_eq!(client.receive().unwrap(), "hello Ann");

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
