//! What a handler says about the answer to an opening handshake.

use wsh::abi::{self, Status};

/// The answer as the handler shapes it in `handshake`: for the 101 and for a refusal alike.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The subprotocols that the client offered.
    pub(crate) offered: Vec<String>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) protocol: Option<String>,
    pub(crate) rejection: Option<Rejection>,
    /// Extensions that may be agreed to, one a bit.
    pub(super) extensions: u32,
}

/// A refusal in the handler's words.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Draft {
    pub(crate) fn new(offered: Vec<String>) -> Draft {
        Draft {
            offered,
            headers: Vec::new(),
            protocol: None,
            rejection: None,
            extensions: u32::MAX,
        }
    }

    /// The draft behind the pointer that a plugin gave.
    ///
    /// # Safety
    ///
    /// `response` is what the running `handshake` call was given, or NULL, and the caller lets go
    /// of the answer before it returns into the plugin.
    pub(super) unsafe fn of<'a>(response: *mut abi::Response) -> Result<&'a mut Draft, Status> {
        // SAFETY: the caller's promise: the pointer was made from a `&mut Draft` that is dormant
        // up the stack.
        unsafe { response.cast::<Draft>().as_mut() }.ok_or(abi::MISUSE)
    }

    /// Whether the client offered subprotocols and the handler wants none of them.
    pub(crate) fn chooses_no_protocol(&self) -> bool {
        self.protocol.is_none() && !self.offered.is_empty()
    }

    /// Whether the handler lets its messages be compressed.
    pub(crate) fn allows_deflate(&self) -> bool {
        self.extensions & DEFLATE != 0
    }

    pub(super) fn add_header(&mut self, name: &str, value: &[u8]) -> Result<(), Status> {
        let is_plain = value
            .iter()
            .all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        if !is_token(name) || !is_plain || is_the_servers(name) {
            return Err(abi::INVALID);
        }
        let bytes: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes + name.len() + value.len() > HEADER_BYTES_MAX {
            return Err(abi::TOO_BIG);
        }
        self.headers.push((name.to_owned(), value.to_vec()));
        Ok(())
    }

    pub(super) fn choose_protocol(&mut self, protocol: &str) -> Result<(), Status> {
        if !self.offered.iter().any(|offered| offered == protocol) {
            return Err(abi::INVALID);
        }
        self.protocol = Some(protocol.to_owned());
        Ok(())
    }

    pub(super) fn reject(&mut self, status: u16, body: &[u8]) -> Result<(), Status> {
        if !(300..=599).contains(&status) {
            return Err(abi::INVALID);
        }
        self.rejection = Some(Rejection {
            status,
            body: body.to_vec(),
        });
        Ok(())
    }
}

/// Whether a header can have this name (RFC 9110 §5.1).
pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_token_byte)
}

/// Whether the server itself says what this header says.
pub(super) fn is_the_servers(name: &str) -> bool {
    let mut ours = OUR_HEADERS.iter();
    ours.any(|ours| ours.eq_ignore_ascii_case(name))
}

/// A byte of a token (RFC 9110 §5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// permessage-deflate in [`Draft::extensions`] (abi.rs, `response_extensions`).
const DEFLATE: u32 = 1;
/// What the server itself says in an answer to an opening handshake.
const OUR_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];
/// All that a handler adds, in bytes.
pub(super) const HEADER_BYTES_MAX: usize = 16 * 1024;
/// The body of a refusal.
pub(super) const REJECTION_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_would_split_the_answer_or_are_the_servers_own_are_invalid() {
        let mut draft = Draft::new(Vec::new());
        for (name, value) in [
            ("X-A", "b\r\nX-C: d"),
            ("X-A\r\nX-C", "d"),
            ("X A", "b"),
            ("", "b"),
            ("X-A", "b\0"),
            ("sec-websocket-accept", "b"),
            ("Connection", "close"),
        ] {
            assert_eq!(
                draft.add_header(name, value.as_bytes()),
                Err(abi::INVALID),
                "{name}: {value}"
            );
        }
        assert_eq!(draft.add_header("Set-Cookie", b"a=b; Path=/"), Ok(()));
    }

    #[test]
    fn only_an_offered_subprotocol_can_be_chosen() {
        let mut draft = Draft::new(vec!["chat.v1".to_owned()]);
        assert_eq!(draft.choose_protocol("chat.v2"), Err(abi::INVALID));
        assert_eq!(draft.choose_protocol("chat.v1"), Ok(()));
    }
}
