//! What can go wrong with a call to the server.

use std::{error::Error, fmt};

use crate::abi::{self, Status};

/// What a handler's functions return: any error goes up with `?`, and a sentence with
/// `Err("no room".into())`.
pub type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The server did not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// The session, or this generation of the handler, is over.
    Gone,
    /// Past a limit: the outbound limit of the session, 125 bytes of a ping, 123 of a close reason.
    TooBig,
    /// The session's inbox is full; it may be tried again.
    Full,
    /// An argument breaks its rule.
    Invalid,
    /// Called at the wrong time or on the wrong thread.
    Misuse,
    /// This server does not know it.
    Unsupported,
    /// It failed, and the server's log says why.
    Failed,
}

impl Refused {
    pub(crate) fn check(status: Status) -> Result<(), Refused> {
        Self::check_count(status.into()).map(|_| ())
    }

    /// Below 0 is a status, above a number of bytes or subscribers.
    #[inline]
    pub(crate) fn check_count(answer: i64) -> Result<u64, Refused> {
        u64::try_from(answer).map_err(|_| Self::from_status(answer))
    }

    #[cold]
    fn from_status(answer: i64) -> Refused {
        match Status::try_from(answer).unwrap_or(abi::ERROR) {
            abi::GONE => Refused::Gone,
            abi::FULL => Refused::Full,
            abi::TOO_BIG => Refused::TooBig,
            abi::INVALID => Refused::Invalid,
            abi::MISUSE => Refused::Misuse,
            abi::UNSUPPORTED => Refused::Unsupported,
            _ => Refused::Failed,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Gone => "the session is over",
            Refused::TooBig => "past the limit",
            Refused::Full => "the session's inbox is full",
            Refused::Invalid => "an argument breaks its rule",
            Refused::Misuse => "called at the wrong time or on the wrong thread",
            Refused::Unsupported => "this server does not know it",
            Refused::Failed => "the server failed",
        })
    }
}

impl Error for Refused {}

/// Nothing came in time: what [`Conn::recv_timeout`](crate::Conn::recv_timeout) fails with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing came in time")
    }
}

impl Error for Elapsed {}
