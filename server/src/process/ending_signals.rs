//! The signals that end a process unless it listens to them.

use std::ffi::c_int;

/// Every signal that ends a process by default, without those that tell of a fault in it and those that
/// cannot be caught. Rust ignores SIGPIPE.
pub(crate) fn all() -> Vec<c_int> {
    let mut all = vec![
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGHUP,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGIO,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGPWR,
        libc::SIGSTKFLT,
    ];
    // The C library keeps the lowest ones for itself.
    all.extend(libc::SIGRTMIN()..=libc::SIGRTMAX());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_that_ends_a_process_by_default_is_heard() {
        let all = all();
        let (last, mut missing) = (libc::SIGRTMAX(), Vec::new());
        for signal in 1..=last {
            let is_fault = [
                libc::SIGABRT,
                libc::SIGBUS,
                libc::SIGFPE,
                libc::SIGILL,
                libc::SIGSEGV,
                libc::SIGSYS,
                libc::SIGTRAP,
            ]
            .contains(&signal);
            let is_harmless = [
                libc::SIGCHLD,
                libc::SIGCONT,
                libc::SIGPIPE,
                libc::SIGURG,
                libc::SIGWINCH,
                // Signals of job control, such as that of Ctrl-Z: the process goes on later.
                libc::SIGTSTP,
                libc::SIGTTIN,
                libc::SIGTTOU,
                libc::SIGKILL,
                libc::SIGSTOP,
            ]
            .contains(&signal);
            let is_the_c_librarys = (32..libc::SIGRTMIN()).contains(&signal);
            if !(is_fault || is_harmless || is_the_c_librarys || all.contains(&signal)) {
                missing.push(signal);
            }
        }
        assert_eq!(missing, Vec::<c_int>::new());
    }
}
