//! What a handler can do to its session from inside a callback: send, close, set timers, join topics.
//!
//! Each call acts on the session's own state, at once and in call order; no plugin code runs in it. The
//! server's own frames (Ping, Pong, Close) are queued here too.

mod backpressure;
pub(crate) mod idle_watch;
mod joined_topics;
pub(crate) mod outgoing;
mod queued_messages;
pub(crate) mod rate;
mod raw;
mod read_mode;
mod timers;
mod topics;

use std::sync::Arc;

use tungstenite::protocol::frame::coding::OpCode;
use wsh::{abi, rules};

use self::backpressure::{Watermark, congested_above, short_way_bytes_max};
use self::idle_watch::IdleWatch;
use self::joined_topics::JoinedTopics;
use self::queued_messages::QueuedMessages;
use self::rate::Rate;
use self::read_mode::ReadMode;
use self::timers::Timers;
use crate::buffers::pool::Buffer;
use crate::config::SessionLimits;
use crate::outbound::wire::Wire;
use crate::process::clock::Moment;
use crate::sessions::cause::Cause;
use crate::sessions::mailbox::Mailbox;
use crate::ws::close::CloseBody;
use crate::ws::closing::{CloseFrame, ClosingEvent, ClosingHandshake};
use crate::ws::deflate::deflation::Deflation;
use crate::ws::{close, frame};

/// The part of a session's state that its handler can change.
#[derive(Debug)]
pub(crate) struct Controls {
    pub(crate) wire: Wire,
    /// The compressing half; `None` if no compression was agreed on.
    deflation: Option<Box<Deflation>>,
    pub(crate) limits: Arc<SessionLimits>,
    /// How far the end of the session has come.
    pub(crate) closing: ClosingHandshake,
    /// The code of our Close frame; 0 while there is none, or it has no code.
    pub(crate) close_code: u16,
    /// Why the session ends, once it does.
    pub(crate) cause: Option<Cause>,
    /// What broke off the end that was under way.
    pub(crate) cut_short: Option<Cause>,
    /// Whether the peer's messages are let in, and by which way.
    pub(crate) read_mode: ReadMode,
    /// The peer is not read while more bytes than these are buffered.
    congested_above: u32,
    /// A message that leaves no more bytes than these buffered may be queued the short way. 0 where none may: our Close
    /// frame is queued, another message is being sent in parts, messages are compressed, or each is noted.
    short_way_bytes_max: u32,
    /// The bytes of letters that are being delivered, which count as buffered.
    pub(crate) letter_bytes: u32,
    /// The kind of the message that is being sent in parts.
    open_message: Option<u8>,
    /// Whether that message goes compressed.
    open_is_compressed: bool,
    pub(crate) mailbox: Arc<Mailbox>,
    /// `None` until one of them is used.
    extras: Option<Box<Extras>>,
}

/// What most sessions never use, in a box, so that they do without the memory.
#[derive(Debug, Default)]
struct Extras {
    watermark: Watermark,
    timers: Timers,
    subscriptions: Option<JoinedTopics>,
    memberships: Option<JoinedTopics>,
    /// Memory that a handler writes a message into.
    reserved: Buffer,
    /// How many bytes of it the handler asked for; `None` once another call has taken it back.
    reserved_bytes: Option<usize>,
    /// What the peer has sent of late, if the limits have a rate for it.
    rate: Option<Rate>,
    /// Since when no message has come or gone, if the limits have a time for it.
    idle_watch: Option<IdleWatch>,
    /// The messages that the limit's policy may drop.
    queued_messages: QueuedMessages,
    /// Where the last Pong that waited for the kernel ends among all bytes, and its length.
    waiting_pong: (u64, u8),
}

impl Controls {
    pub(crate) fn new(wire: Wire, limits: Arc<SessionLimits>, mailbox: Arc<Mailbox>) -> Controls {
        let mut controls = Controls {
            wire,
            congested_above: congested_above(&limits),
            short_way_bytes_max: short_way_bytes_max(&limits),
            letter_bytes: 0,
            deflation: None,
            read_mode: ReadMode::of(&limits),
            limits,
            closing: ClosingHandshake::new(),
            close_code: 0,
            cause: None,
            cut_short: None,
            open_message: None,
            open_is_compressed: false,
            mailbox,
            extras: None,
        };
        controls.begin_watching();
        controls
    }

    /// Applies other limits from now on.
    pub(crate) fn set_limits(&mut self, limits: Arc<SessionLimits>) {
        self.congested_above = congested_above(&limits);
        self.read_mode.set_limits(&limits);
        self.limits = limits;
        self.set_short_way();
        self.begin_watching();
    }

    /// Sets the half that compresses, or does without one.
    pub(crate) fn set_deflation(&mut self, deflation: Option<Box<Deflation>>) {
        self.deflation = deflation;
        self.set_short_way();
    }

    /// Whether messages may be compressed.
    pub(crate) fn is_compressing(&self) -> bool {
        self.deflation.is_some()
    }

    /// Decides which messages go the short way, after a change of anything that bears on it. A message then asks for one
    /// number.
    fn set_short_way(&mut self) {
        let is_open = self.may_send() && self.open_message.is_none() && self.deflation.is_none();
        self.short_way_bytes_max = match is_open {
            true => short_way_bytes_max(&self.limits),
            false => 0,
        };
    }

