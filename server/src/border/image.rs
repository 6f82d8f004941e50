//! The image of a plugin: opens a copy, and reads the tables that lie in it.

use std::collections::HashSet;
use std::mem::{MaybeUninit, offset_of};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use wsh::abi::{self, Descriptor, Vtable};

use crate::plugin::refusal::Refusal;

/// Maps a copy, whose initialisers run, and finds its descriptor.
pub(crate) fn open(path: &Path) -> Result<&'static Descriptor, Refusal> {
    // Now: a symbol that is missing would otherwise end the server at its first call. Local: two
    // generations must not find each other's symbols.
    // SAFETY: loading runs the plugin's initialisers; whoever may write the file is trusted with
    // that (see `trust`), and the file was inspected.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| Refusal::Unopened(without_path(&error, path)))?;
    // SAFETY: the symbol is a static of this type: the inspected head began with the magic.
    let symbol = unsafe { library.get::<*const Descriptor>(abi::SYMBOL) };
    let address = symbol.map(|symbol| symbol.into_raw().cast_const().cast::<Descriptor>());
    let address = address.map_err(|_| Refusal::NoSymbol)?;
    // Never closed, see `Plugin`.
    let _ = library.into_raw();
    let mut known = DESCRIPTORS.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.get_or_insert_default().insert(address.addr()) {
        return Err(Refusal::StaleImage);
    }
    // SAFETY: the image is never unmapped, a descriptor is never written to, and its `size` was
    // found to be at least that of this type.
    Ok(unsafe { &*address })
}

/// A vtable of one's own with what the plugin has of it.
///
/// # Safety
///
/// `theirs` points to a vtable of which as many bytes can be read as its `size` says.
pub(super) unsafe fn copy_vtable(theirs: *const Vtable) -> Result<Vtable, Refusal> {
    // SAFETY: every table begins with its size.
    let size = unsafe { theirs.cast::<u32>().read() };
    if (size as usize) < VTABLE_BYTES_1_0 {
        return Err(Refusal::ShortTable {
            table: "vtable",
            found: size,
            wanted: VTABLE_BYTES_1_0,
        });
    }
    let mut ours = MaybeUninit::<Vtable>::zeroed();
    // SAFETY: the caller vouches for `size` bytes, and no more than ours has are written.
    unsafe {
        let length = (size as usize).min(size_of::<Vtable>());
        std::ptr::copy_nonoverlapping(theirs.cast::<u8>(), ours.as_mut_ptr().cast::<u8>(), length);
    }
    // SAFETY: integers and `Option<fn>`: zero is a value of each, and fields are appended whole.
    let vtable = unsafe { ours.assume_init() };
    for (is_there, name) in [
        (vtable.open.is_some(), "open"),
        (vtable.message.is_some(), "message"),
        (vtable.destroy.is_some(), "destroy"),
        (vtable.shutdown.is_some(), "shutdown"),
    ] {
        if !is_there {
            return Err(Refusal::NoFunction(name));
        }
    }
    Ok(vtable)
}

/// What the dynamic linker says, without the name of the copy that nobody knows.
fn without_path(error: &libloading::Error, path: &Path) -> String {
    use std::error::Error;
    let text = match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    };
    let path = path.display().to_string();
    let text = text.replace(&format!("{path}: "), "").replace(&path, "it");
    if text.contains("static TLS") {
        return format!("{text}; restart the server");
    }
    text
}

/// Where the descriptors of all generations lie; images are never unmapped, so none lies where
/// another did unless the system gave out an old image again.
static DESCRIPTORS: Mutex<Option<HashSet<usize>>> = Mutex::new(None);

/// What a vtable had in ABI 1.0.
const VTABLE_BYTES_1_0: usize = offset_of!(Vtable, extension) + size_of::<usize>();
