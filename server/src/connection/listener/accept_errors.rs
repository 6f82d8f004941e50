//! What a listener does about an error of `accept` (accept(2)).

use std::io;
use std::time::{Duration, Instant};

/// The errors of one listener since it last accepted a connection.
#[derive(Debug)]
pub(super) struct AcceptErrors {
    /// The pause after the next error.
    pause: Duration,
    /// Connections that were gone before they could be accepted.
    gone: u32,
    /// When a shortage was last logged. Kept when a connection is accepted.
    shortage_logged: Option<Instant>,
}

/// What an error of `accept` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The one connection that was to be accepted.
    Connection,
    /// The socket, which never listens again.
    Listener,
    /// Descriptors or memory, of which the system has no more.
    Shortage,
    Other,
}

/// What to do about an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AcceptAction {
    AcceptNext,
    EndProcess,
    /// Evict a connection, then wait.
    EvictAndPause {
        pause: Duration,
        is_logged: bool,
    },
    Pause {
        pause: Duration,
        is_logged: bool,
    },
}

impl Fault {
    pub(super) fn of(error: &io::Error) -> Fault {
        match error.raw_os_error() {
            Some(
                libc::ECONNABORTED
                | libc::EINTR
                | libc::EPERM
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ETIMEDOUT,
            ) => Fault::Connection,
            Some(libc::EINVAL | libc::EBADF | libc::ENOTSOCK) => Fault::Listener,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Fault::Shortage,
            _ => Fault::Other,
        }
    }
}

impl AcceptErrors {
    pub(super) fn new() -> AcceptErrors {
        AcceptErrors {
            pause: PAUSE_MIN,
            gone: 0,
            shortage_logged: None,
        }
    }

    /// Notes that a connection was accepted.
    pub(super) fn note_accepted(&mut self) {
        self.pause = PAUSE_MIN;
        self.gone = 0;
    }

    /// What to do about an error that came `now`.
    pub(super) fn step(&mut self, fault: Fault, now: Instant) -> AcceptAction {
        let is_first = self.pause == PAUSE_MIN;
        match fault {
            Fault::Listener => AcceptAction::EndProcess,
            Fault::Connection if self.gone < GONE_MAX => {
                self.gone += 1;
                AcceptAction::AcceptNext
            }
            Fault::Shortage => {
                let is_recent = |logged| now.saturating_duration_since(logged) < LOGGED_AGAIN;
                let is_logged = is_first && !self.shortage_logged.is_some_and(is_recent);
                if is_logged {
                    self.shortage_logged = Some(now);
                }
                let pause = self.pause;
                self.pause = (pause * 2).min(PAUSE_MAX);
                AcceptAction::EvictAndPause { pause, is_logged }
            }
            Fault::Connection | Fault::Other => {
                self.pause = PAUSE_MAX;
                AcceptAction::Pause {
                    pause: PAUSE_OTHER,
                    is_logged: is_first,
                }
            }
        }
    }
}

/// So many connections may be gone one after another before they could be accepted. More of them are an
/// error of the system's: a filter of system calls answers EPERM for each.
const GONE_MAX: u32 = 1000;
/// A shortage that comes and goes is logged once in that time.
const LOGGED_AGAIN: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// The longest pause after a shortage. Within a second after it is over, connections are accepted again.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The pause after an error that no pause is known to help.
const PAUSE_OTHER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn evict(ms: u64, is_logged: bool) -> AcceptAction {
        let pause = Duration::from_millis(ms);
        AcceptAction::EvictAndPause { pause, is_logged }
    }

    fn pause(is_logged: bool) -> AcceptAction {
        let pause = PAUSE_OTHER;
        AcceptAction::Pause { pause, is_logged }
    }

    #[test]
    fn an_error_is_about_what_the_manual_says() {
        for (code, fault) in [
            (libc::ECONNABORTED, Fault::Connection),
            (libc::EPERM, Fault::Connection),
            (libc::EBADF, Fault::Listener),
            (libc::EMFILE, Fault::Shortage),
            (libc::EOPNOTSUPP, Fault::Other),
        ] {
            assert_eq!(Fault::of(&io::Error::from_raw_os_error(code)), fault);
        }
    }

    #[test]
    fn a_shortage_doubles_the_pause_and_is_logged_once_in_ten_seconds() {
        let (began, mut errors) = (Instant::now(), AcceptErrors::new());
        let shortage = |errors: &mut AcceptErrors, ms| {
            errors.step(Fault::Shortage, began + Duration::from_millis(ms))
        };
        assert_eq!(shortage(&mut errors, 0), evict(10, true));
        for ms in [20, 40, 80, 160, 320, 500, 500] {
            assert_eq!(shortage(&mut errors, 1), evict(ms, false));
        }

        errors.note_accepted();
        assert_eq!(shortage(&mut errors, 9_999), evict(10, false));
        errors.note_accepted();
        assert_eq!(shortage(&mut errors, 10_000), evict(10, true));
    }

    #[test]
    fn connections_that_are_gone_cost_nothing_until_there_are_too_many() {
        let (now, mut errors) = (Instant::now(), AcceptErrors::new());
        for _ in 0..GONE_MAX {
            assert_eq!(
                errors.step(Fault::Connection, now),
                AcceptAction::AcceptNext
            );
        }
        assert_eq!(errors.step(Fault::Connection, now), pause(true));
        assert_eq!(errors.step(Fault::Connection, now), pause(false));

        errors.note_accepted();
        assert_eq!(
            errors.step(Fault::Connection, now),
            AcceptAction::AcceptNext
        );
    }

    #[test]
    fn an_unknown_error_pauses_for_a_second_and_a_dead_listener_ends_the_process() {
        let (now, mut errors) = (Instant::now(), AcceptErrors::new());
        assert_eq!(errors.step(Fault::Other, now), pause(true));
        assert_eq!(errors.step(Fault::Other, now), pause(false));
        assert_eq!(errors.step(Fault::Shortage, now), evict(500, false));
        assert_eq!(errors.step(Fault::Listener, now), AcceptAction::EndProcess);
    }
}
