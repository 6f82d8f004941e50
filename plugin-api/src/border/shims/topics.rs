//! The callbacks of a handler about what servers share: `answered`, `envelope` and `presence`.

use std::ffi::c_void;

use super::{failed, root};
use crate::{
    abi::{self, Status, answer},
    asks::{
        callbacks::{PresenceChange, Publication},
        position::Position,
    },
    border::{
        answer::{self as table, with_answer},
        guard::{guard, guard_void},
        read,
    },
    message::{Message, MessageBuf},
    styles::adapter::HandlerAdapter,
};

pub(super) unsafe extern "C" fn answered<E: HandlerAdapter>(
    handler: *mut c_void,
    token: u64,
    answer: *const answer::Answer,
) {
    guard_void(|| {
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        // SAFETY: the callback's own argument.
        unsafe { with_answer(answer, |table| root.runtime.asks.answered(token, table)) };
    });
}

pub(super) unsafe extern "C" fn envelope<E: HandlerAdapter>(
    handler: *mut c_void,
    topic: abi::Str,
    position: abi::Bytes,
    kind: u32,
    ptr: *const u8,
    len: usize,
    sink: *const abi::Sink,
) -> Status {
    guard(|| {
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        // SAFETY: by the ABI, these can be read until the callback returns, and the topic is UTF-8.
        let (topic, position, bytes) = unsafe {
            (
                read::text(topic),
                read::bytes(position.ptr, position.len),
                read::bytes(ptr, len),
            )
        };
        // The publisher may have vouched for text that is not UTF-8. Such a message goes as it is.
        let message = match (kind & 0xff, str::from_utf8(bytes)) {
            (abi::TEXT, Ok(text)) => Message::Text(text),
            (abi::BINARY, _) => Message::Binary(bytes),
            _ => return abi::DONE,
        };
        let Some(position) = Position::new(position) else {
            return abi::DONE;
        };
        let publication = Publication {
            topic,
            position,
            message,
        };
        match root.adapter.envelope(&publication) {
            Ok(None) => abi::DONE,
            Ok(Some(form)) if is_text(&form) != matches!(message, Message::Text(_)) => {
                failed(&"`envelope` makes text of a binary message, or the other way round".into())
            }
            // SAFETY: the callback's own argument.
            Ok(Some(form)) => unsafe { write(sink, form.as_bytes()) },
            Err(error) => failed(&error),
        }
    })
}

pub(super) unsafe extern "C" fn presence<E: HandlerAdapter>(
    handler: *mut c_void,
    change: *const answer::PresenceChange,
    kind: *mut u32,
    sink: *const abi::Sink,
) -> Status {
    guard(|| {
        // SAFETY: the host passes what `init` gave it.
        let root = unsafe { root::<E>(handler) };
        // SAFETY: the callback's own argument, which is not used after its end.
        let Some(change) = PresenceChange::new(unsafe { table::change(change) }) else {
            return abi::DONE;
        };
        match root.adapter.presence(&change) {
            Ok(None) => abi::DONE,
            Ok(Some(news)) => {
                let opcode = if is_text(&news) {
                    abi::TEXT
                } else {
                    abi::BINARY
                };
                // SAFETY: the host's cell for the kind, and the callback's own argument.
                unsafe {
                    kind.write(opcode);
                    write(sink, news.as_bytes())
                }
            }
            Err(error) => failed(&error),
        }
    })
}

fn is_text(message: &MessageBuf) -> bool {
    matches!(message, MessageBuf::Text(_))
}

/// Writes bytes into the sink of a callback.
///
/// # Safety
/// `sink` is the argument of the callback that is running.
pub(super) unsafe fn write(sink: *const abi::Sink, bytes: &[u8]) -> Status {
    // SAFETY: the caller's promise.
    let sink = unsafe { read::copy(sink) };
    let Some(write) = sink.write else {
        return abi::UNSUPPORTED;
    };
    // SAFETY: the host's function with its own `ctx`, and bytes that outlive the call.
    unsafe { write(sink.ctx, bytes.as_ptr(), bytes.len()) }
}
