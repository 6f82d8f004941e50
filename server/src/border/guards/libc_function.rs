//! Functions of the C library for which the program exports functions of its own.
//!
//! Plugins call the program's functions instead, because the dynamic linker finds these first. Each of them passes on to the
//! C library what it does not answer itself.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The C library's function of a name that the program exports too. `F` is the type of a pointer to it.
pub(crate) struct LibcFunction<F> {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
    function: PhantomData<F>,
}

impl<F: Copy> LibcFunction<F> {
    /// The function `name`, not looked up yet.
    ///
    /// # Safety
    ///
    /// `F` is the type of a pointer to the C library's function of this name.
    pub(crate) const unsafe fn new(name: &'static CStr) -> LibcFunction<F> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        LibcFunction {
            name,
            found: AtomicPtr::new(std::ptr::null_mut()),
            function: PhantomData,
        }
    }

    /// The function, as the dynamic linker finds it behind this program. `None` if there is none.
    ///
    /// The linker is asked once. A handler of a fault inside of the linker needs `sigaction` too, which has been looked up
    /// long before.
    pub(crate) fn find(&self) -> Option<F> {
        let mut found = self.found.load(Ordering::Acquire);
        if found.is_null() {
            // SAFETY: a lookup by a name that ends with NUL.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            self.found.store(found, Ordering::Release);
        }
        if found.is_null() {
            return None;
        }
        // SAFETY: the caller of `new` promises that `F` is a pointer to this function, and its size is checked there.
        Some(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&found) })
    }
}
