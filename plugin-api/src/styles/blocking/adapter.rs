//! The adapter of the blocking style: each session has a function on a thread of the host's.
//!
//! The callbacks put events into the session's [`BlockingChannel`], and the function takes them out.

use std::{
    marker::PhantomData,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use crate::{
    abi::{self, Status},
    asks::{
        callback_probe::TopicCallbacks,
        callbacks::{PresenceChange, Publication},
    },
    border::{function_item::item, guard, host::HostFunctions, host_session::HostSession},
    close::{Cause, Close},
    close_codes,
    config::Config,
    error::{Error, Refused, rule::Rule},
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
    message::{Message, MessageBuf},
    styles::{
        adapter::{self, Event, HandlerAdapter, SessionAdapter},
        asynchronous::channel::WAIT_TIMER,
        blocking::{
            channel::{BlockingChannel, FunctionResult},
            conn::BlockingConn,
            recv::EndIgnored,
        },
        functions::{
            owned_request::OwnedRequest,
            shared::Shared,
            signatures::{BlockingFunction, HandshakeFunction},
        },
    },
};

/// The handler adapter of `handler!(blocking function)`. `T` says which callbacks about topics the shared
/// value has. With `PARTS` messages come in parts.
#[derive(Debug)]
pub(crate) struct BlockingHandler<F, C, T, A, H, const PARTS: bool> {
    function: F,
    check: C,
    shared: Arc<H>,
    types: PhantomData<fn() -> (T, A)>,
}

/// The session adapter: the callbacks' side of one session.
#[derive(Debug)]
pub(crate) struct BlockingSession {
    session: Arc<HostSession>,
    channel: Arc<BlockingChannel>,
    end: FunctionEnd,
}

/// How far the end of the function has come.
#[derive(Debug)]
enum FunctionEnd {
    Running,
    /// The function has ended. The next `wake` reports it: what the function sent before leaves first.
    Ended(FunctionResult),
    Reported,
}

impl<F, C, T, A, H, const PARTS: bool> HandlerAdapter for BlockingHandler<F, C, T, A, H, PARTS>
where
    F: BlockingFunction<A, H>,
    C: HandshakeFunction<H>,
    T: TopicCallbacks<H>,
    A: 'static,
    H: Shared,
{
    type Session = BlockingSession;
    const SCHEMA: (u32, u32) = (0, 0);
    const FLAGS: u32 = abi::BLOCKING | (if H::ORIGIN_ANY { abi::ORIGIN_ANY } else { 0 });
    const PARTS: bool = PARTS;
    const BATCHES: bool = true;
    const HAS_ENVELOPE: bool = T::ENVELOPE.is_some();
    const HAS_PRESENCE: bool = T::PRESENCE.is_some();

    fn new(config: Config<'_>) -> crate::Result<Self> {
        Ok(BlockingHandler {
            function: item(),
            check: item(),
            shared: Arc::new(H::new(config)?),
            types: PhantomData,
        })
    }

    fn handshake(
        &self,
        request: &Request<'_>,
        response: &mut Response<'_>,
    ) -> crate::Result<Handshake> {
        self.check.answer(&self.shared, request, response)
    }

    fn open(
        &self,
        session: Arc<HostSession>,
        mut request: Request<'_>,
    ) -> crate::Result<(Self::Session, Status)> {
        let channel = Arc::new(BlockingChannel::new(&session));
        let conn = BlockingConn::new(Arc::clone(&channel), request.take_attached());
        let copy = F::TAKES_REQUEST.then(|| OwnedRequest::new(&request));
        let (function, own) = (self.function, Arc::clone(&channel));
        let shared = Arc::clone(&self.shared);
        let job = move || {
            crate::log::enter_session(own.id);
            let outcome = outcome(&own, || function.run(conn, copy, &shared));
            // The shared value may be dropped here, for the last time: before the host hears that the function has ended.
            drop(shared);
            own.end(outcome);
        };
        let status = session.runtime.spawn(Box::new(job));
        if let Err(refused) = Refused::check(status, |_| Rule::threads()) {
            session.close(close_codes::TRY_AGAIN_LATER.into(), "");
            return Err(format!("no thread for one more session: {refused}").into());
        }
        let end = FunctionEnd::Running;
        Ok((
            BlockingSession {
                session,
                channel,
                end,
            },
            abi::OK,
        ))
    }

    fn restore(
        &self,
        _session: Arc<HostSession>,
        _schema: u32,
        _state: &[u8],
    ) -> crate::Result<Self::Session> {
        Err("a blocking session stays where it began".into())
    }

    fn envelope(&self, publication: &Publication<'_>) -> crate::Result<Option<MessageBuf>> {
        T::ENVELOPE.map_or(Ok(None), |envelope| envelope(&self.shared, publication))
    }

    fn presence(&self, change: &PresenceChange<'_>) -> crate::Result<Option<MessageBuf>> {
        T::PRESENCE.map_or(Ok(None), |presence| presence(&self.shared, change))
    }

    fn self_test(&self) -> crate::Result {
        self.shared.self_test()
    }

    fn serving(&self, on: bool) -> crate::Result {
        self.shared.serving(on)
    }
}

/// Runs the function to its end.
fn outcome(channel: &BlockingChannel, function: impl FnOnce() -> crate::Result) -> FunctionResult {
    let mut why = None;
    let status = guard::guard(|| match until_end_is_ignored(function) {
        Ok(()) if channel.has_open_message() => {
            why = Some(adapter::MESSAGE_IS_OPEN.into());
            abi::ERROR
        }
        Ok(()) => abi::DONE,
        Err(error) if is_about_the_end(channel, &error) => abi::DONE,
        Err(error) => {
            why = Some(error);
            abi::ERROR
        }
    });
    FunctionResult { status, why }
}

/// Runs the function. One that ignores the end of its session is unwound, and has not failed.
fn until_end_is_ignored(function: impl FnOnce() -> crate::Result) -> crate::Result {
    match panic::catch_unwind(AssertUnwindSafe(function)) {
        Ok(result) => result,
        Err(payload) if payload.is::<EndIgnored>() => Ok(()),
        Err(payload) => panic::resume_unwind(payload),
    }
}

/// Whether an error only says that the session is over. A function that ends with it has not failed.
fn is_about_the_end(channel: &BlockingChannel, error: &Error) -> bool {
    error.is_gone() && channel.is_ending()
}

impl BlockingSession {
    /// The status of a callback: `goes_on`, unless the function has ended. `is_due`: this callback may report the
    /// function's end.
    fn status(&mut self, is_due: bool, goes_on: Status) -> Status {
        if let Some(outcome) = self.channel.take_outcome() {
            self.end = FunctionEnd::Ended(outcome);
            if !is_due {
                // A message that the function sent by the session's id may not have left yet. The next `wake` comes after it.
                self.session.wake_session();
            }
        }
        match &self.end {
            FunctionEnd::Ended(outcome) if is_due => {
                let status = outcome.status;
                if let Some(why) = &outcome.why {
                    adapter::fail(&self.session, why);
                }
                self.end = FunctionEnd::Reported;
                status
            }
            // PENDING would keep a session alive that has nothing to wait for.
            FunctionEnd::Reported => abi::OK,
            FunctionEnd::Ended(_) | FunctionEnd::Running => goes_on,
        }
    }

    /// The peer closes. The answer waits for a function that asks for messages, which hears of the Close after them. A
    /// function that has not asked yet has a moment to do so.
    fn on_closing(&mut self, close: Close) -> Status {
        self.channel.peer_closes(close);
        let status = self.status(false, abi::OK);
        match self.end {
            FunctionEnd::Running if self.channel.ignores_close() => {
                let set = |host: &HostFunctions, conn| host.timer(conn, WAIT_TIMER, FIRST_RECV_MS);
                match self.session.inside(set) {
                    abi::OK => abi::PENDING,
                    _ => status,
                }
            }
            FunctionEnd::Running | FunctionEnd::Ended(_) => abi::PENDING,
            FunctionEnd::Reported => status,
        }
    }

    /// The moment is over in which a function could ask for messages.
    fn on_timer(&mut self) -> Status {
        let goes_on = self.status(false, abi::OK);
        match self.end {
            // The host answers with the peer's own code.
            FunctionEnd::Running if self.channel.ignores_close() => abi::DONE,
            FunctionEnd::Running | FunctionEnd::Ended(_) | FunctionEnd::Reported => goes_on,
        }
    }

    fn on_wake(&mut self) -> Status {
        let was_next = matches!(self.end, FunctionEnd::Ended(_));
        self.channel.wakes(&self.session);
        if self.channel.is_over() {
            self.status(true, abi::PENDING)
        } else {
            self.status(was_next, abi::OK)
        }
    }
}

impl SessionAdapter for BlockingSession {
    fn session(&self) -> &Arc<HostSession> {
        &self.session
    }

    fn on(&mut self, event: Event<'_>) -> Status {
        match event {
            Event::Message(message) => {
                if self.channel.push(message, false, &self.session) {
                    self.session.inside(|host, conn| host.reads(conn, false));
                }
            }
            Event::Part(message, is_last) => {
                if self.channel.push_part(message, is_last, &self.session) {
                    self.session.inside(|host, conn| host.reads(conn, false));
                }
            }
            Event::Answer(token, answer) => self.channel.answered(token, answer),
            Event::Drain => self.channel.drained(&self.session),
            Event::Timer(WAIT_TIMER) => return self.on_timer(),
            Event::Wake => return self.on_wake(),
            Event::Closing(close) => return self.on_closing(close),
            Event::Closed(close) => {
                self.channel.is_over_now(close);
                return self.status(true, abi::PENDING);
            }
            Event::Ping(_) | Event::Pong(_) | Event::Timer(_) | Event::Note(_) => {}
        }
        self.status(false, abi::OK)
    }

    fn on_followed(&mut self, message: Message<'_>) -> Status {
        if self.channel.push(message, true, &self.session) {
            self.session.inside(|host, conn| host.reads(conn, false));
        }
        abi::OK
    }

    fn snapshot(&mut self) -> crate::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

/// No callback follows, so the function must not wait for anything.
impl Drop for BlockingSession {
    fn drop(&mut self) {
        self.channel
            .is_over_now(Close::new(close_codes::ABNORMAL.into(), "", Cause::Unknown));
    }
}

/// How long a function has to ask for messages when the peer closes before it has. Its thread may not have run yet. A
/// function that never asks delays the answer no longer than this.
const FIRST_RECV_MS: u64 = 250;
