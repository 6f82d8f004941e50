//! The destructors of the server's thread-local variables, which run when their thread ends.
//!
//! The C library's `__cxa_thread_atexit_impl` registers a destructor under the lock of the dynamic
//! linker, and a plugin's constructor that hangs holds that lock for ever. Every thread that uses a
//! thread-local variable for the first time would hang as well: workers, the log, the thread that
//! hears signals. The C library takes the lock to keep the image mapped that has the destructor. The
//! program and its plugins are never unmapped, so the program exports a function of that name that
//! takes no lock. Other images, which a plugin may close again, are left to the C library.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use libc::pthread_key_t;

use super::images;
use super::signal_dispositions::LibcFunction;
use super::thread_keys::{self, ImageRange};

type Destructor = unsafe extern "C" fn(*mut c_void);
type Register = unsafe extern "C" fn(Destructor, *mut c_void, *mut c_void) -> c_int;

/// A variable of this thread that has a destructor, and the one that was registered before it.
struct Variable {
    destructor: Destructor,
    address: *mut c_void,
    earlier: *mut Variable,
}

/// Looks up what threads need that begin or end, while the dynamic linker is free. To be called before a
/// plugin is opened.
pub(crate) fn prepare() {
    THEIRS.next();
    thread_keys::are_tracked();
    key();
}

/// As the C library's function of this name: `destructor` runs with `address` when this thread ends.
/// `image` is an address inside the image that has the destructor.
///
/// # Safety
///
/// As for the C library's.
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
        let Some(theirs) = THEIRS.next() else {
            return -1;
        };
        // SAFETY: the C library's own function of this name and type.
        let theirs = unsafe { std::mem::transmute::<*mut c_void, Register>(theirs) };
        // SAFETY: the caller keeps the C library's rules.
        return unsafe { theirs(destructor, address, image) };
    };
    // SAFETY: the key is never deleted.
    let earlier = unsafe { libc::pthread_getspecific(key) }.cast::<Variable>();
    let variable = Box::into_raw(Box::new(Variable {
        destructor,
        address,
        earlier,
    }));
    // SAFETY: as above; the value is this thread's own list.
    let status = unsafe { libc::pthread_setspecific(key, variable.cast()) };
    if status != 0 {
        // SAFETY: it was made above, and nothing else has it.
        drop(unsafe { Box::from_raw(variable) });
    }
    status
}

/// Runs the destructors of a thread that ends, the latest first, with those that they register.
unsafe extern "C" fn run(variables: *mut c_void) {
    let mut next = variables.cast::<Variable>();
    while !next.is_null() {
        // SAFETY: `register` made it, and it is in one list, of which this call has the only copy.
        let variable = unsafe { Box::from_raw(next) };
        next = variable.earlier;
        // SAFETY: what registered the destructor vouches for the variable until its thread ends, and
        // it runs once.
        unsafe { (variable.destructor)(variable.address) };
    }
}

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
        // SAFETY: `key` is a cell of ours, and the function lives as long as the program.
        let status = unsafe { libc::pthread_key_create(&raw mut key, Some(run)) };
        (status == 0).then_some(key)
    })
}

static KEY: OnceLock<Option<pthread_key_t>> = OnceLock::new();
static THEIRS: LibcFunction = LibcFunction::new(c"__cxa_thread_atexit_impl");

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
        assert!(stays_mapped((&raw const THEIRS).addr()));
        assert!(!stays_mapped(16));

        images::note(8..24, None);

        assert!(stays_mapped(16));
    }
}
