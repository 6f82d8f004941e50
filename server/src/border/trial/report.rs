//! What a trial is asked, and what came of it.

use serde::{Deserialize, Serialize};

use crate::border::context::Rights;
use crate::border::library::Step;
use crate::border::log::Line;
use crate::plugin::libraries::Library;

/// What is to be tried, and how.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Request {
    /// The staged copy, as the bytes of a path.
    pub(super) copy: Vec<u8>,
    pub(super) handler: String,
    pub(super) generation: u64,
    pub(super) config_json: String,
    /// In the ABI's numbers.
    pub(super) log_level: u32,
    pub(super) rights: Rights,
    /// Memory that the plugin can write to; 0 is half of what the machine has.
    pub(super) memory_bytes_max: u64,
    /// Processor time after which the kernel ends the trial, if nothing else did.
    pub(super) processor_s_max: u64,
}

/// What a trial says of a plugin that let it come to its end.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Report {
    /// Why it is not fit to serve; `None` if it is.
    pub(super) unfit: Option<String>,
    /// The libraries that came into the process with it.
    pub(super) libraries: Vec<Library>,
    /// What it logged.
    pub(super) lines: Vec<Line>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Killed(i32),
}

impl End {
    /// What happened, in words that follow the name of a file.
    pub(crate) fn sentence(self, step: Step) -> String {
        let when = match step {
            Step::Staging | Step::Trial | Step::Opening => "while it was mapped",
            Step::Init => "during init",
            Step::SelfTest => "during self_test",
            Step::Shutdown => "during shutdown",
        };
        match self {
            End::Exited(status) => format!("it ended the process with exit status {status} {when}"),
            End::Killed(signal) => match signal_name(signal) {
                Some(name) => format!("it ended the process with signal {signal} ({name}) {when}"),
                None => format!("it ended the process with signal {signal} {when}"),
            },
        }
    }
}

/// The names of the signals that end processes, or that processes wait for.
pub(crate) fn signal_name(signal: i32) -> Option<&'static str> {
    let known = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGCHLD, "SIGCHLD"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGXFSZ, "SIGXFSZ"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    let found = known.iter().find(|(number, _)| *number == signal);
    found.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_says_what_happened_and_when() {
        for (end, step, sentence) in [
            (
                End::Exited(0),
                Step::Init,
                "it ended the process with exit status 0 during init",
            ),
            (
                End::Killed(libc::SIGSEGV),
                Step::Opening,
                "it ended the process with signal 11 (SIGSEGV) while it was mapped",
            ),
            (
                End::Killed(libc::SIGABRT),
                Step::SelfTest,
                "it ended the process with signal 6 (SIGABRT) during self_test",
            ),
            (
                End::Killed(64),
                Step::Shutdown,
                "it ended the process with signal 64 during shutdown",
            ),
        ] {
            assert_eq!(end.sentence(step), sentence);
        }
    }
}
