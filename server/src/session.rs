//! One open WebSocket: receives messages, hands them to the handler, sends what it answers.
//!
//! A session begins after the 101 and ends with exactly one Close frame sent or one lost socket.
//! It is one task. A readiness event costs it one receive and one send: every whole message is
//! handled where it lies in the thread's input buffer, and all replies leave together.

mod closing_actions;
mod deadlines;
mod letters;
mod liveness;
mod migration;
mod receive;
mod throttled;

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tracing::debug;

use self::deadlines::Deadlines;
use self::migration::Migration;
use crate::border::calls::{Instance, Outcome};
use crate::border::conn::Conn;
use crate::buffers::event_buffers::EventBuffers;
use crate::buffers::pool::Buffer;
use crate::config::SessionLimits;
use crate::generation::Generation;
use crate::generation::owners::{HandshakeOwner, SessionOwner};
use crate::outbound::controls::Controls;
use crate::outbound::wire::Wire;
use crate::process::clock::Moment;
use crate::sessions::cause::Cause;
use crate::sessions::mailbox::Letters;
use crate::sessions::peer::Peer;
use crate::sessions::permits::ConnectionGuard;
use crate::sessions::registry::Registration;
use crate::ws::close::CloseBody;
use crate::ws::closing::{ClosingEvent, ClosingState};
use crate::ws::decoder::{Decoder, Limits};
use crate::ws::deflate::Agreement;

/// One open WebSocket.
// The first three and the last are dropped in this order: the id is gone before the session is; the
// handler frees its session while the Conn that it knows is still there; and the connection counts
// as there until everything else of it is gone.
pub(crate) struct Session {
    registration: Registration,
    owner: SessionOwner,
    conn: Box<Conn>,
    decoder: Decoder,
    /// Received and not used yet: the start of a frame, or all that came while reading was off.
    unparsed: Buffer,
    /// Whether `unparsed` may have a whole frame in it.
    unparsed_has_frames: bool,
    /// Messages by id that wait behind one that is being sent in parts.
    waiting: Letters,
    /// What the peer's Close said, if it came before the handler was told of the end; the handler is
    /// told so.
    their_close: Option<Box<CloseBody>>,
    handler_end: HandlerEnd,
    teardown: Teardown,
    /// Whether what is posted wakes the task.
    is_listening: bool,
    deadlines: Deadlines,
    /// There is newer code that it is to move to.
    moving: Option<Box<Migration>>,
    about: About,
    guard: Option<ConnectionGuard>,
}

/// What the opening handshake leaves for the session.
pub(crate) struct Opening {
    pub(crate) owner: HandshakeOwner,
    /// The chosen subprotocol, or empty.
    pub(crate) protocol: String,
    /// Whether and how messages are compressed.
    pub(crate) deflate: Option<Agreement>,
    /// What the peer sent behind its request.
    pub(crate) early: Vec<u8>,
}

/// What the session's log line says of it.
pub(crate) struct About {
    pub(crate) peer: Peer,
    /// Unless it is the handler's own.
    pub(crate) path: Option<Box<str>>,
    pub(crate) began: Moment,
}

/// What came from the peer, as a callback may be given it.
#[derive(Clone, Copy)]
struct FromPeer<'a> {
    decoder: &'a Decoder,
    close: Option<&'a CloseBody>,
}

/// What the handler knows of the end of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandlerEnd {
    /// Nothing.
    Untold,
    /// `closed` is to run as soon as the handler's callbacks may run again.
    Due,
    /// `closed` has run.
    Told,
}

/// What a session has given back since its connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Teardown {
    /// Nothing, or the connection is not over.
    Connected,
    /// Socket, place and buffers. What is left is the handler's.
    Left,
    /// The same, and the handler, which was told of the end, has some time to finish.
    Afterlife,
}

impl Session {
    /// Begins a session in its handler; `wire` has the 101 queued, before anything that `open` sends.
    pub(crate) fn open(
        registration: Registration,
        wire: Wire,
        opening: Opening,
        about: About,
    ) -> Session {
        let Opening {
            owner,
            protocol,
            deflate,
            early,
        } = opening;
        let limits = owner.generation().session_limits();
        let context = owner.generation().context;
        let (inflation, deflation) = deflate.map(Agreement::into_halves).unzip();
        let mailbox = registration.mailbox().clone();
        let id = mailbox.id;
        let mut wire = wire;
        wire.bytes_in += early.len() as u64;
        let mut controls = Controls::new(wire, limits.clone(), mailbox);
        controls.deflation = deflation;
        let mut conn = Conn::new(id, protocol, context, controls);
        let is_compressing = inflation.is_some();
        if is_compressing {
            conn.set_deflate();
        }
        let (owner, outcome) = owner.open(&mut conn);
        let decoder = Decoder::new(decoder_limits(owner.generation(), &limits), inflation);
        let mut session = Session {
            registration,
            owner,
            conn,
            decoder,
            unparsed_has_frames: !early.is_empty(),
            unparsed: early.into(),
            waiting: None,
            their_close: None,
            handler_end: HandlerEnd::Untold,
            teardown: Teardown::Connected,
            is_listening: false,
            deadlines: Deadlines::new(),
            moving: None,
            about,
            guard: None,
        };
        session.log_begin(is_compressing);
        session.settle(outcome);
        if session.owner.generation().successor().is_some() {
            // Its generation was superseded during the handshake, and nobody may have asked it.
            session.plan_move(None);
            session.try_to_move();
        }
        session
    }

