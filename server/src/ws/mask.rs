//! Masking (RFC 6455 §5.3): XOR with four bytes, over and over.

/// Unmasks in place, and answers the mask as it stands after `bytes`, for what follows.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) -> [u8; 4] {
    unmask_whole(bytes, mask);
    std::array::from_fn(|at| mask[(at + bytes.len()) % 4])
}

/// Unmasks in place what nothing follows.
#[inline(always)]
pub(super) fn unmask_whole(mut bytes: &mut [u8], mask: [u8; 4]) {
    // Most messages are short, and a call would cost them as much as the work.
    if bytes.len() >= BLOCK_BYTES {
        bytes = unmask_blocks(bytes, mask);
    }
    // Each piece in one register: whoever reads it next may read as much at once.
    let (pieces, rest) = bytes.as_chunks_mut::<PIECE_BYTES>();
    for piece in pieces {
        xor(piece, mask);
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for word in words {
        xor(word, mask);
    }
    for (byte, key) in rest.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

/// Unmasks whole blocks with the widest vectors that this machine has; answers the rest.
#[inline(never)]
fn unmask_blocks(bytes: &mut [u8], mask: [u8; 4]) -> &mut [u8] {
    let (blocks, rest) = bytes.as_chunks_mut::<BLOCK_BYTES>();
    pulp::Arch::new().dispatch(XorBlocks { blocks, mask });
    rest
}

/// A loop that is compiled once for each kind of machine.
struct XorBlocks<'a> {
    blocks: &'a mut [[u8; BLOCK_BYTES]],
    mask: [u8; 4],
}

impl pulp::NullaryFnOnce for XorBlocks<'_> {
    type Output = ();

    // Always: only inside its caller is it compiled for that machine's vectors.
    #[inline(always)]
    fn call(self) {
        for block in self.blocks {
            xor(block, self.mask);
        }
    }
}

/// XORs a block whose length is a multiple of four.
#[inline(always)]
fn xor<const N: usize>(block: &mut [u8; N], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    for four in block.as_chunks_mut::<4>().0 {
        *four = (u32::from_ne_bytes(*four) ^ word).to_ne_bytes();
    }
}

const BLOCK_BYTES: usize = 128;
const PIECE_BYTES: usize = 16;

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
