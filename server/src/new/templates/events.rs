#![forbid(unsafe_code)]
//! Answers at `/{{name}}`, as events: one call for each message.

use wsh::prelude::*;

/// One open WebSocket. What it has to remember of its peer is a field here.
#[derive(Default)]
struct Greeter;

impl Session for Greeter {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        conn.send(format!("hello {message}"))?;
        Ok(())
    }
}

wsh::handler!(Greeter);

#[cfg(test)]
mod tests {
    #[test]
    fn whoever_gives_a_name_is_greeted() {
        let mut client = wsh::test::connect(&super::WSH_HANDLER);

        client.send("Ann");

        assert_eq!(client.receive().unwrap(), "hello Ann");
    }
}
