#![forbid(unsafe_code)]
//! The handler of a folder. Its library is `sub/_wsh.so` below the handlers directory, so it answers at `/sub` and at
//! `/sub/`. It says at which of them it was asked.
//!
//! `wshd dev` takes that name from the manifest, by `file` in `[package.metadata.wshd]`.

use wsh::prelude::*;

async fn folder(conn: &mut AsyncConn, request: &Request<'_>) -> Result {
    Ok(conn.send(request.path()).await?)
}

wsh::handler!(async folder, origin = any);
