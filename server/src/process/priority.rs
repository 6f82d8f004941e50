//! Asks the kernel to run the threads that carry messages before those that do not.

#![allow(unsafe_code)] // a system call that no library has a safe function for

use std::time::Duration;

/// Has the calling thread, and those that it starts, run as soon as there is something to do. A system
/// call filter may end the process for it: [`Optional::Priority`](super::optional::Optional::Priority).
///
/// Linux lets a thread that wakes up wait while another one uses up its slice of the processor, 3 ms:
/// this long a plugin's load held up a worker that shared its processor. Since 6.12 a thread may ask
/// for shorter slices, and then goes before those with longer ones (`sched(7)`, `sched_runtime`); its
/// share of the processor stays what it was. Older kernels change nothing.
pub(crate) fn go_first() {
    // SAFETY: reads a number of the calling thread.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let wanted = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: 0,
        sched_flags: libc::SCHED_FLAG_KEEP_POLICY as u64,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE.as_nanos() as u64,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: reads as many bytes as the size says. Refused, it changes nothing.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wanted, 0) };
}

/// The shortest that Linux gives.
const SLICE: Duration = Duration::from_micros(100);
