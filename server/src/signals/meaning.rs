//! The meaning of each signal, and what it does in each phase of the server's life: one enum and one function.

use std::ffi::c_int;

use signal_hook::consts as signals;
use signal_hook::low_level::signal_name;

/// The meaning of SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// Read the configuration again, for a service, which has no terminal.
    Rereads,
    /// Stop, since the developer's terminal is closed.
    Stops,
}

/// How far the server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ServerPhase {
    /// No code of a plugin has run, and nothing is open.
    Preparing,
    /// Handlers are being loaded, and no connection is served yet.
    Starting,
    Serving,
    /// Another process has taken the server's place, and the sessions that are left are told to come back.
    Replaced,
    Stopping,
}

/// The meaning of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Stop,
    /// The process that started the server has gone, or wants it to stop.
    Orphaned,
    Reread,
    /// Open the log files again, which were moved.
    ReopenLogs,
    /// Start the program anew, in place of this process.
    Upgrade,
    /// Nothing. By default, the signal would end the process.
    Nothing,
}

/// What to do about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalAction {
    /// Stop in good order.
    Stop,
    /// End the process, since there is nothing to stop.
    Leave,
    /// End the process, whatever is still open.
    LeaveAtOnce,
    /// Log that the server ends by itself, and how to end it now.
    TellEnd,
    Reread,
    /// Read the configuration again as soon as the server serves.
    RereadLater,
    ReopenLogs,
    Upgrade,
    /// Log that the signal means nothing.
    Tell,
    Nothing,
}

/// The phase after a signal, and what to do about it.
pub(super) fn step(phase: ServerPhase, meaning: Meaning) -> (ServerPhase, SignalAction) {
    use self::ServerPhase::{Preparing, Replaced, Serving, Starting, Stopping};
    match (phase, meaning) {
        (phase, Meaning::Nothing) => (phase, SignalAction::Tell),
        (Preparing, Meaning::Stop) => (Stopping, SignalAction::Leave),
        (Starting | Serving, Meaning::Stop) => (Stopping, SignalAction::Stop),
        // It is the first signal that the operator has sent to end this process, and the sessions keep their time.
        (Replaced, Meaning::Stop) => (Stopping, SignalAction::TellEnd),
        (Stopping, Meaning::Stop) => (Stopping, SignalAction::LeaveAtOnce),
        (Preparing, Meaning::Orphaned) => (Stopping, SignalAction::Leave),
        (Starting | Serving, Meaning::Orphaned) => (Stopping, SignalAction::Stop),
        // The server stops already, and the end of stdin is no reason to hurry.
        (phase @ (Replaced | Stopping), Meaning::Orphaned) => (phase, SignalAction::Nothing),
        (phase, Meaning::ReopenLogs) => (phase, SignalAction::ReopenLogs),
        (Serving, Meaning::Upgrade) => (Serving, SignalAction::Upgrade),
        // There is nothing to take over yet, or it is being closed.
        (phase, Meaning::Upgrade) => (phase, SignalAction::Tell),
        // It may have changed since it was read.
        (Preparing, Meaning::Reread) => (Preparing, SignalAction::RereadLater),
        (Starting, Meaning::Reread) => (Starting, SignalAction::RereadLater),
        (Serving, Meaning::Reread) => (Serving, SignalAction::Reread),
        // The configuration is not needed any more, but the log is.
        (phase @ (Replaced | Stopping), Meaning::Reread) => (phase, SignalAction::ReopenLogs),
    }
}

impl ServerPhase {
    /// Goes on to `next`, unless a signal has led further.
    pub(super) fn advance(&mut self, next: ServerPhase) {
        *self = (*self).max(next);
    }
}

impl Meaning {
    /// The meaning of this signal, where that of SIGHUP is `hang_up`.
    pub(super) fn of(signal: c_int, hang_up: HangUp) -> Meaning {
        match signal {
            // SIGQUIT (Ctrl-\) stops in good order, as with nginx: a healthy server needs no core dump.
            signals::SIGTERM | signals::SIGINT | signals::SIGQUIT => Meaning::Stop,
            signals::SIGHUP if hang_up == HangUp::Stops => Meaning::Stop,
            signals::SIGHUP => Meaning::Reread,
            // `wshd dev` runs what it has built.
            signals::SIGUSR2 if hang_up == HangUp::Rereads => Meaning::Upgrade,
            signals::SIGUSR1 => Meaning::ReopenLogs,
            _ => Meaning::Nothing,
        }
    }
}

/// Whether the server listens to this signal. `hang_up` is the meaning of SIGHUP, which may have been
/// ignored when the process began.
///
/// An ignored SIGHUP that would stop the server stays ignored: `nohup` asks for that. An ignored SIGINT is
/// heard: a shell ignores it for what it runs in the background, and a supervisor may send it.
pub(super) fn is_listened_to(signal: c_int, hang_up: HangUp, is_hang_up_ignored: bool) -> bool {
    signal != signals::SIGHUP || hang_up == HangUp::Rereads || !is_hang_up_ignored
}

