//! Reads a plugin's file without running any of it.
//!
//! Everything that a descriptor says before its first pointer is taken from the file's bytes, so
//! the initialisers of a plugin that is going to be refused never run.

use std::ops::Range;

use object::elf::{PF_W, PF_X, RelocationType, STB_GNU_UNIQUE};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader as _, SectionHeader as _};
use object::{
    Architecture, Endianness, Object, ObjectKind, ObjectSection, ObjectSegment, ObjectSymbol,
    RelocationFlags, SegmentFlags, SymbolFlags,
};
use wsh::abi::{self, Descriptor};
use wsh::rules;

use super::refusal::Refusal;

/// A plugin's file, taken apart.
type File<'data> = ElfFile64<'data, Endianness>;

/// What a plugin's file says of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    /// The ABI that it was built with.
    pub(crate) abi_minor: u32,
    /// `PANIC_ABORT`, `MIGRATES`, `BLOCKING`, `ASYNC`, `ORIGIN_ANY`.
    pub(crate) flags: u32,
    /// The schema of the state that its sessions write, and the oldest that they read; 0 is none.
    pub(crate) schema: u32,
    pub(crate) schema_min: u32,
    /// Its own version, for people.
    pub(crate) version: String,
    /// What it was compiled with, for people.
    pub(crate) toolchain: String,
    /// Libraries that it needs, by name.
    pub(crate) needed: Vec<String>,
    /// Whether threads can run in it that the server knows nothing of.
    pub(crate) may_start_threads: bool,
    /// Where in the loaded image the descriptor lies.
    pub(crate) placement: Placement,
}

/// How much of a loaded image lies on either side of the descriptor's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    bytes_before: usize,
    bytes_from: usize,
}

impl Placement {
    /// The addresses of the image whose descriptor was loaded there.
    pub(crate) fn image(self, descriptor: usize) -> Range<usize> {
        descriptor.saturating_sub(self.bytes_before)..descriptor.saturating_add(self.bytes_from)
    }
}

/// Reads a plugin's file, whole.
pub(crate) fn inspect(bytes: &[u8]) -> Result<About, Refusal> {
    check_format(bytes)?;
    let file = File::parse(bytes).map_err(malformed)?;
    if file.architecture() != MACHINE {
        let found = format!("{:?}", file.architecture()).to_lowercase();
        let wanted = std::env::consts::ARCH;
        return Err(Refusal::ForeignMachine { found, wanted });
    }
    if file.kind() != ObjectKind::Dynamic {
        let found = match file.kind() {
            ObjectKind::Relocatable => "an object file",
            ObjectKind::Executable => "a program",
            _ => "no library",
        };
        let wanted = "shared libraries";
        return Err(Refusal::ForeignFormat { found, wanted });
    }
    let (head, placement) = find_descriptor(&file)?;
    let about = read_descriptor(head, placement, &file)?;
    check_unique_symbols(&file)?;
    check_holes(&file, bytes)?;
    check_relocations(&file)?;
    Ok(about)
}

/// Whether the bytes begin as a library of this system does, and all of it is there.
fn check_format(bytes: &[u8]) -> Result<(), Refusal> {
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

/// The name of the format that libraries of other systems have. Nothing else in them is read.
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
    // Both tables are there; what they point to may not be.
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

/// The head of the descriptor, as it lies in the file, and where it will lie in the image.
fn find_descriptor<'data>(file: &File<'data>) -> Result<(&'data [u8], Placement), Refusal> {
    let symbol = file
        .dynamic_symbols()
        .find(|symbol| symbol.is_definition() && symbol.name_bytes() == Ok(abi::SYMBOL.as_bytes()));
    let address = symbol.ok_or(Refusal::NoSymbol)?.address();
    let found = file.segments().find_map(|segment| {
        let range = segment.data_range(address, HEAD_BYTES as u64);
        range.ok().flatten()
    });
    let head = found.ok_or_else(|| Refusal::NoDescriptor {
        found: String::new(),
    })?;
    let ends = file.segments().map(|segment| {
        let start = segment.address();
        (start, start.saturating_add(segment.size()))
    });
    let (start, end) = ends.fold((address, address), |(start, end), (first, last)| {
        (start.min(first), end.max(last))
    });
    let [bytes_before, bytes_from] =
        [address - start, end - address].map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let placement = Placement {
        bytes_before,
        bytes_from,
    };
    Ok((head, placement))
}

