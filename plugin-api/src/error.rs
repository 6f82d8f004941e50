//! The errors of handlers, and the server's refusals.

pub(crate) mod rule;

use std::{error::Error as StdError, fmt};

use crate::{
    abi::{self, Status},
    error::rule::Rule,
};

/// The result of a handler's functions. `?` turns any error into an [`Error`], and `Err("no room".into())` makes one of a
/// sentence.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why a callback or a function of a handler failed: any error, or a sentence.
///
/// ```
/// use wsh::Refused;
///
/// let sentence: wsh::Error = "no room".into();
/// let refused = wsh::Error::from(Refused::Gone);
/// assert_eq!(sentence.to_string(), "no room");
/// assert_eq!(refused.downcast_ref(), Some(&Refused::Gone));
/// ```
// A type of its own around the box, with a cold `From`: the code that `?` adds stays small, so that a small callback is
// inlined into the function that the server calls.
pub struct Error(Box<dyn StdError + Send + Sync>);

impl Error {
    /// Lets the error close its session with this code and reason, in the place of 1011. The error is logged like any
    /// other.
    ///
    /// ```standalone_crate
    /// use wsh::prelude::*;
    ///
    /// fn bid(text: &str) -> Result<u64> {
    ///     let amount = text.parse().map_err(|error| wsh::Error::from(error).close_with(4000, "not a number"))?;
    ///     Ok(amount)
    /// }
    ///
    /// async fn auction(conn: &mut AsyncConn) -> Result {
    ///     while let Some(message) = conn.recv().await {
    ///         let amount = bid(message.as_text().unwrap_or_default())?;
    ///         conn.send(format!("{amount} is bid")).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(async auction, restarts);
    /// ```
    ///
    /// The code and the reason are those that [`Conn::close`](crate::Conn::close) takes. A code or a reason that may not
    /// be sent has no effect, nor has this call where the session is closing already, or where no session can be closed:
    /// in `handshake` (which answers 500), in `snapshot` and `restore`, and in `on_close`. Of several calls the last one
    /// counts.
    #[must_use]
    pub fn close_with(self, code: u32, reason: &str) -> Error {
        let Error(cause) = match self.0.downcast::<WithClose>() {
            Ok(closing) => Error(closing.cause),
            Err(cause) => Error(cause),
        };
        let reason = reason.into();
        Error(Box::new(WithClose {
            code,
            reason,
            cause,
        }))
    }

    /// The code and the reason of [`close_with`](Self::close_with), if it was called.
    pub(crate) fn closes_with(&self) -> Option<(u32, &str)> {
        let closing = self.0.downcast_ref::<WithClose>()?;
        Some((closing.code, &closing.reason))
    }

    /// The error that this one was made of, if that is a `T`.
    ///
    /// ```
    /// use wsh::Refused;
    ///
    /// let error = wsh::Error::from(Refused::Full);
    /// assert!(error.downcast_ref() == Some(&Refused::Full));
    /// ```
    #[must_use]
    pub fn downcast_ref<T: StdError + 'static>(&self) -> Option<&T> {
        match self.0.downcast_ref::<WithClose>() {
            Some(closing) => closing.cause.downcast_ref(),
            None => self.0.downcast_ref(),
        }
    }

    /// Whether the error only says that a message was dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        self.0.downcast_ref() == Some(&Refused::Dropped)
    }

    /// Whether the error only says that a session is over.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.downcast_ref() == Some(&Refused::Gone)
    }
}

/// An error together with the code and reason that close its session.
#[derive(Debug)]
struct WithClose {
    code: u32,
    reason: Box<str>,
    cause: Box<dyn StdError + Send + Sync>,
}

