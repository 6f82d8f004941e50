//! The session adapter of the async style: a future, which the callbacks of the session poll.
//!
//! The future lives in the [`AsyncSession`]. A callback polls it once what came is in the inbox; a message that another
//! one follows at once is only kept. `restore` makes the future, and `destroy` drops it. There is no runtime: a waker calls the host's `wake`, and the host then calls the
//! session's callback `wake`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    abi::{self, Status},
    asks::answer::Answer,
    border::host_session::HostSession,
    buffers::message_queue::MessageQueue,
    error::Error,
    message::Message,
    styles::{
        adapter::{self, Event, SessionAdapter},
        asynchronous::channel::{AsyncChannel, StateRequest, WAIT_TIMER},
        functions::{
            inbox,
            owned_request::OwnedRequest,
            session_end::{CallbackAnswer, CallbackKind, echoed},
            signatures::SessionFuture,
        },
    },
};

/// One session: the future of its function, and the channel between the two.
pub(crate) struct AsyncSession {
    session: Arc<HostSession>,
    channel: Arc<AsyncChannel>,
    waker: Waker,
    /// The function's future, until it has ended.
    future: Option<SessionFuture>,
    /// The future is being polled, or has panicked while it was. After a panic it is not polled again, and is dropped with
    /// the session.
    is_inside: bool,
    /// The function's result, until a callback has reported it.
    outcome: Option<crate::Result>,
    /// The request, which a snapshot contains, for functions that take it.
    request: Option<Arc<OwnedRequest>>,
    join: fn(&OwnedRequest, Vec<u8>) -> Option<Vec<u8>>,
    /// The session was restored, and no callback has run since. The host may still hold the peer back, and run a timer, on
    /// behalf of the older generation.
    is_fresh: bool,
    /// Messages that others follow at once. They go into the inbox together with the last of them.
    batch: MessageQueue,
    checkpoint: Checkpoint,
}

/// How a `snapshot` gets the state of a function that may have work to do. In `snapshot` the function could not use its
/// connection, so it is asked for its state at the end of another callback.
#[derive(Debug, Default)]
enum Checkpoint {
    /// No `snapshot` waits for a callback.
    #[default]
    Idle,
    /// A `snapshot` has asked for the state; the end of the next callback takes it.
    Wanted,
    /// The last callback has taken the state, for the next `snapshot`. `None`: there is none now.
    Taken(Option<Vec<u8>>),
    /// A `snapshot` has written the state. Another one before the next callback has no state to write.
    Written,
}

impl Wake for HostSession {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.wake_session();
    }
}

/// The waker with which the function is polled while it is asked for its state.
///
/// A future that waits for something beside the connection keeps this waker, or it would miss its event. So a kept waker
/// shows that there is such a future.
struct ProbeWaker {
    session: Arc<HostSession>,
    was_woken: AtomicBool,
}

impl Wake for ProbeWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.was_woken.store(true, Ordering::Release);
        self.session.wake_session();
    }
}

impl ProbeWaker {
    /// Whether some future has kept the waker, or has called it. The caller has dropped its own waker.
    fn is_kept(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || self.was_woken.load(Ordering::Acquire)
    }
}

impl AsyncSession {
    pub(super) fn new(
        session: Arc<HostSession>,
        channel: Arc<AsyncChannel>,
        future: SessionFuture,
        request: Option<Arc<OwnedRequest>>,
        join: fn(&OwnedRequest, Vec<u8>) -> Option<Vec<u8>>,
    ) -> Self {
        AsyncSession {
            waker: Waker::from(Arc::clone(&session)),
            future: Some(future),
            is_inside: false,
            outcome: None,
            is_fresh: session.is_restored,
            batch: MessageQueue::default(),
            checkpoint: Checkpoint::Idle,
            join,
            session,
            channel,
            request,
        }
    }

    /// Runs the function for the first time; answers what `open` returns.
    pub(super) fn begin(&mut self) -> Status {
        self.poll();
        self.status(CallbackKind::Other)
    }

    /// Polls the function's future, unless it has ended.
    #[inline]
    fn poll(&mut self) {
        let Some(future) = &mut self.future else {
            return;
        };
        self.is_inside = true;
        let polled = future.as_mut().poll(&mut Context::from_waker(&self.waker));
        self.is_inside = false;
        self.polled(polled);
    }

    /// Acts on the result of a poll.
    #[inline]
    fn polled(&mut self, polled: Poll<crate::Result>) {
        match polled {
            Poll::Ready(outcome) => self.end(outcome),
            Poll::Pending if self.channel.is_ending() && self.channel.lock().ignores_end => {
                crate::debug!("function goes on after the end of its session; dropped");
                self.end(Ok(()));
            }
            Poll::Pending => {}
        }
    }

