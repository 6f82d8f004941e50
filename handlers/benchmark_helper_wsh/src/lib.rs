#![forbid(unsafe_code)]
//! The other side of a page that measures how fast long messages pass, in both directions and without compression.
//!
//! `receive 1000` is answered with a binary message of 1000 times `a`. `send 1` announces a message, whose length in bytes is
//! the answer; if it holds anything but `a`, the session fails. `send 0` announces one that is not looked at.
//!
//! No message is ever in memory as a whole, so their length has no limit.

use wsh::prelude::*;

async fn benchmark_helper(conn: &mut AsyncConn) -> Result {
    // A function that takes parts can wait for a short message all the same.
    while let Some(command) = conn.recv().await {
        let command = command.as_text().unwrap_or_default().to_owned();
        match command.split_once(' ') {
            Some(("receive", bytes)) => send(conn, bytes.parse()?).await?,
            Some(("send", verify)) => match receive(conn, verify == "1").await? {
                Some(bytes) => conn.send(bytes.to_string()).await?,
                None => break,
            },
            _ => return Err("a command is `receive BYTES`, `send 0` or `send 1`".into()),
        }
    }
    Ok(())
}

/// Sends a message of this length, as fast as the client takes it.
async fn send(conn: &AsyncConn, mut bytes: usize) -> Result {
    while bytes > PART.len() {
        conn.send_part(PART, false).await?;
        bytes -= PART.len();
    }
    Ok(conn.send_part(&PART[..bytes], true).await?)
}

/// Takes one message and answers its length. `None`: the client has closed.
async fn receive(conn: &mut AsyncConn, verify: bool) -> Result<Option<usize>> {
    let mut bytes = 0;
    while let Some(part) = conn.recv_part().await {
        let mut chunks = part.as_bytes().chunks(PART.len());
        if verify && !chunks.all(|chunk| *chunk == PART[..chunk.len()]) {
            return Err("the message holds something else than `a`".into());
        }
        bytes += part.len();
        if part.is_last() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

fn without_extensions(_: &Request, _: &mut Response) -> Result<Handshake> {
    Ok(Handshake::accept().forbid_compression())
}

const PART: &[u8] = &[b'a'; 64 * 1024];

wsh::handler!(async benchmark_helper, parts, handshake = without_extensions, origin = any);
