#![forbid(unsafe_code)]
//! Sets cookies by the answer to the opening handshake, and closes. `/cookie?set` sets one that scripts can read,
//! `/cookie?set_httponly` one that they cannot, `/cookie?clear` clears both, and anything else leaves them.

use wsh::prelude::*;

fn set_cookies(request: &Request, response: &mut Response) -> Result<Handshake> {
    let cookies: &[&str] = match request.query_bytes() {
        b"set" => &["foo=bar; Max-Age=86400"],
        b"set_httponly" => &["httpOnlyFoo=bar; Max-Age=86400; httpOnly"],
        b"clear" => &["foo=0; Max-Age=0", "httpOnlyFoo=0; Max-Age=0"],
        _ => &[],
    };
    for cookie in cookies {
        response.header("Set-Cookie", cookie)?;
    }
    Ok(Handshake::accept())
}

async fn close_at_once(_: &mut AsyncConn) -> Result {
    Ok(())
}

wsh::handler!(async close_at_once, handshake = set_cookies, origin = any);
