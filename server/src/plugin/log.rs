//! A plugin's log lines, as lines of the server's log.

use std::fmt::Write;

use tracing::{debug, error, info, trace, warn};
use wsh::abi;

use super::context::Context;
use super::host;

/// Logs one line of a handler. What it carries may come from a peer, so it is escaped.
pub(super) fn forward<'a>(
    context: &Context,
    id: u64,
    level: u32,
    target: &[u8],
    message: &[u8],
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) {
    let mut line = String::new();
    escape_into(&mut line, message);
    for (name, value) in fields {
        line.push(' ');
        escape_into(&mut line, name);
        line.push('=');
        escape_into(&mut line, value);
    }
    let handler = &*context.handler;
    let generation = context.generation;
    let session = (id != 0).then_some(id);
    let mut module = String::new();
    escape_into(&mut module, target);
    match level {
        abi::LOG_ERROR => error!(target: "handler", handler, generation, session, module, "{line}"),
        abi::LOG_WARN => warn!(target: "handler", handler, generation, session, module, "{line}"),
        abi::LOG_INFO => info!(target: "handler", handler, generation, session, module, "{line}"),
        abi::LOG_DEBUG => debug!(target: "handler", handler, generation, session, module, "{line}"),
        abi::LOG_TRACE => trace!(target: "handler", handler, generation, session, module, "{line}"),
        _ => {}
    }
}

/// Logs why a session's callback failed, in the handler's own words if it gave some.
pub(super) fn failure(context: &Context, id: u64, callback: &str, status: abi::Status) {
    let words = host::take_failure();
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
