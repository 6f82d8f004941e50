#![forbid(unsafe_code)]
//! Breaks the protocol on purpose, to see how a client takes it. The text `utf8` is answered by a text that is not UTF-8;
//! each name of `FAULTS` has its bytes. `/evil?key` answers the handshake itself with a wrong key, `/evil?status` with a
//! status that there is not.
//!
//! A server sends such bytes only where its configuration lets it: `[handler.evil]` with `raw = true`, as in the file
//! `config.toml` beside this crate.

use wsh::{prelude::*, raw};

/// What a client has to fail the connection for (RFC 6455 §5.2, §5.4, §5.5, §7.4.1, §8.1), and the frames.
const FAULTS: [(&str, &[u8]); 8] = [
    ("reserved", b"\xc1\x02hi"),
    ("opcode", b"\x83\x02hi"),
    ("masked", b"\x81\x82\0\0\0\0hi"),
    ("utf8", b"\x81\x01\xff"),
    ("continuation", b"\x80\x02hi"),
    ("fragmented ping", b"\x09\x00"),
    ("close code", b"\x88\x02\x03\xed"),
    // The head of a frame of five bytes, and two of them. The rest never comes.
    ("cut", b"\x81\x05he"),
];

fn answer(request: &Request, response: &mut Response) -> Result<Handshake> {
    if !raw::is_allowed() {
        let advice = "the configuration has to say `raw = true` in `[handler.evil]`\n";
        return Ok(Handshake::reject(501, advice));
    }
    let head = match request.query_bytes() {
        b"key" => {
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
        }
        b"status" => "HTTP/1.1 999 No Such Status\r\n\r\n",
        _ => return Ok(Handshake::accept()),
    };
    raw::Answer::close(head).give(response)
}

async fn misbehave(conn: &mut AsyncConn) -> Result {
    while let Some(message) = conn.recv().await {
        let fault = FAULTS.iter().find(|(name, _)| message == *name);
        match fault {
            Some((name, frames)) => {
                raw::write(conn, frames)?;
                if *name == "cut" {
                    conn.abort()?;
                }
            }
            None => {
                let names = FAULTS.map(|(name, _)| name).join(", ");
                conn.send(format!("there are {names}")).await?;
            }
        }
    }
    Ok(())
}

wsh::handler!(async misbehave, handshake = answer, origin = any);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_reaches_the_client_as_it_is_written() {
        let server = wsh::test::load_raw(&WSH_HANDLER, "{}").unwrap();
        for (name, frames) in FAULTS {
            let mut client = server.connect();
            client.send(name);
            assert_eq!(client.receive_raw().unwrap(), frames, "{name}");
        }
        let mut client = server.connect();
        client.send("good");
        let names = client.receive().unwrap().to_string();
        assert!(names.starts_with("there are reserved, opcode, "), "{names}");
    }

    #[test]
    fn a_server_that_does_not_allow_it_refuses_with_an_advice() {
        let server = wsh::test::serve(&WSH_HANDLER);

        let refusal = server.request("/").try_connect().unwrap_err();

        assert_eq!(refusal.status, 501);
        assert!(refusal.body.starts_with(b"the configuration has to say"));
    }
}
