//! The blocking style: a function a session, on a thread of the host's.
//!
//! The callbacks put what happens into a queue that the function takes from. What the function
//! wants of its connection and what has no form by id goes the other way as commands, which the
//! session's `wake` carries out. Nothing here asks for the current thread: that would take one of
//! the process's thread keys for every generation.

use std::{
    collections::VecDeque,
    marker::PhantomData,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::{
    abi::{self, Status},
    blocking_conn::BlockingConn,
    border::{guard, item::item, link::Link},
    close::Close,
    config::Config,
    error::Refused,
    function::{BlockingFunction, HandshakeFunction},
    inbox::Inbox,
    request::Request,
    request_copy::RequestCopy,
    response::{Handshake, Response},
    sent::ROOM_BYTES,
    style::{Event, Slot, Style},
};

/// The style of `handler!(blocking function)`.
#[derive(Debug)]
pub(crate) struct Blocking<F, C, A> {
    function: F,
    check: C,
    types: PhantomData<fn() -> A>,
}

/// One session as its callbacks have it.
#[derive(Debug)]
pub(crate) struct BlockingSlot {
    link: Arc<Link>,
    line: Arc<Line>,
    end: FunctionEnd,
}

/// What the host knows of the function's end.
#[derive(Debug)]
enum FunctionEnd {
    NotYet,
    /// It is told in the next `wake`: what the function sent before is ahead of that.
    Next(Outcome),
    Told,
}

/// What the callbacks and the function's thread have in common.
#[derive(Debug, Default)]
pub(crate) struct Line {
    inner: Mutex<Inner>,
    /// Something of it changed that the function may wait for.
    changed: Condvar,
}

/// Behind the lock.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) inbox: Inbox,
    pub(crate) commands: VecDeque<Command>,
    /// What the peer closed with, or how else the session ended.
    pub(crate) closed: Option<Close>,
    /// There is no connection any more.
    pub(crate) is_over: bool,
    /// The function asks for messages.
    pub(crate) is_reader: bool,
    /// Most of what was sent is on its way.
    pub(crate) has_room: bool,
    outcome: Option<Outcome>,
}

/// What the function wants done inside a callback.
#[derive(Debug)]
pub(crate) enum Command {
    Resume,
    Ping(Vec<u8>),
    Abort,
    Subscribe(String, bool),
    /// Say when there is room to send again.
    WatchRoom,
}

/// How the function ended.
#[derive(Debug)]
enum Outcome {
    Ok,
    Failed(String),
    Panicked,
}

impl Line {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something has changed.
    pub(crate) fn wait<'a>(&self, inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        self.changed
            .wait(inner)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`wait`](Self::wait), not longer than that.
    pub(crate) fn wait_for<'a>(
        &self,
        inner: MutexGuard<'a, Inner>,
        limit: std::time::Duration,
    ) -> MutexGuard<'a, Inner> {
        let waited = self.changed.wait_timeout(inner, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl<F, C, A> Style for Blocking<F, C, A>
where
    F: BlockingFunction<A>,
    C: HandshakeFunction,
    A: 'static,
{
    type Slot = BlockingSlot;
    const SCHEMA: (u32, u32) = (0, 0);
    const FLAGS: u32 = abi::BLOCKING;

    fn new(_config: Config<'_>) -> crate::Result<Self> {
        Ok(Blocking {
            function: item(),
            check: item(),
            types: PhantomData,
        })
    }

    fn handshake(&self, request: &Request<'_>, response: &mut Response<'_>) -> Handshake {
        self.check.answer(request, response)
    }

    fn open(
        &self,
        link: Arc<Link>,
        mut request: Request<'_>,
    ) -> crate::Result<(Self::Slot, Status)> {
        let attached = request.take_attached();
        let copy = F::TAKES_REQUEST.then(|| RequestCopy::new(&request));
        let line = Arc::new(Line::default());
        let conn = BlockingConn::new(Arc::clone(&link), Arc::clone(&line), attached);
        let end = End {
            link: Arc::clone(&link),
            line: Arc::clone(&line),
            outcome: Outcome::Panicked,
        };
        let function = self.function;
        let job = move || {
            let mut end = end;
            end.outcome = match function.run(conn, copy) {
                Ok(()) => Outcome::Ok,
                Err(error) => Outcome::of(&*error, &end.line),
            };
        };
        match link.runtime.spawn(Box::new(job)) {
            abi::OK => {
                let end = FunctionEnd::NotYet;
                let slot = BlockingSlot { link, line, end };
                Ok((slot, abi::OK))
            }
            _ => Err("no thread is left for one more session".into()),
        }
    }

    fn restore(&self, _link: Arc<Link>, _schema: u32, _state: &[u8]) -> crate::Result<Self::Slot> {
        Err("a blocking session stays where it began".into())
    }

    fn self_test(&self) -> crate::Result {
        Ok(())
    }

    fn serving(&self, _on: bool) {}
}

impl Outcome {
    /// A function that ends because its session did has not failed.
    fn of(error: &(dyn std::error::Error + 'static), line: &Line) -> Outcome {
        let is_about_the_end = error.downcast_ref() == Some(&Refused::Gone);
        if is_about_the_end || line.lock().is_over {
            return Outcome::Ok;
        }
        Outcome::Failed(error.to_string())
    }

    fn status(&self) -> Status {
        match self {
            Outcome::Ok => abi::DONE,
            Outcome::Failed(why) => {
                guard::fail(why);
                abi::ERROR
            }
            Outcome::Panicked => abi::PANIC,
        }
    }
}

/// Dropped at the end of the function's thread, however it comes.
struct End {
    link: Arc<Link>,
    line: Arc<Line>,
    outcome: Outcome,
}

impl Drop for End {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Outcome::Ok);
        self.line.change(|inner| inner.outcome = Some(outcome));
        self.link.wake_session();
    }
}

