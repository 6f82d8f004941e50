//! What a client sends, and the form in which the handler gets it: whole messages or parts.

use crate::{
    abi,
    message::{Message, MessageBuf},
};

/// One thing that a client sends.
#[derive(Debug)]
pub(super) enum Incoming {
    Message(MessageBuf),
    /// A part of a message, and whether it is the last one.
    Part(MessageBuf, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u32, String),
}

/// The message that a client is sending in parts.
#[derive(Debug, Default)]
pub(super) struct PartAssembly {
    /// The parts that have come, for a handler that takes messages whole.
    assembled: Option<MessageBuf>,
    /// A message has begun, and its last part has not come.
    is_open: bool,
}

/// The arguments of the callback `message`: the kind with its bits, and the bytes.
pub(super) type HandlerInput = (u32, Vec<u8>);

impl PartAssembly {
    /// Whether a message has begun and is not complete.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Takes a part from the client. Answers what the handler gets now, if it gets something.
    pub(super) fn take(
        &mut self,
        part: MessageBuf,
        is_last: bool,
        takes_parts: bool,
    ) -> Option<HandlerInput> {
        self.is_open = !is_last;
        let message = match self.assembled.take() {
            None => part,
            Some(MessageBuf::Text(mut text)) => {
                text.push_str(part.as_text().unwrap_or_default());
                MessageBuf::Text(text)
            }
            Some(MessageBuf::Binary(mut bytes)) => {
                bytes.extend_from_slice(part.as_bytes());
                MessageBuf::Binary(bytes)
            }
        };
        if !takes_parts && !is_last {
            self.assembled = Some(message);
            return None;
        }
        if message.is_empty() && !is_last {
            // An empty part that is not the last one tells the handler nothing.
            return None;
        }
        let more = if is_last { 0 } else { abi::MORE };
        Some((kind(&message) | more, message.into_bytes()))
    }
}

/// A message, cut into parts as long as a server with the default limits would make them.
pub(super) fn parts(message: &MessageBuf) -> Vec<Incoming> {
    let (mut parts, mut rest) = (Vec::new(), message.as_message());
    loop {
        let (part, left) = split(rest);
        rest = left;
        let is_last = rest.is_empty();
        parts.push(Incoming::Part(part.to_buf(), is_last));
        if is_last {
            return parts;
        }
    }
}

fn split(message: Message<'_>) -> (Message<'_>, Message<'_>) {
    match message {
        Message::Text(text) => {
            let fits = |end: &usize| text.is_char_boundary(*end);
            let end = (0..=PART_BYTES_MAX.min(text.len())).rev().find(fits);
            let (part, rest) = text.split_at(end.unwrap_or(0));
            (Message::Text(part), Message::Text(rest))
        }
        Message::Binary(bytes) => {
            let (part, rest) = bytes.split_at(PART_BYTES_MAX.min(bytes.len()));
            (Message::Binary(part), Message::Binary(rest))
        }
    }
}

pub(super) fn kind(message: &MessageBuf) -> u32 {
    match message {
        MessageBuf::Text(_) => abi::TEXT,
        MessageBuf::Binary(_) => abi::BINARY,
    }
}

/// The longest part that a server makes, unless its `message_bytes_max` is less.
const PART_BYTES_MAX: usize = 64 * 1024;
