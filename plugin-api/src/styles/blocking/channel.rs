//! Between the callbacks of a blocking session and the thread that its function runs on.
//!
//! The thread leaves messages in the outbox, and what it wants to have an answer to as an errand; the
//! session's callbacks send and do it, in the order of the calls. What does not fit beside what waits
//! for the peer stays in the outbox until the peer has taken more. The wait is a mutex and a condition
//! variable: `park` and the channels of std take a thread-local key of the process for each loaded image,
//! and those run out.

mod callbacks;

use std::{
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use crate::{
    abi::{self, Status},
    border::{
        host_session::HostSession,
        runtime::{self, Runtime},
    },
    buffers::message_queue::SMALL_BYTES,
    close::Close,
    error::{Elapsed, Error, Refused, rule::Rule},
    message::payload::{OwnedPayload, Payload},
    styles::{
        asynchronous::send::CROWD_BYTES,
        blocking::{
            command::{Command, CommandOrder, CommandState},
            outbox::Outbox,
        },
        functions::{
            inbox::{self, Inbox},
            session_end::SessionEnd,
        },
    },
};

/// Shared by the slot and the [`BlockingConn`](crate::BlockingConn).
#[derive(Debug)]
pub(crate) struct BlockingChannel {
    pub(crate) runtime: &'static Runtime,
    pub(crate) id: u64,
    pub(crate) protocol: Box<str>,
    /// Whether a message may wait for a moment while others wait to be received. The clock of a test
    /// stands still.
    may_defer: bool,
    inner: Mutex<ChannelState>,
    changed: Condvar,
    closed: OnceLock<Close>,
}

#[derive(Debug, Default)]
struct ChannelState {
    inbox: Inbox,
    outbox: Outbox,
    ending: SessionEnd,
    /// The function has closed or dropped the connection.
    is_closing: bool,
    /// What the function came to, until a callback has taken it.
    outcome: Option<FunctionResult>,
    command: CommandState,
    /// A message was sent in parts, and not its last one.
    is_in_message: bool,
    congestion: Congestion,
    /// The author holds the peer back.
    is_paused: bool,
    /// The inbox has room again, and the host is to be told.
    wants_reads: bool,
    /// A `wake` was asked for, and has not begun.
    is_woken: bool,
    /// A `wake` comes soon for messages that were left without one.
    is_alarmed: bool,
    /// What the thread waits for. A thread that does not wait is not notified: that would cost a system call.
    waits: WaitsFor,
}

/// Whether the outbox may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Congestion {
    #[default]
    Free,
    /// So much is on its way to the peer that more waits until no more than this is, unless the function
    /// has something else in mind.
    Crowded(u64),
    /// The next message fits when no more than this is on its way.
    Full(u64),
}

/// What waits for a callback.
#[derive(Clone, Copy, Debug, Default)]
struct WaitsFor {
    for_message: bool,
    for_service: bool,
}

/// How the function ended: the status, and the error if there was one.
#[derive(Debug)]
pub(crate) struct FunctionResult {
    pub(crate) status: Status,
    pub(crate) why: Option<Error>,
}

impl ChannelState {
    /// Whether a callback has something to do for the thread.
    fn has_orders(&self) -> bool {
        let is_asked = match self.asked() {
            Some(CommandOrder::After) => !matches!(self.congestion, Congestion::Full(_)),
            Some(CommandOrder::Before | CommandOrder::Beside) => true,
            None => false,
        };
        is_asked || self.has_mail() && self.congestion == Congestion::Free || self.wants_reads
    }

    /// Whether there is a message to send. Between two parts of one there is none.
    fn has_mail(&self) -> bool {
        !self.outbox.is_empty() && !self.is_in_message
    }

    /// The turn of what the thread waits for.
    fn asked(&self) -> Option<CommandOrder> {
        match &self.command {
            CommandState::Asked(command) => Some(command.turn()),
            CommandState::Free | CommandState::Answered(_) => None,
        }
    }

    fn is_silent(&self) -> bool {
        self.is_closing || self.ending.is_silent()
    }

