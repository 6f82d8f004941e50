//! One async session: its future, polled by the callbacks of its session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    abi::{self, Status},
    border::host_session::HostSession,
    buffers::message_queue::MessageQueue,
    error::Error,
    message::Message,
    styles::{
        adapter::{self, Event, SessionAdapter},
        asynchronous::channel::{AsyncChannel, Question, WAIT_TIMER},
        functions::{
            inbox,
            owned_request::OwnedRequest,
            session_end::{CallbackAnswer, CallbackKind, echoed},
            signatures::SessionFuture,
        },
    },
};

/// One session: its future, and what it shares with it.
pub(crate) struct AsyncSession {
    session: Arc<HostSession>,
    channel: Arc<AsyncChannel>,
    waker: Waker,
    /// The function, until it has ended.
    future: Option<SessionFuture>,
    /// It is being polled, or was when it panicked: it must not be polled again then, and what is
    /// left of it is dropped with the slot.
    is_inside: bool,
    /// What the function ended with, until a callback has said so.
    outcome: Option<crate::Result>,
    /// Carried through a snapshot, for the functions that ask for it.
    request: Option<Arc<OwnedRequest>>,
    join: fn(&OwnedRequest, Vec<u8>) -> Option<Vec<u8>>,
    /// It was restored and has had no callback: the host may still hold the peer back and have a
    /// timer running as the older generation wanted it.
    is_fresh: bool,
    /// Messages that others follow at once; they go into the inbox with the last of them.
    batch: MessageQueue,
    checkpoint: Checkpoint,
}

/// How far it has come that a function which may go on is asked for its state. In `snapshot` it could do
/// nothing with its connection, so it is asked at the end of another callback.
#[derive(Debug, Default)]
enum Checkpoint {
    #[default]
    Idle,
    /// A `snapshot` waits for the end of the next callback.
    Wanted,
    /// The last callback has asked, and this is what the next `snapshot` writes, or not now.
    Asked(Option<Vec<u8>>),
    /// A `snapshot` has said so; another one before the next callback learns nothing new.
    Told,
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

/// What the function is polled with while it is asked for its state. A future that is no wait for the
/// connection has to keep it, or it would miss what it waits for: so it shows that there is one.
struct Elsewhere {
    session: Arc<HostSession>,
    was_woken: AtomicBool,
}

impl Wake for Elsewhere {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.was_woken.store(true, Ordering::Release);
        self.session.wake_session();
    }
}

impl Elsewhere {
    /// Whether some future waits for this. The caller has dropped its own waker.
    fn is_waited_for(self: &Arc<Self>) -> bool {
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

    /// Lets the function go on as far as it can.
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

    #[inline]
    fn polled(&mut self, polled: Poll<crate::Result>) {
        match polled {
            Poll::Ready(outcome) => self.end(outcome),
            Poll::Pending if self.channel.is_ending() && self.channel.lock().is_deaf => {
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

    /// Asks the function something, and answers what it said if it waits for nothing but its connection.
    fn ask(&mut self, question: Question) -> Question {
        let Some(future) = &mut self.future else {
            return Question::No;
        };
        self.channel.ask(question);
        let elsewhere = Arc::new(Elsewhere {
            session: Arc::clone(&self.session),
            was_woken: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&elsewhere));
        self.is_inside = true;
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        self.is_inside = false;
        drop(waker);
        self.polled(polled);
        let lets_go = self.channel.lock().let_gos > 0;
        match self.channel.take_answer() {
            _ if elsewhere.is_waited_for() && !lets_go => Question::No,
            answer => answer,
        }
    }

    /// Whether the function would go on if it were polled now, or something else may let it do so at
    /// any moment.
    fn may_go_on(&self) -> bool {
        // The session, the waker and the author's connection have it; one more is a waker that a future keeps.
        let is_kept = Arc::strong_count(&self.session) > 3;
        // A waker that is let go of was called before.
        fence(Ordering::Acquire);
        is_kept
            || self.is_fresh
            || self.session.is_woken.load(Ordering::Relaxed)
            || !self.batch.is_empty()
            || self.channel.waits_for_room()
    }

    /// A callback has ended for which a `snapshot` may have waited.
    #[cold]
    fn end_checkpoint(&mut self) {
        self.checkpoint = match self.checkpoint {
            Checkpoint::Idle | Checkpoint::Told => Checkpoint::Idle,
            Checkpoint::Wanted | Checkpoint::Asked(_) => Checkpoint::Asked(self.state()),
        };
    }

    /// What the next generation needs, if the function waits where it can be taken up.
    #[cold]
    fn state(&mut self) -> Option<Vec<u8>> {
        if self.future.is_none() || self.is_inside || self.channel.is_ending() {
            return None;
        }
        let mut state = None;
        if let Question::Here = self.ask(Question::Where)
            && let Question::Answered(answer) = self.ask(Question::What)
        {
            state = Some(answer);
        }
        if self.outcome.is_some() {
            // If this callback cannot say so, the next one does.
            self.session.wake_session();
            return None;
        }
        match (&self.request, state) {
            (Some(request), Some(state)) => (self.join)(request, state),
            (_, state) => state,
        }
    }

    /// Puts in what happened.
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
            Event::Drain => self.channel.drained(),
            Event::Wake => self.session.is_woken.store(false, Ordering::Relaxed),
            Event::Ping(_) | Event::Pong(_) | Event::Timer(_) | Event::Note(_) => {}
        }
        CallbackKind::Other
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

    /// What was said to follow has not come.
    #[cold]
    fn end_batch(&mut self) {
        self.channel.lock().inbox.append(&mut self.batch);
    }

    fn take_part(&mut self, message: Message<'_>, is_last: bool) {
        if self.future.is_some() && self.channel.lock().inbox.push_part(message, is_last) {
            self.session.inside(|host, conn| host.reads(conn, false));
        }
    }

    /// What the callback answers after the function had its turn.
    #[inline]
    fn status(&mut self, callback: CallbackKind) -> Status {
        if self.outcome.is_some() || self.future.is_none() || self.is_inside {
            return self.end_status(callback);
        }
        if !self.channel.is_ending() {
            return abi::OK;
        }
        match self.course(callback) {
            CallbackAnswer::Status(status) => status,
            CallbackAnswer::Echo => {
                let code = self.channel.closed().map_or(0, |close| close.code);
                self.session.close(echoed(code), "");
                abi::OK
            }
        }
    }

    fn course(&self, callback: CallbackKind) -> CallbackAnswer {
        let mut inner = self.channel.lock();
        let has_mail = !inner.inbox.is_empty();
        inner.ending.course(callback, has_mail)
    }

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

    /// A function that ends because its session did has not failed.
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
            // The older generation may have held the peer back, and waited, for reasons of its own.
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

    // The function has its turn when the last of them has come, or many.
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
        match std::mem::replace(&mut self.checkpoint, Checkpoint::Told) {
            Checkpoint::Asked(state) => Ok(state),
            Checkpoint::Told => Ok(None),
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

/// How many messages a function is given at once: half of what its inbox takes.
const BATCH_MAX: usize = inbox::MESSAGES_MAX / 2;
const BATCH_BYTES_MAX: usize = inbox::BYTES_MAX / 2;
