//! A whole message as a frame that is encoded, and compressed, once for all sessions that get it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tungstenite::protocol::frame::coding::OpCode;

use crate::buffers::pool::Buffer;
use crate::ws::deflate::deflation::{COMPRESSED_BYTES_MAX, Effort, compress_alone};
use crate::ws::frame;

/// A message for one session or for ten thousand.
#[derive(Debug)]
pub(crate) struct PreparedMessage {
    opcode: OpCode,
    plain: Vec<u8>,
    payload_len: usize,
    may_compress: bool,
    /// The compressed frame for each window from 9 to 15 bits. The first session that asks decides the
    /// level. `None` if compression makes the message no smaller.
    compressed: [OnceLock<Option<Vec<u8>>>; 7],
    /// Memory for a compressed frame, from a message that was here before.
    spare: Mutex<Vec<u8>>,
}

/// How a session sends prepared messages: as they are, or compressed without context from some length on.
///
/// It is packed into 32 bits, so that a mailbox has room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form(u32);

impl Form {
    /// No message is compressed.
    pub(crate) const PLAIN: Form = Form(0);

    /// Messages of at least `bytes_min` bytes are compressed, if their sender allows it.
    pub(crate) fn compressed(effort: Effort, bytes_min: usize) -> Form {
        let bytes_min = u32::try_from(bytes_min).unwrap_or(u32::MAX);
        let effort = u32::from(effort.window_bits) | u32::from(effort.level) << 4;
        Form(effort | bytes_min.min(u32::MAX >> 8) << 8)
    }

    /// The form of [`bits`](Self::bits).
    #[inline]
    pub(crate) fn of_bits(bits: u32) -> Form {
        Form(bits)
    }

    /// The bits that stand for this form.
    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    fn effort(self) -> Effort {
        Effort {
            window_bits: (self.0 & 15) as u8,
            level: (self.0 >> 4 & 15) as u8,
        }
    }

    fn bytes_min(self) -> usize {
        (self.0 >> 8) as usize
    }
}

impl PreparedMessage {
    /// Encodes a message. `may_compress` is the sender's wish, which no message above [`COMPRESSED_BYTES_MAX`] is
    /// granted; each session decides for itself as well.
    ///
    /// It uses the memory of an earlier message of this thread that all sessions have sent, if there is one.
    pub(crate) fn new(opcode: OpCode, payload: &[u8], may_compress: bool) -> Arc<PreparedMessage> {
        let mut message = take_recent().unwrap_or_else(|| Arc::new(PreparedMessage::nothing()));
        if let Some(message) = Arc::get_mut(&mut message) {
            message.renew(opcode, payload, may_compress);
        }
        keep_recent(&message);
        message
    }

    /// Bytes that are sent as they are, without a frame.
    pub(crate) fn verbatim(bytes: &[u8]) -> Arc<PreparedMessage> {
        Arc::new(PreparedMessage {
            plain: bytes.to_vec(),
            payload_len: bytes.len(),
            ..PreparedMessage::nothing()
        })
    }

    fn nothing() -> PreparedMessage {
        PreparedMessage {
            opcode: frame::BINARY,
            plain: Vec::new(),
            payload_len: 0,
            may_compress: false,
            compressed: Default::default(),
            spare: Mutex::default(),
        }
    }

    fn renew(&mut self, opcode: OpCode, payload: &[u8], may_compress: bool) {
        self.opcode = opcode;
        self.payload_len = payload.len();
        self.may_compress = may_compress && payload.len() <= COMPRESSED_BYTES_MAX;
        self.plain.clear();
        self.plain
            .reserve_exact(payload.len() + frame::HEADER_BYTES_MAX);
        frame::put(&mut self.plain, true, opcode, payload);
        for compressed in &mut self.compressed {
            if let Some(Some(memory)) = compressed.take() {
                *self.spare.get_mut().unwrap_or_else(PoisonError::into_inner) = memory;
            }
        }
    }

    /// Whether it is bytes that are no frame.
    pub(crate) fn is_verbatim(&self) -> bool {
        self.plain.len() == self.payload_len
    }

    pub(crate) fn opcode(&self) -> OpCode {
        self.opcode
    }

    /// The kind in the numbers of the ABI, `TEXT` or `BINARY`.
    pub(crate) fn kind(&self) -> u32 {
        u32::from(u8::from(self.opcode))
    }

    pub(crate) fn may_compress(&self) -> bool {
        self.may_compress
    }