/// The signals that the server cannot do without.
pub(super) fn needed() -> [c_int; 3] {
    [signals::SIGTERM, signals::SIGINT, signals::SIGHUP]
}

/// The name of a signal, such as `SIGTERM`.
pub(super) fn name(signal: c_int) -> String {
    let first = libc::SIGRTMIN();
    match signal {
        signals::SIGINT => "Ctrl-C".to_owned(),
        libc::SIGPWR => "SIGPWR".to_owned(),
        libc::SIGSTKFLT => "SIGSTKFLT".to_owned(),
        _ if signal == first => "SIGRTMIN".to_owned(),
        _ if signal > first => format!("SIGRTMIN+{}", signal - first),
        _ => signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_does_in_each_phase_what_the_manual_says() {
        use self::ServerPhase::{Preparing, Replaced, Serving, Starting, Stopping};
        for (phase, meaning, expected) in [
            (Preparing, Meaning::Stop, (Stopping, SignalAction::Leave)),
            (Starting, Meaning::Stop, (Stopping, SignalAction::Stop)),
            (Serving, Meaning::Stop, (Stopping, SignalAction::Stop)),
            (Replaced, Meaning::Stop, (Stopping, SignalAction::TellEnd)),
            (
                Stopping,
                Meaning::Stop,
                (Stopping, SignalAction::LeaveAtOnce),
            ),
            (
                Preparing,
                Meaning::Orphaned,
                (Stopping, SignalAction::Leave),
            ),
            (Starting, Meaning::Orphaned, (Stopping, SignalAction::Stop)),
            (Serving, Meaning::Orphaned, (Stopping, SignalAction::Stop)),
            (
                Replaced,
                Meaning::Orphaned,
                (Replaced, SignalAction::Nothing),
            ),
            (
                Stopping,
                Meaning::Orphaned,
                (Stopping, SignalAction::Nothing),
            ),
            (
                Preparing,
                Meaning::Reread,
                (Preparing, SignalAction::RereadLater),
            ),
            (
                Starting,
                Meaning::Reread,
                (Starting, SignalAction::RereadLater),
            ),
            (Serving, Meaning::Reread, (Serving, SignalAction::Reread)),
            (
                Replaced,
                Meaning::Reread,
                (Replaced, SignalAction::ReopenLogs),
            ),
            (
                Stopping,
                Meaning::Reread,
                (Stopping, SignalAction::ReopenLogs),
            ),
            (
                Preparing,
                Meaning::ReopenLogs,
                (Preparing, SignalAction::ReopenLogs),
            ),
            (
                Starting,
                Meaning::ReopenLogs,
                (Starting, SignalAction::ReopenLogs),
            ),
            (
                Serving,
                Meaning::ReopenLogs,
                (Serving, SignalAction::ReopenLogs),
            ),
            (
                Replaced,
                Meaning::ReopenLogs,
                (Replaced, SignalAction::ReopenLogs),
            ),
            (
                Stopping,
                Meaning::ReopenLogs,
                (Stopping, SignalAction::ReopenLogs),
            ),
            (Preparing, Meaning::Upgrade, (Preparing, SignalAction::Tell)),
            (Starting, Meaning::Upgrade, (Starting, SignalAction::Tell)),
            (Serving, Meaning::Upgrade, (Serving, SignalAction::Upgrade)),
            (Replaced, Meaning::Upgrade, (Replaced, SignalAction::Tell)),
            (Stopping, Meaning::Upgrade, (Stopping, SignalAction::Tell)),
            (Preparing, Meaning::Nothing, (Preparing, SignalAction::Tell)),
            (Starting, Meaning::Nothing, (Starting, SignalAction::Tell)),
            (Serving, Meaning::Nothing, (Serving, SignalAction::Tell)),
            (Replaced, Meaning::Nothing, (Replaced, SignalAction::Tell)),
            (Stopping, Meaning::Nothing, (Stopping, SignalAction::Tell)),
        ] {
            assert_eq!(step(phase, meaning), expected, "{phase:?} {meaning:?}");
        }
    }

    #[test]
    fn only_a_hang_up_that_would_stop_what_runs_under_nohup_is_not_heard() {
        use self::HangUp::{Rereads, Stops};
        for (signal, hang_up, is_ignored, expected) in [
            (signals::SIGHUP, Stops, true, false),
            (signals::SIGHUP, Stops, false, true),
            (signals::SIGHUP, Rereads, true, true),
            (signals::SIGHUP, Rereads, false, true),
            (signals::SIGINT, Stops, true, true),
            (signals::SIGTERM, Rereads, true, true),
        ] {
            let is_heard = is_listened_to(signal, hang_up, is_ignored);
            assert_eq!(is_heard, expected, "{signal} {hang_up:?} {is_ignored}");
        }
    }

    #[test]
    fn a_server_that_was_told_to_stop_while_it_started_does_not_begin_to_serve() {
        let mut phase = step(ServerPhase::Starting, Meaning::Stop).0;
        phase.advance(ServerPhase::Serving);
        assert_eq!(phase, ServerPhase::Stopping);
        phase.advance(ServerPhase::Replaced);
        assert_eq!(phase, ServerPhase::Stopping);
    }
}
