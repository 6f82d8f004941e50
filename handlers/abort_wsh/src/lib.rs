#![forbid(unsafe_code)]
//! Drops each connection right after the 101, without a Close frame: a page sees the close code 1006.

use wsh::prelude::*;

async fn abort(conn: &mut AsyncConn) -> Result {
    Ok(conn.abort()?)
}

wsh::handler!(async abort, origin = any);
