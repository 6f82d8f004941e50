//! What is said, and done, when code of a plugin ends the process.
//!
//! `exit` and `quick_exit` run what [`install`] has registered, on the thread that called it: the handler and the callback
//! are named, every session is closed as far as time allows, and the status is not 0. `abort` and a
//! fault leave time for one line only, which names the callback, or what is known of another thread. `_exit` leaves none: the system has no hook for it.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing::error;

use super::images;
use crate::border::context::Context;
use crate::border::watchdog;
use crate::logging;
use signal_hook::low_level::signal_name;

/// A call that a load or a generation makes: made when it begins, dropped when it ends.
pub(crate) struct EnteredCall {
    outer: Option<(&'static Context, &'static str)>,
}

/// Notes that this call of the handler `context` begins on this thread.
pub(crate) fn enter_call(context: &'static Context, callback: &'static str) -> EnteredCall {
    EnteredCall {
        outer: CALL.replace(Some((context, callback))),
    }
}

impl Drop for EnteredCall {
    fn drop(&mut self) {
        CALL.set(self.outer);
    }
}

/// From now on it is told when a plugin ends the process. `has_sessions` says whether there will be any
/// to close. To be called once.
pub(crate) fn install(has_sessions: bool) {
    HAS_SESSIONS.store(has_sessions, Ordering::Relaxed);
    // A copy that stays what it is, whatever becomes of descriptor 2.
    // SAFETY: it answers a number or an error.
    let log = unsafe { libc::fcntl(libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, LOG_FROM) };
    let thread = std::thread::Builder::new().name("exits".to_owned());
    if thread.spawn(end_process).is_ok() {
        // SAFETY: the function lives as long as the program.
        unsafe {
            libc::atexit(on_exit);
            at_quick_exit(on_exit);
        }
    }
    // Whatever was there is called, or does what it does, after the line.
    let previous = FAULTS.map(|signal| {
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: integers and an optional function: zero is a value of each.
        let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
        action.sa_sigaction = on_fault as *const () as usize;
        // On the stack that the standard library has for a stack that ran over.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: a handler that calls only what may be called in one, and memory for the answer.
        unsafe {
            libc::sigaction(signal, &raw const action, previous.as_mut_ptr());
            previous.assume_init()
        }
    });
    let _ = LAST_WORDS.set(LastWords {
        log,
        // SAFETY: it only answers.
        pid: unsafe { libc::getpid() },
        previous,
    });
}

unsafe extern "C" {
    /// C11's `atexit` for `quick_exit`.
    fn at_quick_exit(function: extern "C" fn()) -> c_int;
}

/// The exit code of a process that is to end with `code`, unless a plugin has ended it.
pub(crate) fn code_or(code: u8) -> u8 {
    if IS_EXITING.load(Ordering::Acquire) {
        EXITED
    } else {
        code
    }
}

/// The handler whose code runs on this thread, and in which callback.
pub(crate) fn running_callback() -> Option<(&'static Context, &'static str)> {
    CALL.get().or_else(watchdog::running_callback)
}

/// Called by `exit`, which the server itself never calls once this is registered.
///
/// What this thread had for itself may be gone already, and with it what a line of the log needs: another
/// thread sees to the end.
extern "C" fn on_exit() {
    if !IS_EXITING.swap(true, Ordering::AcqRel) {
        *lock() = Some(running_callback());
        EXIT.notify_all();
    }
    std::thread::sleep(CLOSE_TIME + Duration::from_secs(1));
    crate::border::library::leave(EXITED)
}

/// Waits for an `exit`, and brings about the end in as good an order as time allows.
fn end_process() {
    let mut exit = lock();
    let by = loop {
        match exit.take() {
            Some(by) => break by,
            None => exit = EXIT.wait(exit).unwrap_or_else(PoisonError::into_inner),
        }
    };
    drop(exit);
    match by {
        Some((context, callback)) => error!(
            handler = %context.handler,
            generation = context.generation,
            callback,
            status = EXITED,
            "handler called `exit`, which ends the whole server; sessions are closed"
        ),
        None => error!(
            status = EXITED,
            "code of a handler called `exit` on a thread of its own, which ends the whole server; sessions are closed"
        ),
    }
    if HAS_SESSIONS.load(Ordering::Relaxed) {
        // As an operator would: sessions are told, handlers shut down, and the main thread leaves. The
        // thread that called, and its session, cannot come back.
        // SAFETY: a signal to this very process.
        unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
        std::thread::sleep(CLOSE_TIME);
    }
    logging::flush(LOG_WAIT);
    crate::border::library::leave(EXITED)
}

fn lock() -> MutexGuard<'static, Option<Caller>> {
    CALLER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called when a thread faults or calls `abort`. Whatever it uses may be used in a signal's handler.
extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, state: *mut c_void) {
    let words = LAST_WORDS.get();
    // SAFETY: the kernel lends what it says of the signal.
    let info = unsafe { &*info };
    let is_sent = info.si_code <= 0;
    // SAFETY: it only answers. A process that a plugin has forked dies alone.
    if let Some(words) = words.filter(|words| words.pid == unsafe { libc::getpid() }) {
        // SAFETY: a signal that `kill` sends says which process called it.
        let sender = (info.si_code == libc::SI_USER).then(|| unsafe { info.si_pid() });
        // SAFETY: the kernel lends what the thread was at.
        let at = unsafe { At::of(state) };
        let sender = sender.filter(|sender| *sender != words.pid);
        last_words(signal, sender, &at).write(words.log);
    }
    let index = FAULTS.iter().position(|fault| *fault == signal);
    // SAFETY: what the process had before, or the default; a signal to this very thread, which comes when
    // this handler returns. A fault comes again by itself then.
    unsafe {
        match (words, index) {
            (Some(words), Some(index)) if !is_sent && !TRAPS.contains(&signal) => {
                let previous = &raw const words.previous[index];
                libc::sigaction(signal, previous, std::ptr::null_mut());
            }
            _ => {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
    }
}

/// What is said of the signal that ends the process: the process that sent it, the handler and the callback,
/// or the thread and the handler whose code it is at.
fn last_words(signal: c_int, sender: Option<libc::pid_t>, at: &At) -> StackLine {
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
struct At {
    code: usize,
    stack: usize,
}

impl At {
    /// # Safety
    ///
    /// `state` is what a signal's handler gets.
    unsafe fn of(state: *const c_void) -> At {
        // SAFETY: by the contract it is a context, or NULL.
        let Some(state) = (unsafe { state.cast::<libc::ucontext_t>().as_ref() }) else {
            return At { code: 0, stack: 0 };
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
        At { code, stack }
    }

    /// The handler whose image the innermost address on the stack points into that points into one: a thread
    /// that is in the C library, as `abort` is, came from there.
    fn handler_on_stack(&self) -> Option<&'static Context> {
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
            // SAFETY: the page can be read, and the word is aligned; what it means is not asked.
            let word =
                unsafe { std::ptr::with_exposed_provenance::<usize>(address).read_volatile() };
            if let Some(context) = images::handler_at(word) {
                return Some(context);
            }
        }
        None
    }
}

/// Whether eight bytes at this address can be read: the kernel reads a signal mask there, and finds only
/// afterwards that it is asked for nothing.
fn is_readable(address: usize) -> bool {
    let (nothing, no_mask) = (-1_i64, std::ptr::null_mut::<c_void>());
    // SAFETY: the kernel looks at the address itself, and nothing is changed by an operation that is none.
    let status =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, nothing, address, no_mask, 8_usize) };
    // SAFETY: this thread's number of the last error.
    status == 0 || unsafe { *libc::__errno_location() } != libc::EFAULT
}

/// A line that is put together without memory of the heap.
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

    /// What the system calls this thread. A name that is no text or would end the line is not shown.
    fn add_thread_name(&mut self) {
        let mut name = [0_u8; 16];
        // SAFETY: a name has at most so many bytes, the NUL at its end counted in.
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

    /// Writes it, unless that would wait.
    fn write(&mut self, log: c_int) {
        // One that was too long is a line all the same.
        if let Some(last) = self.bytes[..self.length].last_mut() {
            *last = b'\n';
        }
        let mut ready = libc::pollfd {
            fd: log,
            events: libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: one descriptor, and as many bytes as the line has.
        unsafe {
            if libc::poll(&raw mut ready, 1, 0) == 1 {
                libc::write(log, self.bytes.as_ptr().cast(), self.length);
            }
        }
    }
}

/// What a fault's handler needs.
struct LastWords {
    log: c_int,
    /// The server's process.
    pid: libc::pid_t,
    previous: [libc::sigaction; FAULTS.len()],
}

thread_local! {
    static CALL: Cell<Option<(&'static Context, &'static str)>> = const { Cell::new(None) };
}

static LAST_WORDS: OnceLock<LastWords> = OnceLock::new();
/// The handler and the callback that called `exit`, if it was one.
type Caller = Option<(&'static Context, &'static str)>;

/// There once `exit` was called.
static CALLER: Mutex<Option<Caller>> = Mutex::new(None);
static EXIT: Condvar = Condvar::new();
static HAS_SESSIONS: AtomicBool = AtomicBool::new(false);
static IS_EXITING: AtomicBool = AtomicBool::new(false);

const FAULTS: [c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGABRT,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGSYS,
];
/// Those after which a thread would go on behind what caused them.
const TRAPS: [c_int; 2] = [libc::SIGTRAP, libc::SIGSYS];
/// How far a stack is looked at.
const STACK_WORDS: usize = 4096;
/// A page has so many bytes, or a multiple of it.
const PAGE_BYTES: usize = 4096;
/// `EX_SOFTWARE` of sysexits.h.
const EXITED: u8 = 70;
/// How long sessions have to close.
const CLOSE_TIME: Duration = Duration::from_secs(2);
const LOG_WAIT: Duration = Duration::from_millis(200);
/// The log's copy lies above the descriptors that plugins close by habit.
const LOG_FROM: c_int = 10;
