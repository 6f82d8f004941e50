//! One open WebSocket: receives messages, hands them to the handler, sends what it answers.
//!
//! A session begins after the 101 and sends at most one Close frame, at its end. It is one task. A
//! readiness event costs it one receive and one send: a plain message that came whole is handled where it
//! lies in the thread's input buffer, and all replies leave together.

mod callbacks;
mod closing_actions;
mod deadlines;
mod holding;
mod idleness;
mod letters;
mod liveness;
mod log_lines;
mod migration;
mod paced_end;
mod rate;
mod receive;
mod sleep;
mod teardown;
mod throttled;

use std::task::{Context, Poll, ready};

use self::deadlines::Deadlines;
use self::holding::Holding;
use self::migration::Migration;
use self::receive::Unparsed;
use self::teardown::Teardown;
use crate::border::host_conn::HostConn;
use crate::buffers::event_buffers::EventBuffers;
use crate::buffers::pool::Buffer;
use crate::config::SessionLimits;
use crate::generation::Generation;
use crate::generation::owners::{HandshakeOwner, SessionOwner};
use crate::outbound::controls::Controls;
use crate::outbound::wire::Wire;
use crate::process::clock::Moment;
use crate::runtime::wakes;
use crate::sessions::mailbox::letter::Letters;
use crate::sessions::peer::Peer;
use crate::sessions::permits::ConnectionGuard;
use crate::sessions::registry::Registration;
use crate::ws::close::CloseBody;
use crate::ws::closing::ClosingState;
use crate::ws::decoder::{Decoder, DecoderLimits};
use crate::ws::deflate::Agreement;

/// One open WebSocket.
// The first three fields and the last are dropped in this order. The id is gone before the session is.
// The handler frees its session while the Conn that it knows is still there. The connection counts
// until everything else of it is gone.
pub(crate) struct Session {
    registration: Registration,
    owner: SessionOwner,
    conn: Box<HostConn>,
    decoder: Decoder,
    /// Bytes that came and were not parsed.
    unparsed: Buffer,
    unparsed_kind: Unparsed,
    /// Letters that wait behind a message that is being sent in parts.
    waiting: Letters,
    /// What the peer's Close said, if it came before the handler was told of the end.
    their_close: Option<Box<CloseBody>>,
    handler_end: HandlerEnd,
    teardown: Teardown,
    /// What it holds of the memory that sessions may hold together.
    holding: Holding,
    /// Whether what is posted wakes the task.
    is_listening: bool,
    /// Whether the task runs again only because it has let others run.
    has_yielded: bool,
    /// Whether others may send on the socket.
    has_offered_wire: bool,
    deadlines: Deadlines,
    /// The move to newer code that is to be made.
    moving: Option<Box<Migration>>,
    about: ConnectionInfo,
    guard: Option<ConnectionGuard>,
}

/// What the opening handshake leaves for the session.
pub(crate) struct SessionStart {
    pub(crate) owner: HandshakeOwner,
    /// The chosen subprotocol, or empty.
    pub(crate) protocol: String,
    /// Whether and how messages are compressed.
    pub(crate) deflate: Option<Agreement>,
    /// The bytes that the peer sent behind its request.
    pub(crate) early: Vec<u8>,
    /// The program that the peer says it is, where the log wants to know.
    pub(crate) user_agent: Option<String>,
}

/// What the log lines of a session say of its connection.
pub(crate) struct ConnectionInfo {
    pub(crate) peer: Peer,
    /// `None` in most sessions, which takes less memory.
    pub(crate) unusual: Option<Box<UnusualNames>>,
    pub(crate) began: Moment,
}

/// What the log lines of few sessions have.
pub(crate) struct UnusualNames {
    /// The path of the request; `None` is the handler's own path.
    pub(crate) path: Option<Box<str>>,
    /// The user, or the name of the token, that the peer has entered with.
    pub(crate) user: Option<Box<str>>,
}

/// What the handler knows of the end of its session. The variants are in the order in which they can follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HandlerEnd {
    /// Nothing, and there was no reason to call it.
    Untold,
    /// Nothing. Too many sessions end, so that it has to wait until it is called.
    Refused,
    /// What `Refused` says; the session is in the queue of those that wait.
    Waits,
    /// It may be called, and is asked about the peer's Close or told of the end.
    Called,
    /// `closed` is to run as soon as the handler's callbacks may run again.
    Due,
    /// `closed` has run.
    Told,
}