    /// Whether so much waits that its sender waits as well.
    fn is_crowded(&self) -> bool {
        self.congestion != Congestion::Free
            || self.outbox.bytes() > CROWD_BYTES as usize
            || self.outbox.len() >= inbox::MESSAGES_MAX
    }
}

/// For the thread.
impl BlockingChannel {
    pub(crate) fn new(session: &HostSession) -> Self {
        BlockingChannel {
            runtime: session.runtime,
            id: session.id,
            protocol: session.protocol.clone(),
            may_defer: !runtime::is_test(),
            inner: Mutex::default(),
            changed: Condvar::new(),
            closed: OnceLock::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ChannelState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn closed(&self) -> Option<&Close> {
        self.closed.get()
    }

    /// Whether either side has closed, as far as is known here.
    pub(crate) fn is_ending(&self) -> bool {
        let inner = self.lock();
        inner.is_closing || !inner.ending.is_open()
    }

    /// The next message, or as much of one as `take` wants; `Err(Told)` if there comes none any more.
    pub(crate) fn receive<T>(
        &self,
        deadline: Option<Instant>,
        take: impl Fn(&mut Inbox) -> Option<(T, bool)>,
    ) -> Result<Result<T, NoMoreMessages>, Elapsed> {
        let mut inner = self.lock();
        inner.ending.reads();
        loop {
            if let Some((message, may_resume)) = take(&mut inner.inbox) {
                inner.wants_reads |= may_resume && !inner.is_paused;
                if inner.wants_reads {
                    drop(self.send_orders(inner));
                }
                return Ok(Ok(message));
            }
            if !inner.ending.is_open() {
                let listens = inner.ending.tell();
                return Ok(Err(NoMoreMessages { listens }));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(Elapsed);
            }
            inner.waits.for_message = true;
            inner = self.wait(inner, deadline);
        }
    }

    /// Sends a message, and waits while much is on its way to the peer.
    pub(crate) fn send<P: Payload>(&self, message: P) -> Result<(), Refused> {
        let (kind, len) = (message.kind(), message.bytes().len());
        if len > CROWD_BYTES as usize {
            // It may be too long for the server: that is said at once.
            let bytes = message.into_owned();
            let is_part = false;
            let answer = self.run(Command::Send {
                kind,
                bytes,
                is_part,
            });
            Refused::check_count(answer, |status| Rule::message_bytes(status, len))?;
            return self.wait_for_room(self.lock());
        }
        let mut inner = self.lock();
        if inner.is_silent() {
            return Err(Refused::Gone);
        }
        if inner.is_in_message {
            return Err(Refused::Invalid(Rule::between_parts()));
        }
        if len <= SMALL_BYTES {
            inner.outbox.push(kind, message.bytes());
            if let Some(memory) = message.recycle() {
                inner.inbox.recycle(memory);
            }
        } else {
            inner.outbox.push_large(kind, message.into_owned());
        }
        if inner.is_crowded() {
            return self.wait_for_room(inner);
        }
        if self.may_defer && !inner.inbox.is_empty() {
            self.send_soon(inner);
        } else {
            drop(self.send_orders(inner));
        }
        Ok(())
    }

    /// Sends a part of a message, and waits while much is on its way to the peer.
    pub(crate) fn send_part(&self, kind: u32, bytes: OwnedPayload) -> Result<(), Refused> {
        let len = bytes.len();
        let is_part = true;
        let answer = self.run(Command::Send {
            kind,
            bytes,
            is_part,
        });
        Refused::check_count(answer, |status| Rule::part(status, len))?;
        self.wait_for_room(self.lock())
    }

    /// Has the outbox sent when the function has received what waits for it, or else within a moment.
    fn send_soon(&self, mut inner: MutexGuard<'_, ChannelState>) {
        if !inner.is_woken && !std::mem::replace(&mut inner.is_alarmed, true) {
            drop(inner);
            // GONE: nothing is sent any more.
            let _ = self.runtime.host.wake_after(self.id, DEFERRED_MS);
        }
    }

    /// Waits until nothing in the outbox can be sent and little is on its way to the peer.
    fn wait_for_room<'a>(&'a self, mut inner: MutexGuard<'a, ChannelState>) -> Result<(), Refused> {
        while inner.congestion != Congestion::Free || inner.has_mail() {
            if inner.ending.is_over() {
                return Err(Refused::Gone);
            }
            inner.waits.for_service = true;
            inner = self.wait(inner, None);
        }
        Ok(())
    }

    /// Whether a message was begun in parts, and is to be ended, for its session goes on.
    pub(crate) fn has_open_message(&self) -> bool {
        let inner = self.lock();
        inner.is_in_message && !inner.is_closing && inner.ending.is_open()
    }

    /// Whether something was sent that no callback has taken.
    pub(crate) fn has_unsent(&self) -> bool {
        self.lock().has_mail()
    }

    /// Has a callback do something, and waits for the answer.
    pub(crate) fn run(&self, command: Command) -> i64 {
        let mut inner = self.lock();
        // Two threads may share the connection, and ask one after the other.
        while !matches!(inner.command, CommandState::Free) && !inner.ending.is_over() {
            inner.waits.for_service = true;
            inner = self.wait(inner, None);
        }
        let is_silent =
            matches!(command, Command::Send { .. } | Command::Raw(_)) && inner.is_silent();
        if is_silent || inner.is_closing || inner.ending.is_over() {
            return abi::GONE.into();
        }
        if matches!(command, Command::Send { is_part: false, .. }) && inner.is_in_message {
            return abi::INVALID.into();
        }
        inner.command = CommandState::Asked(command);
        loop {
            match &inner.command {
                CommandState::Answered(answer) => {
                    let answer = *answer;
                    inner.command = CommandState::Free;
                    self.notify_served(inner);
                    return answer;
                }
                CommandState::Free | CommandState::Asked(_) if inner.ending.is_over() => {
                    inner.command = CommandState::Free;
                    return abi::GONE.into();
                }
                CommandState::Free | CommandState::Asked(_) => {}
            }
            inner.waits.for_service = true;
            inner = self.wait(inner, None);
        }
    }

    /// As [`run`](Self::run), where the answer is a status.
    pub(crate) fn run_for_status(&self, command: Command) -> Status {
        Status::try_from(self.run(command)).unwrap_or(abi::OK)
    }

    /// The function has ended.
    pub(crate) fn end(&self, outcome: FunctionResult) {
        let mut inner = self.lock();
        inner.outcome = Some(outcome);
        inner.is_woken = true;
        drop(inner);
        self.wake();
    }

    /// Lets a callback do what the thread left to do, if there is something.
    fn send_orders<'a>(
        &'a self,
        mut inner: MutexGuard<'a, ChannelState>,
    ) -> MutexGuard<'a, ChannelState> {
        if !inner.has_orders() || std::mem::replace(&mut inner.is_woken, true) {
            return inner;
        }
        let was_alarmed = std::mem::take(&mut inner.is_alarmed);
        drop(inner);
        self.wake();
        if was_alarmed {
            let _ = self.runtime.host.wake_after(self.id, u64::MAX);
        }
        self.lock()
    }

    // GONE: it is over, and the callbacks have said so or say so soon.
    fn wake(&self) {
        let _ = self.runtime.host.wake(self.id);
    }

    /// Waits until something has changed; the caller looks what.
    fn wait<'a>(
        &'a self,
        inner: MutexGuard<'a, ChannelState>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, ChannelState> {
        if inner.has_orders() && !inner.is_woken {
            return self.send_orders(inner);
        }
        match deadline {
            None => self
                .changed
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                self.changed
                    .wait_timeout(inner, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        }
    }

    /// Lets go on what waits for a callback to have done something.
    fn notify_served(&self, mut inner: MutexGuard<'_, ChannelState>) {
        if std::mem::take(&mut inner.waits.for_service) {
            drop(inner);
            self.changed.notify_all();
        }
    }
}

/// There is no message any more.
#[derive(Debug)]
pub(crate) struct NoMoreMessages {
    /// Whether the function may go on.
    pub(crate) listens: bool,
}

/// How long a message may wait while others wait to be received.
const DEFERRED_MS: u64 = 1;
