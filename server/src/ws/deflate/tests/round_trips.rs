//! What one side compresses inflates on the other.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;

use super::*;
use crate::ws::oracle::CASES;

/// Messages of text that compresses, of bytes that do not, and empty ones. A byte takes Miri a millisecond.
fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let (bytes_max, times) = if cfg!(miri) { (300, 5) } else { (3000, 50) };
    let message = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..bytes_max),
        "[a-c]{0,40}".prop_map(move |text| text.repeat(times).into_bytes()),
        Just(Vec::new()),
    ];
    prop::collection::vec(message, 1..6)
}

/// Any combination of an offer and a policy.
fn combinations() -> impl Strategy<Value = (String, Deflate)> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (flags, prop::option::of(9u8..=15), 8u8..=15, 9u8..=15).prop_map(
        |((server_no, client_no, context_takeover), server, client, window_bits)| {
            let mut offer = format!("permessage-deflate; client_max_window_bits={client}");
            if server_no {
                offer += "; server_no_context_takeover";
            }
            if client_no {
                offer += "; client_no_context_takeover";
            }
            if let Some(bits) = server {
                let _ = write!(offer, "; server_max_window_bits={bits}");
            }
            let policy = Deflate {
                context_takeover,
                window_bits,
                ..KEEPS
            };
            (offer, policy)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// What the server compresses, a client's zlib inflates within the window agreed on.
    #[test]
    fn a_client_reads_what_the_server_sends(
        (offer, policy) in combinations(),
        messages in messages(),
        part_bytes in 1usize..4000,
    ) {
        let agreement = reach(&offer, &policy, &rich()).unwrap();
        let terms = agreement.terms;
        let (_, mut deflation) = agreement.into_halves();
        let window = || Decompress::new_with_window_bits(false, terms.server_max_window_bits);
        let mut client = window();
        for message in &messages {
            let mut wire = Vec::new();
            let parts: Vec<&[u8]> = if message.is_empty() {
                vec![b""]
            } else {
                message.chunks(part_bytes).collect()
            };
            let mut is_compressed = true;
            for (n, payload) in parts.iter().enumerate() {
                let part = PartPosition { first: n == 0, last: n + 1 == parts.len() };
                let mut output = Vec::new();
                is_compressed = deflation.compress(part, payload, &mut output);
                wire.extend(output);
            }
            if !is_compressed {
                continue;
            }
            wire.extend_from_slice(b"\x00\x00\xff\xff");
            let mut inflated = Vec::with_capacity(message.len() + 64);
            client.decompress_vec(&wire, &mut inflated, FlushDecompress::Sync).unwrap();
            prop_assert_eq!(&inflated, message);
            if terms.server_no_context_takeover {
                client = window();
            }
        }
    }

    /// What a client's zlib compresses at any level, in any pieces, the server inflates.
    #[test]
    fn the_server_reads_what_a_client_sends(
        (offer, policy) in combinations(),
        messages in messages(),
        level in 0u32..=9,
        flush_bytes in 1usize..4000,
        piece_bytes in 1usize..2000,
    ) {
        let agreement = reach(&offer, &policy, &rich()).unwrap();
        let terms = agreement.terms;
        let (mut inflation, _) = agreement.into_halves();
        let bits = terms.client_max_window_bits.max(9);
        let mut client = Compress::new_with_window_bits(Compression::new(level), false, bits);
        for message in &messages {
            // A flush adds a dozen bytes, and one may follow each byte.
            let mut wire = Vec::with_capacity(64 + 16 * message.len());
            for chunk in message.chunks(flush_bytes) {
                client.compress_vec(chunk, &mut wire, FlushCompress::Sync).unwrap();
            }
            match wire.len().checked_sub(4) {
                Some(length) => wire.truncate(length),
                None => wire.push(0),
            }
            let (mut output, mut left) = (Vec::new(), message.len());
            let pieces = wire.chunks(piece_bytes);
            let count = pieces.len();
            for (n, piece) in pieces.enumerate() {
                prop_assert_eq!(
                    inflation.inflate(piece, n + 1 == count, &mut output, &mut left),
                    Ok(())
                );
            }
            prop_assert_eq!(&output, message);
            prop_assert_eq!(left, 0);
            if terms.client_no_context_takeover {
                client.reset();
            }
        }
    }
}
