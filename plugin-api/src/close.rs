//! How a session ended.

use std::fmt;

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
    /// 1005: the peer's Close frame had none. 1006: no Close frame was received.
    pub code: u32,
    /// At most 123 bytes, often empty.
    pub reason: String,
}

impl Close {
    pub(crate) fn new(code: u32, reason: &str) -> Self {
        Close {
            code,
            reason: reason.into(),
        }
    }

    /// Whether the closing handshake was made: any code but 1006.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.code != 1006
    }
}

/// `1000`, or `1001 going away`.
impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if self.reason.is_empty() {
            return Ok(());
        }
        write!(f, " {}", self.reason)
    }
}
