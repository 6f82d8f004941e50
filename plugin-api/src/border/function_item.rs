//! The value of a function's type, made from the type alone.

use std::ptr::NonNull;

/// The function item, or the closure without captures, whose type is `F`.
///
/// The vtable is made at compile time, and knows the author's function by its type only. This gets the function back. It
/// is for types of which [`export`](crate::border::export) was given a value.
pub(crate) fn item<F: Copy>() -> F {
    const {
        assert!(
            size_of::<F>() == 0,
            "a handler function must be a function item or a closure without captures"
        )
    };
    // SAFETY: `F` has a value, since `export` was given one; it is `Copy` and has no bytes, so
    // every value of it is this one.
    unsafe { NonNull::<F>::dangling().read() }
}
