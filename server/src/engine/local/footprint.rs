//! The memory that kept things take from the heap, so that a limit in bytes is a limit of the process's memory.
//!
//! The figures are those of the GNU C library on machines of 64 bits. `memory_tests` compares them with the process.

/// What an allocation of `len` bytes takes.
pub(super) const fn allocated(len: usize) -> usize {
    match len {
        0 => 0,
        1..=24 => 32,
        // 8 bytes stand before it, and all is a multiple of 16.
        _ => (len + 8).next_multiple_of(16),
    }
}

/// What an `Arc<str>` or an `Arc<[u8]>` of `len` bytes takes: two counts stand before the bytes.
pub(super) const fn shared(len: usize) -> usize {
    allocated(16 + len)
}

/// What an entry of a `HashTable` takes, without what it points to.
///
/// A table is between 7/16 and 7/8 full, and less where entries come and go. An entry has one byte of the table besides.
pub(super) const fn hash_table_entry(entry_bytes: usize) -> usize {
    (entry_bytes + 1) * 2
}

/// What an entry of a `BTreeMap` takes, without what it points to.
///
/// A node has 11 places. Six of them are used if keys come in their order, and eight on average if they come in no
/// order. Above the leaves, nodes also have pointers.
pub(super) const fn b_tree_entry(entry_bytes: usize) -> usize {
    entry_bytes * 12 / 7 + 8
}

/// What allocations of `bytes` take that come and go in many lengths: about a 16th is lost between them.
pub(super) const fn with_gaps(bytes: usize) -> usize {
    bytes + bytes / 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_takes_at_least_32_bytes_and_a_multiple_of_16() {
        for (len, taken) in [
            (0, 0),
            (1, 32),
            (24, 32),
            (25, 48),
            (40, 48),
            (41, 64),
            (1000, 1008),
        ] {
            assert_eq!(allocated(len), taken, "{len}");
        }
        assert_eq!(shared(0), 32);
        assert_eq!(shared(9), 48);
    }
}