    /// The message without its frame header.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.plain[self.plain.len() - self.payload_len..]
    }

    /// The frame, uncompressed.
    pub(crate) fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// The frame as a session of this form sends it.
    #[inline]
    pub(crate) fn in_form(&self, form: Form) -> &[u8] {
        if form == Form::PLAIN || !self.may_compress || self.payload_len < form.bytes_min() {
            return &self.plain;
        }
        self.compressed(form.effort())
    }

    /// The frame, compressed without context, or uncompressed if that is no larger.
    pub(crate) fn compressed(&self, effort: Effort) -> &[u8] {
        let Some(once) = self.compressed.get(usize::from(effort.window_bits) - 9) else {
            return &self.plain;
        };
        let compressed = once.get_or_init(|| {
            let mut payload = Buffer::small();
            let is_smaller = compress_alone(effort, self.payload(), &mut payload);
            is_smaller.then(|| {
                let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
                let mut output = std::mem::take(&mut *spare);
                output.clear();
                output.reserve_exact(payload.len() + frame::HEADER_BYTES_MAX);
                frame::put_compressed_header(&mut output, true, self.opcode, payload.len());
                output.extend_from_slice(&payload);
                output
            })
        });
        compressed.as_deref().unwrap_or(&self.plain)
    }
}

/// The oldest message of this thread, if all sessions have sent it.
fn take_recent() -> Option<Arc<PreparedMessage>> {
    // A plugin may send from a thread that is ending, when the thread-local is gone.
    let taken = RECENT.try_with(|recent| {
        let mut recent = recent.borrow_mut();
        let is_free = recent.front_mut().and_then(Arc::get_mut).is_some();
        let is_too_many = recent.len() == RECENT_MAX;
        let oldest = (is_free || is_too_many).then(|| recent.pop_front());
        oldest.flatten().filter(|_| is_free)
    });
    taken.ok().flatten()
}

fn keep_recent(message: &Arc<PreparedMessage>) {
    if message.plain.capacity() > RECENT_BYTES_MAX / 2 {
        return;
    }
    let _ = RECENT.try_with(|recent| {
        let mut recent = recent.borrow_mut();
        recent.push_back(message.clone());
        let bytes = |recent: &VecDeque<Arc<PreparedMessage>>| -> usize {
            recent.iter().map(|it| it.plain.capacity()).sum()
        };
        while bytes(&recent) > RECENT_BYTES_MAX {
            recent.pop_front();
        }
    });
}

thread_local! {
    /// The messages that this thread encoded last, the oldest first. Per thread, so that no encoding waits for another.
    static RECENT: RefCell<VecDeque<Arc<PreparedMessage>>> = const { RefCell::new(VecDeque::new()) };
}

/// A thread keeps this many messages, for the memory of the next. Each blocking session has a thread.
const RECENT_MAX: usize = 8;
const RECENT_BYTES_MAX: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort {
        window_bits: 15,
        level: 1,
    };

    fn message(payload: &[u8]) -> Arc<PreparedMessage> {
        PreparedMessage::new(frame::BINARY, payload, true)
    }

    #[test]
    fn the_memory_of_a_message_that_all_have_sent_is_used_again_and_no_other() {
        let long = [7; 500];
        let first = message(&long);
        let place = Arc::as_ptr(&first);
        assert!(first.compressed(EFFORT).len() < 100);

        let second = message(b"second");
        assert_ne!(Arc::as_ptr(&second), place);
        assert_eq!(
            (first.payload(), second.payload()),
            (&long[..], &b"second"[..])
        );

        drop(first);
        let third = message(b"third");
        assert_eq!(Arc::as_ptr(&third), place);
        assert_eq!(third.plain(), b"\x82\x05third");
        assert_eq!(
            third.compressed(EFFORT),
            third.plain(),
            "it becomes no smaller"
        );
    }

    #[test]
    fn a_form_compresses_what_is_long_enough_and_may_be_compressed() {
        let form = Form::of_bits(Form::compressed(EFFORT, 200).bits());
        let message = |length, may| PreparedMessage::new(frame::BINARY, &vec![7; length], may);
        let is_compressed =
            |message: Arc<PreparedMessage>| message.in_form(form) != message.plain();

        assert!(is_compressed(message(200, true)));
        assert_eq!(
            message(200, true).in_form(form),
            message(200, true).compressed(EFFORT)
        );
        assert!(!is_compressed(message(199, true)));
        assert!(!is_compressed(message(200, false)));
        assert!(is_compressed(message(COMPRESSED_BYTES_MAX, true)));
        assert!(!is_compressed(message(COMPRESSED_BYTES_MAX + 1, true)));
        assert_eq!(message(500, true).in_form(Form::PLAIN).len(), 504);
        let longest = Form::compressed(EFFORT, usize::MAX);
        assert_eq!((longest.effort(), longest.bytes_min()), (EFFORT, 0xff_ffff));
    }

    #[test]
    fn messages_that_are_not_sent_are_not_kept_for_ever() {
        let waiting: Vec<_> = (0..100).map(|_| message(b"hello")).collect();

        let kept = waiting.iter().filter(|it| Arc::strong_count(it) > 1);
        assert_eq!(kept.count(), RECENT_MAX);

        let long: Vec<_> = (1..9).map(|n| message(&vec![0; n * 16 * 1024])).collect();
        let kept = long.iter().filter(|it| Arc::strong_count(it) > 1);
        let kept: usize = kept.map(|it| it.plain.capacity()).sum();
        assert!((1..=RECENT_BYTES_MAX).contains(&kept), "{kept}");
    }
}