    /// Counts `guard` as there until the session is gone.
    pub(crate) fn set_guard(&mut self, guard: Option<ConnectionGuard>) {
        self.guard = guard;
    }

    /// Runs to the end.
    pub(crate) fn poll_to_the_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.teardown == Teardown::Connected {
            ready!(self.poll(cx));
        }
        self.poll_after_the_end(cx)
    }

    /// Ends with the handler's part of the session, once that of the connection is over.
    // Cold, like all that most polls do without, so that these pay nothing for it.
    #[cold]
    fn poll_after_the_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.teardown == Teardown::Connected {
            self.log_end();
            self.leave_connection();
            self.teardown = Teardown::Left;
        }
        if self.teardown == Teardown::Left {
            if self.handler_end == HandlerEnd::Due {
                if self.is_throttled(cx) {
                    return Poll::Pending;
                }
                self.tell_end();
            }
            if !self.owner.has_instance() {
                return Poll::Ready(());
            }
            // Async handlers go on after the end until they are done.
            self.controls().limit_time(AFTERLIFE);
            self.teardown = Teardown::Afterlife;
        }
        if self.poll_afterlife(cx).is_ready() {
            return Poll::Ready(());
        }
        ready!(self.controls().poll_time_left(cx));
        debug!(
            session = self.conn.id(),
            "handler took too long after the close"
        );
        Poll::Ready(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // It was woken, most likely by input. Receiving where there is none costs no system call.
        let mut may_receive = true;
        for _ in 0..TURNS_PER_POLL {
            if self.is_over() {
                return Poll::Ready(());
            }
            if may_receive || self.has_work() {
                if self.is_throttled(cx) && self.state().may_send() {
                    ready!(self.poll_throttled(cx));
                    continue;
                }
                let mut buffers = EventBuffers::take();
                self.controls().wire.borrow_output(&mut buffers.output);
                self.turn(&mut buffers.input);
                self.controls().wire.flush();
                self.controls().note_buffered();
                self.controls().wire.return_output(&mut buffers.output);
                may_receive = false;
            } else if self.is_settled(cx) {
                if self.poll_input(cx).is_pending() {
                    return Poll::Pending;
                }
                may_receive = true;
            }
        }
        // A peer that sends as fast as it is read must not hold the worker.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Pending until the socket may have something that is wanted.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let is_wanted = !self.unparsed_has_frames && self.reads();
        if is_wanted && self.conn.controls.wire.poll_readable(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Whether a turn has something to do besides input.
    fn has_work(&self) -> bool {
        self.registration.mailbox().is_rung()
            || self.unparsed_has_frames && self.reads()
            || self.deadlines.is_due()
            || self.has_waiting() && !self.holds_letters()
            || self.conn.controls.is_drain_due()
    }

    fn has_waiting(&self) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|waiting| !waiting.is_empty())
    }

    /// Whether there is nothing left to do now, and everything to come wakes the task.
    fn is_settled(&mut self, cx: &mut Context<'_>) -> bool {
        let wire = &self.conn.controls.wire;
        if wire.is_broken() && !(self.state().is_open() && self.reads()) {
            // Nothing can be said any more, so nothing is waited for.
            self.meet(ClosingEvent::ConnectionLost, Cause::ConnectionLost);
            return false;
        }
        if wire.buffered() > 0 && !wire.is_broken() && wire.poll_writable(cx).is_ready() {
            self.controls().wire.flush();
            self.controls().wire.give_back();
            self.controls().note_buffered();
            return false;
        }
        if self.state().is_flushing() && self.conn.controls.wire.buffered() == 0 {
            self.controls().closing.advance(ClosingEvent::Flushed);
            self.act();
            return false;
        }
        // One task polls a session all its life, so one waker does.
        if !self.is_listening {
            self.registration.mailbox().listen(cx.waker());
            self.is_listening = true;
            if self.registration.mailbox().is_rung() {
                return false; // since it was looked at, and nobody was to be woken
            }
        }
        let is_open = self.state().is_open();
        let rests = is_open && !self.reads();
        let is_armed = is_open && !rests && self.deadlines.is_armed_before(&self.conn.controls);
        is_armed || self.poll_deadlines(cx, is_open).is_pending()
    }

    /// One pass over everything that can have happened.
    fn turn(&mut self, input: &mut [u8]) {
        if self.handler_end == HandlerEnd::Due && !self.conn.context.throttle.is_on() {
            self.tell_end();
        }
        if self.registration.mailbox().is_rung() {
            self.take_post();
        }
        if self.registration.mailbox().is_roused() {
            // Now rather than in a turn of its own.
            self.deadlines.note_roused(&self.conn.controls);
        }
        if self.has_waiting() {
            self.deliver_what_waits();
        }
        if self.unparsed_has_frames && self.reads() {
            let mut unparsed = std::mem::take(&mut self.unparsed);
            self.receive_unparsed(&mut unparsed);
        }
        if !self.unparsed_has_frames && self.reads() {
            self.read_once(input);
        }
        if self.deadlines.take_due() {
            self.meet_deadlines();
        }
        // Letters and sends may have closed the session too.
        self.act();
        if self.controls().take_drain() {
            self.tell_drain();
        }
        self.try_to_move();
    }

    #[cold]
    fn tell_drain(&mut self) {
        if self.state().may_send() {
            self.call(|instance, conn, _| instance.drain(conn));
        }
    }

    /// Delivers letters that waited behind a message in parts, if it is complete.
    #[cold]
    fn deliver_what_waits(&mut self) {
        if !self.holds_letters() {
            let bytes = self.deliver_waiting();
            self.registration.mailbox().release(bytes);
        }
    }

    /// Takes and delivers what others posted.
    #[inline(never)]
    fn take_post(&mut self) {
        let stay = self.holds_letters();
        if let Some(post) = self.registration.mailbox().take(&mut self.waiting, stay) {
            self.deliver(post);
        }
    }

    /// Whether the handler holds too many workers, so that this session waits.
    #[inline]
    fn is_throttled(&self, cx: &Context<'_>) -> bool {
        let throttle = &self.conn.context.throttle;
        throttle.is_on() && throttle.wait(self.conn.id(), cx.waker())
    }

    /// Runs one callback, if there is a handler to call, and does what follows from it.
    ///
    /// Every callback between `open` and `closed` runs here.
    #[inline(always)]
    fn call(&mut self, callback: impl FnOnce(&mut Instance, &mut Conn, FromPeer<'_>) -> Outcome) {
        if let Some(instance) = self.owner.instance() {
            let from_peer = FromPeer {
                decoder: &self.decoder,
                close: self.their_close.as_deref(),
            };
            let outcome = callback(instance, &mut self.conn, from_peer);
            self.settle(outcome);
            self.act();
        }
    }

    /// Whether the peer's bytes are wanted now, be it to drop them.
    fn reads(&self) -> bool {
        match self.state() {
            ClosingState::Open => self.conn.controls.reads && !self.conn.controls.is_congested(),
            ClosingState::PeerCloses | ClosingState::Closed | ClosingState::Lost => false,
            ClosingState::WeClose
            | ClosingState::Skipping
            | ClosingState::Exchanged
            | ClosingState::GivenUp
            | ClosingState::HalfShut => true,
        }
    }

    /// Whether the next message, which `input` begins with or goes on with, may go to the handler;
    /// a long queue is first offered to the kernel.
    #[inline]
    fn may_deliver(&mut self, input: &[u8]) -> bool {
        if self.conn.controls.wire.buffered() > 0 {
            let bytes = self.decoder.announced(input);
            self.controls().expect_message(bytes);
            if self.conn.controls.is_congested() {
                self.controls().wire.flush();
            }
        }
        self.reads()
    }

    /// How far the end of the session has come.
    #[inline]
    fn state(&self) -> ClosingState {
        self.conn.controls.closing.state()
    }

    /// Whether the connection is over and everything that follows from its end is done.
    fn is_over(&self) -> bool {
        self.state().is_over() && !self.conn.controls.closing.has_actions()
    }

    fn controls(&mut self) -> &mut Controls {
        &mut self.conn.controls
    }
}

fn decoder_limits(generation: &Generation, limits: &SessionLimits) -> Limits {
    Limits {
        // The configuration allows less than either number can say.
        message_bytes_max: u32::try_from(limits.message_bytes_max).unwrap_or(u32::MAX),
        fragments_max: u32::try_from(limits.fragments_max).unwrap_or(u32::MAX),
        parts: generation.takes_parts(),
    }
}

/// What a session may do before others get their turn; each turn receives once.
const TURNS_PER_POLL: usize = 32;
/// How long a handler's `closed` may stay PENDING.
const AFTERLIFE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod size_tests;
