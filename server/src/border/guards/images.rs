//! The images of plugins, which stay mapped for as long as the process lives, and whose they are.
//!
//! Read without a lock and without memory of the heap: a thread that ends asks, and so does a signal's
//! handler.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::thread_keys::Image;
use crate::border::context::Context;

/// An image, and those that were noted before it.
struct Kept {
    image: Image,
    context: Option<&'static Context>,
    earlier: *mut Kept,
}

/// Notes an image that stays mapped, and the handler that it was opened for.
pub(crate) fn keep(image: Image, context: Option<&'static Context>) {
    let mut earlier = KEPT.load(Ordering::Acquire);
    let kept = Box::into_raw(Box::new(Kept {
        image,
        context,
        earlier,
    }));
    loop {
        // SAFETY: it was made above, and is not in the list yet.
        unsafe { (*kept).earlier = earlier };
        let added = KEPT.compare_exchange_weak(earlier, kept, Ordering::AcqRel, Ordering::Acquire);
        match added {
            Ok(_) => return,
            Err(now) => earlier = now,
        }
    }
}

/// Whether an address lies in an image of a plugin.
pub(crate) fn has(address: usize) -> bool {
    find(address).is_some()
}

/// The handler whose image an address lies in.
pub(crate) fn handler_at(address: usize) -> Option<&'static Context> {
    find(address)?.context
}

fn find(address: usize) -> Option<&'static Kept> {
    let mut next = KEPT.load(Ordering::Acquire).cast_const();
    // SAFETY: what is in the list is never freed or changed.
    while let Some(kept) = unsafe { next.as_ref() } {
        if kept.image.contains(&address) {
            return Some(kept);
        }
        next = kept.earlier;
    }
    None
}

static KEPT: AtomicPtr<Kept> = AtomicPtr::new(ptr::null_mut());
