//! Writes masked frames, as a client sends them (RFC 6455 §5.2).
//!
//! Unit tests, fuzz targets, integration tests and the bench share it. Integration tests and the bench include the file.

/// One masked frame. Its first byte is FIN, the reserved bits and the opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64, KEY);
    let masked = payload.iter().zip(KEY.iter().cycle());
    bytes.extend(masked.map(|(byte, key)| byte ^ key));
    bytes
}

/// The header of a masked frame, with the shortest form of its payload's length. With a key of zeros the payload is sent
/// unchanged.
pub(crate) fn header(first: u8, payload_bytes: u64, key: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload_bytes {
        short @ 0..126 => bytes.push(MASKED | short as u8),
        medium @ 126..0x1_0000 => {
            bytes.push(MASKED | 126);
            bytes.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(MASKED | 127);
            bytes.extend_from_slice(&long.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&key);
    bytes
}

const MASKED: u8 = 0x80;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_shortest_length_that_its_payload_needs() {
        for (payload_bytes, header_bytes) in [(125, 2), (126, 4), (0xffff, 4), (0x1_0000, 10)] {
            let payload = vec![0; payload_bytes];

            let frame = frame(0x82, &payload);

            assert_eq!(frame.len(), header_bytes + KEY.len() + payload_bytes);
        }
    }
}
