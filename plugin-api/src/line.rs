//! Between the callbacks of a blocking session and the thread that its function runs on.
//!
//! The thread sends by id. What has no form by id is left here as an errand, and the session's
//! `wake` does it. The wait is a mutex and a condition variable: `park` and the channels of std
//! take a thread-local key of the process for each loaded image, and those run out.

use std::{
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use crate::{
    abi::{self, Status},
    border::{link::Link, runtime::Runtime},
    close::Close,
    ending::Ending,
    error::{Elapsed, Refused},
    inbox::Inbox,
    message::Message,
    sent::{CROWD_BYTES, ROOM_BYTES, room_for},
};

/// Shared by the slot and the [`BlockingConn`](crate::BlockingConn).
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) runtime: &'static Runtime,
    pub(crate) id: u64,
    pub(crate) protocol: Box<str>,
    inner: Mutex<Inner>,
    changed: Condvar,
    closed: OnceLock<Close>,
}

#[derive(Debug, Default)]
struct Inner {
    inbox: Inbox,
    ending: Ending,
    /// The function has closed or dropped the connection.
    is_closing: bool,
    /// What the function came to, until a callback has taken it.
    outcome: Option<Outcome>,
    /// The inbox has room again, and the host is to be told.
    wants_reads: bool,
    /// The thread waits until little is on its way to the peer.
    wants_room: bool,
    errand: Option<Errand>,
    /// What the last errand was answered.
    answer: Option<Status>,
    /// The thread waits: without it nobody need be notified, which is a system call.
    is_waiting: bool,
}

/// How the function ended: the status, and for an error its text.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) why: Option<String>,
}

/// What a thread wants done that only a callback can do.
#[derive(Debug)]
pub(crate) enum Errand {
    Abort,
    Ping(Vec<u8>),
    Subscribe {
        topic: String,
        on: bool,
    },
    /// A part of a message: what is sent by id is whole.
    Part {
        kind: u32,
        bytes: Vec<u8>,
    },
}

impl Errand {
    fn run(&self, link: &Link) -> Status {
        let (host, conn) = (link.host(), link.conn());
        match self {
            Errand::Abort => host.abort(conn),
            Errand::Ping(data) => host.ping(conn, data),
            Errand::Subscribe { topic, on } => host.subscribe(conn, topic, *on),
            Errand::Part { kind, bytes } => {
                let answer = link.send_lent(kind | abi::IF_ROOM, bytes);
                Status::try_from(answer.min(0)).unwrap_or(abi::ERROR)
            }
        }
    }
}

/// For the thread.
impl Line {
    pub(crate) fn new(link: &Link) -> Self {
        Line {
            runtime: link.runtime,
            id: link.id,
            protocol: link.protocol.clone(),
            inner: Mutex::default(),
            changed: Condvar::new(),
            closed: OnceLock::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
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

    /// Whether nothing may be sent any more.
    pub(crate) fn is_silent(&self) -> bool {
        let inner = self.lock();
        inner.is_closing || inner.ending.is_silent()
    }

    /// The function has closed or dropped the connection.
    pub(crate) fn is_closing_now(&self) {
        self.lock().is_closing = true;
    }

    /// Keeps the memory of a message that was sent on.
    pub(crate) fn recycle(&self, memory: Vec<u8>) {
        self.lock().inbox.recycle(memory);
    }

    /// The next message, or as much of one as `take` wants; `Err(Told)` if there comes none any more.
    pub(crate) fn receive<T>(
        &self,
        deadline: Option<Instant>,
        take: impl Fn(&mut Inbox) -> Option<(T, bool)>,
    ) -> Result<Result<T, Told>, Elapsed> {
        let mut inner = self.lock();
        inner.ending.reads();
        loop {
            if let Some((message, may_resume)) = take(&mut inner.inbox) {
                inner.wants_reads |= may_resume;
                drop(inner);
                if may_resume {
                    self.wake();
                }
                return Ok(Ok(message));
            }
            if !inner.ending.is_open() {
                let listens = inner.ending.tell();
                return Ok(Err(Told { listens }));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(Elapsed);
            }
            inner = self.wait(inner, deadline);
        }
    }

    /// Waits until little is on its way to the peer.
    pub(crate) fn wait_for_room(&self) -> Result<(), Refused> {
        self.lock().wants_room = true;
        if !self.wake() {
            return Err(Refused::Gone);
        }
        let mut inner = self.lock();
        while inner.wants_room {
            if inner.ending.is_over() {
                return Err(Refused::Gone);
            }
            inner = self.wait(inner, None);
        }
        Ok(())
    }

    /// Has a callback do something, and waits for the answer.
    pub(crate) fn run(&self, errand: Errand) -> Status {
        let mut inner = self.lock();
        if inner.is_closing || inner.ending.is_over() {
            return abi::GONE;
        }
        // A connection is used by one thread at a time, so there is no other errand.
        inner.errand = Some(errand);
        drop(inner);
        if !self.wake() {
            return abi::GONE;
        }
        let mut inner = self.lock();
        loop {
            if let Some(answer) = inner.answer.take() {
                return answer;
            }
            if inner.ending.is_over() {
                return abi::GONE;
            }
            inner = self.wait(inner, None);
        }
    }

    /// Has a callback send a part of a message, and waits until little is on its way to the peer.
    pub(crate) fn send_part(&self, kind: u32, bytes: Vec<u8>) -> Status {
        let answer = self.run(Errand::Part { kind, bytes });
        let mut inner = self.lock();
        while answer == abi::OK && inner.wants_room {
            if inner.ending.is_over() {
                return abi::GONE;
            }
            inner = self.wait(inner, None);
        }
        answer
    }

    /// The function has ended.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.lock().outcome = Some(outcome);
        self.wake();
    }

    fn wake(&self) -> bool {
        self.runtime.host.wake(self.id) == abi::OK
    }

    fn wait<'a>(
        &self,
        mut inner: MutexGuard<'a, Inner>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, Inner> {
        inner.is_waiting = true;
        let mut inner = match deadline {
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
        };
        inner.is_waiting = false;
        inner
    }
}

