//! What can be sent as a message: borrowed, owned or shared, compressed or not.

use std::{ops::Deref, sync::Arc};

use crate::{
    abi::{self, BINARY, NO_COMPRESS},
    message::{Message, MessageBuf},
};

use self::sealed::Sealed;

/// A value that can be sent as a message.
///
/// Text is `&str`, `String` or `Arc<str>`. Binary is `&[u8]`, `&[u8; N]`, `Vec<u8>`, `Arc<[u8]>` or, with the feature
/// `bytes`, `bytes::Bytes`. A [`Message`] or a [`MessageBuf`] is either. Each of them in
/// [`Uncompressed`](crate::Uncompressed) is sent without compression.
///
/// # What is copied
/// An `Arc` or `Bytes` may be sent any number of times, to any number of sessions. On the handler's side no byte of it is
/// copied: the server reads it where it lies, and a send that waits holds it. Only a blocking function copies payloads of
/// at most 1 KiB, which costs less than holding them.
///
/// The server copies a message of less than 16 KiB into its output buffer. It hands a larger one to the system from where
/// it lies, and copies only what the system does not take. A message by a [`Handle`](crate::Handle) is copied once for
/// each session. A [published](crate::publish) message is copied once, and compressed once, for all subscribers.
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

/// A message that is sent without compression, also where permessage-deflate (RFC 7692) was negotiated.
///
/// It is for data that is compressed already, such as a picture, and for messages that mix a secret with what a peer
/// chose. For a message in parts, the first part decides.
///
/// ```standalone_crate
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Gallery;
///
/// impl Session for Gallery {
///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
///         let picture: Vec<u8> = std::fs::read(format!("{message}.jpeg"))?;
///         conn.send(Uncompressed(picture))?;
///         Ok(())
///     }
/// }
/// # fn main() {}
/// wsh::handler!(Gallery);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uncompressed<P: Payload>(pub P);

impl<P: Payload> Sealed for Uncompressed<P> {
    #[inline]
    fn kind(&self) -> u32 {
        self.0.kind() | NO_COMPRESS
    }
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
    fn recycle(self) -> Option<Vec<u8>> {
        self.0.recycle()
    }
    fn into_owned(self) -> OwnedPayload {
        self.0.into_owned()
    }
}

/// The bytes of a message that waits to be sent.
#[derive(Debug)]
pub enum OwnedPayload {
    /// A buffer, which a later message may use.
    Memory(Vec<u8>),
    /// A payload that others may hold as well.
    Shared(Arc<[u8]>),
    /// A payload that others may hold as well.
    #[cfg(feature = "bytes")]
    Bytes(bytes::Bytes),
}

impl OwnedPayload {
    /// The buffer, if this payload has one of its own.
    pub(crate) fn into_memory(self) -> Option<Vec<u8>> {
        match self {
            OwnedPayload::Memory(memory) => Some(memory),
            OwnedPayload::Shared(_) => None,
            #[cfg(feature = "bytes")]
            OwnedPayload::Bytes(_) => None,
        }
    }
}

impl Deref for OwnedPayload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            OwnedPayload::Memory(memory) => memory,
            OwnedPayload::Shared(shared) => shared,
            #[cfg(feature = "bytes")]
            OwnedPayload::Bytes(shared) => shared,
        }
    }
}

macro_rules! shared {
    ($type:ty, $kind:expr, $self:ident, $bytes:expr, $owned:expr) => {
        impl Sealed for $type {
            #[inline]
            fn kind(&self) -> u32 {
                $kind
            }
            #[inline]
            fn bytes(&self) -> &[u8] {
                let $self = self;
                $bytes
            }
            fn into_owned(self) -> OwnedPayload {
                let $self = self;
                $owned
            }
        }
    };
}

shared!(Arc<[u8]>, BINARY, it, it, OwnedPayload::Shared(it));
shared!(
    &Arc<[u8]>,
    BINARY,
    it,
    it,
    OwnedPayload::Shared(Arc::clone(it))
);
shared!(
    Arc<str>,
    TEXT,
    it,
    it.as_bytes(),
    OwnedPayload::Shared(it.into())
);
shared!(
    &Arc<str>,
    TEXT,
    it,
    it.as_bytes(),
    Arc::clone(it).into_owned()
);
#[cfg(feature = "bytes")]
shared!(bytes::Bytes, BINARY, it, it, OwnedPayload::Bytes(it));
#[cfg(feature = "bytes")]
shared!(
    &bytes::Bytes,
    BINARY,
    it,
    it,
    OwnedPayload::Bytes(it.clone())
);

pub(crate) mod sealed {
    use super::{BINARY, Message, MessageBuf, OwnedPayload, TEXT, abi};

    pub trait Sealed: Sized {
        fn kind(&self) -> u32;
        fn bytes(&self) -> &[u8];
        /// The buffer, for a later message; `None` if the value owns none.
        fn recycle(self) -> Option<Vec<u8>> {
            None
        }
        /// The bytes in a form that may wait to be sent. Borrowed bytes are copied.
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

/// The kind of a Rust string, which is UTF-8: the host need not check it.
pub(crate) const TEXT: u32 = abi::TEXT | abi::TRUSTED_UTF8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_or_owned_waits_where_it_lies() {
        let (bytes, text): (Arc<[u8]>, Arc<str>) = (vec![1, 2].into(), "text".into());
        let memory = vec![3; 4];
        let places = [bytes.as_ptr(), text.as_ptr(), memory.as_ptr()];

        let owned = [
            Uncompressed(&bytes).into_owned(),
            (&text).into_owned(),
            memory.into_owned(),
        ];

        assert_eq!(owned.each_ref().map(|owned| owned.as_ptr()), places);
        assert_eq!(&*owned[1], b"text");
        let kept = owned.map(OwnedPayload::into_memory);
        assert_eq!(kept, [None, None, Some(vec![3; 4])]);
    }
}
