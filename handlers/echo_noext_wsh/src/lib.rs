#![forbid(unsafe_code)]
//! Sends every message back like `/echo`, with extensions refused: no message is compressed, whatever the client offers.

use wsh::prelude::*;

fn without_extensions(_: &Request, _: &mut Response) -> Result<Handshake> {
    Ok(Handshake::accept().forbid_compression())
}

async fn echo(conn: &mut AsyncConn) -> Result {
    while let Some(message) = conn.recv().await {
        let is_goodbye = message == "Goodbye";
        conn.send(message).await?;
        if is_goodbye {
            break;
        }
    }
    // The end of the function closes the session with 1000.
    Ok(())
}

wsh::handler!(async echo, handshake = without_extensions, restarts, origin = any);
