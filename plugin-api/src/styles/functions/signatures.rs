//! The signatures of functions that [`handler!`](crate::handler) takes: with or without the request, and with or without
//! the value that their sessions share.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{
    handshake::{
        request::Request,
        response::{Handshake, Response},
    },
    styles::{
        asynchronous::conn::AsyncConn,
        blocking::conn::BlockingConn,
        functions::{owned_request::OwnedRequest, shared::Shared},
    },
};

/// The future of one session's function.
pub(crate) type SessionFuture = Pin<Box<dyn Future<Output = crate::Result> + Send>>;

/// Marks a function that takes the connection only.
#[derive(Debug)]
pub struct Alone(());

/// Marks a function that takes the connection and the request.
#[derive(Debug)]
pub struct WithRequest(());

/// Marks a function that takes the connection and the shared value.
#[derive(Debug)]
pub struct WithShared(());

/// Marks a function that takes the connection, the request and the shared value.
#[derive(Debug)]
pub struct WithBoth(());

/// A function of the async style. `S` is its state, and `A` one of the four marks; both follow from the function. `H` is
/// the type of the shared value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an async handler function",
    label = "wanted: `async fn(conn: &mut AsyncConn<S>) -> Result`, which may take `request: &Request` and, with `shared = T`, `shared: &T` after it",
    note = "a `fn(conn: BlockingConn) -> Result` is written `handler!(blocking name)`, a type `handler!(Name)`",
    note = "what it holds across an `.await` must be `Send`",
    note = "its state `S` must be `Default + Serialize + DeserializeOwned + Send`"
)]
pub trait AsyncFunction<S, A, H>: Copy + Send + Sync + 'static {
    /// Whether the function takes the request, which is kept for it.
    const TAKES_REQUEST: bool;

    /// Makes the future of one session. Nothing of the function runs before it is polled.
    fn start(
        self,
        conn: AsyncConn<S>,
        request: Option<Arc<OwnedRequest>>,
        shared: &Arc<H>,
    ) -> SessionFuture;
}

impl<F, S, H> AsyncFunction<S, Alone, H> for F
where
    F: for<'a> CallAlone<'a, S> + Copy + Send + Sync + 'static,
    S: Send + 'static,
{
    const TAKES_REQUEST: bool = false;

    fn start(
        self,
        mut conn: AsyncConn<S>,
        _: Option<Arc<OwnedRequest>>,
        _: &Arc<H>,
    ) -> SessionFuture {
        // The future owns the connection that the function borrows, so that no lifetime shows outside.
        Box::pin(async move { self.call(&mut conn).await })
    }
}

impl<F, S, H> AsyncFunction<S, WithRequest, H> for F
where
    F: for<'a> CallWithRequest<'a, S> + Copy + Send + Sync + 'static,
    S: Send + 'static,
{
    const TAKES_REQUEST: bool = true;

    fn start(
        self,
        mut conn: AsyncConn<S>,
        request: Option<Arc<OwnedRequest>>,
        _: &Arc<H>,
    ) -> SessionFuture {
        Box::pin(async move {
            let copy = request.unwrap_or_default();
            let lists = copy.lists();
            let request = copy.request(&lists);
            self.call(&mut conn, &request).await
        })
    }
}

impl<F, S, H> AsyncFunction<S, WithShared, H> for F
where
    F: for<'a> CallWithShared<'a, S, H> + Copy + Send + Sync + 'static,
    S: Send + 'static,
    H: Send + Sync + 'static,
{
    const TAKES_REQUEST: bool = false;

    fn start(
        self,
        mut conn: AsyncConn<S>,
        _: Option<Arc<OwnedRequest>>,
        shared: &Arc<H>,
    ) -> SessionFuture {
        let shared = Arc::clone(shared);
        Box::pin(async move { self.call(&mut conn, &*shared).await })
    }
}

impl<F, S, H> AsyncFunction<S, WithBoth, H> for F
where
    F: for<'a> CallWithBoth<'a, S, H> + Copy + Send + Sync + 'static,
    S: Send + 'static,
    H: Send + Sync + 'static,
{
    const TAKES_REQUEST: bool = true;

    fn start(
        self,
        mut conn: AsyncConn<S>,
        request: Option<Arc<OwnedRequest>>,
        shared: &Arc<H>,
    ) -> SessionFuture {
        let shared = Arc::clone(shared);
        Box::pin(async move {
            let copy = request.unwrap_or_default();
            let lists = copy.lists();
            let request = copy.request(&lists);
            self.call(&mut conn, &request, &*shared).await
        })
    }
}

/// An `async fn(&mut AsyncConn<S>)` for one lifetime.
pub trait CallAlone<'a, S> {
    /// The future that the function returns.
    type Future: Future<Output = crate::Result> + Send + 'a;

    /// Calls the function.
    fn call(self, conn: &'a mut AsyncConn<S>) -> Self::Future;
}

