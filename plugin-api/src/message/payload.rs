//! Payloads that many sends share, and messages that are not compressed.

use std::{ops::Deref, sync::Arc};

use crate::{
    abi::{BINARY, NO_COMPRESS},
    message::{Payload, TEXT, sealed::Sealed},
};

/// A message that leaves as it is, also where permessage-deflate (RFC 7692) was negotiated: one that is
/// compressed already, as a picture is, or that mixes a secret with what a peer chose. Of a message that is
/// sent in parts the first part says it.
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
    /// Memory that a later message may have.
    Memory(Vec<u8>),
    /// What others hold as well.
    Shared(Arc<[u8]>),
    /// What others hold as well.
    #[cfg(feature = "bytes")]
    Bytes(bytes::Bytes),
}

impl OwnedPayload {
    /// The memory, if nothing else holds it.
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
    ($type:ty, $kind:expr, $self:ident, $owned:expr) => {
        impl Sealed for $type {
            #[inline]
            fn kind(&self) -> u32 {
                $kind
            }
            #[inline]
            fn bytes(&self) -> &[u8] {
                self.as_ref()
            }
            fn into_owned(self) -> OwnedPayload {
                let $self = self;
                $owned
            }
        }
    };
}

shared!(Arc<[u8]>, BINARY, it, OwnedPayload::Shared(it));
shared!(&Arc<[u8]>, BINARY, it, OwnedPayload::Shared(Arc::clone(it)));
#[cfg(feature = "bytes")]
shared!(bytes::Bytes, BINARY, it, OwnedPayload::Bytes(it));
#[cfg(feature = "bytes")]
shared!(&bytes::Bytes, BINARY, it, OwnedPayload::Bytes(it.clone()));

impl Sealed for Arc<str> {
    #[inline]
    fn kind(&self) -> u32 {
        TEXT
    }
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
    fn into_owned(self) -> OwnedPayload {
        OwnedPayload::Shared(self.into())
    }
}

impl Sealed for &Arc<str> {
    #[inline]
    fn kind(&self) -> u32 {
        TEXT
    }
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
    fn into_owned(self) -> OwnedPayload {
        Arc::clone(self).into_owned()
    }
}

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
