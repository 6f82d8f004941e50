#![forbid(unsafe_code)]
//! Tells browsers to use TLS with this host for a day (RFC 6797), says `Hello`, and closes. They listen to that only over TLS.

use wsh::prelude::*;

fn demand_tls(_: &Request, _: &mut Response) -> Result<Handshake> {
    Ok(Handshake::accept().header("Strict-Transport-Security", "max-age=86400"))
}

async fn hello(conn: &mut AsyncConn) -> Result {
    Ok(conn.send("Hello").await?)
}

wsh::handler!(async hello, handshake = demand_tls, origin = any);
