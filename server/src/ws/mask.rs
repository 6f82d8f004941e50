//! Unmasking (RFC 6455 §5.3): XOR with the same four bytes, over and over.

/// Unmasks in place, and answers the mask as it stands for the bytes that follow.
pub(super) fn unmask(bytes: &mut [u8], mask: [u8; 4]) -> [u8; 4] {
    unmask_whole(bytes, mask);
    mask_after(mask, bytes.len())
}

/// Unmasks a whole payload in place.
#[inline(always)]
pub(super) fn unmask_whole(bytes: &mut [u8], mask: [u8; 4]) {
    // Most messages are short, and a call would cost them as much as the work.
    if bytes.len() < LONG_BYTES {
        unmask_short(bytes, mask);
    } else {
        unmask_long(bytes, mask);
    }
}

/// Unmasks any bytes. It is compiled into its caller, for the vectors that the caller may use.
#[inline(always)]
fn unmask_short(mut bytes: &mut [u8], mask: [u8; 4]) {
    if (PIECE_BYTES..=2 * PIECE_BYTES).contains(&bytes.len())
        && let (Some(&(mut head)), Some(&(mut tail))) = (bytes.first_chunk(), bytes.last_chunk())
    {
        // Two pieces without a loop or a branch. Where they overlap they are equal.
        xor::<PIECE_BYTES>(&mut head, mask);
        xor::<PIECE_BYTES>(&mut tail, mask_after(mask, bytes.len()));
        let end = bytes.len() - PIECE_BYTES;
        bytes[..PIECE_BYTES].copy_from_slice(&head);
        bytes[end..].copy_from_slice(&tail);
        return;
    }
    // Each piece in one register, so that the next reader can load as much at once.
    while let Some(piece) = take_piece::<PIECE_BYTES>(&mut bytes) {
        xor(piece, mask);
    }
    if let Some(piece) = take_piece::<8>(&mut bytes) {
        xor(piece, mask);
    }
    if let Some(piece) = take_piece::<4>(&mut bytes) {
        xor(piece, mask);
    }
    for (byte, key) in bytes.iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[inline(always)]
fn take_piece<'a, const N: usize>(bytes: &mut &'a mut [u8]) -> Option<&'a mut [u8; N]> {
    bytes.split_off_mut(..N)?.try_into().ok()
}

/// Unmasks many bytes with the widest vectors that this machine has.
#[inline(never)]
fn unmask_long(bytes: &mut [u8], mask: [u8; 4]) {
    // A payload begins at any address, and stores that are not aligned take twice as long.
    let (head, bytes) = bytes.split_at_mut(bytes.as_ptr().align_offset(PIECE_BYTES));
    unmask_short(head, mask);
    let mask = mask_after(mask, head.len());
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "a function for some machines only")]
        // SAFETY: the line above has found the vectors that the function needs.
        return unsafe { unmask_aligned_avx2(bytes, mask) };
    }
    unmask_aligned(bytes, mask);
}

/// The mask as it stands after so many bytes.
#[inline]
fn mask_after(mask: [u8; 4], bytes: usize) -> [u8; 4] {
    u32::from_le_bytes(mask)
        .rotate_right(8 * (bytes % 4) as u32)
        .to_le_bytes()
}

/// Is [`unmask_aligned`] with vectors twice as wide as those that every x86-64 has.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn unmask_aligned_avx2(bytes: &mut [u8], mask: [u8; 4]) {
    unmask_aligned(bytes, mask);
}

/// Unmasks bytes that begin at a multiple of [`PIECE_BYTES`].
// Always inlined, so that it is compiled for the vectors that its caller may use.
#[inline(always)]
fn unmask_aligned(bytes: &mut [u8], mask: [u8; 4]) {
    let (blocks, rest) = bytes.as_chunks_mut::<BLOCK_BYTES>();
    for block in blocks {
        xor(block, mask);
    }
    unmask_short(rest, mask);
}

/// XORs a block whose length is a multiple of four.
#[inline(always)]
fn xor<const N: usize>(block: &mut [u8; N], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    for four in block.as_chunks_mut::<4>().0 {
        *four = (u32::from_ne_bytes(*four) ^ word).to_ne_bytes();
    }
}

const LONG_BYTES: usize = 128;
const BLOCK_BYTES: usize = 128;
const PIECE_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_unmasks_as_the_whole_does() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let masked: Vec<u8> = (0..400u32).map(|n| (n * 7) as u8).collect();
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

    #[test]
    fn every_machine_unmasks_alike() {
        let mask = [0x9a, 0xbc, 0xde, 0xf0];
        // Miri takes milliseconds for a byte.
        let step = if cfg!(miri) { 61 } else { 1 };
        for bytes in (0..1024).step_by(step) {
            let (mut widest, mut plain) = (vec![0x5a; bytes], vec![0x5a; bytes]);

            unmask_whole(&mut widest, mask);
            unmask_aligned(&mut plain, mask);

            assert_eq!(widest, plain, "{bytes} bytes");
        }
    }
}
