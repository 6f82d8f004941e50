//! How a style asks, and gets the answer.

use std::sync::Arc;

use crate::{
    abi::{self, Status},
    asks::{
        ask::{Answerable, Ask},
        pages::{self, AskAll},
        results::{Next, ReadAnswer},
    },
    border::{
        host::HostFunctions,
        host_session::HostSession,
        runtime::{self, Runtime},
    },
    error::{Refused, Result, rule::Rule},
    styles::{
        asynchronous::channel::AsyncChannel, blocking::channel::BlockingChannel, events::conn::Conn,
    },
};

/// A way to ask: by a callback with a token ([`ByToken`]), by a future ([`ByFuture`], [`ByAnyThread`]), or by waiting
/// ([`ByWaiting`]). Authors do not name it.
pub trait Asker: sealed::Sealed {
    /// What a function that asks for a `T` returns.
    type Answer<T: Send + 'static>;

    /// Asks. `call` gets the id and the token, and calls the host; `rule` says which rule a refused call broke, and `read`
    /// what the answer means.
    #[doc(hidden)]
    fn ask<T: Send + 'static>(
        &self,
        read: Read<T>,
        call: impl FnOnce(&HostCall<'_>) -> Status,
        rule: impl FnOnce(Status) -> Rule,
    ) -> Self::Answer<T>;
}

mod sealed {
    pub trait Sealed {}
}

/// Reads an answer: hides the border's type.
#[doc(hidden)]
#[derive(Debug)]
pub struct Read<T>(pub(crate) ReadAnswer<T>);

/// One call to the host: its functions, and the id and the token to call them with.
#[doc(hidden)]
#[derive(Debug)]
pub struct HostCall<'a> {
    pub(crate) host: &'a HostFunctions,
    pub(crate) id: u64,
    pub(crate) token: u64,
}

/// Asks in a session of the events style: the answer comes to [`on_answer`](crate::Session::on_answer).
#[derive(Debug)]
pub struct ByToken<'a> {
    pub(crate) conn: &'a Conn,
    pub(crate) token: u64,
}

/// Asks in an async session: the answer is an [`Ask`], to be awaited.
#[derive(Clone, Copy, Debug)]
pub struct ByFuture<'a> {
    pub(crate) session: &'a HostSession,
    pub(crate) channel: &'a Arc<AsyncChannel>,
}

/// Asks in a blocking session: the function returns the answer.
#[derive(Clone, Copy, Debug)]
pub struct ByWaiting<'a> {
    pub(crate) channel: &'a BlockingChannel,
}

/// Asks on any thread, for the handler itself: the answer is an [`Ask`], to be awaited or waited for.
#[derive(Clone, Copy, Debug)]
pub struct ByAnyThread {
    pub(crate) runtime: Option<&'static Runtime>,
}

impl sealed::Sealed for ByToken<'_> {}
impl sealed::Sealed for ByFuture<'_> {}
impl sealed::Sealed for ByWaiting<'_> {}
impl sealed::Sealed for ByAnyThread {}

impl Asker for ByToken<'_> {
    /// Whether it was asked.
    type Answer<T: Send + 'static> = Result<(), Refused>;

    fn ask<T: Send + 'static>(
        &self,
        _read: Read<T>,
        call: impl FnOnce(&HostCall<'_>) -> Status,
        rule: impl FnOnce(Status) -> Rule,
    ) -> Result<(), Refused> {
        let status = self.conn.session().ask(self.token, call);
        self.conn.heard(Refused::check(status, rule))
    }
}

impl Asker for ByFuture<'_> {
    type Answer<T: Send + 'static> = Ask<T>;

    fn ask<T: Send + 'static>(
        &self,
        read: Read<T>,
        call: impl FnOnce(&HostCall<'_>) -> Status,
        rule: impl FnOnce(Status) -> Rule,
    ) -> Ask<T> {
        let token = self.session.runtime.asks.token();
        let waits = |ask| self.channel.lock().asks.insert(token, ask);
        let ask_host = || self.session.ask(token, call);
        let forget = || drop(self.channel.lock().asks.take(token));
        ask(read, waits, ask_host, forget, rule)
    }
}

impl Asker for ByWaiting<'_> {
    type Answer<T: Send + 'static> = Result<T, Refused>;

    fn ask<T: Send + 'static>(
        &self,
        read: Read<T>,
        call: impl FnOnce(&HostCall<'_>) -> Status,
        rule: impl FnOnce(Status) -> Rule,
    ) -> Result<T, Refused> {
        let runtime = self.channel.runtime;
        let token = runtime.asks.token();
        let call = HostCall {
            host: &runtime.host,
            id: self.channel.id,
            token,
        }
        .made_by(call);
        self.channel.ask(read.0, token, call, rule)
    }
}

