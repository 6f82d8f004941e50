//! The log lines of handlers, in the server's log.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::{debug, error, info, trace, warn};
use wsh::abi::{self, Status};
use wsh::rules;

use super::failure_reason;
use super::handler_context::HandlerContext;
use crate::engine::position::Position;
use crate::logging::value;
use crate::sessions::trace::TraceId;

/// One line of a handler, ready for the log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct HandlerLine {
    level: u32,
    session: Option<u64>,
    module: String,
    text: String,
}

/// Logs one line of a handler. The text is escaped, because it may come from a peer.
pub(crate) fn forward<'a>(
    context: &HandlerContext,
    session: Option<u64>,
    level: u32,
    target: MaybeBytes<'a>,
    message: MaybeBytes<'a>,
    fields: Result<impl Iterator<Item = (MaybeBytes<'a>, MaybeBytes<'a>)>, Status>,
) {
    let mut text = String::new();
    add(&mut text, message);
    match fields {
        Ok(fields) => {
            for (name, value) in fields {
                if text.len() > LINE_BYTES_MAX {
                    break;
                }
                text.push(' ');
                add_value(&mut text, name);
                text.push('=');
                add_value(&mut text, value);
            }
        }
        Err(_) => text.push_str(UNREADABLE),
    }
    cut(&mut text, LINE_BYTES_MAX);
    let mut module = String::new();
    add(&mut module, target);
    cut(&mut module, MODULE_BYTES_MAX);
    let line = HandlerLine {
        level,
        session,
        module,
        text,
    };
    match &context.captured_lines {
        None => {
            let trace = session.and_then(|id| context.shared.sessions.traces.get(id));
            line.log(&context.handler, context.generation, trace);
        }
        Some(captured) => captured.add(line),
    }
}

/// Adds as much of a field as a line can hold. It is quoted if it could be taken for several.
fn add_value(line: &mut String, lent: MaybeBytes<'_>) {
    match lent {
        Ok(bytes) => {
            let shown = &bytes[..bytes.len().min(LINE_BYTES_MAX + 1)];
            value::push(line, &String::from_utf8_lossy(shown));
        }
        Err(_) => line.push_str(UNREADABLE),
    }
}

/// Adds as much of a plugin's text as a line can hold.
fn add(line: &mut String, lent: MaybeBytes<'_>) {
    match lent {
        // One byte more than a line can hold, so that `cut` sees that something is missing.
        Ok(bytes) => escape_into(line, &bytes[..bytes.len().min(LINE_BYTES_MAX + 1)]),
        Err(_) => line.push_str(UNREADABLE),
    }
}

/// Shortens a text of more than `bytes_max`, and marks it as cut.
fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let fits = |end: &usize| text.is_char_boundary(*end);
        let end = (0..=bytes_max).rev().find(fits).unwrap_or(0);
        text.truncate(end);
        text.push_str("… (cut)");
    }
}

impl HandlerLine {
    /// Writes the line to the server's log, as one of this handler.
    pub(crate) fn log(&self, handler: &str, generation: u64, trace: Option<TraceId>) {
        let trace = trace.map(tracing::field::display);
        let HandlerLine {
            session,
            module,
            text,
            ..
        } = self;
        match self.level {
            abi::LOG_ERROR => {
                error!(target: "handler", handler, generation, session, trace, module, "{text}");
            }
            abi::LOG_WARN => {
                warn!(target: "handler", handler, generation, session, trace, module, "{text}");
            }
            abi::LOG_INFO => {
                info!(target: "handler", handler, generation, session, trace, module, "{text}");
            }
            abi::LOG_DEBUG => {
                debug!(target: "handler", handler, generation, session, trace, module, "{text}");
            }
            abi::LOG_TRACE => {
                trace!(target: "handler", handler, generation, session, trace, module, "{text}");
            }
            _ => {}
        }
    }
}

/// Lines of a handler that are kept instead of logged: the first ones, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct CapturedLines(Mutex<Captured>);

#[derive(Debug, Default)]
struct Captured {
    lines: Vec<HandlerLine>,
    bytes_left: usize,
}

