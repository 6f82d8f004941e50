//! Faults of a library that would show only after it was opened, and are seen in its file.

use std::ops::Range;

use object::elf::{PF_W, PF_X, RelocationType, STB_GNU_UNIQUE};
use object::{
    Object, ObjectSection, ObjectSegment, ObjectSymbol, RelocationFlags, SegmentFlags, SymbolFlags,
};

use super::File;
use crate::plugin::refusal::Refusal;

/// Refuses a file with symbols that are unique in the process, as C++ marks statics of inline functions
/// and templates. The dynamic linker would give a new generation the statics of the old one.
pub(super) fn check_unique_symbols(file: &File<'_>) -> Result<(), Refusal> {
    let unique = file.dynamic_symbols().find(|symbol| match symbol.flags() {
        SymbolFlags::Elf { st_info, .. } => {
            st_info.st_bind() == STB_GNU_UNIQUE && symbol.is_definition()
        }
        _ => false,
    });
    match unique {
        Some(symbol) => {
            let symbol = symbol.name_bytes().unwrap_or_default();
            let symbol = String::from_utf8_lossy(symbol).into_owned();
            Err(Refusal::UniqueSymbol { symbol })
        }
        None => Ok(()),
    }
}

/// Refuses a file that has lost a page, as after an upload that was cut off and goes on elsewhere.
///
/// A page of zeros is never meant in code, nor in tables that only a panic or a first call reads. A trial
/// may not come across it, and a session would.
pub(super) fn check_holes(file: &File<'_>, bytes: &[u8]) -> Result<(), Refusal> {
    let code = file.segments().filter_map(|segment| match segment.flags() {
        SegmentFlags::Elf { p_flags, .. } if p_flags & PF_X == PF_X => Some(segment.file_range()),
        _ => None,
    });
    let tables = file.sections().filter_map(|section| {
        let name = section.name_bytes().unwrap_or_default();
        let range = section.file_range()?;
        FULL_TABLES.contains(&name).then_some(range)
    });
    for (offset, length) in code.chain(tables) {
        let end = usize::try_from(offset.saturating_add(length)).unwrap_or(usize::MAX);
        let end = end.min(bytes.len());
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut at = first.saturating_add(HOLE_BYTES - 1) / HOLE_BYTES * HOLE_BYTES;
        while at.saturating_add(HOLE_BYTES) <= end {
            if bytes[at..at + HOLE_BYTES].iter().all(|byte| *byte == 0) {
                return Err(Refusal::Hole { at: at as u64 });
            }
            at += HOLE_BYTES;
        }
    }
    Ok(())
}

/// Refuses a file whose relocations write outside of its own image. What lies there differs between
/// processes, so a trial may survive what ends the server.
pub(super) fn check_relocations(file: &File<'_>) -> Result<(), Refusal> {
    let writable: Vec<Range<u64>> = file
        .segments()
        .filter(|segment| match segment.flags() {
            SegmentFlags::Elf { p_flags, .. } => p_flags & PF_W == PF_W,
            _ => false,
        })
        .map(|segment| segment.address()..segment.address().saturating_add(segment.size()))
        .collect();
    for (at, relocation) in file.dynamic_relocations().into_iter().flatten() {
        // Type 0 writes nothing, on every machine. Tools leave it where they removed an entry.
        if matches!(relocation.flags(), RelocationFlags::Elf { r_type } if r_type == RelocationType(0))
        {
            continue;
        }
        let last = at.saturating_add(7);
        let is_inside = writable
            .iter()
            .any(|range| range.contains(&at) && range.contains(&last));
        if !is_inside {
            let text = format!("a relocation writes to {at:#x}, which is no part of its data");
            return Err(Refusal::Malformed(text));
        }
    }
    Ok(())
}

/// The smallest part of a file that is lost when a part does not arrive.
const HOLE_BYTES: usize = 4096;
/// Sections in which no page is empty.
const FULL_TABLES: [&[u8]; 6] = [
    b".eh_frame",
    b".gcc_except_table",
    b".rela.dyn",
    b".rela.plt",
    b".dynsym",
    b".dynstr",
];
