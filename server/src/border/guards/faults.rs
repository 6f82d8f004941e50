//! Writes a last line when a thread faults or calls `abort`, which ends the process.
//!
//! The line names the handler and the callback whose code it was, or what is known of another thread. There is time for no
//! more. What the process had for the signal comes after it.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use signal_hook::low_level::signal_name;

use super::exits::running_callback;
use super::images;
use crate::border::handler_context::HandlerContext;

/// Has a last line written from now on. To be called once.
pub(super) fn install() {
    // A copy that stays what it is, if a plugin closes descriptor 2 or leads it elsewhere.
    // SAFETY: the call makes a descriptor of its own, or fails.
    let log = unsafe { libc::fcntl(libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, LOG_FROM) };
    let previous = FAULTS.map(|signal| {
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: integers and an optional function: zero is a value of each.
        let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
        action.sa_sigaction = on_fault as *const () as usize;
        // On the stack that the standard library has for a stack that ran over.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `on_fault` calls only what a handler of a signal may call, and the last pointer is to a variable.
        unsafe {
            libc::sigaction(signal, &raw const action, previous.as_mut_ptr());
            previous.assume_init()
        }
    });
    let _ = BEFORE.set(Before {
        log,
        // SAFETY: the call takes nothing and cannot fail.
        pid: unsafe { libc::getpid() },
        previous,
    });
}

/// Called when a thread faults or calls `abort`. It calls only what a handler of a signal may call.
extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, state: *mut c_void) {
    let before = BEFORE.get();
    // SAFETY: with `SA_SIGINFO` the kernel lends this for the length of the call.
    let info = unsafe { &*info };
    let is_sent = info.si_code <= 0;
    // A process that a plugin has forked dies without a line.
    // SAFETY: the call takes nothing and cannot fail.
    if let Some(before) = before.filter(|before| before.pid == unsafe { libc::getpid() }) {
        // SAFETY: the field is there in a signal that `kill` sent.
        let sender = (info.si_code == libc::SI_USER).then(|| unsafe { info.si_pid() });
        // SAFETY: the kernel lends the thread's context for the length of the call.
        let at = unsafe { ThreadPosition::of(state) };
        let sender = sender.filter(|sender| *sender != before.pid);
        last_words(signal, sender, &at).write(before.log);
    }
    let index = FAULTS.iter().position(|fault| *fault == signal);
    // A fault comes again by itself when this handler returns. Another signal is sent again, and comes then.
    // SAFETY: the action is what the process had for this signal, or the default.
    unsafe {
        match (before, index) {
            (Some(before), Some(index)) if !is_sent && !TRAPS.contains(&signal) => {
                let previous = &raw const before.previous[index];
                libc::sigaction(signal, previous, std::ptr::null_mut());
            }
            _ => {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
    }
}

/// The line about the signal that ends the process. It names the process that sent the signal. Otherwise it names the handler
/// and the callback, or the thread and the handler whose code it was at.
fn last_words(signal: c_int, sender: Option<libc::pid_t>, at: &ThreadPosition) -> StackLine {
    let mut line = StackLine::default();
    line.add("wshd: signal ");
    line.add(signal_name(signal).unwrap_or("?"));
    if let Some(sender) = sender {
        line.add(" sent by process ");
        line.add_number(sender.unsigned_abs());
    } else if let Some((context, callback)) = running_callback() {
        line.add(" in `");
        line.add(callback);
        line.add("` of handler `");
        line.add(&context.handler);
        line.add("`");
    } else {
        line.add(" on thread `");
        line.add_thread_name();
        line.add("`");
        if let Some(context) = images::handler_at(at.code) {
            line.add(" in code of handler `");
            line.add(&context.handler);
            line.add("`");
        } else if let Some(context) = at.handler_on_stack() {
            line.add(", whose stack has addresses of handler `");
            line.add(&context.handler);
            line.add("`,");
        }
    }
    line.add(" ends the server\n");
    line
}

/// Where a thread was when a signal came; 0 where that is not known.
struct ThreadPosition {
    code: usize,
    stack: usize,
}

impl ThreadPosition {
    /// Reads the registers of the thread.
    ///
    /// # Safety
    ///
    /// `state` is the third argument of a handler of a signal.
    unsafe fn of(state: *const c_void) -> ThreadPosition {
        // SAFETY: the caller promises a thread's context, or NULL.
        let Some(state) = (unsafe { state.cast::<libc::ucontext_t>().as_ref() }) else {
            return ThreadPosition { code: 0, stack: 0 };
        };
        #[cfg(target_arch = "x86_64")]
        let (code, stack) = {
            let registers = &state.uc_mcontext.gregs;
            let of = |register: c_int| registers[register as usize] as usize;
            (of(libc::REG_RIP), of(libc::REG_RSP))
        };
        #[cfg(target_arch = "aarch64")]
        let (code, stack) = {
            let registers = &state.uc_mcontext;
            (registers.pc as usize, registers.sp as usize)
        };
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let (code, stack) = {
            let _ = state;
            (0, 0)
        };
        ThreadPosition { code, stack }
    }

    /// The handler of the first image that an address on the stack points into. A thread that is in the C library, as after
    /// `abort`, came from there.
    fn handler_on_stack(&self) -> Option<&'static HandlerContext> {
        // A sanitizer takes reading other functions' variables for a fault.
        if cfg!(any(sanitized, miri)) || self.stack == 0 {
            return None;
        }
        let first = self.stack.next_multiple_of(size_of::<usize>());
        for index in 0..STACK_WORDS {
            let address = first.checked_add(index * size_of::<usize>())?;
            if (index == 0 || address.is_multiple_of(PAGE_BYTES)) && !is_readable(address) {
                return None;
            }
            // SAFETY: `is_readable` says that the page can be read. The word is aligned, and any bytes are a number.
            let word =
                unsafe { std::ptr::with_exposed_provenance::<usize>(address).read_volatile() };
            if let Some(context) = images::handler_at(word) {
                return Some(context);
            }
        }
        None
    }
}

/// Whether eight bytes at this address can be read. The kernel is asked to change the signal mask: it reads a mask there, and
/// only then refuses, because the change is none that there is.
fn is_readable(address: usize) -> bool {
    let (nothing, no_mask) = (-1_i64, std::ptr::null_mut::<c_void>());
    // SAFETY: the kernel checks the address itself, and changes nothing for an operation that it does not know.
    let status =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, nothing, address, no_mask, 8_usize) };
    // SAFETY: the C library has a number of the last error for each thread.
    status == 0 || unsafe { *libc::__errno_location() } != libc::EFAULT
}

