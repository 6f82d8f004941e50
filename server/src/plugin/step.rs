//! The steps of a load, and how a process can end in the middle of one.

use signal_hook::low_level::signal_name;

/// A step of a load or a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing of the plugin runs yet.
    Staging = 0,
    /// A trial process has been asked for and has not begun. It has a deadline of its own.
    Trial = 1,
    /// The initialisers of the library run.
    Opening = 2,
    Init = 3,
    SelfTest = 4,
    /// The last call of a trial.
    Shutdown = 5,
}

impl Step {
    /// The word for it in a message.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Staging => "copy",
            Step::Trial => "trial",
            Step::Opening => "constructors",
            Step::Init => "init",
            Step::SelfTest => "self_test",
            Step::Shutdown => "shutdown",
        }
    }

    /// The step of a trial that has this number. Any other number is the first step of a trial.
    pub(crate) fn numbered(number: u32) -> Step {
        let steps = [Step::Init, Step::SelfTest, Step::Shutdown];
        let found = steps.into_iter().find(|step| *step as u32 == number);
        found.unwrap_or(Step::Opening)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Killed(i32),
}

impl End {
    /// A sentence that follows the name of the plugin file.
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
