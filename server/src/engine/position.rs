//! Positions as handlers and clients get them: opaque bytes that say a place in the history of one topic.
//!
//! They may come back from anywhere, so each carries a tag that only servers with the same secret can make. What is not
//! a position of the topic, of the engine or of this form is [`Foreign`]: nothing is known of what came after it.

use std::fmt;
use std::hash::Hasher;

use data_encoding::BASE64URL_NOPAD;
use siphasher::sip::SipHasher24;

use super::{StreamPosition, TopicName};

/// A place in the history of one topic, as bytes: form, engine, epoch, offset, hash of the topic, tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Position([u8; BYTES]);

/// Writes and reads positions.
#[derive(Clone)]
pub(crate) struct Positions {
    secret: [u8; 16],
    engine: u8,
}

/// The bytes are no position of the topic that this server can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Foreign;

impl Position {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The text that handlers in Rust tell their peers.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl Positions {
    /// Positions of an engine of this kind. Servers that share an engine have one secret.
    pub(crate) fn new(secret: [u8; 16], engine_kind: &str) -> Positions {
        Positions {
            secret,
            // The kinds differ in their first letter.
            engine: engine_kind.as_bytes().first().copied().unwrap_or(0),
        }
    }

    /// Writes a place in the history of a topic.
    pub(crate) fn write(&self, topic: &TopicName, at: StreamPosition) -> Position {
        let mut bytes = [0; BYTES];
        bytes[0] = FORM;
        bytes[1] = self.engine;
        bytes[EPOCH..OFFSET].copy_from_slice(&at.epoch.to_le_bytes());
        bytes[OFFSET..TOPIC].copy_from_slice(&at.offset.to_le_bytes());
        bytes[TOPIC..TAG].copy_from_slice(&self.topic_hash(topic).to_le_bytes());
        let tag = self.hash(&bytes[..TAG]);
        bytes[TAG..].copy_from_slice(&tag.to_le_bytes());
        Position(bytes)
    }

    /// Reads what [`write`](Self::write) wrote for the topic. Any bytes may come here.
    ///
    /// # Errors
    /// [`Foreign`] for a position of another topic or engine, for another form, and for bytes that no server wrote.
    pub(crate) fn read(&self, topic: &TopicName, bytes: &[u8]) -> Result<StreamPosition, Foreign> {
        let bytes: &[u8; BYTES] = bytes.try_into().map_err(|_| Foreign)?;
        let is_ours = bytes[0] == FORM
            && bytes[1] == self.engine
            && number(bytes, TAG) == self.hash(&bytes[..TAG])
            && number(bytes, TOPIC) == self.topic_hash(topic);
        if !is_ours {
            return Err(Foreign);
        }
        Ok(StreamPosition {
            epoch: number(bytes, EPOCH),
            offset: number(bytes, OFFSET),
        })
    }

    fn topic_hash(&self, topic: &TopicName) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(topic.owner.as_bytes());
        // No name has a NUL, so no other pair of texts comes to these bytes.
        hasher.write(&[0]);
        hasher.write(topic.name.as_bytes());
        hasher.finish()
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(bytes);
        hasher.finish()
    }
}

fn number(bytes: &[u8; BYTES], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// The only form yet. Another one has another first byte, and may have another length.
const FORM: u8 = 1;
const EPOCH: usize = 2;
const OFFSET: usize = 10;
const TOPIC: usize = 18;
const TAG: usize = 26;
const BYTES: usize = 34;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: StreamPosition = StreamPosition {
        epoch: 0x1122_3344_5566_7788,
        offset: 42,
    };

    fn positions() -> Positions {
        Positions::new([7; 16], "local")
    }

    fn topic(owner: &str, name: &str) -> TopicName {
        TopicName {
            owner: owner.into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_position_is_read_by_every_server_with_the_secret_for_its_topic_only() {
        let lobby = topic("chat", "lobby");
        let position = positions().write(&lobby, AT);

        assert!(position.as_bytes().len() <= 48);
        assert_eq!(positions().read(&lobby, position.as_bytes()), Ok(AT));
        for (positions, topic) in [
            (positions(), topic("chat", "tea")),
            (positions(), topic("char", "lobby")),
            (positions(), topic("", "lobby")),
            (Positions::new([8; 16], "local"), lobby.clone()),
            (Positions::new([7; 16], "redis"), lobby.clone()),
        ] {
            let read = positions.read(&topic, position.as_bytes());
            assert_eq!(read, Err(Foreign), "{topic:?}");
        }
    }

    #[test]
    fn a_position_with_one_bit_changed_or_another_length_is_foreign() {
        let lobby = topic("chat", "lobby");
        let position = positions().write(&lobby, AT);

        for bit in 0..BYTES * 8 {
            let mut bytes = position.0;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(positions().read(&lobby, &bytes), Err(Foreign), "bit {bit}");
        }
        for length in 0..BYTES {
            let read = positions().read(&lobby, &position.0[..length]);
            assert_eq!(read, Err(Foreign), "{length} bytes");
        }
        let longer = [&position.0[..], &[0]].concat();
        assert_eq!(positions().read(&lobby, &longer), Err(Foreign));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_none_are_taken_for_a_position(
            bytes in proptest::collection::vec(any::<u8>(), 0..70),
        ) {
            let read = positions().read(&topic("chat", "lobby"), &bytes);
            prop_assert_eq!(read, Err(Foreign));
        }
    }
}
