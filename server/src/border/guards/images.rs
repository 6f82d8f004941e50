//! The images of plugins, which stay mapped for as long as the process lives, and whose they are.
//!
//! Read without a lock and without memory of the heap: a thread that ends asks, and so does a signal's
//! handler.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::thread_keys::ImageRange;
use crate::border::context::Context;

/// An image, and those that were noted before it.
struct ImageEntry {
    image: ImageRange,
    context: Option<&'static Context>,
    earlier: *mut ImageEntry,
}

/// Notes an image that stays mapped, and the handler that it was opened for.
pub(crate) fn note(image: ImageRange, context: Option<&'static Context>) {
    let mut earlier = IMAGES.load(Ordering::Acquire);
    let entry = Box::into_raw(Box::new(ImageEntry {
        image,
        context,
        earlier,
    }));
    loop {
        // SAFETY: it was made above, and is not in the list yet.
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

/// The handler whose image an address lies in.
pub(crate) fn handler_at(address: usize) -> Option<&'static Context> {
    find(address)?.context
}

fn find(address: usize) -> Option<&'static ImageEntry> {
    let mut next = IMAGES.load(Ordering::Acquire).cast_const();
    // SAFETY: what is in the list is never freed or changed.
    while let Some(entry) = unsafe { next.as_ref() } {
        if entry.image.contains(&address) {
            return Some(entry);
        }
        next = entry.earlier;
    }
    None
}

static IMAGES: AtomicPtr<ImageEntry> = AtomicPtr::new(ptr::null_mut());
