#![forbid(unsafe_code)]
//! Sends every message back. On exactly `Goodbye` it closes after that, and a client that offers the
//! subprotocol `echo` gets it, both as pywebsocket's echo does.

use wsh::prelude::*;

#[derive(Default)]
struct Echo;

impl Session for Echo {
    const PROTOCOLS: &[&str] = &["echo"];
    // A page opened from a file may talk to it: it has no secrets.
    const ORIGIN_ANY: bool = true;

    // Becomes a part of its callback, as in a crate that is nothing but a handler: this one is an `rlib` too.
    #[inline]
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        conn.send(message)?;
        if message == "Goodbye" {
            conn.close(1000, "")?;
        }
        Ok(())
    }
}

wsh::handler!(Echo);
