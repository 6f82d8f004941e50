//! A plugin's log lines, as lines of the server's log.

use std::fmt::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::{debug, error, info, trace, warn};
use wsh::abi;

use super::context::Context;
use super::host;

/// One line of a handler, ready for the log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Line {
    level: u32,
    session: Option<u64>,
    module: String,
    text: String,
}

/// Logs one line of a handler. What it carries may come from a peer, so it is escaped.
pub(super) fn forward<'a>(
    context: &Context,
    id: u64,
    level: u32,
    target: &[u8],
    message: &[u8],
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) {
    let mut text = String::new();
    escape_into(&mut text, message);
    for (name, value) in fields {
        text.push(' ');
        escape_into(&mut text, name);
        text.push('=');
        escape_into(&mut text, value);
    }
    let mut module = String::new();
    escape_into(&mut module, target);
    let line = Line {
        level,
        session: (id != 0).then_some(id),
        module,
        text,
    };
    match KEPT.get() {
        None => line.log(&context.handler, context.generation),
        Some(kept) => kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(line),
    }
}

impl Line {
    /// Says it in the server's log, as a line of this handler.
    pub(super) fn log(&self, handler: &str, generation: u64) {
        let Line {
            session,
            module,
            text,
            ..
        } = self;
        match self.level {
            abi::LOG_ERROR => {
                error!(target: "handler", handler, generation, session, module, "{text}");
            }
            abi::LOG_WARN => {
                warn!(target: "handler", handler, generation, session, module, "{text}");
            }
            abi::LOG_INFO => {
                info!(target: "handler", handler, generation, session, module, "{text}");
            }
            abi::LOG_DEBUG => {
                debug!(target: "handler", handler, generation, session, module, "{text}");
            }
            abi::LOG_TRACE => {
                trace!(target: "handler", handler, generation, session, module, "{text}");
            }
            _ => {}
        }
    }
}

/// The lines of a process that has no log of its own: the first ones, as far as there is room.
#[derive(Debug, Default)]
struct Kept {
    lines: Vec<Line>,
    room: usize,
}

impl Kept {
    fn add(&mut self, line: Line) {
        // What stands around the texts, too.
        let bytes = line.module.len() + line.text.len() + 64;
        if let Some(room) = self.room.checked_sub(bytes) {
            self.room = room;
            self.lines.push(line);
        }
    }
}

/// From now on handlers' lines are kept, up to so many bytes, and not logged.
pub(super) fn keep_lines(bytes_max: usize) {
    let kept = Kept {
        lines: Vec::new(),
        room: bytes_max,
    };
    let _ = KEPT.set(Mutex::new(kept));
}

/// The lines that were kept.
pub(super) fn take_kept_lines() -> Vec<Line> {
    let kept = KEPT
        .get()
        .map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner));
    kept.map(|mut kept| std::mem::take(&mut kept.lines))
        .unwrap_or_default()
}

/// There in a trial only.
static KEPT: OnceLock<Mutex<Kept>> = OnceLock::new();

/// Logs why a session's callback failed, in the handler's own words if it gave some.
pub(super) fn failure(context: &Context, id: u64, callback: &str, status: abi::Status) {
    let words = host::take_failure_of(context);
    // Panics are logged by the plugin, with their place.
    if words.is_none() && status == abi::PANIC {
        return;
    }
    let mut error = String::new();
    match words {
        Some(words) => escape_into(&mut error, words.as_bytes()),
        None => error = format!("it answered status {status}"),
    }
    let handler = &*context.handler;
    let generation = context.generation;
    error!(
        handler,
        generation,
        session = id,
        callback,
        %error,
        "callback failed"
    );
}

/// Appends text with its control characters escaped, so that one event stays one line.
pub(super) fn escape_into(line: &mut String, text: &[u8]) {
    for character in String::from_utf8_lossy(text).chars() {
        let reorders = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || reorders {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_whatever_a_peer_put_into_it() {
        let mut line = String::new();
        escape_into(&mut line, b"caf\xc3\xa9\r\n\x1b[31m\xff");
        assert_eq!(line, "café\\r\\n\\u{1b}[31m\u{fffd}");
    }
}