    fn end(&mut self, outcome: crate::Result) {
        self.outcome = Some(outcome);
        self.future = None;
    }

    /// Polls the function with a request for its state. Answers what the function made of it: `StateRequest::None` if the
    /// function waits for something beside its connection, and does not let go of it.
    fn ask(&mut self, request: StateRequest) -> StateRequest {
        let Some(future) = &mut self.future else {
            return StateRequest::None;
        };
        self.channel.ask(request);
        let probe = Arc::new(ProbeWaker {
            session: Arc::clone(&self.session),
            was_woken: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&probe));
        self.is_inside = true;
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        self.is_inside = false;
        drop(waker);
        self.polled(polled);
        let lets_go = self.channel.lock().let_go_guards > 0;
        match self.channel.take_answer() {
            _ if probe.is_kept() && !lets_go => StateRequest::None,
            answer => answer,
        }
    }

    /// Whether the function would go on if it were polled now, or may be woken at any moment.
    fn may_go_on(&self) -> bool {
        // This adapter, its waker and the author's connection hold the session. One more is a waker that a future keeps.
        let is_kept = Arc::strong_count(&self.session) > 3;
        // A waker that was dropped may have been called before: `is_woken` is read after its drop.
        fence(Ordering::Acquire);
        is_kept
            || self.is_fresh
            || self.session.is_woken.load(Ordering::Relaxed)
            || !self.batch.is_empty()
            || self.channel.has_waiting_send()
    }

    /// Takes the function's state at the end of a callback, if a `snapshot` waits for it.
    #[cold]
    fn end_checkpoint(&mut self) {
        self.checkpoint = match self.checkpoint {
            Checkpoint::Idle | Checkpoint::Written => Checkpoint::Idle,
            Checkpoint::Wanted | Checkpoint::Taken(_) => Checkpoint::Taken(self.state()),
        };
    }

    /// The state for the next generation; `None` unless the function waits for its connection only.
    #[cold]
    fn state(&mut self) -> Option<Vec<u8>> {
        if self.future.is_none() || self.is_inside || self.channel.is_ending() {
            return None;
        }
        let mut state = None;
        if let StateRequest::Waits = self.ask(StateRequest::WaitsForConnection)
            && let StateRequest::Written(answer) = self.ask(StateRequest::Write)
        {
            state = Some(answer);
        }
        if self.outcome.is_some() {
            // If this callback cannot report the function's end, the next one does.
            self.session.wake_session();
            return None;
        }
        match (&self.request, state) {
            (Some(request), Some(state)) => (self.join)(request, state),
            (_, state) => state,
        }
    }

    /// Passes an event to the function's side of the channel.
    #[inline]
    fn take(&mut self, event: Event<'_>) -> CallbackKind {
        match event {
            Event::Message(message) => self.take_message(message),
            Event::Part(message, is_last) => self.take_part(message, is_last),
            Event::Timer(WAIT_TIMER) => {
                self.channel.lock().has_elapsed = true;
            }
            Event::Closing(close) => {
                self.channel.peer_closes(close);
                return CallbackKind::Closing;
            }
            Event::Closed(close) => {
                self.channel.is_over_now(close);
                return CallbackKind::Closed;
            }
            Event::Answer(token, answer) => self.take_answer(token, answer),
            Event::Drain => self.channel.drained(),
            Event::Wake => self.session.is_woken.store(false, Ordering::Relaxed),
            Event::Ping(_) | Event::Pong(_) | Event::Timer(_) | Event::Note(_) => {}
        }
        CallbackKind::Other
    }

    /// Hands over the answer to an ask. The answer to one of an older generation is not wanted.
    #[cold]
    fn take_answer(&mut self, token: u64, answer: Answer<'_>) {
        let ask = self.channel.lock().asks.take(token);
        if let Some(ask) = ask {
            ask.answer(answer.table(), Some(&self.waker));
        }
    }

    #[inline]
    fn take_message(&mut self, message: Message<'_>) {
        if self.future.is_none() {
            return;
        }
        let mut inner = self.channel.lock();
        let is_full = if self.batch.is_empty() {
            inner.inbox.push(message)
        } else {
            inner.inbox.push_batch(&mut self.batch, message)
        };
        drop(inner);
        if is_full {
            self.session.inside(|host, conn| host.reads(conn, false));
        }
    }

