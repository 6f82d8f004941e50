//! Sending messages in the events style: whole, written in place, and in parts.

use std::fmt;

use crate::{
    abi,
    border::writer::Writer,
    error::{Refused, Result},
    message::{Kind, payload::Payload},
    styles::events::conn::{Conn, part_kind},
};

impl Conn {
    /// Sends a message, at once. Answers the bytes that are [buffered](Self::buffered) with it.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::TooBig`]: past the outbound limit; nothing
    /// was sent. [`Refused::Invalid`]: a message that was begun with [`send_part`](Self::send_part) is open.
    #[inline]
    pub fn send<P: Payload>(&self, message: P) -> Result<u64, Refused> {
        let (kind, bytes) = (message.kind(), message.bytes());
        let answer = if self.session.is_in_message() {
            abi::INVALID.into()
        } else {
            self.session.send_lent(kind, bytes)
        };
        if answer >= 0 {
            return Ok(answer.unsigned_abs());
        }
        self.send_apart(answer, kind, bytes)
    }

    // Apart: what a message needs fits into the handler's own function.
    #[cold]
    #[inline(never)]
    fn send_apart(&self, answer: i64, kind: u32, bytes: &[u8]) -> Result<u64, Refused> {
        self.heard(if self.session.is_in_message() {
            Err(self.session.refused_between_parts())
        } else {
            self.session.send_by_id_if_misuse(answer, kind, bytes)
        })
    }

    /// Sends a message of at most `max` bytes that is written straight into the server's buffer.
    ///
    /// ```
    /// # use wsh::prelude::*;
    /// # fn tell(conn: &mut Conn, x: f64, y: f64) -> Result {
    /// use std::fmt::Write;
    ///
    /// conn.send_with(Kind::Text, 64, |out| write!(out, "{x},{y}"))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send). If `write` fails, as it does past `max`, nothing is sent and the answer
    /// is [`Refused::TooBig`].
    pub fn send_with(
        &mut self,
        kind: Kind,
        max: usize,
        write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> Result<u64, Refused> {
        self.heard(self.session.send_with(kind.opcode(), max, write))
    }

    /// Sends a part of a message, be it the `last` one: a long message need never be in memory as a whole.
    /// All parts of a message are of one kind, and the peer gets them as one message. Answers the bytes that
    /// are [buffered](Self::buffered) with it.
    ///
    /// A sender that stops while much is buffered, and goes on in [`on_drain`](crate::Session::on_drain),
    /// takes as much memory as that, however long the message is:
    ///
    /// ```standalone_crate
    /// use wsh::prelude::*;
    ///
    /// #[derive(Default)]
    /// struct Download {
    ///     parts_left: u32,
    /// }
    ///
    /// impl Download {
    ///     fn go_on(&mut self, conn: &Conn) -> Result {
    ///         while self.parts_left > 0 && conn.buffered() <= 65536 {
    ///             conn.send_part(&[0; 65536], self.parts_left == 1)?;
    ///             self.parts_left -= 1;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// impl Session for Download {
    ///     fn on_open(&mut self, conn: &mut Conn) -> Result {
    ///         conn.watermark(65536, 65536)?;
    ///         Ok(())
    ///     }
    ///     fn on_message(&mut self, conn: &mut Conn, _message: Message) -> Result {
    ///         self.parts_left = 16384;
    ///         self.go_on(conn)
    ///     }
    ///     fn on_drain(&mut self, conn: &mut Conn) -> Result {
    ///         self.go_on(conn)
    ///     }
    /// }
    /// # fn main() {}
    /// wsh::handler!(Download);
    /// ```
    ///
    /// Where there is no room the answer is [`Refused::Full`], and nothing was sent: other than
    /// [`send`](Self::send), this never ends the session of a peer that takes too little.
    ///
    /// Until the last part was sent, what others send to this session, by its handle or to a topic, waits,
    /// and a whole message from here is [`Refused::Invalid`].
    ///
    /// # Errors
    /// [`Refused::Full`]: there is no room now. [`Refused::Gone`]: the session is closing.
    /// [`Refused::Invalid`]: the parts before it are of the other kind. [`Refused::TooBig`]: such a part
    /// never fits.
    pub fn send_part<P: Payload>(&self, part: P, last: bool) -> Result<u64, Refused> {
        let (kind, bytes) = (part_kind(part.kind(), last), part.bytes());
        self.heard(self.session.send_part(kind | abi::IF_ROOM, bytes))
    }
}
