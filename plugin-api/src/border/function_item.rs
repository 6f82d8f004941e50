//! Values of types that have only one.

use std::ptr::NonNull;

/// The function item or captureless closure that `F` is the type of.
///
/// The vtable is made at compile time and knows the author's function by its type only; this is the
/// way back. Only for types of which [`export`](crate::border::export) was given a value.
pub(crate) fn item<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "a handler function captures nothing") };
    // SAFETY: `F` has a value, since `export` was given one; it is `Copy` and has no bytes, so
    // every value of it is this one.
    unsafe { NonNull::<F>::dangling().read() }
}
