//! Masking (RFC 6455 §5.3): XOR with four bytes, over and over.

/// Unmasks in place, and answers the mask as it stands after `bytes`, for what follows.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) -> [u8; 4] {
    let word = u32::from_ne_bytes(mask);
    let wide = u64::from(word) << 32 | u64::from(word);
    // Sixteen bytes at a time, which the compiler turns into vector instructions.
    let mut blocks = bytes.chunks_exact_mut(16);
    for block in &mut blocks {
        let (low, high) = block.split_at_mut(8);
        xor(low, wide);
        xor(high, wide);
    }
    let rest = blocks.into_remainder();
    let turned = rest.len() % 4;
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    let mut after = mask;
    after.rotate_left(turned);
    after
}

fn xor(eight: &mut [u8], mask: u64) {
    if let Ok(array) = <[u8; 8]>::try_from(&*eight) {
        eight.copy_from_slice(&(u64::from_ne_bytes(array) ^ mask).to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_unmasks_as_the_whole_does() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let masked: Vec<u8> = (0..200u32).map(|n| (n * 7) as u8).collect();
        let expected: Vec<u8> = masked
            .iter()
            .enumerate()
            .map(|(n, b)| b ^ mask[n % 4])
            .collect();

        for split in 0..masked.len() {
            let mut bytes = masked.clone();
            let (first, second) = bytes.split_at_mut(split);
            let after = unmask(first, mask);
            unmask(second, after);
            assert_eq!(bytes, expected, "split at {split}");
        }
    }
}
