//! The image of a plugin: opens a copy, and reads the tables that lie in it.

use std::collections::HashSet;
use std::mem::{ManuallyDrop, MaybeUninit, offset_of};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use wsh::abi::{self, Descriptor, Vtable};

use crate::plugin::refusal::Refusal;

/// What is known of an image that is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenedImage {
    /// The address of its descriptor.
    pub(crate) descriptor_at: usize,
    pub(crate) init: Option<InitFunction>,
}

/// The function of a plugin that builds its handler.
type InitFunction =
    unsafe extern "C" fn(*const abi::Host, *const abi::Init, *mut abi::Instance) -> abi::Status;

/// Maps a copy, which runs its initialisers, and finds its descriptor.
pub(crate) fn open(path: &Path) -> Result<OpenedImage, Refusal> {
    // NOW: with lazy binding a missing symbol would end the server at its first call. LOCAL: two
    // generations must not find each other's symbols.
    // SAFETY: loading runs the plugin's initialisers. Every user who may write the file is trusted with
    // that (see `trust`), and the file was inspected.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|error| Refusal::Unopened(without_path(&error, path)))?;
    // The library is never closed, also not if it is refused now: threads, thread-locals and `'static` data
    // of it would point into nothing.
    let library = ManuallyDrop::new(library);
    // SAFETY: the inspection found the magic at the head of the symbol, which only a descriptor has.
    let symbol = unsafe { library.get::<*const Descriptor>(abi::SYMBOL) };
    let address = symbol.map(|symbol| symbol.into_raw().cast_const().cast::<Descriptor>());
    let address = address.map_err(|_| Refusal::NoSymbol)?;
    let mut known = DESCRIPTORS.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.get_or_insert_default().insert(address.addr()) {
        return Err(Refusal::StaleImage);
    }
    // There is no reference to it: the plugin's table may end before the fields that were appended to the type.
    // SAFETY: the image is never unmapped, and by the ABI a descriptor is never written to. The inspection found its `size` to
    // be at least that of ABI 1.0, which has `init`.
    let init = unsafe { (&raw const (*address).init).read() };
    Ok(OpenedImage {
        descriptor_at: address.addr(),
        init,
    })
}

/// A copy of a plugin's vtable. Fields that the plugin's own does not have are NULL, also one of which it has only a part.
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
    // All that follows the first 8 bytes is pointers. A part of one would be called as an address.
    let whole_fields = size as usize & !(size_of::<usize>() - 1);
    // SAFETY: the caller promises `size` bytes, and not more than the copy has are written.
    unsafe {
        let length = whole_fields.min(size_of::<Vtable>());
        std::ptr::copy_nonoverlapping(theirs.cast::<u8>(), ours.as_mut_ptr().cast::<u8>(), length);
    }
    // SAFETY: all fields are integers or `Option<fn>`, of which zero is a value, and only whole fields were copied.
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

/// The dynamic linker's message, without the path of the copy, which means nothing to an operator.
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

/// The addresses of the descriptors of all generations. Images are never unmapped, so an address comes a
/// second time only if the system has given out an old image again. Global, as the dynamic linker's list of images is.
static DESCRIPTORS: Mutex<Option<HashSet<usize>>> = Mutex::new(None);

/// The size of a vtable in ABI 1.0.
const VTABLE_BYTES_1_0: usize = offset_of!(Vtable, extension) + size_of::<usize>();
