#![forbid(unsafe_code)]
//! Lets pages of `http://example.com` in, and answers 403 to all others and to clients that are no pages.
//!
//! Most handlers need no code for that: the server lets pages of its own host in, and the key `origins` of its
//! configuration names others. `origin = any` below leaves the decision to the handler instead.

use wsh::prelude::*;

fn check_origin(request: &Request, _: &mut Response) -> Result<Handshake> {
    Ok(match request.origin() {
        Some("http://example.com") => Handshake::accept(),
        Some(other) => Handshake::reject(403, format!("pages of {other} may not enter\n")),
        None => Handshake::reject(403, "only pages may enter\n"),
    })
}

async fn welcome(conn: &mut AsyncConn, request: &Request<'_>) -> Result {
    let origin = request.origin().unwrap_or_default();
    Ok(conn.send(format!("welcome, page of {origin}")).await?)
}

wsh::handler!(async welcome, handshake = check_origin, origin = any);