impl CapturedLines {
    /// No lines yet, and `bytes_max` for those that come.
    pub(crate) fn new(bytes_max: usize) -> CapturedLines {
        CapturedLines(Mutex::new(Captured {
            lines: Vec::new(),
            bytes_left: bytes_max,
        }))
    }

    fn add(&self, line: HandlerLine) {
        let mut captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // 64 bytes for what a report has around the texts.
        let bytes = line.module.len() + line.text.len() + 64;
        if let Some(left) = captured.bytes_left.checked_sub(bytes) {
            captured.bytes_left = left;
            captured.lines.push(line);
        }
    }

    /// Takes the lines that were kept.
    pub(crate) fn take(&self) -> Vec<HandlerLine> {
        let mut captured = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut captured.lines)
    }
}

/// Bytes that a plugin lends, or the status for a pointer and a length that cannot be right.
type MaybeBytes<'a> = Result<&'a [u8], Status>;

/// The longest line of a handler, with its fields. A longer one is cut, so that one line cannot fill a disk.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// The longest name of the module that a line comes from.
const MODULE_BYTES_MAX: usize = 256;
/// The most fields of a line. A larger number is taken for a mistake.
pub(crate) const FIELDS_MAX: usize = 1024;
/// What is logged for a pointer and a length that cannot be right.
const UNREADABLE: &str = "(not readable: a length or a pointer that cannot be meant)";

/// Logs why a session's callback failed: the reason that the handler gave, else the status.
pub(crate) fn callback_failed(
    context: &HandlerContext,
    id: u64,
    callback: &str,
    status: abi::Status,
) {
    let words = failure_reason::take_reason_of(context);
    // The plugin logs a panic itself, with its place in the source.
    if words.is_none() && status == abi::PANIC {
        return;
    }
    let error = words.unwrap_or_else(|| rules::answered(status));
    let handler = &*context.handler;
    let generation = context.generation;
    let trace = context.shared.sessions.traces.get(id);
    error!(
        handler,
        generation,
        session = id,
        trace = trace.map(tracing::field::display),
        callback,
        %error,
        "callback failed"
    );
}

/// Logs why a callback of the handler made no message of this publication or change, the first time and then now and
/// then. `times` counts the failures since the last line.
pub(crate) fn making_failed(
    context: &HandlerContext,
    callback: &str,
    subject: &Subject<'_>,
    error: &str,
    times: u64,
) {
    let handler = &*context.handler;
    let generation = context.generation;
    let times = (times > 1).then_some(times);
    let Subject { topic, at } = subject;
    let (position, version) = match at {
        Place::Position(position) => (Some(tracing::field::display(position)), None),
        Place::Version(version) => (None, Some(version)),
    };
    error!(
        handler,
        generation, callback, topic, position, version, %error, times, "callback failed"
    );
}

/// What a callback was to make a message of.
pub(crate) struct Subject<'a> {
    pub(crate) topic: &'a str,
    pub(crate) at: Place,
}

/// Where a [`Subject`] stands on its topic.
pub(crate) enum Place {
    /// Among the publications.
    Position(Position),
    /// Among the changes of the members.
    Version(u64),
}

/// Appends text with its control characters escaped, so that one event is one line.
pub(crate) fn escape_into(line: &mut String, text: &[u8]) {
    value::push_message(line, &String::from_utf8_lossy(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_cut_and_says_so() {
        let mut line = String::new();
        add(&mut line, Ok(&vec![b'x'; 1 << 20]));
        cut(&mut line, LINE_BYTES_MAX);
        assert_eq!(line.len(), LINE_BYTES_MAX + "… (cut)".len());
        assert!(line.ends_with("x… (cut)"));

        let mut line = "é".repeat(10);
        cut(&mut line, 5);
        assert_eq!(line, "éé… (cut)");
    }

    #[test]
    fn a_line_stays_one_line_whatever_a_peer_put_into_it() {
        let mut line = String::new();
        escape_into(&mut line, b"caf\xc3\xa9\r\n\x1b[31m\xff");
        assert_eq!(line, "café\\r\\n\\u{1b}[31m\u{fffd}");
    }
}
