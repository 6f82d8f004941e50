//! Reads log levels, pywebsocket's names for them included.

use std::str::FromStr;

use super::LogLevel;
use super::fault::nearest;

/// The text is not a log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotALevel {
    /// The level that may have been meant.
    pub suggestion: Option<&'static str>,
}

impl std::fmt::Display for NotALevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "wants {}", super::settings::LEVEL_WANTED)?;
        match self.suggestion {
            Some(level) => write!(f, "; did you mean `{level}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for NotALevel {}

impl FromStr for LogLevel {
    type Err = NotALevel;

    fn from_str(text: &str) -> Result<LogLevel, NotALevel> {
        let text = text.to_lowercase();
        match LEVELS.iter().find(|(name, _)| *name == text) {
            Some((_, level)) => Ok(*level),
            None => Err(NotALevel {
                suggestion: nearest(&text, LEVELS.iter().map(|(name, _)| *name)),
            }),
        }
    }
}

/// `fine`, `warning` and `critical` are pywebsocket's.
const LEVELS: [(&str, LogLevel); 9] = [
    ("off", LogLevel::Off),
    ("error", LogLevel::Error),
    ("critical", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("warning", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
    ("fine", LogLevel::Trace),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pywebsockets_names_are_levels_in_any_case() {
        for (text, level) in [
            ("fine", LogLevel::Trace),
            ("WARNING", LogLevel::Warn),
            ("Warn", LogLevel::Warn),
            ("critical", LogLevel::Error),
            ("off", LogLevel::Off),
        ] {
            assert_eq!(text.parse(), Ok(level));
        }
        assert_eq!(
            "inof".parse::<LogLevel>(),
            Err(NotALevel {
                suggestion: Some("info")
            })
        );
        assert_eq!("".parse::<LogLevel>(), Err(NotALevel { suggestion: None }));
    }
}
