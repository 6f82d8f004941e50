//! Messages (RFC 6455 §5.6): whole, and either text or binary.

#[cfg(feature = "serde")]
pub(crate) mod json;
pub(crate) mod part;
pub(crate) mod payload;

use std::fmt;

use crate::abi;

/// A message of the peer, borrowed for as long as the callback runs.
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
// Numbered as in the ABI: which it is goes in and out again as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Message<'a> {
    /// Valid UTF-8.
    Text(&'a str) = abi::TEXT,
    /// Any bytes.
    Binary(&'a [u8]) = abi::BINARY,
}

impl<'a> Message<'a> {
    /// The text, if it is a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&'a str> {
        match *self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    /// The bytes of either kind.
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

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// A copy that may be kept.
    #[must_use]
    pub fn to_buf(&self) -> MessageBuf {
        match *self {
            Message::Text(text) => MessageBuf::Text(text.into()),
            Message::Binary(bytes) => MessageBuf::Binary(bytes.into()),
        }
    }
}

/// Text as it is; of binary what is UTF-8, and U+FFFD for the rest.
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

/// A message that may be kept: what [`recv`](crate::AsyncConn::recv) gives.
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
    /// The same message, borrowed.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        match self {
            MessageBuf::Text(text) => Message::Text(text),
            MessageBuf::Binary(bytes) => Message::Binary(bytes),
        }
    }

    /// The text, if it is a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        self.as_message().as_text()
    }

    /// The bytes of either kind.
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

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The bytes of either kind, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            MessageBuf::Text(text) => text.into_bytes(),
            MessageBuf::Binary(bytes) => bytes,
        }
    }
}

/// As [`Message`].
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

/// What can be sent: text as `&str`, `String` or `Arc<str>`, binary as `&[u8]`, `&[u8; N]`, `Vec<u8>`,
/// `Arc<[u8]>` or, with the feature `bytes`, `bytes::Bytes`, and either as a [`Message`] or a
/// [`MessageBuf`]. Each of them in [`Uncompressed`](crate::Uncompressed) leaves as it is.
///
/// # What is copied
/// An `Arc` or `Bytes` may be sent any number of times, to any number of sessions. On the handler's side no
/// byte of it is copied: the server reads it where it lies, and where a send waits the payload is held
/// meanwhile. A blocking function copies what has at most 1 KiB, which is less than it costs to hold it.
///
/// The server copies a message of less than 16 KiB into what it is about to send. A larger one is handed to
/// the system from where it lies, and what the system does not take is copied. What is sent by a
/// [`Handle`](crate::Handle) is copied once for each session, what is [published](crate::publish) once for
/// all, and compressed once for all.
///
/// ```standalone_crate
/// use std::sync::Arc;
/// use wsh::prelude::*;
///
/// struct Atlas {
///     map: Arc<[u8]>,
/// }
///
/// async fn atlas(conn: &mut AsyncConn, shared: &Atlas) -> Result {
///     while conn.recv().await.is_some() {
///         conn.send(&shared.map).await?;
///     }
///     Ok(())
/// }
/// # impl Shared for Atlas {
/// #     fn new(_: Config) -> Result<Self> { Ok(Atlas { map: vec![0; 1 << 20].into() }) }
/// # }
/// # fn main() {}
/// wsh::handler!(async atlas, shared = Atlas);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a message",
    label = "not a message",
    note = "text is sent as `&str` or `String`, binary as `&[u8]` or `Vec<u8>`"
)]
pub trait Payload: sealed::Sealed {}

impl<T: sealed::Sealed> Payload for T {}

/// Which of the two a message is.
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

pub(crate) mod sealed {
    use super::{Message, MessageBuf, TEXT};
    use crate::abi::{self, BINARY};
    use crate::message::payload::OwnedPayload;

    pub trait Sealed: Sized {
        fn kind(&self) -> u32;
        fn bytes(&self) -> &[u8];
        /// The memory, for the next message to come.
        fn recycle(self) -> Option<Vec<u8>> {
            None
        }
        /// The bytes as they may be kept: what is neither owned nor shared already is copied.
        fn into_owned(self) -> OwnedPayload {
            let mut copy = crate::buffers::pool::take(self.bytes().len());
            copy.extend_from_slice(self.bytes());
            OwnedPayload::Memory(copy)
        }
    }

    macro_rules! sealed {
        ($type:ty, $self:ident, $kind:expr, $bytes:expr $(, $recycled:expr)?) => {
            impl Sealed for $type {
                #[inline]
                fn kind(&self) -> u32 {
                    let $self = self;
                    $kind
                }
                #[inline]
                fn bytes(&self) -> &[u8] {
                    let $self = self;
                    $bytes
                }
                $(
                    fn recycle(self) -> Option<Vec<u8>> {
                        let $self = self;
                        Some($recycled)
                    }
                    fn into_owned(self) -> OwnedPayload {
                        let $self = self;
                        OwnedPayload::Memory($recycled)
                    }
                )?
            }
        };
    }

    sealed!(
        &str,
        it,
        {
            let _ = it;
            TEXT
        },
        it.as_bytes()
    );
    sealed!(
        &String,
        it,
        {
            let _ = it;
            TEXT
        },
        it.as_bytes()
    );
    sealed!(
        String,
        it,
        {
            let _ = it;
            TEXT
        },
        it.as_bytes(),
        it.into_bytes()
    );
    sealed!(
        &[u8],
        it,
        {
            let _ = it;
            BINARY
        },
        it
    );
    sealed!(
        &Vec<u8>,
        it,
        {
            let _ = it;
            BINARY
        },
        it
    );
    sealed!(
        Vec<u8>,
        it,
        {
            let _ = it;
            BINARY
        },
        it,
        it
    );
    sealed!(
        Message<'_>,
        it,
        {
            let kind = match it {
                Message::Text(_) => abi::TEXT,
                Message::Binary(_) => abi::BINARY,
            };
            kind | ((kind & abi::TEXT) * abi::TRUSTED_UTF8)
        },
        it.as_bytes()
    );
    sealed!(
        MessageBuf,
        it,
        if it.as_text().is_some() { TEXT } else { BINARY },
        it.as_bytes(),
        it.into_bytes()
    );
    sealed!(
        &MessageBuf,
        it,
        if it.as_text().is_some() { TEXT } else { BINARY },
        it.as_bytes()
    );

    impl<const N: usize> Sealed for &[u8; N] {
        #[inline]
        fn kind(&self) -> u32 {
            BINARY
        }
        #[inline]
        fn bytes(&self) -> &[u8] {
            *self
        }
    }
}

/// Text out of a Rust string: the host need not look at it again.
pub(crate) const TEXT: u32 = abi::TEXT | abi::TRUSTED_UTF8;
