//! The answer to an opening handshake, as a handler shapes it.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

use data_encoding::BASE64;
use sha1_smol::Sha1;
use wsh::abi::{self, Status};
use wsh::rules;

use super::raw_table::RawAnswer;

/// What a handler sets in `handshake`, for the 101 and for a refusal.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The id that the session will have.
    id: u64,
    /// The subprotocols that the client offered.
    pub(crate) offered: Vec<String>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) protocol: Option<String>,
    pub(crate) rejection: Option<Rejection>,
    /// The extensions that may be agreed on, a bit for each.
    pub(crate) extensions: u32,
    /// The client's `Sec-WebSocket-Key`.
    key: Vec<u8>,
    /// Whether the handler may answer in bytes of its own (`wsh.raw/1`).
    may_be_raw: bool,
    /// The answer in bytes of the handler's own.
    pub(crate) raw: Option<Box<RawAnswer>>,
}

/// A refusal with the handler's status and body.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Draft {
    /// An empty draft for the request `id`, with the client's key and the subprotocols that it offers. `may_be_raw` allows the
    /// handler to answer in bytes of its own.
    pub(crate) fn new(id: u64, key: Vec<u8>, offered: Vec<String>, may_be_raw: bool) -> Draft {
        Draft {
            id,
            offered,
            headers: Vec::new(),
            protocol: None,
            rejection: None,
            extensions: u32::MAX,
            key,
            may_be_raw,
            raw: None,
        }
    }

    /// Lends the draft to a `handshake` on this thread, until the loan is dropped.
    pub(crate) fn lend(&mut self) -> DraftLoan<'_> {
        let response = (&raw mut *self).cast();
        LENT_DRAFT.set(response);
        DraftLoan {
            response,
            draft: PhantomData,
        }
    }

    /// The draft behind a pointer that a plugin gave, if it is lent on this thread. MISUSE for any other pointer, behind which
    /// nothing is read.
    ///
    /// # Safety
    ///
    /// The caller uses the answer only before it returns into the plugin.
    pub(crate) unsafe fn of<'a>(response: *mut abi::Response) -> Result<&'a mut Draft, Status> {
        if response.is_null() || response != LENT_DRAFT.get() {
            return Err(abi::MISUSE);
        }
        // SAFETY: `lend` made the pointer of a `&mut Draft`, which the loan borrows until `LENT_DRAFT` is NULL again.
        Ok(unsafe { &mut *response.cast::<Draft>() })
    }

    /// The id of the request whose `handshake` runs on this thread.
    pub(crate) fn running() -> Option<u64> {
        let draft: *const Draft = LENT_DRAFT.get().cast();
        // SAFETY: a pointer in `LENT_DRAFT` is that of a draft that its loan still borrows. The id never changes.
        (!draft.is_null()).then(|| unsafe { (*draft).id })
    }

    /// The value that `Sec-WebSocket-Accept` must have (RFC 6455 §4.2.2).
    pub(crate) fn accept_key(&self) -> String {
        let mut sha1 = Sha1::from(&self.key);
        sha1.update(ACCEPT_GUID);
        BASE64.encode(&sha1.digest().bytes())
    }

    /// Takes the answer in bytes of the handler's own, if there is one.
    pub(crate) fn take_raw(&mut self) -> Option<Box<RawAnswer>> {
        self.raw.take()
    }

    pub(crate) fn check_raw(&self) -> Result<(), Status> {
        if self.may_be_raw {
            Ok(())
        } else {
            Err(abi::UNSUPPORTED)
        }
    }

    /// Whether the client offered subprotocols and the handler chose none.
    pub(crate) fn chooses_no_protocol(&self) -> bool {
        self.protocol.is_none() && !self.offered.is_empty()
    }

    /// Whether the handler lets its messages be compressed.
    pub(crate) fn allows_deflate(&self) -> bool {
        self.extensions & DEFLATE != 0
    }

    pub(crate) fn add_header(&mut self, name: &str, value: &[u8]) -> Result<(), Status> {
        let before = self.headers.iter();
        let bytes = before.map(|(name, value)| name.len() + value.len()).sum();
        rules::header(name, value, bytes)?;
        self.headers.push((name.to_owned(), value.to_vec()));
        Ok(())
    }

    pub(crate) fn choose_protocol(&mut self, protocol: &str) -> Result<(), Status> {
        if !self.offered.iter().any(|offered| offered == protocol) {
            return Err(abi::INVALID);
        }
        self.protocol = Some(protocol.to_owned());
        Ok(())
    }

    pub(crate) fn reject(&mut self, status: u32, body: &[u8]) -> Result<(), Status> {
        let status = rules::rejection(status, body.len())?;
        self.rejection = Some(Rejection {
            status,
            body: body.to_vec(),
        });
        Ok(())
    }
}

/// The loan of a draft to one call of `handshake`.
pub(crate) struct DraftLoan<'a> {
    /// The pointer by which the plugin knows the draft.
    pub(crate) response: *mut abi::Response,
    draft: PhantomData<&'a mut Draft>,
}

impl Drop for DraftLoan<'_> {
    fn drop(&mut self) {
        LENT_DRAFT.set(ptr::null_mut());
    }
}

thread_local! {
    /// The draft that is lent to the `handshake` on this thread, or NULL. Per thread, because a host function gets a bare
    /// pointer, and only this says whether it is good here.
    static LENT_DRAFT: Cell<*mut abi::Response> = const { Cell::new(ptr::null_mut()) };
}

/// The bit of permessage-deflate in [`Draft::extensions`] (abi.rs, `response_extensions`).
const DEFLATE: u32 = 1;
/// The text that is hashed together with a client's key (RFC 6455 §1.3).
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_offered_subprotocol_can_be_chosen() {
        let mut draft = Draft::new(1, Vec::new(), vec!["chat.v1".to_owned()], false);
        assert_eq!(draft.choose_protocol("chat.v2"), Err(abi::INVALID));
        assert_eq!(draft.choose_protocol("chat.v1"), Ok(()));
    }

    #[test]
    fn the_key_of_the_rfc_is_accepted_as_it_says() {
        let draft = Draft::new(1, b"dGhlIHNhbXBsZSBub25jZQ==".to_vec(), Vec::new(), false);
        assert_eq!(draft.accept_key(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
