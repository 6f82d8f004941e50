//! Whether a file is a library of this system, and all of it is there.

use std::ops::Range;

use object::Endianness;
use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _};

use super::malformed;
use crate::plugin::refusal::Refusal;

/// Whether the bytes begin as a library of this system does, and all of it is there.
pub(super) fn check_format(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    let wanted = "64-bit ELF libraries";
    if bytes.len() < ELF_MAGIC.len() && ELF_MAGIC.starts_with(bytes) {
        return Err(cut_off(bytes, ELF_HEADER_BYTES));
    }
    if !bytes.starts_with(ELF_MAGIC) {
        return Err(match foreign_format(bytes) {
            Some(found) => Refusal::ForeignFormat { found, wanted },
            None => {
                let beginning = bytes[..bytes.len().min(16)].escape_ascii().to_string();
                Refusal::NotALibrary { beginning }
            }
        });
    }
    match bytes.get(ELF_CLASS) {
        None => return Err(cut_off(bytes, ELF_HEADER_BYTES)),
        Some(1) => {
            let found = "a 32-bit ELF file";
            return Err(Refusal::ForeignFormat { found, wanted });
        }
        Some(_) => {}
    }
    if (bytes.len() as u64) < ELF_HEADER_BYTES {
        return Err(cut_off(bytes, ELF_HEADER_BYTES));
    }
    let wanted = elf_length(bytes)?;
    if (bytes.len() as u64) < wanted {
        return Err(cut_off(bytes, wanted));
    }
    Ok(())
}

/// The name of the format, if it is that of libraries of another system. Nothing else in them is read.
fn foreign_format(bytes: &[u8]) -> Option<&'static str> {
    if MACH_O_MAGICS.iter().any(|magic| bytes.starts_with(magic)) {
        return Some("a Mach-O file");
    }
    let header = bytes
        .get(DOS_HEADER_PE)
        .filter(|_| bytes.starts_with(b"MZ"))?;
    let header = u32::from_le_bytes(header.try_into().ok()?);
    let is_pe = bytes.get(header as usize..)?.starts_with(b"PE\0\0");
    is_pe.then_some("a PE file")
}

/// How long the file is at least, by its own headers.
fn elf_length(bytes: &[u8]) -> Result<u64, Refusal> {
    let header = object::elf::FileHeader64::<Endianness>::parse(bytes).map_err(malformed)?;
    let endian = header.endian().map_err(malformed)?;
    let table = |offset: u64, entries: u16, entry_bytes: u16| {
        offset.saturating_add(u64::from(entries) * u64::from(entry_bytes))
    };
    let sections = table(
        header.e_shoff(endian),
        header.e_shnum(endian),
        header.e_shentsize(endian),
    );
    let segments = table(
        header.e_phoff(endian),
        header.e_phnum(endian),
        header.e_phentsize(endian),
    );
    let tables = sections.max(segments);
    if (bytes.len() as u64) < tables {
        return Ok(tables);
    }
    // Both tables are there. What they point to may be missing.
    let mut end = tables;
    for segment in header.program_headers(endian, bytes).map_err(malformed)? {
        let (offset, length) = (segment.p_offset(endian), segment.p_filesz(endian));
        end = end.max(offset.saturating_add(length));
    }
    for section in header.section_headers(endian, bytes).map_err(malformed)? {
        if section.sh_type(endian) != object::elf::SHT_NOBITS {
            let (offset, length) = (section.sh_offset(endian), section.sh_size(endian));
            end = end.max(offset.saturating_add(length));
        }
    }
    Ok(end)
}

fn cut_off(bytes: &[u8], wanted: u64) -> Refusal {
    let found = bytes.len() as u64;
    Refusal::CutOff { found, wanted }
}

pub(crate) const ELF_MAGIC: &[u8] = b"\x7fELF";
const MACH_O_MAGICS: [[u8; 4]; 4] = [
    *b"\xfe\xed\xfa\xce",
    *b"\xfe\xed\xfa\xcf",
    *b"\xce\xfa\xed\xfe",
    *b"\xcf\xfa\xed\xfe",
];
/// Where the header of a DOS program says where the header of a PE file is.
const DOS_HEADER_PE: Range<usize> = 0x3c..0x40;
/// Where an ELF file says whether it is of 32 or 64 bits.
const ELF_CLASS: usize = 4;
const ELF_HEADER_BYTES: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::inspect::inspect;

    #[test]
    fn libraries_of_other_systems_are_named() {
        let wanted = "64-bit ELF libraries";
        let mut pe = vec![0; 0x80];
        pe[..2].copy_from_slice(b"MZ");
        pe[DOS_HEADER_PE].copy_from_slice(&0x78_u32.to_le_bytes());
        pe[0x78..0x7c].copy_from_slice(b"PE\0\0");
        let mach_o = b"\xcf\xfa\xed\xfe\x07\0\0\x01".to_vec();
        for (bytes, found) in [(pe, "a PE file"), (mach_o, "a Mach-O file")] {
            let refusal = Refusal::ForeignFormat { found, wanted };
            assert_eq!(
                inspect(&bytes).unwrap_err().to_string(),
                refusal.to_string(),
                "{found}"
            );
        }
        let beginning = "#!/bin/sh\\n".to_owned();
        let refusal = Refusal::NotALibrary { beginning };
        assert_eq!(
            inspect(b"#!/bin/sh\n").unwrap_err().to_string(),
            refusal.to_string()
        );
    }
}
