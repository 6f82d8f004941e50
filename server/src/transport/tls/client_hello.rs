//! Whether the first message of a client is whole: its ClientHello (RFC 8446 §4.1.2), which may be cut into records.
//!
//! A server uses its key when it has the whole message, and not before. Bytes that cannot become one need no wait: the
//! handshake refuses them.

/// How far the first message of a client has come.
#[derive(Debug, Default)]
pub(super) struct ClientHello {
    /// Where the first record begins that is not whole.
    record_at: usize,
    /// The type of the message and its length, as far as they are in whole records.
    header: Vec<u8>,
    /// The bytes of the message that are in whole records.
    bytes: usize,
}

impl ClientHello {
    /// Whether `received` has the whole message, or cannot become one. It is what an earlier call had, with more behind.
    pub(super) fn is_decided(&mut self, received: &[u8]) -> bool {
        loop {
            let rest = &received[self.record_at..];
            let begins_otherwise = rest
                .iter()
                .zip(&RECORD)
                .any(|(byte, wanted)| byte != wanted);
            if begins_otherwise {
                return true;
            }
            let Some(&[_, _, _, high, low]) = rest.first_chunk() else {
                return false;
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length == 0 || length > RECORD_BYTES_MAX {
                return true;
            }
            let Some(payload) = rest.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length) else {
                return false;
            };
            self.record_at += RECORD_HEADER_BYTES + length;
            self.bytes += length;
            let missing = MESSAGE_HEADER_BYTES - self.header.len();
            self.header.extend(payload.iter().take(missing));
            if self.is_last_record() {
                return true;
            }
        }
    }

    /// Whether no record is to be waited for behind those that are whole.
    fn is_last_record(&self) -> bool {
        match self.header[..] {
            [CLIENT_HELLO, high, middle, low] => {
                let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.bytes >= MESSAGE_HEADER_BYTES + length
            }
            [kind, ..] => kind != CLIENT_HELLO,
            [] => false,
        }
    }
}

/// The type of the records of a handshake (RFC 8446 §5.1).
pub(super) const HANDSHAKE: u8 = 0x16;
/// How each of them begins: its type, and the first byte of its version.
const RECORD: [u8; 2] = [HANDSHAKE, 3];
const RECORD_HEADER_BYTES: usize = 5;
/// The longest record: 2^14 bytes, and what TLS 1.2 adds to it (RFC 5246 §6.2.3).
const RECORD_BYTES_MAX: usize = 16_384 + 2_048;
/// The type of the message and its length (RFC 8446 §4).
const MESSAGE_HEADER_BYTES: usize = 4;
const CLIENT_HELLO: u8 = 1;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message in records of at most `step` bytes each.
    pub(in crate::transport::tls) fn records(message: &[u8], step: usize) -> Vec<u8> {
        let record = |part: &[u8]| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[0x16, 3, 1], &length[..], part].concat()
        };
        message.chunks(step).flat_map(record).collect()
    }

    fn hello(length: usize) -> Vec<u8> {
        let header = [CLIENT_HELLO, 0, (length >> 8) as u8, length as u8];
        [&header[..], &vec![7; length]].concat()
    }

    #[test]
    fn a_hello_is_waited_for_to_its_last_byte_in_records_of_any_size() {
        for (length, step) in [
            (0, 1),
            (0, 4),
            (300, 1),
            (300, 3),
            (300, 4),
            (300, 150),
            (300, 16_384),
            (40_000, 16_384),
        ] {
            let bytes = records(&hello(length), step);
            let mut growing = ClientHello::default();
            for end in 0..bytes.len() {
                assert!(!growing.is_decided(&bytes[..end]), "{length} {step} {end}");
                if length < 1_000 {
                    assert!(!ClientHello::default().is_decided(&bytes[..end]), "{end}");
                }
            }
            assert!(growing.is_decided(&bytes), "{length} {step}");
            let more = [&bytes[..], b"\x14\x03\x03\x00\x01\x01"].concat();
            assert!(ClientHello::default().is_decided(&more), "{length} {step}");
        }
    }

    #[test]
    fn bytes_that_cannot_become_a_hello_are_decided_at_once() {
        for (bytes, decided_at) in [
            (&b"GET / HTTP/1.1\r\n"[..], 1),
            (b"\x80\x2e\x01\x03\x01", 1),
            (b"\x16\x02\x00\x00\x05\x01", 2),
            // Records of no byte, and of more than there may be.
            (b"\x16\x03\x01\x00\x00\x01", 5),
            (b"\x16\x03\x01\x48\x01\x01", 5),
            // A ServerHello, and a message of which only the type has come.
            (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", 9),
            (b"\x16\x03\x01\x00\x01\x02", 6),
            // An alert behind a part of a hello.
            (b"\x16\x03\x01\x00\x01\x01\x15\x03\x03", 7),
        ] {
            let mut growing = ClientHello::default();
            let decided = (0..=bytes.len()).find(|end| growing.is_decided(&bytes[..*end]));
            assert_eq!(decided, Some(decided_at), "{bytes:x?}");
        }
    }
}
