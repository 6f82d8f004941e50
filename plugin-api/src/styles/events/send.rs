//! Sending messages in the events style: whole, written in place, or in parts.

use std::fmt;

use crate::{
    abi,
    border::writer::Writer,
    error::{Refused, Result},
    message::{Kind, payload::Payload},
    styles::events::conn::{Conn, part_kind},
};

impl Conn {
    /// Sends a message at once. Answers how many bytes are [buffered](Self::buffered), this message included.
    ///
    /// # Errors
    /// [`Refused::Gone`]: the session is closing. [`Refused::TooBig`]: the message passes the outbound limit, and was not
    /// sent; the session closes. [`Refused::Dropped`] in its place: the server is configured to drop such messages, and the
    /// session goes on. [`Refused::Invalid`]: a message that was begun with [`send_part`](Self::send_part) is not complete.
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

    // A function of its own, so that the common path is small enough to be inlined into the handler's function.
    #[cold]
    #[inline(never)]
    fn send_apart(&self, answer: i64, kind: u32, bytes: &[u8]) -> Result<u64, Refused> {
        self.heard(if self.session.is_in_message() {
            Err(self.session.refused_between_parts())
        } else {
            self.session.send_by_id_if_misuse(answer, kind, bytes)
        })
    }

    /// Sends a message of at most `max` bytes, which `write` writes straight into the server's buffer.
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
    /// [`Refused::TooBig`]: `write` failed, as it does past `max`; nothing was sent. Otherwise those of
    /// [`send`](Self::send).
    pub fn send_with(
        &mut self,
        kind: Kind,
        max: usize,
        write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> Result<u64, Refused> {
        self.heard(self.session.send_with(kind.opcode(), max, write))
    }

    /// Sends a part of a message, so that a long message is never in memory as a whole. `last` says whether the message
    /// ends with this part. All parts are of one kind, and the peer receives one message. Answers how many bytes are
    /// [buffered](Self::buffered), this part included.
    ///
    /// A sender that stops while much is buffered, and goes on in [`on_drain`](crate::Session::on_drain), sends a message
    /// of any length in bounded memory:
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
    /// A part that does not fit is answered with [`Refused::Full`], and was not sent. So this function, unlike
    /// [`send`](Self::send), never ends the session of a slow peer.
    ///
    /// While a message is not complete, messages of other senders to this session wait, be they sent by its handle or to a
    /// topic. A whole message from this session is [`Refused::Invalid`] meanwhile.
    ///
    /// # Errors
    /// [`Refused::Full`]: the part does not fit now. [`Refused::Gone`]: the session is closing. [`Refused::Invalid`]: the
    /// parts before it are of the other kind. [`Refused::TooBig`]: a part of this length never fits.
    pub fn send_part<P: Payload>(&self, part: P, last: bool) -> Result<u64, Refused> {
        let (kind, bytes) = (part_kind(part.kind(), last), part.bytes());
        self.heard(self.session.send_part(kind | abi::IF_ROOM, bytes))
    }
}
