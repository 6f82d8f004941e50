//! Messages (RFC 6455 §5.6): whole, and either text or binary.

#[cfg(feature = "serde")]
pub(crate) mod json;
pub(crate) mod part;
pub(crate) mod payload;

use std::fmt;

use crate::abi;

/// A message of the peer, which the callback borrows.
///
/// ```
/// use wsh::Message;
///
/// let message = Message::Text("Goodbye");
/// assert!(message == "Goodbye");
/// assert_eq!(format!("you said {message}"), "you said Goodbye");
/// ```
///
/// ```
/// use wsh::{Message, MessageBuf};
///
/// let message = Message::Binary(b"\x00\x01");
/// assert_eq!(message.as_text(), None);
/// assert_eq!(message.as_bytes(), b"\x00\x01");
/// assert!(message.len() == 2 && !message.is_empty());
/// let kept: MessageBuf = message.to_buf();
/// assert_eq!(kept.as_message(), message);
/// ```
// Numbered like the kinds of the ABI, so that no conversion is needed where a message comes in or goes out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Message<'a> {
    /// Valid UTF-8.
    Text(&'a str) = abi::TEXT,
    /// Any bytes.
    Binary(&'a [u8]) = abi::BINARY,
}

impl<'a> Message<'a> {
    /// The text; `None` for a binary message.
    #[must_use]
    pub fn as_text(&self) -> Option<&'a str> {
        match *self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    /// The bytes of a message of either kind.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        match *self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the message has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// A copy, which may outlive the callback.
    #[must_use]
    pub fn to_buf(&self) -> MessageBuf {
        match *self {
            Message::Text(text) => MessageBuf::Text(text.into()),
            Message::Binary(bytes) => MessageBuf::Binary(bytes.into()),
        }
    }
}

/// Writes text as it is. Of a binary message it writes what is UTF-8, and U+FFFD for the rest.
impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Message::Text(text) => f.pad(text),
            Message::Binary(bytes) => f.pad(&String::from_utf8_lossy(bytes)),
        }
    }
}

/// A text message equals its text.
impl PartialEq<str> for Message<'_> {
    fn eq(&self, text: &str) -> bool {
        self.as_text() == Some(text)
    }
}

/// A text message equals its text.
impl PartialEq<&str> for Message<'_> {
    fn eq(&self, text: &&str) -> bool {
        self.as_text() == Some(text)
    }
}

/// A message with a buffer of its own: what [`recv`](crate::AsyncConn::recv) returns.
///
/// ```
/// use wsh::MessageBuf;
///
/// let message = MessageBuf::Text("hello".into());
/// assert_eq!(message.as_text(), Some("hello"));
/// assert_eq!(message.as_bytes(), b"hello");
/// assert!(message.len() == 5 && !message.is_empty());
/// assert!(message.as_message() == "hello" && message == "hello");
/// assert_eq!(message.into_bytes(), b"hello".to_vec());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MessageBuf {
    /// Valid UTF-8.
    Text(String),
    /// Any bytes.
    Binary(Vec<u8>),
}

impl MessageBuf {
    /// The message, borrowed.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        match self {
            MessageBuf::Text(text) => Message::Text(text),
            MessageBuf::Binary(bytes) => Message::Binary(bytes),
        }
    }

    /// The text; `None` for a binary message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        self.as_message().as_text()
    }

    /// The bytes of a message of either kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            MessageBuf::Text(text) => text.as_bytes(),
            MessageBuf::Binary(bytes) => bytes,
        }
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the message has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The buffer of a message of either kind, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            MessageBuf::Text(text) => text.into_bytes(),
            MessageBuf::Binary(bytes) => bytes,
        }
    }
}

/// Writes the message like [`Message`] does.
impl fmt::Display for MessageBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_message().fmt(f)
    }
}

/// A text message equals its text.
impl PartialEq<str> for MessageBuf {
    fn eq(&self, text: &str) -> bool {
        self.as_text() == Some(text)
    }
}

/// A text message equals its text.
impl PartialEq<&str> for MessageBuf {
    fn eq(&self, text: &&str) -> bool {
        self.as_text() == Some(text)
    }
}

impl From<Message<'_>> for MessageBuf {
    fn from(message: Message<'_>) -> Self {
        message.to_buf()
    }
}

impl From<String> for MessageBuf {
    fn from(text: String) -> Self {
        MessageBuf::Text(text)
    }
}

/// The kind of a message: text or binary.
///
/// ```
/// # use wsh::prelude::*;
/// # fn tell(conn: &mut Conn, x: f64) -> Result {
/// use std::fmt::Write;
///
/// conn.send_with(Kind::Text, 32, |out| write!(out, "{x:.3}"))?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// Valid UTF-8.
    Text,
    /// Any bytes.
    Binary,
}
