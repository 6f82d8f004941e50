//! Reads a plugin's file without running any of it.
//!
//! All of a descriptor but its pointer is read from the file's bytes. So the initialisers of a plugin that is
//! refused by its descriptor never run.

mod damage;
mod format;

use std::ops::Range;

use object::read::elf::ElfFile64;
use object::{Architecture, Endianness, Object, ObjectKind, ObjectSegment, ObjectSymbol};
use wsh::abi::{self, Descriptor};
use wsh::rules;

use self::damage::{check_holes, check_relocations, check_unique_symbols};
pub(crate) use self::format::ELF_MAGIC;
use self::format::check_format;
use super::refusal::Refusal;

/// A plugin's file, taken apart.
type File<'data> = ElfFile64<'data, Endianness>;

/// What a plugin's file says of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PluginInfo {
    /// The minor version of the ABI that it was built with.
    pub(crate) abi_minor: u32,
    /// The flags of its descriptor, such as `MIGRATES` and `BLOCKING`.
    pub(crate) flags: u32,
    /// The schema of the state that its sessions write; 0 is none.
    pub(crate) schema: u32,
    /// The oldest schema that its sessions read.
    pub(crate) schema_min: u32,
    /// Its own version, for logs.
    pub(crate) version: String,
    /// What it was compiled with, for logs.
    pub(crate) toolchain: String,
    /// What its handler is, for those who look at the server; empty if the plugin does not say.
    pub(crate) description: String,
    /// The names of the libraries that it needs.
    pub(crate) needed: Vec<String>,
    /// Whether threads can run in it that the server does not count.
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
pub(crate) fn inspect(bytes: &[u8]) -> Result<PluginInfo, Refusal> {
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
    let address = find_descriptor(&file)?;
    let about = read_descriptor(address, &file)?;
    check_unique_symbols(&file)?;
    check_holes(&file, bytes)?;
    check_relocations(&file)?;
    Ok(about)
}

/// The address of the descriptor, as the file counts.
fn find_descriptor(file: &File<'_>) -> Result<u64, Refusal> {
    let symbol = file
        .dynamic_symbols()
        .find(|symbol| symbol.is_definition() && symbol.name_bytes() == Ok(abi::SYMBOL.as_bytes()));
    Ok(symbol.ok_or(Refusal::NoSymbol)?.address())
}

/// The bytes at an address, if the file has all of them.
fn bytes_at<'data>(file: &File<'data>, address: u64, length: usize) -> Option<&'data [u8]> {
    file.segments().find_map(|segment| {
        let range = segment.data_range(address, length as u64);
        range.ok().flatten()
    })
}

/// Where the descriptor at this address will lie in the image.
fn placement_of(address: u64, file: &File<'_>) -> Placement {
    let ends = file.segments().map(|segment| {
        let start = segment.address();
        (start, start.saturating_add(segment.size()))
    });
    let (start, end) = ends.fold((address, address), |(start, end), (first, last)| {
        (start.min(first), end.max(last))
    });
    let [bytes_before, bytes_from] =
        [address - start, end - address].map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    Placement {
        bytes_before,
        bytes_from,
    }
}

fn read_descriptor(address: u64, file: &File<'_>) -> Result<PluginInfo, Refusal> {
    let head = bytes_at(file, address, HEAD_BYTES);
    let head = head.ok_or_else(|| Refusal::NoDescriptor {
        found: String::new(),
    })?;
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
    Ok(PluginInfo {
        abi_minor: minor,
        flags,
        schema,
        schema_min,
        version: text(&head[at!(version)..at!(toolchain)]),
        toolchain: text(&head[at!(toolchain)..HEAD_BYTES]),
        description: description(address, size as usize, file),
        needed,
        may_start_threads,
        placement: placement_of(address, file),
    })
}

/// The description in a descriptor of so many bytes; empty if there is none.
fn description(address: u64, size: usize, file: &File<'_>) -> String {
    const AT: usize = std::mem::offset_of!(Descriptor, description);
    const BYTES: usize = size_of::<Descriptor>() - AT;
    // A descriptor that ends before it, or in it, has none.
    let field = match size >= AT + BYTES {
        true => bytes_at(file, address.saturating_add(AT as u64), BYTES),
        false => None,
    };
    field.map(text).unwrap_or_default()
}

/// Whether a library is part of the system and starts threads only when it is asked for them by name.
fn is_of_the_system(library: &str) -> bool {
    let name = library.split(".so").next().unwrap_or_default();
    ["libc", "libm", "libgcc_s", "libpthread", "libdl", "librt"].contains(&name)
        || name.starts_with("ld-linux")
}

/// NUL-padded text, as one line in which each character stands where it was written.
fn text(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let printable = text.replace(changes_the_line, " ");
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a character can break a line, steer a terminal, or reverse what is shown behind it (UAX #9).
pub(crate) fn changes_the_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn malformed(error: object::read::Error) -> Refusal {
    Refusal::Malformed(error.to_string())
}

/// The descriptor up to its first pointer.
const HEAD_BYTES: usize = std::mem::offset_of!(Descriptor, init);
/// The size of a descriptor in ABI 1.0; it can only grow.
const DESCRIPTOR_BYTES_1_0: usize = 208;
/// Functions that a library imports if it can start threads. A Rust library imports one only if it calls
/// `thread::spawn`.
const THREAD_STARTERS: [&[u8]; 4] = [b"pthread_create", b"thrd_create", b"timer_create", b"clone"];
const MACHINE: Architecture = if cfg!(target_arch = "x86_64") {
    Architecture::X86_64
} else if cfg!(target_arch = "aarch64") {
    Architecture::Aarch64
} else {
    Architecture::Unknown
};