impl BlockingSlot {
    fn carry_out(&mut self, command: Command) {
        let status = self.link.inside(|host, conn| match &command {
            Command::Resume => host.reads(conn, true),
            Command::Ping(data) => host.ping(conn, data),
            Command::Abort => host.abort(conn),
            Command::Subscribe(topic, on) => host.subscribe(conn, topic, *on),
            Command::WatchRoom if conn.buffered() > ROOM_BYTES => {
                host.watermark(conn, ROOM_BYTES, ROOM_BYTES)
            }
            Command::WatchRoom => abi::AGAIN,
        });
        match Refused::check(status) {
            Ok(()) if status == abi::AGAIN => self.line.change(|inner| inner.has_room = true),
            Ok(()) | Err(Refused::Gone) => {}
            Err(refused) => {
                crate::warn!(session = self.link.id, call = ?command, error = refused, "call refused");
            }
        }
    }

    /// What the callback answers while the function goes on, or after it was told that it ended.
    /// `is_due`: the end of the function may be told now.
    fn status(&mut self, is_due: bool, goes_on: Status) -> Status {
        if let Some(outcome) = self.line.lock().outcome.take() {
            self.end = FunctionEnd::Next(outcome);
            if !is_due {
                // What the function sent by id may not have left yet, and would come too late.
                self.link.wake_session();
            }
        }
        match &self.end {
            FunctionEnd::Next(outcome) if is_due => {
                let status = outcome.status();
                self.end = FunctionEnd::Told;
                status
            }
            // Nobody would wake us any more.
            FunctionEnd::Told => abi::OK,
            FunctionEnd::Next(_) | FunctionEnd::NotYet => goes_on,
        }
    }
}

impl Slot for BlockingSlot {
    fn link(&self) -> &Arc<Link> {
        &self.link
    }

    fn on(&mut self, event: Event<'_>) -> Status {
        let was_next = matches!(self.end, FunctionEnd::Next(_));
        match event {
            Event::Message(message) => {
                let mut is_full = false;
                self.line
                    .change(|inner| is_full = inner.inbox.push(message));
                if is_full {
                    self.link.inside(|host, conn| host.reads(conn, false));
                }
            }
            Event::Wake => {
                let commands = std::mem::take(&mut self.line.lock().commands);
                for command in commands {
                    self.carry_out(command);
                }
                let is_over = self.line.lock().is_over;
                let goes_on = if is_over { abi::PENDING } else { abi::OK };
                return self.status(was_next || is_over, goes_on);
            }
            Event::Drain => self.line.change(|inner| inner.has_room = true),
            Event::Closing(close) => {
                // Who asks for messages hears of the end after them, and is waited for.
                self.line.change(|inner| inner.closed = Some(close));
                let status = self.status(false, abi::OK);
                let is_waited_for = match self.end {
                    FunctionEnd::NotYet => self.line.lock().is_reader,
                    FunctionEnd::Next(_) => true,
                    FunctionEnd::Told => false,
                };
                return if is_waited_for { abi::PENDING } else { status };
            }
            Event::Closed(close) => {
                self.line.change(|inner| {
                    inner.closed.get_or_insert(close);
                    inner.is_over = true;
                });
                return self.status(true, abi::PENDING);
            }
            Event::Ping(_) | Event::Pong(_) | Event::Timer(_) => {}
        }
        self.status(false, abi::OK)
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        None
    }
}

/// Nobody calls any more: the function is not to wait for anything.
impl Drop for BlockingSlot {
    fn drop(&mut self) {
        self.line.change(|inner| inner.is_over = true);
    }
}
