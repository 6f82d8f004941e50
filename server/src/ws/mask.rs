//! Masking (RFC 6455 §5.3): XOR with four bytes, over and over.

/// Unmasks in place, and answers the mask as it stands after `bytes`, for what follows.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) -> [u8; 4] {
    unmask_whole(bytes, mask);
    std::array::from_fn(|at| mask[(at + bytes.len()) % 4])
}

/// Unmasks in place what nothing follows.
#[inline]
pub(super) fn unmask_whole(bytes: &mut [u8], mask: [u8; 4]) {
    // Sixty-four bytes at a time, which the compiler turns into vector instructions; what is left,
    // and most messages are no more than that, in smaller steps.
    let (blocks, rest) = bytes.as_chunks_mut::<64>();
    for block in blocks {
        xor(block, mask);
    }
    let (blocks, rest) = rest.as_chunks_mut::<8>();
    for block in blocks {
        xor(block, mask);
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    if let [word] = words {
        xor(word, mask);
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// XORs a block whose length is a multiple of four.
#[inline]
fn xor<const N: usize>(block: &mut [u8; N], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    for four in block.as_chunks_mut::<4>().0 {
        *four = (u32::from_ne_bytes(*four) ^ word).to_ne_bytes();
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
