//! How a session ended.

use std::fmt;

use crate::{abi, close_codes};

/// A close code and its reason (RFC 6455 §7.4).
///
/// ```
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Guest;
///
/// impl Session for Guest {
///     fn on_message(&mut self, _: &mut Conn, _: Message) -> Result {
///         Ok(())
///     }
///     fn on_close(&mut self, _: &mut Conn, close: &Close) -> Result {
///         match close.code {
///             1000 | 1001 => wsh::info!("left: {close}"),
///             _ if close.is_clean() => wsh::warn!(code = close.code, "left for `{}`", close.reason),
///             _ => wsh::warn!("lost"),
///         }
///         Ok(())
///     }
/// }
/// # let server = wsh::test::serve(wsh::descriptor!(Guest));
/// # server.connect().close(1001, "going away");
/// # drop(server.connect());
/// # let log: Vec<String> = server.log().into_iter().map(|line| line.message).collect();
/// # assert_eq!(log, ["left: 1001 going away", "lost"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The close code. 1005: the peer's Close frame had none. 1006: no Close frame was received.
    pub code: u32,
    /// The reason, of at most 123 bytes. It is often empty.
    pub reason: String,
    /// What ended the session first, whatever the code is.
    pub cause: Cause,
}

/// What ended a session.
///
/// ```
/// use wsh::{Cause, Close};
///
/// /// Whether the connection broke without a closing handshake.
/// fn has_vanished(close: &Close) -> bool {
///     close.cause == Cause::Lost
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The cause is not known, or this version of the library has no name for it.
    #[default]
    Unknown,
    /// The peer closed.
    Peer,
    /// The handler closed, dropped the connection, or was done with the session.
    Handler,
    /// The handler failed or panicked.
    Failed,
    /// The connection was lost, or the peer gave no sign of life for too long.
    Lost,
    /// The session passed a limit of the server's: of what its peer sends or is sent, of time without a message, or of
    /// memory, which all sessions share.
    Limit,
    /// The peer broke a rule of the protocol.
    Protocol,
    /// Newer code has replaced this generation of the handler, and the session could not move to it.
    Replaced,
    /// The server stops, or an operator has closed the session or drains the handler.
    Stopping,
}

impl Cause {
    /// The cause that the flags of a Conn say.
    pub(crate) fn of(flags: u32) -> Cause {
        match flags & abi::CAUSE {
            abi::CAUSE_PEER => Cause::Peer,
            abi::CAUSE_HANDLER => Cause::Handler,
            abi::CAUSE_FAILED => Cause::Failed,
            abi::CAUSE_LOST => Cause::Lost,
            abi::CAUSE_LIMIT => Cause::Limit,
            abi::CAUSE_PROTOCOL => Cause::Protocol,
            abi::CAUSE_REPLACED => Cause::Replaced,
            abi::CAUSE_STOPPING => Cause::Stopping,
            _ => Cause::Unknown,
        }
    }
}

impl Close {
    pub(crate) fn new(code: u32, reason: &str, cause: Cause) -> Self {
        Close {
            code,
            reason: reason.into(),
            cause,
        }
    }

    /// Whether there was a closing handshake: the code is not 1006.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.code != u32::from(close_codes::ABNORMAL)
    }
}

/// Writes the code and the reason: `1000`, or `1001 going away`.
impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if self.reason.is_empty() {
            return Ok(());
        }
        write!(f, " {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_of_a_later_server_is_unknown_and_other_flags_are_none() {
        let later = 200 << 8;
        assert_eq!(Cause::of(later), Cause::Unknown);
        assert_eq!(Cause::of(abi::CLOSING | abi::DEFLATE), Cause::Unknown);
        assert_eq!(Cause::of(abi::CLOSING | abi::CAUSE_LOST), Cause::Lost);
    }
}
