//! The functions that [`handler!`](crate::handler) takes: with and without the request.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{
    blocking_conn::BlockingConn,
    conn::Conn,
    request::Request,
    request_copy::RequestCopy,
    response::{Handshake, Response},
};

/// What a session's future is kept as.
pub(crate) type Running = Pin<Box<dyn Future<Output = crate::Result> + Send>>;

/// Marks a function that takes its connection only.
#[derive(Debug)]
pub struct Alone(());

/// Marks a function that takes the request too.
#[derive(Debug)]
pub struct WithRequest(());

/// A function of the async style. `S` is its state, `A` one of the two marks; both follow from the
/// function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an async handler function",
    label = "wanted: `async fn(conn: &mut Conn<S>) -> Result`, which may take `request: &Request` too",
    note = "what it holds across an `.await` must be `Send`",
    note = "its state `S` must be `Default + Serialize + DeserializeOwned + Send`"
)]
pub trait AsyncFunction<S, A>: Copy + Send + Sync + 'static {
    /// Whether the request is kept for it.
    const TAKES_REQUEST: bool;

    /// The future of one session; nothing runs before it is polled.
    fn start(self, conn: Conn<S>, request: Option<Arc<RequestCopy>>) -> Running;
}

impl<F, S> AsyncFunction<S, Alone> for F
where
    F: for<'a> CallAlone<'a, S> + Copy + Send + Sync + 'static,
    S: Send + 'static,
{
    const TAKES_REQUEST: bool = false;

    fn start(self, mut conn: Conn<S>, _request: Option<Arc<RequestCopy>>) -> Running {
        // The future owns the connection that the function borrows: that is what ties the two
        // together without a lifetime.
        Box::pin(async move { self.call(&mut conn).await })
    }
}

impl<F, S> AsyncFunction<S, WithRequest> for F
where
    F: for<'a> CallWithRequest<'a, S> + Copy + Send + Sync + 'static,
    S: Send + 'static,
{
    const TAKES_REQUEST: bool = true;

    fn start(self, mut conn: Conn<S>, request: Option<Arc<RequestCopy>>) -> Running {
        Box::pin(async move {
            let copy = request.unwrap_or_default();
            let lists = copy.lists();
            let request = copy.request(&lists);
            self.call(&mut conn, &request).await
        })
    }
}

/// An `async fn(&mut Conn<S>)` for one lifetime.
pub trait CallAlone<'a, S> {
    /// What it returns.
    type Future: Future<Output = crate::Result> + Send + 'a;

    /// Calls it.
    fn call(self, conn: &'a mut Conn<S>) -> Self::Future;
}

impl<'a, F, R, S: 'a> CallAlone<'a, S> for F
where
    F: Fn(&'a mut Conn<S>) -> R,
    R: Future<Output = crate::Result> + Send + 'a,
{
    type Future = R;

    fn call(self, conn: &'a mut Conn<S>) -> R {
        self(conn)
    }
}

/// An `async fn(&mut Conn<S>, &Request)` for one lifetime.
pub trait CallWithRequest<'a, S> {
    /// What it returns.
    type Future: Future<Output = crate::Result> + Send + 'a;

    /// Calls it.
    fn call(self, conn: &'a mut Conn<S>, request: &'a Request<'a>) -> Self::Future;
}

impl<'a, F, R, S: 'a> CallWithRequest<'a, S> for F
where
    F: Fn(&'a mut Conn<S>, &'a Request<'a>) -> R,
    R: Future<Output = crate::Result> + Send + 'a,
{
    type Future = R;

    fn call(self, conn: &'a mut Conn<S>, request: &'a Request<'a>) -> R {
        self(conn, request)
    }
}

/// A function of the blocking style; `A` is one of the two marks.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a blocking handler function",
    label = "wanted: `fn(conn: BlockingConn) -> Result`, which may take `request: &Request` too"
)]
pub trait BlockingFunction<A>: Copy + Send + Sync + 'static {
    /// Whether the request is kept for it.
    const TAKES_REQUEST: bool;

    /// Serves one session, from its first message to its last.
    ///
    /// # Errors
    /// What the function returns.
    fn run(self, conn: BlockingConn, request: Option<RequestCopy>) -> crate::Result;
}

impl<F> BlockingFunction<Alone> for F
where
    F: Fn(BlockingConn) -> crate::Result + Copy + Send + Sync + 'static,
{
    const TAKES_REQUEST: bool = false;

    fn run(self, conn: BlockingConn, _request: Option<RequestCopy>) -> crate::Result {
        self(conn)
    }
}

impl<F> BlockingFunction<WithRequest> for F
where
    F: Fn(BlockingConn, &Request<'_>) -> crate::Result + Copy + Send + Sync + 'static,
{
    const TAKES_REQUEST: bool = true;

    fn run(self, conn: BlockingConn, request: Option<RequestCopy>) -> crate::Result {
        let copy = request.unwrap_or_default();
        let lists = copy.lists();
        self(conn, &copy.request(&lists))
    }
}

/// The function of `handshake = …`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handshake function",
    label = "wanted: `fn(request: &Request, response: &mut Response) -> Handshake`"
)]
pub trait HandshakeFunction: Copy + Send + Sync + 'static {
    /// Calls it.
    fn answer(self, request: &Request<'_>, response: &mut Response<'_>) -> Handshake;
}

impl<F> HandshakeFunction for F
where
    F: Fn(&Request<'_>, &mut Response<'_>) -> Handshake + Copy + Send + Sync + 'static,
{
    fn answer(self, request: &Request<'_>, response: &mut Response<'_>) -> Handshake {
        self(request, response)
    }
}

/// The handshake of a handler that names none: everybody may enter.
#[must_use]
pub fn accept(_request: &Request<'_>, _response: &mut Response<'_>) -> Handshake {
    Handshake::accept()
}
