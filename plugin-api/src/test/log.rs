//! Lines of the log of a test.

use std::fmt;

use crate::abi;

/// One line that a handler logged, or that the server logged about it.
///
/// ```
/// use wsh::prelude::*;
///
/// #[derive(Default)]
/// struct Talker;
///
/// impl Session for Talker {
///     fn on_message(&mut self, _: &mut Conn, message: Message) -> Result {
///         wsh::warn!(bytes = message.len(), "too loud");
///         Ok(())
///     }
/// }
///
/// let server = wsh::test::serve(wsh::descriptor!(Talker));
/// let mut client = server.connect();
/// client.send("HELLO");
///
/// let log = server.log();
/// assert_eq!((log[0].level, log[0].message.as_str()), (wsh::abi::LOG_WARN, "too loud"));
/// assert_eq!(log[0].field("bytes"), Some("5"));
/// assert_eq!(log[0].session, Some(client.id()));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Line {
    /// From [`LOG_ERROR`](abi::LOG_ERROR), 1, to [`LOG_TRACE`](abi::LOG_TRACE), 5.
    pub level: u32,
    /// The number of the session that the line is about, if it is about one.
    pub session: Option<u64>,
    /// The source of the line: the module, as a rule.
    pub target: String,
    /// The text of the line.
    pub message: String,
    /// The fields in order: their names and values.
    pub fields: Vec<(String, String)>,
}

impl Line {
    /// The value of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(found, _)| found == name)?;
        Some(value)
    }
}

/// Writes the line like `WARN chat_wsh: call refused call=ping`.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            abi::LOG_ERROR => "ERROR",
            abi::LOG_WARN => "WARN",
            abi::LOG_INFO => "INFO",
            abi::LOG_DEBUG => "DEBUG",
            _ => "TRACE",
        };
        write!(f, "{level} {}: {}", self.target, self.message)?;
        for (name, value) in &self.fields {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}
