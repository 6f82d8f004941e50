//! The thread keys of the process: there are 1,024, each loaded Rust library takes one for ever the
//! first time that its standard library asks for the current thread, and when none is left, the
//! next that asks ends the server.
//!
//! So the keys of a generation that is over are given back. The program exports the two functions
//! that make and delete keys, so that plugins call these instead of the C library's, and it is
//! noted whose a key is: the image that the key's destructor, or the variable that holds it, lies
//! in. Whatever cannot be given back stays taken, and a load is refused before too few are left.

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::pthread_key_t;

use super::signal_dispositions::LibcFunction;
use crate::plugin::refusal::Refusal;

/// Where an image lies in memory.
pub(crate) type ImageRange = Range<usize>;

/// The C library's type of a key's destructor.
type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;
type Create = unsafe extern "C" fn(*mut pthread_key_t, Destructor) -> c_int;
type Delete = unsafe extern "C" fn(pthread_key_t) -> c_int;

/// Whose a key is, by two addresses; 0 is nobody's.
struct Owner {
    destructor: AtomicUsize,
    variable: AtomicUsize,
}

/// Refuses while too few keys are left for one more library and for everybody else.
pub(crate) fn check_enough_left() -> Result<(), Refusal> {
    let mut taken = Vec::with_capacity(KEYS_LEFT_MIN);
    while taken.len() < KEYS_LEFT_MIN {
        let mut key = 0;
        // SAFETY: `key` is a cell of ours; a key without a destructor runs nothing.
        if unsafe { libc::pthread_key_create(&raw mut key, None) } != 0 {
            break;
        }
        taken.push(key);
    }
    let left = taken.len();
    for key in taken {
        // SAFETY: the key was created above and nobody else knows it.
        unsafe { libc::pthread_key_delete(key) };
    }
    if left < KEYS_LEFT_MIN {
        return Err(Refusal::NoThreadKeys {
            wanted: KEYS_LEFT_MIN,
        });
    }
    Ok(())
}

/// Whether plugins call the functions below: what the dynamic linker finds for them is these.
pub(crate) fn are_tracked() -> bool {
    // Asked once: a lookup waits for a plugin that is being opened.
    *ARE_TRACKED.get_or_init(|| {
        let ours = [create as Create as usize, delete as Delete as usize];
        let found = [c"pthread_key_create", c"pthread_key_delete"].map(|name| {
            // SAFETY: a lookup by a name that ends with NUL.
            unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.addr()
        });
        found == ours
    })
}

/// Deletes the keys of an image and answers how many there were. None of its code may run from now
/// on but what ignores a value that it never stored.
pub(crate) fn free_keys_of(image: &ImageRange) -> usize {
    // With only one of the functions in place, a key could be somebody else's by now.
    if !are_tracked() {
        return 0;
    }
    let mut freed = 0;
    for (key, owner) in OWNERS.iter().enumerate() {
        let destructor = owner.destructor.load(Ordering::Acquire);
        let variable = owner.variable.load(Ordering::Acquire);
        if !image.contains(&destructor) && !image.contains(&variable) {
            continue;
        }
        owner.forget();
        let Ok(key) = pthread_key_t::try_from(key) else {
            continue;
        };
        if let Some(delete) = DELETE.next() {
            // SAFETY: the C library's own function of this name and type.
            let delete = unsafe { std::mem::transmute::<*mut c_void, Delete>(delete) };
            // SAFETY: the image made this key and has not deleted it, else it were forgotten.
            freed += usize::from(unsafe { delete(key) } == 0);
        }
    }
    freed
}

/// As the C library's function of this name, which it calls: makes a key, and notes whose it is.
///
/// # Safety
///
/// As for the C library's.
#[cfg_attr(
    not(any(fuzzing, miri, sanitized)),
    unsafe(export_name = "pthread_key_create")
)]
unsafe extern "C" fn create(variable: *mut pthread_key_t, destructor: Destructor) -> c_int {
    let Some(create) = CREATE.next() else {
        return libc::EAGAIN;
    };
    // SAFETY: the C library's own function of this name and type.
    let create = unsafe { std::mem::transmute::<*mut c_void, Create>(create) };
    // SAFETY: the caller keeps the C library's rules.
    let status = unsafe { create(variable, destructor) };
    if status == 0 {
        // SAFETY: by the same rules the variable can be read, and now holds a key.
        let key = unsafe { *variable };
        if let Some(owner) = OWNERS.get(key as usize) {
            let destructor = destructor.map_or(0, |it| it as usize);
            owner.variable.store(variable.addr(), Ordering::Release);
            owner.destructor.store(destructor, Ordering::Release);
        }
    }
    status
}

/// As the C library's function of this name, which it calls: deletes a key, which is nobody's then.
///
/// # Safety
///
/// As for the C library's.
#[cfg_attr(
    not(any(fuzzing, miri, sanitized)),
    unsafe(export_name = "pthread_key_delete")
)]
unsafe extern "C" fn delete(key: pthread_key_t) -> c_int {
    let Some(delete) = DELETE.next() else {
        return libc::EINVAL;
    };
    // Before the key can be somebody else's.
    if let Some(owner) = OWNERS.get(key as usize) {
        owner.forget();
    }
    // SAFETY: the C library's own function of this name and type.
    let delete = unsafe { std::mem::transmute::<*mut c_void, Delete>(delete) };
    // SAFETY: the caller keeps the C library's rules.
    unsafe { delete(key) }
}

impl Owner {
    fn forget(&self) {
        self.destructor.store(0, Ordering::Release);
        self.variable.store(0, Ordering::Release);
    }
}

/// By key. Written and read without a lock and without memory of the heap: whoever makes a key may
/// be in the middle of anything.
static OWNERS: [Owner; KEYS_MAX] = [const {
    Owner {
        destructor: AtomicUsize::new(0),
        variable: AtomicUsize::new(0),
    }
}; KEYS_MAX];

/// `PTHREAD_KEYS_MAX` of glibc.
const KEYS_MAX: usize = 1024;
const KEYS_LEFT_MIN: usize = 64;
static ARE_TRACKED: OnceLock<bool> = OnceLock::new();
static CREATE: LibcFunction = LibcFunction::new(c"pthread_key_create");
static DELETE: LibcFunction = LibcFunction::new(c"pthread_key_delete");