impl Asker for ByAnyThread {
    type Answer<T: Send + 'static> = Ask<T>;

    fn ask<T: Send + 'static>(
        &self,
        read: Read<T>,
        call: impl FnOnce(&HostCall<'_>) -> Status,
        rule: impl FnOnce(Status) -> Rule,
    ) -> Ask<T> {
        let Some(runtime) = self.runtime else {
            return Ask::refused(read.0, Refused::Misuse);
        };
        let token = runtime.asks.token();
        let waits = |ask| runtime.asks.lock().insert(token, ask);
        let host = HostCall {
            host: &runtime.host,
            id: 0,
            token,
        };
        let forget = || drop(runtime.asks.lock().take(token));
        ask(read, waits, host.made_by(call), forget, rule)
    }
}

/// A page of a list.
#[doc(hidden)]
#[derive(Debug)]
pub struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<Next>,
}

/// Asks by an `A` for a page of a list, which begins where the page before says, and gets a `P`.
pub(crate) type AskPage<A, P> = fn(&A, &str, Option<&Next>) -> P;

/// A way to ask for all pages of a list: by a future ([`ByFuture`], [`ByAnyThread`]), or by waiting ([`ByWaiting`]).
/// Authors do not name it. The events style hears each page.
pub trait ListAsker: Asker + Copy {
    /// What a function returns that asks for all items, each a `T`.
    type All<T: Send + 'static>;

    /// Asks for all pages of the list `of`.
    #[doc(hidden)]
    fn ask_all<T: Send + 'static>(
        self,
        of: &str,
        ask_page: AskPage<Self, Self::Answer<Page<T>>>,
    ) -> Self::All<T>;
}

impl<'a> ListAsker for ByFuture<'a> {
    type All<T: Send + 'static> = AskAll<ByFuture<'a>, T>;

    fn ask_all<T: Send + 'static>(
        self,
        of: &str,
        ask_page: AskPage<Self, Ask<Page<T>>>,
    ) -> AskAll<ByFuture<'a>, T> {
        AskAll::new(self, of, ask_page)
    }
}

impl ListAsker for ByAnyThread {
    type All<T: Send + 'static> = AskAll<ByAnyThread, T>;

    fn ask_all<T: Send + 'static>(
        self,
        of: &str,
        ask_page: AskPage<Self, Ask<Page<T>>>,
    ) -> AskAll<ByAnyThread, T> {
        AskAll::new(self, of, ask_page)
    }
}

impl ListAsker for ByWaiting<'_> {
    type All<T: Send + 'static> = Result<Vec<T>, Refused>;

    fn ask_all<T: Send + 'static>(
        self,
        of: &str,
        ask_page: AskPage<Self, Result<Page<T>, Refused>>,
    ) -> Result<Vec<T>, Refused> {
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let page = ask_page(&self, of, next.as_ref())?;
            next = pages::add(&mut found, page)?;
            if next.is_none() {
                return Ok(found);
            }
        }
    }
}

/// Asks the host. The ask waits before the host hears of it: the answer may come on another thread.
pub(crate) fn ask<T: Send + 'static>(
    read: Read<T>,
    waits: impl FnOnce(Arc<dyn Answerable>),
    call: impl FnOnce() -> Status,
    forget: impl FnOnce(),
    rule: impl FnOnce(Status) -> Rule,
) -> Ask<T> {
    let (asked, cell) = Ask::waiting(read.0);
    waits(cell.clone());
    if let Err(refused) = Refused::check(call(), rule) {
        forget();
        cell.fail(refused);
    }
    asked
}

impl<'a> HostCall<'a> {
    /// The call as a function without arguments.
    fn made_by(self, call: impl FnOnce(&HostCall<'_>) -> Status) -> impl FnOnce() -> Status {
        move || call(&self)
    }
}

impl ByAnyThread {
    /// Asks for the handler that the calling thread belongs to.
    pub(crate) fn here() -> Self {
        ByAnyThread {
            runtime: runtime::current(),
        }
    }
}

impl HostSession {
    /// Asks by the session's id. Not in `snapshot` and `restore`: what they do must not be seen outside.
    pub(crate) fn ask(&self, token: u64, call: impl FnOnce(&HostCall<'_>) -> Status) -> Status {
        if self.is_moving() {
            return abi::MISUSE;
        }
        call(&HostCall {
            host: self.host(),
            id: self.id,
            token,
        })
    }
}