impl<'a, F, R, S: 'a> CallAlone<'a, S> for F
where
    F: Fn(&'a mut AsyncConn<S>) -> R,
    R: Future<Output = crate::Result> + Send + 'a,
{
    type Future = R;

    fn call(self, conn: &'a mut AsyncConn<S>) -> R {
        self(conn)
    }
}

/// An `async fn(&mut AsyncConn<S>, &Request)` for one lifetime.
pub trait CallWithRequest<'a, S> {
    /// The future that the function returns.
    type Future: Future<Output = crate::Result> + Send + 'a;

    /// Calls the function.
    fn call(self, conn: &'a mut AsyncConn<S>, request: &'a Request<'a>) -> Self::Future;
}

impl<'a, F, R, S: 'a> CallWithRequest<'a, S> for F
where
    F: Fn(&'a mut AsyncConn<S>, &'a Request<'a>) -> R,
    R: Future<Output = crate::Result> + Send + 'a,
{
    type Future = R;

    fn call(self, conn: &'a mut AsyncConn<S>, request: &'a Request<'a>) -> R {
        self(conn, request)
    }
}

/// An `async fn(&mut AsyncConn<S>, &H)` for one lifetime.
pub trait CallWithShared<'a, S, H> {
    /// The future that the function returns.
    type Future: Future<Output = crate::Result> + Send + 'a;

    /// Calls the function.
    fn call(self, conn: &'a mut AsyncConn<S>, shared: &'a H) -> Self::Future;
}

impl<'a, F, R, S: 'a, H: 'a> CallWithShared<'a, S, H> for F
where
    F: Fn(&'a mut AsyncConn<S>, &'a H) -> R,
    R: Future<Output = crate::Result> + Send + 'a,
{
    type Future = R;

    fn call(self, conn: &'a mut AsyncConn<S>, shared: &'a H) -> R {
        self(conn, shared)
    }
}

/// An `async fn(&mut AsyncConn<S>, &Request, &H)` for one lifetime.
pub trait CallWithBoth<'a, S, H> {
    /// The future that the function returns.
    type Future: Future<Output = crate::Result> + Send + 'a;

    /// Calls the function.
    fn call(
        self,
        conn: &'a mut AsyncConn<S>,
        request: &'a Request<'a>,
        shared: &'a H,
    ) -> Self::Future;
}

impl<'a, F, R, S: 'a, H: 'a> CallWithBoth<'a, S, H> for F
where
    F: Fn(&'a mut AsyncConn<S>, &'a Request<'a>, &'a H) -> R,
    R: Future<Output = crate::Result> + Send + 'a,
{
    type Future = R;

    fn call(self, conn: &'a mut AsyncConn<S>, request: &'a Request<'a>, shared: &'a H) -> R {
        self(conn, request, shared)
    }
}

/// A function of the blocking style. `A` is one of the four marks, and `H` the type of the shared value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a blocking handler function",
    label = "wanted: `fn(conn: BlockingConn) -> Result`, which may take `request: &Request` and, with `shared = T`, `shared: &T` after it",
    note = "an `async fn(conn: &mut AsyncConn) -> Result` is written `handler!(async name)`, a type `handler!(Name)`"
)]
pub trait BlockingFunction<A, H>: Copy + Send + Sync + 'static {
    /// Whether the function takes the request, which is kept for it.
    const TAKES_REQUEST: bool;

    /// Serves one session, from its first message to its last.
    ///
    /// # Errors
    /// What the function returns.
    fn run(self, conn: BlockingConn, request: Option<OwnedRequest>, shared: &H) -> crate::Result;
}

impl<F, H> BlockingFunction<Alone, H> for F
where
    F: Fn(BlockingConn) -> crate::Result + Copy + Send + Sync + 'static,
{
    const TAKES_REQUEST: bool = false;

    fn run(self, conn: BlockingConn, _: Option<OwnedRequest>, _: &H) -> crate::Result {
        self(conn)
    }
}

impl<F, H> BlockingFunction<WithRequest, H> for F
where
    F: Fn(BlockingConn, &Request<'_>) -> crate::Result + Copy + Send + Sync + 'static,
{
    const TAKES_REQUEST: bool = true;

    fn run(self, conn: BlockingConn, request: Option<OwnedRequest>, _: &H) -> crate::Result {
        let copy = request.unwrap_or_default();
        let lists = copy.lists();
        self(conn, &copy.request(&lists))
    }
}

impl<F, H> BlockingFunction<WithShared, H> for F
where
    F: Fn(BlockingConn, &H) -> crate::Result + Copy + Send + Sync + 'static,
{
    const TAKES_REQUEST: bool = false;

    fn run(self, conn: BlockingConn, _: Option<OwnedRequest>, shared: &H) -> crate::Result {
        self(conn, shared)
    }
}

impl<F, H> BlockingFunction<WithBoth, H> for F
where
    F: Fn(BlockingConn, &Request<'_>, &H) -> crate::Result + Copy + Send + Sync + 'static,
{
    const TAKES_REQUEST: bool = true;

    fn run(self, conn: BlockingConn, request: Option<OwnedRequest>, shared: &H) -> crate::Result {
        let copy = request.unwrap_or_default();
        let lists = copy.lists();
        self(conn, &copy.request(&lists), shared)
    }
}

/// The function of `handshake = …`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handshake function",
    label = "wanted: `fn(request: &Request, response: &mut Response) -> Result<Handshake>`"
)]
pub trait HandshakeFunction<H>: Copy + Send + Sync + 'static {
    /// Calls the function.
    ///
    /// # Errors
    /// What the function returns.
    fn answer(
        self,
        shared: &H,
        request: &Request<'_>,
        response: &mut Response<'_>,
    ) -> crate::Result<Handshake>;
}

impl<F, H> HandshakeFunction<H> for F
where
    F: Fn(&Request<'_>, &mut Response<'_>) -> crate::Result<Handshake>
        + Copy
        + Send
        + Sync
        + 'static,
{
    fn answer(
        self,
        _: &H,
        request: &Request<'_>,
        response: &mut Response<'_>,
    ) -> crate::Result<Handshake> {
        self(request, response)
    }
}

/// The handshake of a handler that names no function for it: that of the shared value.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeOfShared;

impl<H: Shared> HandshakeFunction<H> for HandshakeOfShared {
    fn answer(
        self,
        shared: &H,
        request: &Request<'_>,
        response: &mut Response<'_>,
    ) -> crate::Result<Handshake> {
        shared.handshake(request, response)
    }
}
