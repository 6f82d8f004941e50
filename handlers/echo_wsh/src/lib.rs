#![forbid(unsafe_code)]
//! Sends every message back. Like pywebsocket's echo, it closes after the message `Goodbye`, and chooses the subprotocol
//! `echo` if the client offers it.

use wsh::prelude::*;

#[derive(Default)]
struct Echo;

impl Session for Echo {
    const PROTOCOLS: &[&str] = &["echo"];
    // Pages of any origin may connect, also one opened from a file: an echo has no secrets.
    const ORIGIN_ANY: bool = true;

    // Inlined into its callback, as in a crate that is only a `cdylib`: this crate is an `rlib`, too.
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
