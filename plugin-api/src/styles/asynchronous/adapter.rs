//! The handler adapter of the async style: makes a future for each session.

use std::{any::Any, marker::PhantomData, sync::Arc};

use crate::{
    abi::{self, Status},
    asks::{
        callback_probe::TopicCallbacks,
        callbacks::{PresenceChange, Publication},
    },
    border::{function_item::item, host_session::HostSession},
    config::Config,
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
    message::MessageBuf,
    styles::{
        adapter::HandlerAdapter,
        asynchronous::{
            channel::AsyncChannel,
            conn::AsyncConn,
            session::AsyncSession,
            state::{self, AsyncState},
        },
        functions::{
            owned_request::OwnedRequest,
            shared::Shared,
            signatures::{AsyncFunction, HandshakeFunction},
        },
    },
};

/// The handler adapter of `handler!(async function)`. `T` says which callbacks about topics the shared
/// value has. With `RESTARTS` a function without a state may begin again in a
/// newer generation. With `PARTS` messages come in parts.
#[derive(Debug)]
pub(crate) struct AsyncHandler<F, C, T, S, A, H, const RESTARTS: bool, const PARTS: bool> {
    function: F,
    check: C,
    shared: Arc<H>,
    types: PhantomData<Types<T, S, A>>,
}

/// The types that an adapter is for, as if it made values of them.
type Types<T, S, A> = fn() -> (T, S, A);

impl<F, C, T, S, A, H, const RESTARTS: bool, const PARTS: bool> HandlerAdapter
    for AsyncHandler<F, C, T, S, A, H, RESTARTS, PARTS>
where
    F: AsyncFunction<S, A, H>,
    C: HandshakeFunction<H>,
    T: TopicCallbacks<H>,
    S: AsyncState,
    A: 'static,
    H: Shared,
{
    type Session = AsyncSession;
    const SCHEMA: (u32, u32) = {
        let moves = RESTARTS || size_of::<S>() != 0;
        match (moves, F::TAKES_REQUEST, S::WITH_REQUEST) {
            (true, false, _) => (state::SCHEMA_STATE, state::SCHEMA_STATE),
            (true, true, true) => (
                state::SCHEMA_STATE_WITH_REQUEST,
                state::SCHEMA_STATE_WITH_REQUEST,
            ),
            (false, _, _) | (true, true, false) => (0, 0),
        }
    };
    const FLAGS: u32 = {
        let moves = if Self::SCHEMA.0 == 0 {
            0
        } else {
            abi::MIGRATES
        };
        let origins = if H::ORIGIN_ANY { abi::ORIGIN_ANY } else { 0 };
        abi::ASYNC | moves | origins
    };
    const PARTS: bool = PARTS;
    const BATCHES: bool = true;
    const HAS_ENVELOPE: bool = T::ENVELOPE.is_some();
    const HAS_PRESENCE: bool = T::PRESENCE.is_some();

    fn new(config: Config<'_>) -> crate::Result<Self> {
        Ok(AsyncHandler {
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
        let attached = request.take_attached();
        let copy = F::TAKES_REQUEST.then(|| Arc::new(OwnedRequest::new(&request)));
        let mut made = self.start_session(session, attached, copy, S::default());
        let status = made.begin();
        Ok((made, status))
    }

    fn restore(
        &self,
        session: Arc<HostSession>,
        _schema: u32,
        state: &[u8],
    ) -> crate::Result<Self::Session> {
        let (copy, state) = if F::TAKES_REQUEST {
            let (copy, state) = S::split(state)?;
            (Some(Arc::new(copy)), state)
        } else {
            (None, S::read(state)?)
        };
        Ok(self.start_session(session, Vec::new(), copy, state))
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

impl<F, C, T, S, A, H, const RESTARTS: bool, const PARTS: bool>
    AsyncHandler<F, C, T, S, A, H, RESTARTS, PARTS>
where
    F: AsyncFunction<S, A, H>,
    S: AsyncState,
{
    /// Makes the function's future for one session, and the channel between the two. Nothing of the function runs yet.
    fn start_session(
        &self,
        session: Arc<HostSession>,
        attached: Vec<Box<dyn Any + Send + Sync>>,
        request: Option<Arc<OwnedRequest>>,
        state: S,
    ) -> AsyncSession {
        let channel = Arc::new(AsyncChannel::default());
        let conn = AsyncConn::new(
            Arc::clone(&session),
            attached,
            state,
            Arc::clone(&channel),
            S::write,
            PARTS,
        );
        let future = self.function.start(conn, request.clone(), &self.shared);
        AsyncSession::new(session, channel, future, request, S::join)
    }
}
