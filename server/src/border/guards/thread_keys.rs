//! Frees the thread keys of generations that are over.
//!
//! A process has 1,024 thread keys. Each loaded Rust library takes one for ever, the first time that its standard library
//! asks for the current thread. When none is left, the next library that asks ends the server.
//!
//! So the program exports the two functions that make and delete keys, and plugins call these instead of the C library's.
//! They note which image a key belongs to: the one in which its destructor lies, or the variable that holds it. Keys that
//! cannot be freed stay taken, and a load is refused before too few are left.

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::pthread_key_t;

use super::libc_function::LibcFunction;
use crate::plugin::refusal::Refusal;

/// Where an image lies in memory.
pub(crate) type ImageRange = Range<usize>;

/// The C library's type of a key's destructor.
type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;
type Create = unsafe extern "C" fn(*mut pthread_key_t, Destructor) -> c_int;
type Delete = unsafe extern "C" fn(pthread_key_t) -> c_int;

/// The image that a key belongs to, by two addresses in it. 0 and 0 stand for a key that is not tracked.
struct KeyOwner {
    destructor: AtomicUsize,
    variable: AtomicUsize,
}

/// Refuses a load while too few keys are left for one more library and for the rest of the process.
pub(crate) fn check_enough_left() -> Result<(), Refusal> {
    let mut taken = Vec::with_capacity(KEYS_LEFT_MIN);
    while taken.len() < KEYS_LEFT_MIN {
        let mut key = 0;
        // SAFETY: the pointer is to a variable of this function. A key without a destructor runs nothing.
        if unsafe { libc::pthread_key_create(&raw mut key, None) } != 0 {
            break;
        }
        taken.push(key);
    }
    let left = taken.len();
    for key in taken {
        // SAFETY: the key was created above, and no other code knows it.
        unsafe { libc::pthread_key_delete(key) };
    }
    if left < KEYS_LEFT_MIN {
        return Err(Refusal::NoThreadKeys {
            wanted: KEYS_LEFT_MIN,
        });
    }
    Ok(())
}

/// Whether plugins call the functions of this file, because the dynamic linker finds them first.
pub(crate) fn are_tracked() -> bool {
    // The linker is asked once: a lookup waits for a plugin that is being opened.
    *ARE_TRACKED.get_or_init(|| {
        let ours = [create as Create as usize, delete as Delete as usize];
        let found = [c"pthread_key_create", c"pthread_key_delete"].map(|name| {
            // SAFETY: a lookup by a name that ends with NUL.
            unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.addr()
        });
        found == ours
    })
}

/// Deletes the keys of an image, and returns how many there were. From now on no code of the image may run that uses such a
/// key.
pub(crate) fn free_keys_of(image: &ImageRange) -> usize {
    // With only one of the two functions in place, a key could belong to another image by now.
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
        if let Some(delete) = DELETE.find() {
            // SAFETY: `create` noted that the image made this key, and `delete` did not forget it. The caller promises that no
            // code of the image uses it.
            freed += usize::from(unsafe { delete(key) } == 0);
        }
    }
    freed
}

/// The C library's `pthread_key_create`, which also notes the image that the key belongs to.
///
/// # Safety
///
/// The caller keeps the C library's rules of this function.
#[cfg_attr(
    not(any(fuzzing, miri, sanitized)),
    unsafe(export_name = "pthread_key_create")
)]
unsafe extern "C" fn create(variable: *mut pthread_key_t, destructor: Destructor) -> c_int {
    let Some(create) = CREATE.find() else {
        return libc::EAGAIN;
    };
    // SAFETY: the caller keeps the C library's rules.
    let status = unsafe { create(variable, destructor) };
    if status == 0 {
        // SAFETY: by the C library's rules, which the caller keeps, the variable can be read, and it holds a key now.
        let key = unsafe { *variable };
        if let Some(owner) = OWNERS.get(key as usize) {
            let destructor = destructor.map_or(0, |it| it as usize);
            owner.variable.store(variable.addr(), Ordering::Release);
            owner.destructor.store(destructor, Ordering::Release);
        }
    }
    status
}

/// The C library's `pthread_key_delete`, which also forgets the image that the key belongs to.
///
/// # Safety
///
/// The caller keeps the C library's rules of this function.
#[cfg_attr(
    not(any(fuzzing, miri, sanitized)),
    unsafe(export_name = "pthread_key_delete")
)]
unsafe extern "C" fn delete(key: pthread_key_t) -> c_int {
    let Some(delete) = DELETE.find() else {
        return libc::EINVAL;
    };
    // Before the C library can give the key to another image.
    if let Some(owner) = OWNERS.get(key as usize) {
        owner.forget();
    }
    // SAFETY: the caller keeps the C library's rules.
    unsafe { delete(key) }
}

impl KeyOwner {
    /// Notes that the key is not tracked.
    fn forget(&self) {
        self.destructor.store(0, Ordering::Release);
        self.variable.store(0, Ordering::Release);
    }
}

/// The owner of each key, by the key's number. Written and read without a lock and without memory of the heap, because code
/// that makes a key may hold any lock. Global, as the keys are, and because exported functions have nothing but their
/// arguments.
static OWNERS: [KeyOwner; KEYS_MAX] = [const {
    KeyOwner {
        destructor: AtomicUsize::new(0),
        variable: AtomicUsize::new(0),
    }
}; KEYS_MAX];

/// `PTHREAD_KEYS_MAX` of glibc.
const KEYS_MAX: usize = 1024;
/// A load is refused while fewer keys are left.
const KEYS_LEFT_MIN: usize = 64;
/// The answer of [`are_tracked`].
static ARE_TRACKED: OnceLock<bool> = OnceLock::new();
// SAFETY: the type is that of the C library's `pthread_key_create`.
static CREATE: LibcFunction<Create> = unsafe { LibcFunction::new(c"pthread_key_create") };
// SAFETY: the type is that of the C library's `pthread_key_delete`.
static DELETE: LibcFunction<Delete> = unsafe { LibcFunction::new(c"pthread_key_delete") };
