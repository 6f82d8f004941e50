//! permessage-deflate (RFC 7692): what is agreed on in the opening handshake.
//!
//! The agreement decides what a session must keep. Without context takeover it keeps nothing between two
//! messages: compressors and decompressors belong to the thread.

pub(crate) mod budget;
pub(crate) mod deflation;
pub(crate) mod inflation;
pub(crate) mod pool;

use std::fmt::Write;
use std::sync::Arc;

use self::budget::{Budget, BudgetShare};
use self::deflation::{Deflation, Effort};
use self::inflation::Inflation;
use super::extension::{Offer, Parameter};
use crate::config::Deflate;

/// What both sides agreed on, and what follows from it for the session.
#[derive(Debug)]
pub(crate) struct Agreement {
    terms: Terms,
    bytes_min: usize,
    /// Pays for the decompressor that context takeover makes the session keep; without it nothing.
    inflater: BudgetShare,
    level: u8,
    budget: Arc<Budget>,
    response: String,
}

/// The four parameters (RFC 7692 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    /// Each message of the server is compressed by itself.
    server_no_context_takeover: bool,
    /// Each message of the client is compressed by itself.
    client_no_context_takeover: bool,
    server_max_window_bits: u8,
    client_max_window_bits: u8,
}

/// What one acceptable offer asks for.
#[derive(Default)]
struct Wish {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// It stands with or without a value.
    client_max_window_bits: Option<Option<u8>>,
}

impl Agreement {
    /// Takes the first offer that can be kept, in the client's order. Without one, `None`, messages go
    /// uncompressed.
    pub(crate) fn reach(
        offers: &[Offer<'_>],
        policy: &Deflate,
        budget: &Arc<Budget>,
    ) -> Option<Agreement> {
        if !policy.enabled {
            return None;
        }
        let mut wishes = offers.iter().filter_map(Wish::read);
        wishes.find_map(|wish| wish.grant(policy, budget))
    }

    /// The value of `Sec-WebSocket-Extensions` in the 101.
    pub(crate) fn response(&self) -> &str {
        &self.response
    }

    /// The two halves of a session: one inflates what the client sends, one compresses what the server sends.
    pub(crate) fn into_halves(self) -> (Box<Inflation>, Box<Deflation>) {
        let terms = &self.terms;
        let effort = Effort {
            window_bits: terms.server_max_window_bits,
            level: self.level,
        };
        let may_keep = (!terms.server_no_context_takeover).then_some(self.budget);
        (
            Box::new(Inflation::new(
                self.inflater,
                !terms.client_no_context_takeover,
            )),
            Box::new(Deflation::new(effort, self.bytes_min, may_keep)),
        )
    }
}

impl Wish {
    /// Reads what an offer asks for. `None` declines it, for a parameter that is unknown or repeated, or has
    /// a value that is not allowed (RFC 7692 §7.1).
    fn read(offer: &Offer<'_>) -> Option<Wish> {
        if offer.name != NAME {
            return None;
        }
        let mut wish = Wish::default();
        for Parameter { name, value } in &offer.parameters {
            let value = value.as_deref();
            let is_first = match (*name, value) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => {
                    !std::mem::replace(&mut wish.server_no_context_takeover, true)
                }
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => {
                    !std::mem::replace(&mut wish.client_no_context_takeover, true)
                }
                (SERVER_MAX_WINDOW_BITS, Some(value)) => {
                    let bits = window_bits(value).filter(|bits| *bits >= WINDOW_BITS_LEAST)?;
                    wish.server_max_window_bits.replace(bits).is_none()
                }
                (CLIENT_MAX_WINDOW_BITS, None) => {
                    wish.client_max_window_bits.replace(None).is_none()
                }
                (CLIENT_MAX_WINDOW_BITS, Some(value)) => {
                    let bits = Some(window_bits(value)?);
                    wish.client_max_window_bits.replace(bits).is_none()
                }
                _ => return None,
            };
            if !is_first {
                return None;
            }
        }
        Some(wish)
    }

    /// Agrees to the offer; `None` if it cannot be kept.
    ///
    /// The answer says only what the client has asked for, unless the configuration limits a window.
    /// Some clients refuse a `client_no_context_takeover` that they have not offered, and others keep
    /// their context nevertheless.
    fn grant(self, policy: &Deflate, budget: &Arc<Budget>) -> Option<Agreement> {
        // The server can drop its own context at any time, but never the client's, so that one is paid for
        // now. Its memory is taken when the first compressed message comes.
        let inflater = match self.client_no_context_takeover {
            true => budget.nothing(),
            false => budget.take(inflation::BYTES)?,
        };
        let asked = self.server_max_window_bits;
        let terms = Terms {
            server_no_context_takeover: self.server_no_context_takeover || !policy.context_takeover,
            client_no_context_takeover: self.client_no_context_takeover,
            server_max_window_bits: asked.unwrap_or(WINDOW_BITS_MOST).min(policy.window_bits),
            // A client that does not offer to limit its window must not be asked to (§7.1.2.2).
            client_max_window_bits: match self.client_max_window_bits {
                None => WINDOW_BITS_MOST,
                Some(most) => most.unwrap_or(WINDOW_BITS_MOST).min(policy.window_bits),
            },
        };
        Some(Agreement {
            response: terms.response(&self),
            terms,
            bytes_min: policy.bytes_min,
            level: policy.level,
            inflater,
            budget: budget.clone(),
        })
    }
}

impl Terms {
    /// The words of the answer. A limit that the client asked for is always confirmed (§7.1.1.1, §7.1.2.1). The order
    /// means nothing; it is that of pywebsocket, whose clients compare lists.
    fn response(&self, wish: &Wish) -> String {
        let mut response = NAME.to_owned();
        let bits = self.server_max_window_bits;
        if wish.server_max_window_bits.is_some() || bits < WINDOW_BITS_MOST {
            let _ = write!(response, "; {SERVER_MAX_WINDOW_BITS}={bits}");
        }
        if wish.server_no_context_takeover {
            let _ = write!(response, "; {SERVER_NO_CONTEXT_TAKEOVER}");
        }
        if self.client_no_context_takeover {
            let _ = write!(response, "; {CLIENT_NO_CONTEXT_TAKEOVER}");
        }
        let bits = self.client_max_window_bits;
        if bits < WINDOW_BITS_MOST {
            let _ = write!(response, "; {CLIENT_MAX_WINDOW_BITS}={bits}");
        }
        response
    }
}

/// Reads 8 to 15 in decimal digits, without leading zeros (§7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";
const WINDOW_BITS_MOST: u8 = 15;
/// zlib does not compress raw DEFLATE with a window of 256 bytes, so an offer that wants it is declined.
/// What a client compresses with so small a window inflates with a larger one.
const WINDOW_BITS_LEAST: u8 = 9;

#[cfg(test)]
pub(super) mod tests;
