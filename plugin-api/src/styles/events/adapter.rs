//! The adapter of the events style: calls the callbacks of a [`Handler`] and of its [`Session`]s.

use std::{marker::PhantomData, sync::Arc};

use crate::{
    abi::{self, Status},
    asks::{
        callback_probe::TopicCallbacks,
        callbacks::{PresenceChange, Publication},
    },
    border::host_session::{HostSession, MoveScope},
    config::Config,
    error::Error,
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
    message::{
        MessageBuf,
        part::{Part, PartPosition},
    },
    styles::{
        adapter::{self, Event, HandlerAdapter, SessionAdapter},
        events::{
            conn::Conn,
            handler::Handler,
            session::{Closing, Session},
            state::State,
        },
    },
};

/// The handler adapter of `handler!(T)`. `B` says how a session without fields begins, and `C` which callbacks about
/// topics the type has.
#[derive(Debug)]
pub(crate) struct EventsHandler<H, B, C> {
    handler: H,
    found: PhantomData<fn() -> (B, C)>,
}

/// The session adapter: the author's session and its connection.
#[derive(Debug)]
pub(crate) struct EventsSession<S> {
    /// The session as the host knows it, whatever the author's code does with `conn`.
    session: Arc<HostSession>,
    conn: Conn,
    callbacks: S,
    /// The author's session has no fields, so it moves to a newer generation without a state.
    is_fieldless: bool,
    /// A message has begun, and its last part has not arrived.
    is_in_message: bool,
}

impl<H: Handler, B: Begin<H::Session>, C: TopicCallbacks<H>> EventsHandler<H, B, C> {
    /// How a session without fields begins again in a newer generation; `None` if the session is not of that kind.
    const FIELDLESS: Option<fn() -> H::Session> = match B::BEGIN {
        Some(begin) if size_of::<H::Session>() == 0 && Self::SCHEMA.0 == 0 => Some(begin),
        _ => None,
    };
}

impl<H: Handler, B: Begin<H::Session>, C: TopicCallbacks<H>> HandlerAdapter
    for EventsHandler<H, B, C>
{
    type Session = EventsSession<H::Session>;
    const SCHEMA: (u32, u32) = {
        let range = <H::Session as Session>::SCHEMA;
        (*range.end(), *range.start())
    };
    const FLAGS: u32 = {
        let migrates = Self::SCHEMA.0 != 0 || Self::FIELDLESS.is_some();
        (if migrates { abi::MIGRATES } else { 0 })
            | (if H::ORIGIN_ANY { abi::ORIGIN_ANY } else { 0 })
    };

    const PARTS: bool = <H::Session as Session>::PARTS;
    const HAS_ENVELOPE: bool = C::ENVELOPE.is_some();
    const HAS_PRESENCE: bool = C::PRESENCE.is_some();

    fn new(config: Config<'_>) -> crate::Result<Self> {
        Ok(EventsHandler {
            handler: H::new(config)?,
            found: PhantomData,
        })
    }

    fn handshake(
        &self,
        request: &Request<'_>,
        response: &mut Response<'_>,
    ) -> crate::Result<Handshake> {
        self.handler.handshake(request, response)
    }

    fn open(
        &self,
        session: Arc<HostSession>,
        mut request: Request<'_>,
    ) -> crate::Result<(Self::Session, Status)> {
        let mut conn = Conn::new(Arc::clone(&session), request.take_attached());
        let mut callbacks = self.handler.open(&mut conn, &request)?;
        let status = status(callbacks.on_open(&mut conn), &conn);
        let made = EventsSession {
            session,
            conn,
            callbacks,
            is_fieldless: Self::FIELDLESS.is_some(),
            is_in_message: false,
        };
        Ok((made, status))
    }

    fn restore(
        &self,
        session: Arc<HostSession>,
        schema: u32,
        state: &[u8],
    ) -> crate::Result<Self::Session> {
        let mut conn = Conn::new(Arc::clone(&session), Vec::new());
        let callbacks = match Self::FIELDLESS {
            Some(begin) => begin(),
            None => self
                .handler
                .restore(&mut conn, &State::new(schema, state))?,
        };
        Ok(EventsSession {
            session,
            conn,
            callbacks,
            is_fieldless: Self::FIELDLESS.is_some(),
            is_in_message: false,
        })
    }

    fn envelope(&self, publication: &Publication<'_>) -> crate::Result<Option<MessageBuf>> {
        C::ENVELOPE.map_or(Ok(None), |envelope| envelope(&self.handler, publication))
    }

    fn presence(&self, change: &PresenceChange<'_>) -> crate::Result<Option<MessageBuf>> {
        C::PRESENCE.map_or(Ok(None), |presence| presence(&self.handler, change))
    }

    fn self_test(&self) -> crate::Result {
        self.handler.self_test()
    }

    fn serving(&self, on: bool) -> crate::Result {
        self.handler.serving(on)
    }
}