impl fmt::Display for WithClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl StdError for WithClose {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.source()
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Error {
    #[cold]
    #[inline(never)]
    fn from(error: E) -> Self {
        Error(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The server refused a call.
///
/// A callback or a function of a handler may pass it on with `?`. [`Gone`](Refused::Gone) from a session's own connection
/// is then no failure, as it only says that the session ends, and neither is [`Dropped`](Refused::Dropped). Any other refusal is logged, and closes with 1011.
///
/// ```
/// # use wsh::prelude::*;
/// #[derive(Default)]
/// struct Careful;
///
/// impl Session for Careful {
///     fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
///         match conn.subscribe(&message.to_string()) {
///             Ok(()) => conn.send("subscribed")?,
///             // The rule names the argument, what was found, and what was wanted.
///             Err(Refused::Invalid(rule) | Refused::TooBig(rule)) => conn.send(rule.to_string())?,
///             Err(other) => return Err(other.into()),
///         };
///         Ok(())
///     }
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(Careful));
/// # client.send("");
/// # client.send("tea");
/// # let rule = client.receive().unwrap().to_string();
/// # assert!(rule.contains("topic"), "{rule}");
/// # assert_eq!(client.receive().unwrap(), "subscribed");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// The session, or this generation of the handler, is over. A call that waited, such as for the answer to an
    /// [`Ask`](crate::Ask), may have been carried out all the same.
    Gone,
    /// An argument is past a limit.
    TooBig(Rule),
    /// The queue is full. Nothing was done, and the call may be tried again.
    Full,
    /// An argument breaks its rule.
    Invalid(Rule),
    /// The call came at the wrong time or on the wrong thread.
    Misuse,
    /// The server does not know the call, or its configuration does not allow it to this handler or for this topic. For a
    /// topic the rule says which key of `[topics]` allows it.
    Unsupported(Rule),
    /// The server failed, and its log says why.
    Failed,
    /// The value does not have the version that was named, as it was changed meanwhile. Nothing was done.
    Conflict {
        /// The version that the value has; 0 if there is no value.
        version: u64,
    },
    /// What servers share cannot be reached, or did not answer in time. It is not known whether the call was carried out.
    Unavailable,
    /// The message passes the limit of what may wait for the peer (`outbound_bytes_max`), and the configuration has such
    /// messages dropped (`outbound_policy`). It was dropped, and the session goes on.
    Dropped,
}

impl Refused {
    /// The result that a status stands for. `rule` is called for the rule that was broken, if one was.
    #[inline]
    pub(crate) fn check(status: Status, rule: impl FnOnce(Status) -> Rule) -> Result<(), Refused> {
        if status >= 0 {
            return Ok(());
        }
        Err(Self::from_status(status, rule))
    }

    /// The result that an answer stands for: a number of bytes or subscribers, or below 0 a status.
    #[inline]
    pub(crate) fn check_count(
        answer: i64,
        rule: impl FnOnce(Status) -> Rule,
    ) -> Result<u64, Refused> {
        u64::try_from(answer)
            .map_err(|_| Self::from_status(Status::try_from(answer).unwrap_or(abi::ERROR), rule))
    }

    #[cold]
    pub(crate) fn from_status(status: Status, rule: impl FnOnce(Status) -> Rule) -> Refused {
        match status {
            abi::GONE => Refused::Gone,
            abi::FULL => Refused::Full,
            abi::TOO_BIG => Refused::TooBig(rule(status)),
            abi::INVALID => Refused::Invalid(rule(status)),
            abi::MISUSE => Refused::Misuse,
            abi::UNSUPPORTED => Refused::Unsupported(rule(status).or_unsupported()),
            // Only an answer to an ask has it, and the answer's version replaces this one.
            abi::CONFLICT => Refused::Conflict { version: 0 },
            abi::UNAVAILABLE => Refused::Unavailable,
            abi::DROPPED => Refused::Dropped,
            _ => Refused::Failed,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Gone => "the session is over, or this generation of the handler is",
            Refused::TooBig(rule) | Refused::Invalid(rule) | Refused::Unsupported(rule) => {
                return rule.fmt(f);
            }
            Refused::Full => "the queue is full; nothing was done, and it may be tried again",
            Refused::Misuse => {
                "called at the wrong time or on the wrong thread, wanted a callback of this session that may do so"
            }
            Refused::Failed => "the server failed, and its log says why",
            Refused::Conflict { version: 0 } => {
                "there is no value, so none of the version that was named; nothing was done"
            }
            Refused::Conflict { version } => {
                return write!(
                    f,
                    "the value has version {version} and not the one that was named; nothing was done"
                );
            }
            Refused::Dropped => {
                "the peer takes too little, and the configuration has what does not fit dropped; the message was dropped"
            }
            Refused::Unavailable => {
                "what servers share cannot be reached or did not answer in time; it is not known whether this was done"
            }
        })
    }
}

impl StdError for Refused {}

/// No message came in time: the error of [`AsyncConn::recv_timeout`](crate::AsyncConn::recv_timeout) and its like.
///
/// ```
/// # use std::time::Duration;
/// # use wsh::prelude::*;
/// async fn guess(conn: &mut AsyncConn) -> Result {
///     let answer = match conn.recv_timeout(Duration::from_secs(5)).await {
///         Ok(Some(_)) => "thank you",
///         Ok(None) => return Ok(()), // the session is over
///         Err(Elapsed) => "too late",
///     };
///     conn.send(answer).await?;
///     Ok(())
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(async guess));
/// # client.advance(Duration::from_secs(5));
/// # assert_eq!(client.receive().unwrap(), "too late");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing came in time")
    }
}

impl StdError for Elapsed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_fits_into_two_registers() {
        assert!(size_of::<Result<(), Refused>>() <= 2 * size_of::<u64>());
        assert!(size_of::<Result<u64, Refused>>() <= 2 * size_of::<u64>());
    }

    #[test]
    fn an_error_that_closes_is_the_error_that_it_was() {
        let gone = Error::from(Refused::Gone);
        assert!(gone.is_gone() && gone.closes_with().is_none());

        let closing = gone.close_with(4000, "once").close_with(4001, "twice");

        assert_eq!(closing.closes_with(), Some((4001, "twice")));
        assert_eq!(closing.downcast_ref(), Some(&Refused::Gone));
        assert_eq!(closing.to_string(), Refused::Gone.to_string());
        // With a code of its own it says more than that the session is over.
        assert!(!closing.is_gone());
    }
}
