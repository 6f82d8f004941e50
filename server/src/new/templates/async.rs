#![forbid(unsafe_code)]
//! Answers at `/{{name}}`, as an async function: one call for each session.

use wsh::prelude::*;

/// One open WebSocket, from its first message to its end.
async fn greet(conn: &mut AsyncConn) -> Result {
    while let Some(message) = conn.recv().await {
        conn.send(format!("hello {message}")).await?;
    }
    Ok(())
}

// A session has nothing to remember between two messages, so newer code may begin it again.
wsh::handler!(async greet, restarts);

#[cfg(test)]
mod tests {
    #[test]
    fn whoever_gives_a_name_is_greeted() {
        let mut client = wsh::test::connect(&super::WSH_HANDLER);

        client.send("Ann");

        assert_eq!(client.receive().unwrap(), "hello Ann");
    }
}