impl<S: Session> SessionAdapter for EventsSession<S> {
    #[inline]
    fn session(&self) -> &Arc<HostSession> {
        &self.session
    }

    // Always inlined: each callback of the vtable has one kind of event, and the code for the others falls away.
    #[inline(always)]
    fn on(&mut self, event: Event<'_>) -> Status {
        let EventsSession {
            conn,
            callbacks,
            is_in_message,
            ..
        } = self;
        let result = match event {
            Event::Message(message) => callbacks.on_message(conn, message),
            Event::Part(message, is_last) => {
                let is_first = !std::mem::replace(is_in_message, !is_last);
                callbacks.on_part(conn, Part::new(message, PartPosition { is_first, is_last }))
            }
            Event::Ping(data) => callbacks.on_ping(conn, data),
            Event::Pong(data) => callbacks.on_pong(conn, data),
            Event::Drain => callbacks.on_drain(conn),
            Event::Timer(token) => callbacks.on_timer(conn, token),
            Event::Wake => Ok(()),
            Event::Note(note) => callbacks.on_note(conn, note),
            Event::Answer(token, answer) => callbacks.on_answer(conn, token, answer),
            Event::Closing(close) => match callbacks.on_closing(conn, &close) {
                Ok(Closing::Later) => return abi::PENDING,
                Ok(Closing::Now) => Ok(()),
                Err(error) => Err(error),
            },
            Event::Closed(close) => callbacks.on_close(conn, &close),
        };
        status(result, conn)
    }

    fn snapshot(&mut self) -> crate::Result<Option<Vec<u8>>> {
        if self.is_fieldless {
            return Ok(Some(Vec::new()));
        }
        let _moving = MoveScope::snapshot(self.session.id);
        Ok(self.callbacks.snapshot(&self.conn)?.into_bytes())
    }
}

/// The status for what an author's callback returned.
#[inline(always)]
fn status(result: crate::Result, conn: &Conn) -> Status {
    match result {
        Ok(()) => abi::OK,
        Err(error) => failed(error, conn),
    }
}

/// The status for an error. A callback that passes on that its own session is over, or that a message was dropped, has not
/// failed.
#[cold]
#[inline(never)]
fn failed(error: Error, conn: &Conn) -> Status {
    if error.is_dropped() || error.is_gone() && conn.has_heard_of_end() {
        return abi::OK;
    }
    adapter::fail(conn.session(), &error)
}

/// Finds out whether a handler's session type is `Default`, for [`descriptor!`](crate::descriptor).
///
/// `Probe::<H>::BEGIN` is the inherent constant where its bounds hold, and else that of the trait [`NotDefault`].
#[derive(Debug)]
pub struct Probe<H>(PhantomData<H>);

/// Makes a session by its `Default`.
#[derive(Clone, Copy, Debug)]
pub struct FromDefault;

/// Makes no session.
#[derive(Clone, Copy, Debug)]
pub struct FromNothing;

impl<H: Handler<Session: Default>> Probe<H> {
    /// The session type is `Default`.
    pub const BEGIN: FromDefault = FromDefault;
}

/// The answer of [`Probe`] for every other type.
pub trait NotDefault {
    /// The session type is not `Default`, or the type is no handler.
    const BEGIN: FromNothing = FromNothing;
}

impl<H> NotDefault for Probe<H> {}

/// Finds out whether the name in [`handler!`](crate::handler) is a function.
#[derive(Debug)]
pub struct Named<T>(PhantomData<T>);

/// The type that a name stands for which names no type.
pub mod named {
    /// What `handler!` imports where the name in it is a function.
    #[derive(Debug)]
    pub struct HandlerOfThisCrate;
}

impl Named<named::HandlerOfThisCrate> {
    /// The name is no type.
    pub const IS_FUNCTION: bool = true;
}

/// The answer of [`Named`] for every type.
pub trait NotAFunction {
    /// The name is a type.
    const IS_FUNCTION: bool = false;
}

impl<T> NotAFunction for Named<T> {}

/// How a session begins that needs nothing.
pub trait Begin<S>: Copy + Send + Sync + 'static {
    /// Makes the session; `None` if its type is not `Default`.
    const BEGIN: Option<fn() -> S>;
}

impl<S: Default> Begin<S> for FromDefault {
    const BEGIN: Option<fn() -> S> = Some(S::default);
}

impl<S> Begin<S> for FromNothing {
    const BEGIN: Option<fn() -> S> = None;
}
