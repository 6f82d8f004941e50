#![forbid(unsafe_code)]
//! Fails in each session, on purpose: the client gets a Close with 1011, and the server's log the sentence below.

use wsh::prelude::*;

async fn fail(_: &mut AsyncConn) -> Result {
    Err("this handler fails on purpose".into())
}

wsh::handler!(async fail, origin = any);