fn read_descriptor(head: &[u8], placement: Placement, file: &File<'_>) -> Result<About, Refusal> {
    let number = |at: usize| -> u32 {
        let bytes = head[at..]
            .first_chunk()
            .copied()
            .expect("the head is longer");
        u32::from_ne_bytes(bytes)
    };
    macro_rules! at {
        ($field:ident) => {
            std::mem::offset_of!(Descriptor, $field)
        };
    }
    if !head.starts_with(&abi::MAGIC) {
        let found = head[..abi::MAGIC.len()].escape_ascii().to_string();
        return Err(Refusal::NoDescriptor { found });
    }
    // The major decides what the rest means, so nothing else is read before it.
    let (major, minor) = (number(at!(abi_major)), number(at!(abi_minor)));
    if major != abi::ABI_MAJOR {
        return Err(Refusal::OtherMajor { major, minor });
    }
    let needs = number(at!(min_host_minor));
    if needs > abi::ABI_MINOR {
        return Err(Refusal::NeedsNewer { major, needs });
    }
    let size = number(at!(size));
    if (size as usize) < DESCRIPTOR_BYTES_1_0 {
        return Err(Refusal::ShortTable {
            table: "descriptor",
            found: size,
            wanted: DESCRIPTOR_BYTES_1_0,
        });
    }
    let flags = number(at!(flags));
    if flags & abi::PANIC_ABORT != 0 {
        return Err(Refusal::PanicAbort);
    }
    let (schema, schema_min) = (number(at!(state_schema)), number(at!(state_schema_min)));
    rules::descriptor(number(at!(reserved)), schema, schema_min).map_err(Refusal::Unfit)?;
    let libraries = file.import_libraries().map_err(malformed)?;
    let needed = libraries
        .flatten()
        .map(|library| String::from_utf8_lossy(library.name()).into_owned());
    let needed: Vec<String> = needed.collect();
    let may_start_threads = needed.iter().any(|library| !is_of_the_system(library))
        || file.dynamic_symbols().any(|symbol| {
            let name = symbol.name_bytes().unwrap_or_default();
            symbol.is_undefined() && THREAD_STARTERS.contains(&name)
        });
    Ok(About {
        abi_minor: minor,
        flags,
        schema,
        schema_min,
        version: text(&head[at!(version)..at!(toolchain)]),
        toolchain: text(&head[at!(toolchain)..HEAD_BYTES]),
        needed,
        may_start_threads,
        placement,
    })
}

/// Whether a library starts no threads but for those who ask for them by name.
fn is_of_the_system(library: &str) -> bool {
    let name = library.split(".so").next().unwrap_or_default();
    ["libc", "libm", "libgcc_s", "libpthread", "libdl", "librt"].contains(&name)
        || name.starts_with("ld-linux")
}

/// C++ marks the statics of inline functions and templates as unique in the process: the dynamic
/// linker then gives a new generation the statics of the old one.
fn check_unique_symbols(file: &File<'_>) -> Result<(), Refusal> {
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
/// Where code lies, and the tables that only a panic or a first call reads, a page of zeros is never
/// meant; a trial need not come across it, and a session would.
fn check_holes(file: &File<'_>, bytes: &[u8]) -> Result<(), Refusal> {
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

/// Refuses a file whose relocations write outside of its own image. What lies there differs from one
/// process to the next, so a trial may live through it and the server may not.
fn check_relocations(file: &File<'_>) -> Result<(), Refusal> {
    let writable: Vec<Range<u64>> = file
        .segments()
        .filter(|segment| match segment.flags() {
            SegmentFlags::Elf { p_flags, .. } => p_flags & PF_W == PF_W,
            _ => false,
        })
        .map(|segment| segment.address()..segment.address().saturating_add(segment.size()))
        .collect();
    for (at, relocation) in file.dynamic_relocations().into_iter().flatten() {
        // Type 0 writes nothing, on every machine; tools leave it where an entry was.
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

/// NUL-padded text for people, made safe for a log line.
fn text(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.chars().filter(|c| !c.is_control()).collect()
}

fn cut_off(bytes: &[u8], wanted: u64) -> Refusal {
    let found = bytes.len() as u64;
    Refusal::CutOff { found, wanted }
}

fn malformed(error: object::read::Error) -> Refusal {
    Refusal::Malformed(error.to_string())
}

/// The descriptor up to its first pointer.
const HEAD_BYTES: usize = std::mem::offset_of!(Descriptor, init);
/// What a descriptor had in ABI 1.0; it can only grow.
const DESCRIPTOR_BYTES_1_0: usize = 208;
/// What a library asks of the system if it has threads of its own. Rust's standard library does only
/// where `thread::spawn` is called.
const THREAD_STARTERS: [&[u8]; 4] = [b"pthread_create", b"thrd_create", b"timer_create", b"clone"];
/// What a file loses at least when a part of it does not arrive.
const HOLE_BYTES: usize = 4096;
/// Sections in which something stands everywhere.
const FULL_TABLES: [&[u8]; 6] = [
    b".eh_frame",
    b".gcc_except_table",
    b".rela.dyn",
    b".rela.plt",
    b".dynsym",
    b".dynstr",
];
pub(crate) const ELF_MAGIC: &[u8] = b"\x7fELF";
const MACH_O_MAGICS: [[u8; 4]; 4] = [
    *b"\xfe\xed\xfa\xce",
    *b"\xfe\xed\xfa\xcf",
    *b"\xce\xfa\xed\xfe",
    *b"\xcf\xfa\xed\xfe",
];
/// Where the header of a DOS program says where that of a PE file is.
const DOS_HEADER_PE: Range<usize> = 0x3c..0x40;
/// Where an ELF file says whether it is of 32 or 64 bits.
const ELF_CLASS: usize = 4;
const ELF_HEADER_BYTES: u64 = 64;
const MACHINE: Architecture = if cfg!(target_arch = "x86_64") {
    Architecture::X86_64
} else if cfg!(target_arch = "aarch64") {
    Architecture::Aarch64
} else {
    Architecture::Unknown
};

#[cfg(test)]
mod tests {
    use super::*;

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
