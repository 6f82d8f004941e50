#![forbid(unsafe_code)]
//! Drops each connection instead of answering its opening handshake: the client gets no byte.

use wsh::prelude::*;

fn abort(_: &Request, _: &mut Response) -> Result<Handshake> {
    Ok(Handshake::abort())
}

async fn never_opened(_: &mut AsyncConn) -> Result {
    Ok(())
}

wsh::handler!(async never_opened, handshake = abort, origin = any);
