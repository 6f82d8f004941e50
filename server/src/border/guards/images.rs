//! The list of plugins' images, which stay mapped as long as the process lives, with the handler of each.
//!
//! It is read without a lock and without memory of the heap, because ending threads and handlers of signals read it.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::thread_keys::ImageRange;
use crate::border::handler_context::HandlerContext;

/// An image, its handler, and the images that were noted before it.
struct ImageEntry {
    image: ImageRange,
    context: Option<&'static HandlerContext>,
    earlier: *mut ImageEntry,
}

/// Adds an image, and the handler that it was opened for.
pub(crate) fn note(image: ImageRange, context: Option<&'static HandlerContext>) {
    let mut earlier = IMAGES.load(Ordering::Acquire);
    let entry = Box::into_raw(Box::new(ImageEntry {
        image,
        context,
        earlier,
    }));
    loop {
        // SAFETY: the entry was made above, and no other thread sees it before it is in the list.
        unsafe { (*entry).earlier = earlier };
        let added =
            IMAGES.compare_exchange_weak(earlier, entry, Ordering::AcqRel, Ordering::Acquire);
        match added {
            Ok(_) => return,
            Err(now) => earlier = now,
        }
    }
}

/// Whether an address lies in an image of a plugin.
pub(crate) fn contains(address: usize) -> bool {
    find(address).is_some()
}

/// The handler in whose image an address lies.
pub(crate) fn handler_at(address: usize) -> Option<&'static HandlerContext> {
    find(address)?.context
}

fn find(address: usize) -> Option<&'static ImageEntry> {
    let mut next = IMAGES.load(Ordering::Acquire).cast_const();
    // SAFETY: entries of the list are never freed or changed.
    while let Some(entry) = unsafe { next.as_ref() } {
        if entry.image.contains(&address) {
            return Some(entry);
        }
        next = entry.earlier;
    }
    None
}

/// The latest entry. Global, because handlers of signals and exported functions read it.
static IMAGES: AtomicPtr<ImageEntry> = AtomicPtr::new(ptr::null_mut());