/// For the callbacks.
impl Line {
    /// A message came. True: the peer is to be held back.
    pub(crate) fn push(&self, message: Message<'_>) -> bool {
        let mut inner = self.lock();
        let is_full = inner.inbox.push(message);
        self.notify(&inner);
        is_full
    }

    /// As [`push`](Self::push), for a part of a message.
    pub(crate) fn push_part(&self, message: Message<'_>, is_last: bool) -> bool {
        let mut inner = self.lock();
        let is_full = inner.inbox.push_part(message, is_last);
        self.notify(&inner);
        is_full
    }

    pub(crate) fn peer_closes(&self, close: Close) {
        let _ = self.closed.set(close);
        let mut inner = self.lock();
        inner.ending.peer_closes();
        self.notify(&inner);
    }

    pub(crate) fn is_over_now(&self, close: Close) {
        // Already set if the peer closed first.
        let _ = self.closed.set(close);
        let mut inner = self.lock();
        inner.ending.is_over_now();
        self.notify(&inner);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().ending.is_over()
    }

    /// Whether the function may have something to answer before the peer's Close.
    pub(crate) fn is_waited_for(&self) -> bool {
        let inner = self.lock();
        inner.ending.is_waited_for(!inner.inbox.is_empty())
    }

    pub(crate) fn take_outcome(&self) -> Option<Outcome> {
        self.lock().outcome.take()
    }

    /// Does what the thread left to do.
    pub(crate) fn serve(&self, link: &Link) {
        let mut inner = self.lock();
        let mut low = None;
        if let Some(errand) = inner.errand.take() {
            match (errand.run(link), errand) {
                (abi::FULL, Errand::Part { kind, bytes }) => {
                    // It is tried again when there is room.
                    low = Some(room_for(link.buffered(), bytes.len()));
                    inner.errand = Some(Errand::Part { kind, bytes });
                }
                (answer, errand) => {
                    inner.answer = Some(answer);
                    if let Errand::Part { bytes, .. } = errand {
                        inner.inbox.recycle(bytes);
                        inner.wants_room |= link.buffered() > CROWD_BYTES;
                    }
                }
            }
        }
        if std::mem::take(&mut inner.wants_reads) {
            link.inside(|host, conn| host.reads(conn, true));
        }
        if inner.wants_room {
            inner.wants_room = link.buffered() > ROOM_BYTES;
        }
        if let Some(low) = low.or(inner.wants_room.then_some(ROOM_BYTES)) {
            link.inside(|host, conn| host.watermark(conn, low, low));
        }
        self.notify(&inner);
    }

    fn notify(&self, inner: &Inner) {
        if inner.is_waiting {
            self.changed.notify_all();
        }
    }
}

/// There is no message any more.
#[derive(Debug)]
pub(crate) struct Told {
    /// Whether the function may go on.
    pub(crate) listens: bool,
}