/// A line that takes no memory of the heap.
struct StackLine {
    bytes: [u8; 256],
    length: usize,
}

impl Default for StackLine {
    fn default() -> StackLine {
        StackLine {
            bytes: [0; 256],
            length: 0,
        }
    }
}

impl StackLine {
    fn add(&mut self, text: &str) {
        let room = &mut self.bytes[self.length..];
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.length += length;
    }

    fn add_number(&mut self, number: u32) {
        let mut digits = [0; 10];
        let (mut first, mut left) = (digits.len(), number);
        loop {
            first -= 1;
            digits[first] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.add(std::str::from_utf8(&digits[first..]).unwrap_or("?"));
    }

    /// Adds the thread's name; `?` for a name that is no text or has control characters.
    fn add_thread_name(&mut self) {
        let mut name = [0_u8; 16];
        // SAFETY: the kernel writes 16 bytes at most, with the NUL at the end.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        let length = name
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(name.len());
        let name = std::str::from_utf8(&name[..length]).unwrap_or("?");
        self.add(if name.contains(char::is_control) {
            "?"
        } else {
            name
        });
    }

    /// Writes the line, unless that would wait.
    fn write(&mut self, log: c_int) {
        // A line that was too long ends with a line feed too.
        if let Some(last) = self.bytes[..self.length].last_mut() {
            *last = b'\n';
        }
        let mut ready = libc::pollfd {
            fd: log,
            events: libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: the pointers are to one `pollfd`, and to the bytes of the line.
        unsafe {
            if libc::poll(&raw mut ready, 1, 0) == 1 {
                libc::write(log, self.bytes.as_ptr().cast(), self.length);
            }
        }
    }
}

/// What a fault's handler needs to know.
struct Before {
    /// The copy of descriptor 2.
    log: c_int,
    /// The server's process.
    pid: libc::pid_t,
    /// What each of [`FAULTS`] did before.
    previous: [libc::sigaction; FAULTS.len()],
}

/// Global, because a handler of a signal has nothing but its arguments.
static BEFORE: OnceLock<Before> = OnceLock::new();

/// The signals of a thread that cannot go on.
const FAULTS: [c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGABRT,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
];
/// The signals of [`FAULTS`] after which a thread would go on.
const TRAPS: [c_int; 2] = [libc::SIGTRAP, libc::SIGSYS];
/// How many words of a stack are looked at.
const STACK_WORDS: usize = 4096;
/// The bytes of a page, or a divisor of them.
const PAGE_BYTES: usize = 4096;
/// The lowest number of the log's copy: above the descriptors that plugins close by habit.
const LOG_FROM: c_int = 10;
