//! The answer to an opening handshake, while the handler works it out.

use crate::{
    abi::{self, Status},
    rules,
};

/// The answer to one client: for the 101, or for a refusal.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseDraft {
    /// The subprotocols that the client offers.
    pub(super) offered: Vec<String>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) protocol: String,
    pub(super) rejection: Option<(u16, Vec<u8>)>,
    /// An answer in bytes of the handler's own, and what follows it.
    pub(super) raw: Option<(Vec<u8>, rules::RawThen)>,
}

impl ResponseDraft {
    pub(super) fn add_header(&mut self, name: &str, value: &[u8]) -> Result<(), Status> {
        let before = self.headers.iter();
        let bytes = before.map(|(name, value)| name.len() + value.len()).sum();
        rules::header(name, value, bytes)?;
        self.headers.push((name.into(), value.into()));
        Ok(())
    }

    pub(super) fn choose_protocol(&mut self, name: &str) -> Result<(), Status> {
        if !self.offered.iter().any(|offered| offered == name) {
            return Err(abi::INVALID);
        }
        self.protocol = name.into();
        Ok(())
    }

    pub(super) fn reject(&mut self, status: u32, body: &[u8]) -> Result<(), Status> {
        let status = rules::rejection(status, body.len())?;
        self.rejection = Some((status, body.into()));
        Ok(())
    }
}
