//! The author's part: safe code.
#![forbid(unsafe_code)]

use std::cell::Cell;

use wsh::{abi::Descriptor, prelude::*};

scoped_tls::scoped_thread_local! {
    /// The connection of the session whose callback waits while its thread does other work.
    static LENT: Cell<Conn>
}

#[derive(Default)]
pub(super) struct Swaps;

impl Session for Swaps {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        match message.as_text() {
            Some("lend") => {
                LENT.set(Cell::from_mut(conn), super::meanwhile);
                let told = format!("lent {}", conn.id());
                conn.send(told)?;
                // Calls that work inside callbacks only, and calls that read the table.
                let _ = conn.ping(b"");
                let _ = conn.buffered();
            }
            Some("swap") => {
                LENT.with(|lent| lent.swap(Cell::from_mut(conn)));
                conn.send(format!("swapped {}", conn.id()))?;
                let _ = conn.ping(b"");
                let _ = conn.buffered();
            }
            _ => {
                conn.send(format!("{message} {}", conn.id()))?;
            }
        }
        Ok(())
    }
}

pub(super) static DESCRIPTOR: Descriptor = wsh::descriptor!(Swaps);