    /// Delivers the messages that wait for one to follow, which has not come.
    #[cold]
    fn end_batch(&mut self) {
        self.channel.lock().inbox.append(&mut self.batch);
    }

    fn take_part(&mut self, message: Message<'_>, is_last: bool) {
        if self.future.is_some() && self.channel.lock().inbox.push_part(message, is_last) {
            self.session.inside(|host, conn| host.reads(conn, false));
        }
    }

    /// The status that the callback answers after the function was polled.
    #[inline]
    fn status(&mut self, callback: CallbackKind) -> Status {
        if self.outcome.is_some() || self.future.is_none() || self.is_inside {
            return self.end_status(callback);
        }
        if !self.channel.is_ending() {
            return abi::OK;
        }
        match self.answer_to_end(callback) {
            CallbackAnswer::Status(status) => status,
            CallbackAnswer::Echo => {
                let code = self.channel.closed().map_or(0, |close| close.code);
                self.session.close(echoed(code), "");
                abi::OK
            }
        }
    }

    fn answer_to_end(&self, callback: CallbackKind) -> CallbackAnswer {
        let mut inner = self.channel.lock();
        let has_messages = !inner.inbox.is_empty();
        inner.end.answer(callback, has_messages)
    }

    /// The status of a callback once the function has ended or panicked.
    #[cold]
    fn end_status(&mut self, callback: CallbackKind) -> Status {
        if self.is_inside && callback != CallbackKind::Closed {
            return abi::PANIC;
        }
        match self.outcome.take() {
            Some(Err(error)) if !self.is_about_the_end(&error) => {
                adapter::fail(&self.session, &error)
            }
            Some(Ok(())) if self.session.is_in_message() && !self.is_ending() => {
                adapter::fail(&self.session, &adapter::MESSAGE_IS_OPEN.into())
            }
            Some(_) => abi::DONE,
            None => abi::OK,
        }
    }

    /// Whether an error only says that the session is over. A function that ends with it has not failed.
    fn is_about_the_end(&self, error: &Error) -> bool {
        error.is_gone() && self.is_ending()
    }

    fn is_ending(&self) -> bool {
        self.channel.is_ending() || self.session.is_closing()
    }
}

impl SessionAdapter for AsyncSession {
    #[inline]
    fn session(&self) -> &Arc<HostSession> {
        &self.session
    }

    #[inline]
    fn on(&mut self, event: Event<'_>) -> Status {
        if std::mem::take(&mut self.is_fresh) {
            // The function begins again: a pause and a timer of the older generation mean nothing to it.
            self.session.inside(|host, conn| {
                host.reads(conn, true);
                host.timer(conn, WAIT_TIMER, u64::MAX)
            });
        }
        if !self.batch.is_empty() && !matches!(event, Event::Message(_)) {
            self.end_batch();
        }
        let callback = self.take(event);
        if !self.is_inside {
            self.poll();
        }
        if !matches!(self.checkpoint, Checkpoint::Idle) {
            self.end_checkpoint();
        }
        self.status(callback)
    }

    // The function is polled when the last message of a batch has come, or when the batch is long.
    #[inline]
    fn on_followed(&mut self, message: Message<'_>) -> Status {
        let is_long = self.batch.len() >= BATCH_MAX || self.batch.bytes() >= BATCH_BYTES_MAX;
        let is_asked = !matches!(self.checkpoint, Checkpoint::Idle);
        if is_long || self.is_fresh || is_asked || self.future.is_none() {
            return self.on(Event::Message(message));
        }
        self.batch.push_small(message);
        abi::OK
    }

    fn snapshot(&mut self) -> crate::Result<Option<Vec<u8>>> {
        match std::mem::replace(&mut self.checkpoint, Checkpoint::Written) {
            Checkpoint::Taken(state) => Ok(state),
            Checkpoint::Written => Ok(None),
            Checkpoint::Wanted => {
                self.checkpoint = Checkpoint::Wanted;
                Ok(None)
            }
            Checkpoint::Idle if self.may_go_on() => {
                self.checkpoint = Checkpoint::Wanted;
                self.session.wake_session();
                Ok(None)
            }
            Checkpoint::Idle => {
                self.checkpoint = Checkpoint::Idle;
                Ok(self.state())
            }
        }
    }
}

impl std::fmt::Debug for AsyncSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncSession")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// How many messages a function gets in one batch: half of what its inbox takes.
const BATCH_MAX: usize = inbox::MESSAGES_MAX / 2;
/// How many bytes a function gets in one batch: half of what its inbox takes.
const BATCH_BYTES_MAX: usize = inbox::BYTES_MAX / 2;