impl Session {
    /// Begins a session in its handler; `wire` has the 101 queued, before anything that `open` sends.
    pub(crate) fn open(
        registration: Registration,
        wire: Wire,
        opening: SessionStart,
        about: ConnectionInfo,
    ) -> Session {
        let SessionStart {
            owner,
            protocol,
            deflate,
            early,
            user_agent,
        } = opening;
        let limits = owner.generation().session_limits();
        let context = owner.generation().context;
        let (inflation, deflation) = deflate.map(Agreement::into_halves).unzip();
        let mailbox = registration.mailbox().clone();
        let id = mailbox.id;
        let mut wire = wire;
        wire.bytes_in += early.len() as u64;
        let mut controls = Controls::new(wire, limits.clone(), mailbox);
        controls.set_deflation(deflation);
        let mut conn = HostConn::new(id, protocol, context, controls);
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
            unparsed_kind: match early.is_empty() {
                true => Unparsed::PartOfAFrame,
                false => Unparsed::Frames,
            },
            unparsed: early.into(),
            waiting: None,
            their_close: None,
            handler_end: HandlerEnd::Untold,
            teardown: Teardown::Connected,
            holding: Holding::default(),
            is_listening: false,
            has_yielded: false,
            has_offered_wire: false,
            deadlines: Deadlines::new(),
            moving: None,
            about,
            guard: None,
        };
        session.count_begin();
        session.log_begin(is_compressing, user_agent.as_deref());
        session.settle(outcome);
        if session.owner.generation().successor().is_some() {
            // Its generation was superseded during the handshake, when no session could be asked to move.
            session.plan_move(None);
            session.try_to_move();
        }
        session
    }

    /// Keeps `guard`, which counts the connection, until the session is gone.
    pub(crate) fn set_guard(&mut self, guard: Option<ConnectionGuard>) {
        self.guard = guard;
    }

    /// Runs the session. Ready when its connection is over and its handler is done with it.
    pub(crate) fn poll_to_the_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_offered_wire && !self.reclaim_wire() {
            return Poll::Pending;
        }
        if self.teardown == Teardown::Connected {
            ready!(self.poll(cx));
        }
        self.poll_after_the_end(cx)
    }

    /// Runs the session as long as it has a connection.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_yielded {
            self.has_yielded = false;
            wakes::note_resumed(cx);
        }
        // The task was woken, most likely by input. Receiving where there is none costs no system call.
        let mut may_receive = true;
        for _ in 0..TURNS_PER_POLL {
            if self.state().is_over() {
                return self.poll_over(cx);
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
                buffers.give_back();
                if self.waits_only_for_input() {
                    // Nearly every turn ends so.
                    if self.conn.controls.wire.poll_readable(cx).is_pending() {
                        return Poll::Pending;
                    }
                    continue;
                }
                if self.unparsed_kind == Unparsed::FramesForLater && self.reads() {
                    break;
                }
                may_receive = false;
            } else if self.is_settled(cx) {
                if !self.holding.is_nothing() && !self.count_held() {
                    continue;
                }
                if self.poll_input(cx).is_pending() {
                    self.offer_wire();
                    return Poll::Pending;
                }
                may_receive = true;
            }
        }
        if !self.holding.is_nothing() || self.conn.controls.wire.buffered() > 0 {
            self.count_held();
        }
        // A peer that sends as fast as it is read must not hold the worker. A task that only wakes itself would keep it
        // from I/O: tokio looks for that when it has nothing to run, or after every 61st poll.
        self.has_yielded = true;
        wakes::yield_to_others(cx);
        Poll::Pending
    }

    /// Does once everything that can have come up, and receives once.
    fn turn(&mut self, input: &mut [u8]) {
        if self.handler_end == HandlerEnd::Due && !self.conn.context.throttle.is_on() {
            self.tell_end();
        }
        if self.registration.mailbox().has_post() {
            self.take_post();
        }
        if self.has_waiting() {
            self.deliver_what_waits();
        }
        if self.unparsed_kind.has_frames() && self.reads() {
            let mut unparsed = std::mem::take(&mut self.unparsed);
            self.receive_unparsed(&mut unparsed);
        }
        if !self.unparsed_kind.has_frames() && self.reads() {
            self.read_once(input);
        }
        if self.deadlines.take_due() {
            self.meet_deadlines();
        }
        // Letters may have closed the session, and so may a message that found no room.
        self.act();
        if self.controls().take_drain() {
            self.tell_drain();
        }
        self.try_to_move();
    }

    /// Whether this session waits, because its handler holds too many workers.
    #[inline]
    fn is_throttled(&self, cx: &Context<'_>) -> bool {
        let throttle = &self.conn.context.throttle;
        throttle.is_on() && throttle.wait(self.conn.id(), cx.waker())
    }

    /// Whether the peer's bytes are wanted now, be it to drop them.
    #[inline]
    fn reads(&self) -> bool {
        match self.conn.controls.read_mode.reads() {
            true => !self.conn.controls.is_congested(),
            false => self.reads_otherwise(),
        }
    }

    /// Like `reads`, for a session whose messages are held back or of no use any more.
    #[inline(never)]
    fn reads_otherwise(&self) -> bool {
        match self.state() {
            ClosingState::Open
            | ClosingState::PeerCloses
            | ClosingState::Closed
            | ClosingState::Lost => false,
            ClosingState::WeClose
            | ClosingState::Skipping
            | ClosingState::Exchanged
            | ClosingState::GivenUp
            | ClosingState::HalfShut => true,
        }
    }

    /// Whether the next message may go to the handler. A long queue is offered to the kernel before that is
    /// decided.
    #[inline]
    fn may_deliver(&mut self) -> bool {
        if self.conn.controls.is_congested() {
            self.controls().wire.flush();
        }
        self.reads()
    }

    /// How far the end of the session has come.
    #[inline]
    fn state(&self) -> ClosingState {
        self.conn.controls.closing.state()
    }

    fn controls(&mut self) -> &mut Controls {
        &mut self.conn.controls
    }
}

fn decoder_limits(generation: &Generation, limits: &SessionLimits) -> DecoderLimits {
    DecoderLimits {
        // The configuration allows less than a `u32` can hold.
        message_bytes_max: u32::try_from(limits.message_bytes_max).unwrap_or(u32::MAX),
        fragments_max: u32::try_from(limits.fragments_max).unwrap_or(u32::MAX),
        parts: generation.takes_parts(),
    }
}

/// The turns that a session may take before other tasks run; each turn receives once.
const TURNS_PER_POLL: usize = 32;
#[cfg(test)]
mod size_tests;
