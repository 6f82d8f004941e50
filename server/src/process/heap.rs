//! What the C library does with memory that is free: by itself it keeps nearly all of it.

#![allow(unsafe_code)] // three calls that no library has safe functions for

/// Sets how free memory is given back. To be called before there are threads.
///
/// Buffers of a megabyte and more are mappings of their own, and go back when they are freed. The C
/// library decides so at first, but the first large buffer that is freed moves that limit up to its
/// size, for good; and what is free at an arena's end stays there up to twice that limit.
pub fn set_limits() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for option in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: takes two numbers, and no other thread is there yet.
        unsafe { libc::mallopt(option, LARGE_BYTES) };
    }
}

/// Gives back every page that nothing lies in. It takes milliseconds where there is much, and who
/// allocates meanwhile may wait for it.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: touches free memory only, under the locks of the arenas.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes that are free in the arenas, whether their pages were given back or not.
pub(crate) fn free_bytes() -> usize {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: reads counts under the locks of the arenas. It counts modulo 4 GiB; its successor
        // does not, and is missing in C libraries that are still in use.
        let counts = unsafe { libc::mallinfo() };
        counts.fordblks.cast_unsigned() as usize
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    0
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: i32 = 1024 * 1024;
