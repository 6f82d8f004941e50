//! Makes the C library give free memory back to the system. By itself it keeps nearly all of it.

#![allow(unsafe_code)] // three calls that no library has safe functions for

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use super::machine;

/// Sets how free memory is given back. To be called before there are threads.
///
/// Buffers of a megabyte and more become mappings of their own, which go back when they are freed. The C
/// library does so at first, but raises the limit for good to the size of the first large buffer that is
/// freed; and at the end of an arena it keeps free memory up to twice the limit.
pub fn set_limits() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for option in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: takes two numbers, and no other thread is there yet.
        unsafe { libc::mallopt(option, LARGE_BYTES) };
    }
}

/// Gives back every page that is not used. This takes milliseconds where there are many, and allocations may
/// wait for it.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: touches free memory only, under the locks of the arenas.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The bytes that have pages and are in no use, and others that stay equal: stacks, and what plugins wrote to. It counts from a
/// point of its own, and may be negative, since not all that is in use has pages; only differences mean something.
///
/// Bytes that are free in the arenas are no measure of it. They stay free when their pages are given back, and still are when
/// they have had a use, and so pages, again.
pub(crate) fn idle_bytes() -> i64 {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: reads counts under the locks of the arenas. It counts modulo 4 GiB; its successor
        // does not, and is missing in C libraries that are still in use.
        let counts = unsafe { libc::mallinfo() };
        let in_use = [counts.uordblks, counts.hblkhd].map(|bytes| i64::from(bytes.cast_unsigned()));
        machine::resident_anonymous_bytes().cast_signed() - in_use.iter().sum::<i64>()
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    0
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: i32 = 1024 * 1024;
