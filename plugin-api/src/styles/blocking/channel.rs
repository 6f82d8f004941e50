//! The channel between the callbacks of a blocking session and the thread of its function.
//!
//! The thread leaves messages in the outbox, and a [`Command`] for what it wants an answer to. The session's callbacks
//! send and do this, in the order of the calls. A message that does not fit stays in the outbox until the peer has taken
//! more. Threads wait on a mutex and a condition variable: `park` and the channels of std take a thread-local key of the
//! process for each loaded image, and a process has few of those.

mod callbacks;

use std::{
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use crate::{
    abi::{self, Status},
    asks::{
        asker::{self, Read},
        results::ReadAnswer,
        waiting::WaitingAsks,
    },
    border::{
        host_session::HostSession,
        runtime::{self, Runtime},
    },
    buffers::message_queue::SMALL_BYTES,
    close::Close,
    error::{Elapsed, Error, Refused, rule::Rule},
    message::payload::{OwnedPayload, Payload},
    styles::{
        asynchronous::send::HIGH_WATER_BYTES,
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

/// Shared by the session adapter and the [`BlockingConn`](crate::BlockingConn).
#[derive(Debug)]
pub(crate) struct BlockingChannel {
    pub(crate) runtime: &'static Runtime,
    pub(crate) id: u64,
    pub(crate) protocol: Box<str>,
    /// Whether a message may leave a moment later while others wait to be received. Not in a test, whose clock stands
    /// still.
    may_defer: bool,
    inner: Mutex<ChannelState>,
    changed: Condvar,
    closed: OnceLock<Close>,
}

/// The part of the channel behind its lock.
#[derive(Debug, Default)]
struct ChannelState {
    inbox: Inbox,
    outbox: Outbox,
    end: SessionEnd,
    /// The function has closed or dropped the connection.
    is_closing: bool,
    /// The function's result, until a callback has taken it.
    outcome: Option<FunctionResult>,
    command: CommandState,
    /// A message was begun in parts, and its last part was not sent.
    is_in_message: bool,
    congestion: Congestion,
    /// The author holds the peer back.
    is_paused: bool,
    /// The inbox is no longer full, and a callback has to let the peer's messages in again.
    resumes_reads: bool,
    /// The host's `wake` was called, and the callback has not begun.
    is_woken: bool,
    /// The host's `wake_after` was called, for messages that may leave a moment later.
    has_alarm: bool,
    /// What the function has asked, and has no answer to yet.
    asks: WaitingAsks,
    /// What the thread waits for. A thread that does not wait is not notified, which would cost a system call.
    waits: WaitsFor,
}

/// Whether the messages of the outbox may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Congestion {
    #[default]
    None,
    /// Much waits for the peer: the next message is sent when at most so many bytes do, or sooner if the function has
    /// ended or has asked for a command.
    Crowded(u64),
    /// The next message does not fit. It is tried again when at most so many bytes wait for the peer.
    Full(u64),
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, Default)]
struct WaitsFor {
    /// A message in the inbox.
    message: bool,
    /// A callback that sends the outbox, or does the command.
    service: bool,
}

/// How the function ended: the status, and the error if there was one.
#[derive(Debug)]
pub(crate) struct FunctionResult {
    pub(crate) status: Status,
    pub(crate) why: Option<Error>,
}

impl ChannelState {
    /// Whether a callback could do something for the thread now.
    fn has_work(&self) -> bool {
        let has_command = match self.command_order() {
            Some(CommandOrder::Last) => !matches!(self.congestion, Congestion::Full(_)),
            Some(CommandOrder::First | CommandOrder::AfterThoseThatFit) => true,
            None => false,
        };
        has_command
            || self.has_unsent_message() && self.congestion == Congestion::None
            || self.resumes_reads
    }

    /// Whether the outbox has a message that may be sent. Between two parts of a message it has none.
    fn has_unsent_message(&self) -> bool {
        !self.outbox.is_empty() && !self.is_in_message
    }

    /// The order of the command that the thread has asked for.
    fn command_order(&self) -> Option<CommandOrder> {
        match &self.command {
            CommandState::Requested(command) => Some(command.order()),
            CommandState::None | CommandState::Answered(_) => None,
        }
    }

    fn is_silent(&self) -> bool {
        self.is_closing || self.end.is_silent()
    }

    /// Whether so much waits for the peer that a sender has to wait.
    fn must_wait(&self) -> bool {
        self.congestion != Congestion::None
            || self.outbox.bytes() > HIGH_WATER_BYTES as usize
            || self.outbox.len() >= inbox::MESSAGES_MAX
    }
}

/// The thread's side.
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

    /// Whether either side has closed, as far as the channel knows.
    pub(crate) fn is_ending(&self) -> bool {
        let inner = self.lock();
        inner.is_closing || !inner.end.is_open()
    }

    /// Waits for a message, or for as much of one as `take` takes. `Err(NoMoreMessages)` if none follows.
    pub(crate) fn receive<T>(
        &self,
        deadline: Option<Instant>,
        take: impl Fn(&mut Inbox) -> Option<(T, bool)>,
    ) -> Result<Result<T, NoMoreMessages>, Elapsed> {
        let mut inner = self.lock();
        inner.end.asks_for_messages();
        loop {
            if let Some((message, may_resume)) = take(&mut inner.inbox) {
                inner.resumes_reads |= may_resume && !inner.is_paused;
                if inner.resumes_reads {
                    drop(self.wake_for_work(inner));
                }
                return Ok(Ok(message));
            }
            if !inner.end.is_open() {
                let may_go_on = inner.end.tell();
                return Ok(Err(NoMoreMessages { may_go_on }));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(Elapsed);
            }
            inner.waits.message = true;
            inner = self.wait(inner, deadline);
        }
    }

    /// Sends a message, and waits while much waits for the peer.
    pub(crate) fn send<P: Payload>(&self, message: P) -> Result<(), Refused> {
        let (kind, len) = (message.kind(), message.bytes().len());
        if len > HIGH_WATER_BYTES as usize {
            // The server may refuse it for its length, which the function hears at once.
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
        if inner.must_wait() {
            return self.wait_for_room(inner);
        }
        if self.may_defer && !inner.inbox.is_empty() {
            self.send_soon(inner);
        } else {
            drop(self.wake_for_work(inner));
        }
        Ok(())
    }

    /// Sends a part of a message, and waits while much waits for the peer.
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

    /// Has the outbox sent when the function waits for its next message, at the latest after [`DEFERRED_MS`].
    fn send_soon(&self, mut inner: MutexGuard<'_, ChannelState>) {
        if !inner.is_woken && !std::mem::replace(&mut inner.has_alarm, true) {
            drop(inner);
            // GONE: the session is over, and nothing is sent any more.
            let _ = self.runtime.host.wake_after(self.id, DEFERRED_MS);
        }
    }

    /// Waits until the outbox is empty and little waits for the peer.
    fn wait_for_room<'a>(&'a self, mut inner: MutexGuard<'a, ChannelState>) -> Result<(), Refused> {
        while inner.congestion != Congestion::None || inner.has_unsent_message() {
            if inner.end.is_over() {
                return Err(Refused::Gone);
            }
            inner.waits.service = true;
            inner = self.wait(inner, None);
        }
        Ok(())
    }

    /// Whether a message was begun in parts and is not complete, and the session goes on.
    pub(crate) fn has_open_message(&self) -> bool {
        let inner = self.lock();
        inner.is_in_message && !inner.is_closing && inner.end.is_open()
    }

    /// Whether the outbox has a message that no callback has sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.lock().has_unsent_message()
    }

    /// Has a callback do a command, and waits for the answer.
    pub(crate) fn run(&self, command: Command) -> i64 {
        let mut inner = self.lock();
        // Several threads may share the connection. Their commands follow one another.
        while !matches!(inner.command, CommandState::None) && !inner.end.is_over() {
            inner.waits.service = true;
            inner = self.wait(inner, None);
        }
        let is_silent =
            matches!(command, Command::Send { .. } | Command::Raw(_)) && inner.is_silent();
        if is_silent || inner.is_closing || inner.end.is_over() {
            return abi::GONE.into();
        }
        if matches!(command, Command::Send { is_part: false, .. }) && inner.is_in_message {
            return abi::INVALID.into();
        }
        inner.command = CommandState::Requested(command);
        loop {
            match &inner.command {
                CommandState::Answered(answer) => {
                    let answer = *answer;
                    inner.command = CommandState::None;
                    self.notify_waiting(inner);
                    return answer;
                }
                CommandState::None | CommandState::Requested(_) if inner.end.is_over() => {
                    inner.command = CommandState::None;
                    return abi::GONE.into();
                }
                CommandState::None | CommandState::Requested(_) => {}
            }
            inner.waits.service = true;
            inner = self.wait(inner, None);
        }
    }

    /// Asks by `call`, and waits for the answer, or for the end of the session.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        read: ReadAnswer<T>,
        token: u64,
        call: impl FnOnce() -> Status,
        rule: impl FnOnce(Status) -> Rule,
    ) -> Result<T, Refused> {
        let waits = |ask| self.lock().asks.insert(token, ask);
        let forget = || drop(self.lock().asks.take(token));
        asker::ask(Read(read), waits, call, forget, rule).wait_here()
    }

    /// Has a callback do a command whose answer is a status.
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

    /// Calls the host's `wake` if a callback could do something for the thread.
    fn wake_for_work<'a>(
        &'a self,
        mut inner: MutexGuard<'a, ChannelState>,
    ) -> MutexGuard<'a, ChannelState> {
        if !inner.has_work() || std::mem::replace(&mut inner.is_woken, true) {
            return inner;
        }
        let was_alarmed = std::mem::take(&mut inner.has_alarm);
        drop(inner);
        self.wake();
        if was_alarmed {
            let _ = self.runtime.host.wake_after(self.id, u64::MAX);
        }
        self.lock()
    }

    // GONE: the session is over, which the callbacks have said or say soon.
    fn wake(&self) {
        let _ = self.runtime.host.wake(self.id);
    }

    /// Waits until something has changed. The caller finds out what.
    fn wait<'a>(
        &'a self,
        inner: MutexGuard<'a, ChannelState>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, ChannelState> {
        if inner.has_work() && !inner.is_woken {
            return self.wake_for_work(inner);
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

    /// Notifies the threads that wait for a callback.
    fn notify_waiting(&self, mut inner: MutexGuard<'_, ChannelState>) {
        if std::mem::take(&mut inner.waits.service) {
            drop(inner);
            self.changed.notify_all();
        }
    }
}

/// No message follows: the session is over, or the peer closes.
#[derive(Debug)]
pub(crate) struct NoMoreMessages {
    /// Whether the function may go on. False: it has ignored the end too often, and must be ended.
    pub(crate) may_go_on: bool,
}

/// How long a message may wait in the outbox while others wait to be received.
const DEFERRED_MS: u64 = 1;