    /// Whether nothing of the session is unusual after a flush: neither side closes, the peer is read, nothing is queued,
    /// and nothing was used that most sessions never use.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.extras.is_none() && self.read_mode.reads() && self.wire.has_sent_all()
    }

    /// Watches the peer by the limits from now on, where they have a rate or a time without messages.
    fn begin_watching(&mut self) {
        let rate = Rate::of(&self.limits);
        let idle_watch =
            (self.limits.idle_timeout_ms > 0).then(|| IdleWatch::new(Moment::recent()));
        if rate.is_some() || idle_watch.is_some() || self.extras.is_some() {
            let extras = self.extras.get_or_insert_default();
            (extras.rate, extras.idle_watch) = (rate, idle_watch);
        }
    }

    /// Since when no message has come or gone, if the limits have a time for it.
    pub(crate) fn idle_watch(&mut self) -> Option<&mut IdleWatch> {
        self.extras.as_mut()?.idle_watch.as_mut()
    }

    /// What the peer has sent of late, if the limits have a rate for it.
    pub(crate) fn rate(&mut self) -> Option<&mut Rate> {
        self.extras.as_mut()?.rate.as_mut()
    }

    /// Queues a Ping.
    pub(crate) fn ping(&mut self, payload: &[u8]) -> Result<(), abi::Status> {
        if payload.len() > rules::PING_BYTES_MAX {
            return Err(abi::TOO_BIG);
        }
        self.control(frame::PING, payload)
    }

    /// Queues a Pong. While the kernel takes nothing, it takes the place of a Pong that waits at the end of the queue: the
    /// latest stands for all (RFC 6455 §5.5.3), so that a flood of Pings fills no queue.
    pub(crate) fn pong(&mut self, payload: &[u8]) -> Result<(), abi::Status> {
        if self.wire.stalled_since().is_none() {
            return self.control(frame::PONG, payload);
        }
        let end = self.wire.end();
        let waiting = self.extras.as_ref().map(|extras| extras.waiting_pong);
        if let Some((at, bytes)) = waiting
            && at == end
            && self.may_send()
        {
            self.wire.take_back(bytes.into());
        }
        let before = self.wire.end();
        self.control(frame::PONG, payload)?;
        let end = self.wire.end();
        // A control frame has 127 bytes at most.
        self.extras.get_or_insert_default().waiting_pong = (end, (end - before) as u8);
        Ok(())
    }

    /// Queues our Close frame, at once. Nothing follows it, not even the rest of a message in parts: RFC
    /// 6455 §5.4 allows a control frame between them. Code 0 is an empty body.
    pub(crate) fn close(
        &mut self,
        code: u32,
        reason: &str,
        cause: Cause,
    ) -> Result<(), abi::Status> {
        let code = rules::close(code, reason)?;
        if self.advance(ClosingEvent::Close, cause).is_none() {
            return Err(abi::GONE);
        }
        self.put_close(code, reason);
        Ok(())
    }

    /// Closes for the server, with the words of `cause`. It does nothing once our Close frame is queued.
    pub(crate) fn close_for(&mut self, cause: Cause) {
        self.note_event(ClosingEvent::Close, cause, None);
    }

    /// Drops the connection without a Close frame.
    pub(crate) fn abort(&mut self) -> Result<(), abi::Status> {
        if self.closing.state().is_over() {
            return Err(abi::GONE);
        }
        self.advance(ClosingEvent::Abort, Cause::HandlerAborted);
        self.close_code = 0; // A Close frame that is queued does not leave.
        self.mailbox.refuse_letters();
        Ok(())
    }

    /// Takes an event that bears on the end of the session, and queues our Close frame if it is due:
    /// with the words of `cause`, or with those of the peer's Close, which are `theirs`.
    pub(crate) fn note_event(
        &mut self,
        event: ClosingEvent,
        cause: Cause,
        theirs: Option<&CloseBody>,
    ) {
        match self.advance(event, cause) {
            Some(CloseFrame::Own) => {
                let reason = cause.reason(&self.limits);
                self.put_close(cause.code(), &reason);
            }
            Some(CloseFrame::Echo) => {
                let (code, reason) = theirs.map_or((0, ""), |it| (it.code, &it.reason));
                self.put_close(code, reason);
            }
            None => {}
        }
    }

    /// Takes an event, and notes `cause` as the reason for the end unless there is one. Answers which
    /// Close frame has to be queued now.
    fn advance(&mut self, event: ClosingEvent, cause: Cause) -> Option<CloseFrame> {
        let transition = self.closing.advance(event);
        if !self.closing.state().is_open() {
            self.read_mode.end();
        }
        self.set_short_way();
        self.cause.get_or_insert(cause);
        if transition.cuts_short {
            self.cut_short = Some(cause);
        }
        transition.frame
    }

    /// Queues our Close frame, and drops what could only come after it: letters and timers.
    fn put_close(&mut self, code: u16, reason: &str) {
        self.wire
            .put(true, frame::CLOSE, &close::body(code, reason));
        self.note_buffered();
        self.close_code = code;
        self.mailbox.refuse_letters();
        if let Some(extras) = &mut self.extras {
            extras.timers = Timers::default();
        }
    }

    /// Whether our Close frame is still to come, so that anything may be sent.
    #[inline]
    pub(crate) fn may_send(&self) -> bool {
        self.closing.state().may_send()
    }

    /// Queues a control frame other than Close.
    fn control(&mut self, opcode: OpCode, payload: &[u8]) -> Result<(), abi::Status> {
        if !self.may_send() {
            return Err(abi::GONE);
        }
        self.wire.put(true, opcode, payload);
        self.note_buffered();
        Ok(())
    }
}
