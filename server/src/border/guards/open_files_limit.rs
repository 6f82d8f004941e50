//! The limit of open files is the operator's and the server's: a plugin that asks the C library for a
//! lower one is answered as if it had its way, and nothing changes.
//!
//! So a lower limit that is found outside of a load, and of the other calls of a generation's life, is no
//! plugin's doing: an operator's `prlimit` holds from then on.

use std::ffi::{c_int, c_void};

use libc::{rlimit, rlimit64};

use super::process_state;
use super::signal_dispositions::{LibcFunction, OPEN_FILES, note_refused_change};

type Set = unsafe extern "C" fn(Resource, *const rlimit) -> c_int;
type Set64 = unsafe extern "C" fn(Resource, *const rlimit64) -> c_int;
type Process = unsafe extern "C" fn(libc::pid_t, Resource, *const rlimit, *mut rlimit) -> c_int;
type Process64 =
    unsafe extern "C" fn(libc::pid_t, Resource, *const rlimit64, *mut rlimit64) -> c_int;

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = c_int;

/// As the C library's function of this name, but for a lower limit of open files.
///
/// # Safety
///
/// As for the C library's.
#[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = "setrlimit"))]
unsafe extern "C" fn setrlimit(resource: Resource, new: *const rlimit) -> c_int {
    // SAFETY: by the C library's rules it is NULL or can be read.
    if keeps(resource, unsafe { new.as_ref() }.map(|new| new.rlim_cur)) {
        return 0;
    }
    let Some(next) = SETRLIMIT.next() else {
        return -1;
    };
    // SAFETY: the C library's own function of this name and type.
    let next = unsafe { std::mem::transmute::<*mut c_void, Set>(next) };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { next(resource, new) }
}

/// As the C library's function of this name, but for a lower limit of open files.
///
/// # Safety
///
/// As for the C library's.
#[cfg_attr(
    not(any(fuzzing, miri, sanitized)),
    unsafe(export_name = "setrlimit64")
)]
unsafe extern "C" fn setrlimit64(resource: Resource, new: *const rlimit64) -> c_int {
    // SAFETY: by the C library's rules it is NULL or can be read.
    if keeps(resource, unsafe { new.as_ref() }.map(|new| new.rlim_cur)) {
        return 0;
    }
    let Some(next) = SETRLIMIT64.next() else {
        return -1;
    };
    // SAFETY: the C library's own function of this name and type.
    let next = unsafe { std::mem::transmute::<*mut c_void, Set64>(next) };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { next(resource, new) }
}

/// As the C library's function of this name, but for a lower limit of this process's open files.
///
/// # Safety
///
/// As for the C library's.
#[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = "prlimit"))]
unsafe extern "C" fn prlimit(
    process: libc::pid_t,
    resource: Resource,
    new: *const rlimit,
    old: *mut rlimit,
) -> c_int {
    // SAFETY: by the C library's rules it is NULL or can be read.
    let wanted = unsafe { new.as_ref() }.map(|new| new.rlim_cur);
    let new = match is_own(process) && keeps(resource, wanted) {
        true => std::ptr::null(),
        false => new,
    };
    let Some(next) = PRLIMIT.next() else {
        return -1;
    };
    // SAFETY: the C library's own function of this name and type.
    let next = unsafe { std::mem::transmute::<*mut c_void, Process>(next) };
    // SAFETY: the caller keeps the C library's rules; without a new limit it only answers.
    unsafe { next(process, resource, new, old) }
}

/// As the C library's function of this name, but for a lower limit of this process's open files.
///
/// # Safety
///
/// As for the C library's.
#[cfg_attr(not(any(fuzzing, miri, sanitized)), unsafe(export_name = "prlimit64"))]
unsafe extern "C" fn prlimit64(
    process: libc::pid_t,
    resource: Resource,
    new: *const rlimit64,
    old: *mut rlimit64,
) -> c_int {
    // SAFETY: by the C library's rules it is NULL or can be read.
    let wanted = unsafe { new.as_ref() }.map(|new| new.rlim_cur);
    let new = match is_own(process) && keeps(resource, wanted) {
        true => std::ptr::null(),
        false => new,
    };
    let Some(next) = PRLIMIT64.next() else {
        return -1;
    };
    // SAFETY: the C library's own function of this name and type.
    let next = unsafe { std::mem::transmute::<*mut c_void, Process64>(next) };
    // SAFETY: the caller keeps the C library's rules; without a new limit it only answers.
    unsafe { next(process, resource, new, old) }
}

/// Whether the limit stays what it is although this one is wanted; that is noted.
#[allow(clippy::useless_conversion)] // not on every platform
fn keeps(resource: Resource, wanted: Option<impl Into<u64>>) -> bool {
    let keeps = resource == libc::RLIMIT_NOFILE
        && process_state::is_protected()
        && wanted.is_some_and(|wanted| wanted.into() < process_state::open_files_now());
    if keeps {
        note_refused_change(OPEN_FILES);
    }
    keeps
}

fn is_own(process: libc::pid_t) -> bool {
    process == 0 || process == rustix::process::getpid().as_raw_nonzero().get()
}

static SETRLIMIT: LibcFunction = LibcFunction::new(c"setrlimit");
static SETRLIMIT64: LibcFunction = LibcFunction::new(c"setrlimit64");
static PRLIMIT: LibcFunction = LibcFunction::new(c"prlimit");
static PRLIMIT64: LibcFunction = LibcFunction::new(c"prlimit64");
