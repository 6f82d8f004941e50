//! Registers the destructors of thread-local variables, which run when their thread ends, without the linker's lock.
//!
//! The C library's `__cxa_thread_atexit_impl` registers a destructor under the lock of the dynamic
//! linker, and a plugin's constructor that hangs holds that lock for ever. Every thread that uses a
//! thread-local variable for the first time would hang as well: workers, the log, the thread that
//! hears signals.
//!
//! The C library takes the lock to keep the image mapped that has the destructor. The program and its plugins are never
//! unmapped, so the program exports a function of that name that takes no lock. For other images, which a plugin may close
//! again, it calls the C library's.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use libc::pthread_key_t;

use super::images;
use super::libc_function::LibcFunction;
use super::thread_keys::{self, ImageRange};

type Destructor = unsafe extern "C" fn(*mut c_void);
type Register = unsafe extern "C" fn(Destructor, *mut c_void, *mut c_void) -> c_int;

/// A thread-local variable with a destructor, and the variable that its thread registered before it.
struct Variable {
    destructor: Destructor,
    address: *mut c_void,
    earlier: *mut Variable,
}

/// Looks up what beginning and ending threads need, while the dynamic linker is free. To be called before a plugin is
/// opened.
pub(crate) fn prepare() {
    LIBC_REGISTER.find();
    thread_keys::are_tracked();
    key();
}

/// Has `destructor` run with `address` when this thread ends. `image` is an address in the image that has the destructor.
///
/// # Safety
///
/// The caller keeps the C library's rules of `__cxa_thread_atexit_impl`.
#[cfg_attr(
    not(any(fuzzing, miri, sanitized)),
    unsafe(export_name = "__cxa_thread_atexit_impl")
)]
unsafe extern "C" fn register(
    destructor: Destructor,
    address: *mut c_void,
    image: *mut c_void,
) -> c_int {
    let key = if stays_mapped(image.addr()) {
        key()
    } else {
        None
    };
    let Some(key) = key else {
        let Some(register) = LIBC_REGISTER.find() else {
            return -1;
        };
        // SAFETY: the caller keeps the C library's rules.
        return unsafe { register(destructor, address, image) };
    };
    // SAFETY: the key is never deleted.
    let earlier = unsafe { libc::pthread_getspecific(key) }.cast::<Variable>();
    let variable = Box::into_raw(Box::new(Variable {
        destructor,
        address,
        earlier,
    }));
    // SAFETY: the key is never deleted, and its value is this thread's own list.
    let status = unsafe { libc::pthread_setspecific(key, variable.cast()) };
    if status != 0 {
        // SAFETY: the box was made above, and no list has it.
        drop(unsafe { Box::from_raw(variable) });
    }
    status
}

/// Runs the destructors of a thread that ends, the latest first, and those that they register meanwhile.
unsafe extern "C" fn run(variables: *mut c_void) {
    let mut next = variables.cast::<Variable>();
    while !next.is_null() {
        // SAFETY: `register` made the box and put it into one list, which only this call has now.
        let variable = unsafe { Box::from_raw(next) };
        next = variable.earlier;
        // SAFETY: the code that registered the destructor promises that the variable lives until its thread ends. The
        // destructor runs once.
        unsafe { (variable.destructor)(variable.address) };
    }
}

/// Whether an address lies in an image that is never unmapped: the program or a plugin.
fn stays_mapped(address: usize) -> bool {
    program().contains(&address) || images::contains(address)
}

/// Where the program itself lies in memory.
fn program() -> ImageRange {
    unsafe extern "C" {
        // The linker defines both.
        static __executable_start: u8;
        static _end: u8;
    }
    (&raw const __executable_start).addr()..(&raw const _end).addr()
}

/// The key of each thread's list. `None` where the process has no key left.
fn key() -> Option<pthread_key_t> {
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: the pointer is to a variable of this function, and `run` lives as long as the program.
        let status = unsafe { libc::pthread_key_create(&raw mut key, Some(run)) };
        (status == 0).then_some(key)
    })
}

// Global, because exported functions of C have nothing but their arguments.

/// The answer of [`key`].
static KEY: OnceLock<Option<pthread_key_t>> = OnceLock::new();
// SAFETY: the type is that of the C library's `__cxa_thread_atexit_impl`.
static LIBC_REGISTER: LibcFunction<Register> =
    unsafe { LibcFunction::new(c"__cxa_thread_atexit_impl") };

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::ptr;
    use std::sync::Mutex;

    use super::*;

    static ENDED: Mutex<Vec<usize>> = Mutex::new(Vec::new());

    unsafe extern "C" fn end(number: *mut c_void) {
        ENDED.lock().unwrap().push(number.addr());
        if number.addr() == 2 {
            // A destructor that makes use of another variable.
            // SAFETY: `end` runs with any number.
            unsafe {
                register(
                    end,
                    ptr::without_provenance_mut(3),
                    program().start as *mut _,
                )
            };
        }
    }

    #[test]
    fn destructors_run_at_the_end_of_their_thread_the_latest_first() {
        let thread = std::thread::spawn(|| {
            for number in [1, 2] {
                let image = program().start as *mut c_void;
                // SAFETY: `end` runs with any number.
                let status = unsafe { register(end, ptr::without_provenance_mut(number), image) };
                assert_eq!(status, 0);
            }
            assert!(ENDED.lock().unwrap().is_empty());
        });
        thread.join().unwrap();

        assert_eq!(*ENDED.lock().unwrap(), [2, 1, 3]);
    }

    #[test]
    fn a_variable_of_the_standard_library_s_kind_is_dropped_with_its_thread() {
        struct Noted(std::sync::mpsc::Sender<()>);
        impl Drop for Noted {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        thread_local!(static NOTED: RefCell<Option<Noted>> = const { RefCell::new(None) });
        let (sender, receiver) = std::sync::mpsc::channel();

        std::thread::spawn(move || NOTED.set(Some(Noted(sender))))
            .join()
            .unwrap();

        receiver.recv().unwrap();
    }

    #[test]
    fn only_images_that_are_noted_stay_mapped() {
        assert!(stays_mapped((&raw const LIBC_REGISTER).addr()));
        assert!(!stays_mapped(16));

        images::note(8..24, None);

        assert!(stays_mapped(16));
    }
}
