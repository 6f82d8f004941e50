//! Keeps plugins from lowering the limit of open files.
//!
//! A plugin that asks the C library for a lower limit is answered as if it had got it, and nothing changes. So a lower limit
//! that is found outside of a load, and of the other calls of a generation's life, comes from an operator's `prlimit`. It
//! holds from then on.

use std::ffi::c_int;

use libc::{rlimit, rlimit64};

use super::libc_function::LibcFunction;
use super::process_state;
use super::signal_dispositions::{OPEN_FILES, note_refused_change};

type Set = unsafe extern "C" fn(LimitedResource, *const rlimit) -> c_int;
type Set64 = unsafe extern "C" fn(LimitedResource, *const rlimit64) -> c_int;
type SetOfProcess =
    unsafe extern "C" fn(libc::pid_t, LimitedResource, *const rlimit, *mut rlimit) -> c_int;
type SetOfProcess64 =
    unsafe extern "C" fn(libc::pid_t, LimitedResource, *const rlimit64, *mut rlimit64) -> c_int;

#[cfg(target_env = "gnu")]
type LimitedResource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type LimitedResource = c_int;

/// The C library's `setrlimit`, except that it does not lower the limit of open files.
///
/// # Safety
///
/// The caller keeps the C library's rules of `setrlimit`.
#[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = "setrlimit"))]
unsafe extern "C" fn setrlimit(resource: LimitedResource, new: *const rlimit) -> c_int {
    // SAFETY: by the C library's rules, which the caller keeps, it is NULL or can be read.
    if refuses(resource, unsafe { new.as_ref() }.map(|new| new.rlim_cur)) {
        return 0;
    }
    let Some(setrlimit) = SETRLIMIT.find() else {
        return -1;
    };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { setrlimit(resource, new) }
}

/// The C library's `setrlimit64`, except that it does not lower the limit of open files.
///
/// # Safety
///
/// The caller keeps the C library's rules of `setrlimit64`.
#[cfg_attr(
    not(any(fuzzing, miri, sanitized)),
    unsafe(export_name = "setrlimit64")
)]
unsafe extern "C" fn setrlimit64(resource: LimitedResource, new: *const rlimit64) -> c_int {
    // SAFETY: by the C library's rules, which the caller keeps, it is NULL or can be read.
    if refuses(resource, unsafe { new.as_ref() }.map(|new| new.rlim_cur)) {
        return 0;
    }
    let Some(setrlimit64) = SETRLIMIT64.find() else {
        return -1;
    };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { setrlimit64(resource, new) }
}

/// The C library's `prlimit`, except that it does not lower the limit of this process's open files.
///
/// # Safety
///
/// The caller keeps the C library's rules of `prlimit`.
#[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = "prlimit"))]
unsafe extern "C" fn prlimit(
    process: libc::pid_t,
    resource: LimitedResource,
    new: *const rlimit,
    old: *mut rlimit,
) -> c_int {
    // SAFETY: by the C library's rules, which the caller keeps, it is NULL or can be read.
    let wanted = unsafe { new.as_ref() }.map(|new| new.rlim_cur);
    let new = match is_own(process) && refuses(resource, wanted) {
        true => std::ptr::null(),
        false => new,
    };
    let Some(prlimit) = PRLIMIT.find() else {
        return -1;
    };
    // SAFETY: the caller keeps the C library's rules. NULL for `new` changes nothing.
    unsafe { prlimit(process, resource, new, old) }
}

/// The C library's `prlimit64`, except that it does not lower the limit of this process's open files.
///
/// # Safety
///
/// The caller keeps the C library's rules of `prlimit64`.
#[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = "prlimit64"))]
unsafe extern "C" fn prlimit64(
    process: libc::pid_t,
    resource: LimitedResource,
    new: *const rlimit64,
    old: *mut rlimit64,
) -> c_int {
    // SAFETY: by the C library's rules, which the caller keeps, it is NULL or can be read.
    let wanted = unsafe { new.as_ref() }.map(|new| new.rlim_cur);
    let new = match is_own(process) && refuses(resource, wanted) {
        true => std::ptr::null(),
        false => new,
    };
    let Some(prlimit64) = PRLIMIT64.find() else {
        return -1;
    };
    // SAFETY: the caller keeps the C library's rules. NULL for `new` changes nothing.
    unsafe { prlimit64(process, resource, new, old) }
}

/// Whether `wanted` is a lower limit of open files, which is refused. A refused change is noted.
#[allow(clippy::useless_conversion)] // not on every platform
fn refuses(resource: LimitedResource, wanted: Option<impl Into<u64>>) -> bool {
    let refuses = resource == libc::RLIMIT_NOFILE
        && process_state::is_protected()
        && wanted.is_some_and(|wanted| wanted.into() < process_state::open_files_now());
    if refuses {
        note_refused_change(OPEN_FILES);
    }
    refuses
}

fn is_own(process: libc::pid_t) -> bool {
    process == 0 || process == rustix::process::getpid().as_raw_nonzero().get()
}

// Global, because exported functions of C have nothing but their arguments.

// SAFETY: the type is that of the C library's `setrlimit`.
static SETRLIMIT: LibcFunction<Set> = unsafe { LibcFunction::new(c"setrlimit") };
// SAFETY: the type is that of the C library's `setrlimit64`.
static SETRLIMIT64: LibcFunction<Set64> = unsafe { LibcFunction::new(c"setrlimit64") };
// SAFETY: the type is that of the C library's `prlimit`.
static PRLIMIT: LibcFunction<SetOfProcess> = unsafe { LibcFunction::new(c"prlimit") };
// SAFETY: the type is that of the C library's `prlimit64`.
static PRLIMIT64: LibcFunction<SetOfProcess64> = unsafe { LibcFunction::new(c"prlimit64") };
