#![forbid(unsafe_code)]
//! Answers at `/{{name}}`, as a blocking function: one call, on a thread of its own, for each session.

use wsh::prelude::*;

/// One open WebSocket, from its first message to its end.
fn greet(conn: BlockingConn) -> Result {
    for message in &conn {
        conn.send(format!("hello {message}"))?;
    }
    Ok(())
}

wsh::handler!(blocking greet);

#[cfg(test)]
mod tests {
    #[test]
    fn whoever_gives_a_name_is_greeted() {
        let mut client = wsh::test::connect(&super::WSH_HANDLER);

        client.send("Ann");

        assert_eq!(client.receive().unwrap(), "hello Ann");
    }
}
