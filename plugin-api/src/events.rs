//! Runs a [`Handler`] and its [`Session`]s behind the vtable.

use std::sync::Arc;

use crate::{
    abi::{self, Status},
    border::{host::ConnPtr, link::Link},
    config::Config,
    conn::Conn,
    request::Request,
    response::{Handshake, Response},
    session::{Handler, Session},
    state::State,
    style::{Event, Slot, Style},
};

/// The style of `handler!(T)`.
#[derive(Debug)]
pub(crate) struct Events<H>(H);

/// One session and its connection.
#[derive(Debug)]
pub(crate) struct EventSlot<S> {
    conn: Conn,
    session: S,
    /// A session without anything in it moves to a newer generation by itself.
    is_stateless: bool,
}

impl<H: Handler> Style for Events<H> {
    type Slot = EventSlot<H::Session>;
    const SCHEMA: (u32, u32) = {
        let range = <H::Session as Session>::SCHEMA;
        (*range.end(), *range.start())
    };
    const FLAGS: u32 = {
        let migrates = Self::SCHEMA.0 != 0 || H::STATELESS.is_some();
        (if migrates { abi::MIGRATES } else { 0 })
            | (if H::ORIGIN_ANY { abi::ORIGIN_ANY } else { 0 })
    };

    fn new(config: Config<'_>) -> crate::Result<Self> {
        Ok(Events(H::new(config)?))
    }

    fn handshake(&self, request: &Request<'_>, response: &mut Response<'_>) -> Handshake {
        self.0.handshake(request, response)
    }

    fn open(
        &self,
        link: Arc<Link>,
        mut request: Request<'_>,
    ) -> crate::Result<(Self::Slot, Status)> {
        let mut conn = Conn::new(link, request.take_attached(), ());
        let mut session = self.0.open(&mut conn, &request);
        session.on_open(&mut conn);
        let slot = EventSlot {
            conn,
            session,
            is_stateless: H::STATELESS.is_some(),
        };
        Ok((slot, abi::OK))
    }

    fn restore(&self, link: Arc<Link>, schema: u32, state: &[u8]) -> crate::Result<Self::Slot> {
        let session = match H::STATELESS {
            Some(begin) if Self::SCHEMA.0 == 0 => begin(),
            _ => H::Session::restore(&State::new(schema, state))?,
        };
        Ok(EventSlot {
            conn: Conn::new(link, Vec::new(), ()),
            session,
            is_stateless: H::STATELESS.is_some(),
        })
    }

    fn self_test(&self) -> crate::Result {
        self.0.self_test()
    }

    fn serving(&self, on: bool) {
        self.0.serving(on);
    }
}

impl<S: Session> Slot for EventSlot<S> {
    #[inline]
    fn link(&self) -> &Arc<Link> {
        self.conn.link()
    }

    // The authors have their `Conn` in callbacks only, and each begins with writing this.
    #[inline(always)]
    fn here(&mut self) -> Option<&mut Option<ConnPtr>> {
        Some(&mut self.conn.here)
    }

    // Always: each callback has one kind of event, and needs nothing of the others.
    #[inline(always)]
    fn on(&mut self, event: Event<'_>) -> Status {
        let EventSlot { conn, session, .. } = self;
        match event {
            Event::Message(message) => session.on_message(conn, message),
            Event::Ping(data) => session.on_ping(conn, data),
            Event::Pong(data) => session.on_pong(conn, data),
            Event::Drain => session.on_drain(conn),
            Event::Timer(token) => session.on_timer(conn, token),
            Event::Wake => {}
            Event::Note(note) => session.on_note(conn, note),
            Event::Closing(close) => session.on_closing(conn, &close),
            Event::Closed(close) => session.on_close(close),
        }
        abi::OK
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        match self.session.snapshot() {
            Some(state) => Some(state.into_bytes()),
            None => self.is_stateless.then(Vec::new),
        }
    }
}
