//! Parts of messages, for handlers that take long messages piece by piece.

use std::fmt;

use crate::message::{Kind, Message, MessageBuf};

/// A part of a message of the peer, which the callback [`Session::on_part`](crate::Session::on_part) borrows.
///
/// A message comes in one or more parts, in order. No part of another message comes between them. The cuts mean nothing:
/// they need not be where the peer's frames end. A part has at most 64 KiB, or fewer where the configuration's
/// `message_bytes_max` is less. A part of text is whole characters. The last part may be empty.
///
/// ```
/// use wsh::{Kind, prelude::*};
///
/// #[derive(Default)]
/// struct Digest {
///     sum: u64,
///     kept: Vec<wsh::PartBuf>,
/// }
///
/// impl Session for Digest {
///     const PARTS: bool = true;
///
///     fn on_message(&mut self, _: &mut Conn, _: Message) -> Result {
///         unreachable!("parts come instead")
///     }
///     fn on_part(&mut self, conn: &mut Conn, part: wsh::Part) -> Result {
///         if part.is_first() && part.kind() == Kind::Text {
///             conn.send(format!("text, which begins with {:?}", part.as_text()))?;
///         }
///         self.sum += part.as_bytes().iter().map(|byte| u64::from(*byte)).sum::<u64>();
///         if part.len() < 16 && !part.is_empty() {
///             self.kept.push(part.to_buf());
///         }
///         wsh::debug!("a part: {}", part.as_message());
///         if part.is_last() {
///             conn.send(format!("the sum of all bytes is {}", self.sum))?;
///         }
///         Ok(())
///     }
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(Digest));
/// # client.send_part("a", false);
/// # client.send_part("b", true);
/// # assert_eq!(client.receive().unwrap(), "text, which begins with Some(\"a\")");
/// # assert_eq!(client.receive().unwrap(), "the sum of all bytes is 195");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part<'a> {
    message: Message<'a>,
    position: PartPosition,
}

/// A [`Part`] with a buffer of its own: what [`AsyncConn::recv_part`](crate::AsyncConn::recv_part) and
/// [`BlockingConn::recv_part`](crate::BlockingConn::recv_part) return.
///
/// ```
/// use wsh::{Kind, prelude::*};
///
/// async fn longest(conn: &mut AsyncConn) -> Result {
///     let mut longest = MessageBuf::Binary(Vec::new());
///     while let Some(part) = conn.recv_part().await {
///         if part.is_first() {
///             wsh::debug!("{:?} begins: {:?}", part.kind(), part.as_text());
///         }
///         if part.is_last() {
///             wsh::debug!("it ends: {:?}", part.as_part());
///         }
///         if !part.is_empty() && part.len() > longest.len() && part.as_bytes()[0] != b'#' {
///             longest = part.into_message();
///         }
///     }
///     wsh::info!("{longest}");
///     Ok(())
/// }
/// # let server = wsh::test::serve(wsh::descriptor!(async longest, parts));
/// # let mut client = server.connect();
/// # client.send_part("one ", false);
/// # client.send_part("longer", true);
/// # client.close(1000, "");
/// # assert!(server.log().iter().any(|line| line.message == "longer"));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartBuf {
    message: MessageBuf,
    position: PartPosition,
}

/// The position of a part in its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PartPosition {
    pub(crate) is_first: bool,
    pub(crate) is_last: bool,
}

impl PartPosition {
    pub(crate) const WHOLE: PartPosition = PartPosition {
        is_first: true,
        is_last: true,
    };
}

impl<'a> Part<'a> {
    pub(crate) fn new(message: Message<'a>, position: PartPosition) -> Self {
        Part { message, position }
    }

    /// The part as a message of its kind.
    #[must_use]
    pub fn as_message(&self) -> Message<'a> {
        self.message
    }

    /// The kind of the message that the part belongs to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        kind(&self.message)
    }

    /// The text of the part; `None` if the message is binary.
    #[must_use]
    pub fn as_text(&self) -> Option<&'a str> {
        self.message.as_text()
    }

    /// The bytes of a part of either kind.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.message.as_bytes()
    }

    /// The length of the part in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.message.len()
    }

    /// Whether the part has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.message.is_empty()
    }

    /// Whether the message begins with this part.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.position.is_first
    }

    /// Whether the message ends with this part.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.position.is_last
    }

    /// A copy, which may outlive the callback.
    #[must_use]
    pub fn to_buf(&self) -> PartBuf {
        PartBuf::new(self.message.to_buf(), self.position)
    }
}

impl PartBuf {
    pub(crate) fn new(message: MessageBuf, position: PartPosition) -> Self {
        PartBuf { message, position }
    }

    /// The part, borrowed.
    #[must_use]
    pub fn as_part(&self) -> Part<'_> {
        Part::new(self.message.as_message(), self.position)
    }

    /// The part as a message of its kind, without a copy.
    #[must_use]
    pub fn into_message(self) -> MessageBuf {
        self.message
    }

    /// The kind of the message that the part belongs to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        kind(&self.message.as_message())
    }

    /// The text of the part; `None` if the message is binary.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        self.message.as_text()
    }

    /// The bytes of a part of either kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// The length of the part in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.message.len()
    }

    /// Whether the part has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.message.is_empty()
    }

    /// Whether the message begins with this part.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.position.is_first
    }

    /// Whether the message ends with this part.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.position.is_last
    }
}

fn kind(message: &Message<'_>) -> Kind {
    match message {
        Message::Text(_) => Kind::Text,
        Message::Binary(_) => Kind::Binary,
    }
}

/// Writes the part like a [`Message`].
impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

/// Writes the part like a [`Message`].
impl fmt::Display for PartBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}
