//! The answer to the opening handshake (RFC 6455 §4.2.2).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    abi::{self, Status},
    border::{
        guard,
        host::{Host, ResponsePtr},
        runtime::Runtime,
    },
    error::Refused,
    request::{Attached, Request},
    rule::Rule,
};

/// What goes with the 101, or with a refusal: more header lines, the subprotocol.
pub struct Response<'a> {
    pub(crate) host: &'a Host,
    pub(crate) response: ResponsePtr,
}

impl<'a> Response<'a> {
    pub(crate) fn new(host: &'a Host, response: ResponsePtr) -> Self {
        Response { host, response }
    }

    /// Appends a header line.
    ///
    /// # Errors
    /// [`Refused::Invalid`]: a CR, LF or control character, or a name that belongs to the handshake.
    /// [`Refused::TooBig`]: with it the header lines have more than 16 KiB.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Refused> {
        let value = value.as_ref();
        let status = self.host.response_header(self.response, name, value);
        Refused::check(status, |status| Rule::header(status, name, value))
    }

    /// Chooses the subprotocol.
    ///
    /// # Errors
    /// [`Refused::Invalid`]: the client did not offer it.
    pub fn protocol(&mut self, name: &str) -> Result<(), Refused> {
        let status = self.host.response_protocol(self.response, name);
        Refused::check(status, |_| Rule::protocol(name))
    }

    /// Accepts, with the first of `ours` that the client offers too. With none in common it accepts
    /// without a subprotocol, which a browser that offered some takes as a failure (RFC 6455 §4.1).
    ///
    /// # Errors
    /// The server does not take it.
    pub fn choose_protocol(
        &mut self,
        request: &Request<'_>,
        ours: &[&str],
    ) -> crate::Result<Handshake> {
        let chosen = ours
            .iter()
            .find(|our| request.protocols().any(|theirs| theirs == **our));
        if let Some(chosen) = chosen {
            self.protocol(chosen)?;
        }
        Ok(Handshake::accept())
    }

    /// Keeps permessage-deflate off, for sessions that mix secrets with what a peer chose.
    ///
    /// # Errors
    /// [`Refused::Unsupported`]: this server has no say in it.
    pub fn forbid_compression(&mut self) -> Result<(), Refused> {
        let status = self.host.response_extensions(self.response, 0);
        Refused::check(status, |_| Rule::unknown())
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").finish_non_exhaustive()
    }
}

/// Whether a client may enter.
#[derive(Debug)]
pub struct Handshake(Verdict);

enum Verdict {
    Accept,
    Reject { status: u16, body: Vec<u8> },
    Abort,
    Later(Pin<Box<dyn Future<Output = crate::Result<Handshake>> + Send>>),
}

impl Handshake {
    /// Lets the client in.
    #[must_use]
    pub fn accept() -> Self {
        Handshake(Verdict::Accept)
    }

    /// Refuses with a status from 300 to 599 and a body.
    #[must_use]
    pub fn reject(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Handshake(Verdict::Reject { status, body })
    }

    /// Closes the connection without sending a byte.
    #[must_use]
    pub fn abort() -> Self {
        Handshake(Verdict::Abort)
    }

    /// Answers when the future is ready; with an error the client gets a 500. The server polls it whenever
    /// it is woken, and drops it when the client goes or the handshake's time is over.
    ///
    /// ```
    /// # use wsh::Handshake;
    /// # async fn may_enter(token: String) -> bool { true }
    /// # fn handshake(request: &wsh::Request) -> Handshake {
    /// let token = request.cookie("token").unwrap_or_default().to_string();
    /// Handshake::later(async move {
    ///     if may_enter(token).await {
    ///         Ok(Handshake::accept())
    ///     } else {
    ///         Ok(Handshake::reject(403, "no token"))
    ///     }
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn later(answer: impl Future<Output = crate::Result<Handshake>> + Send + 'static) -> Self {
        Handshake(Verdict::Later(Box::pin(answer)))
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accept => f.write_str("Accept"),
            Verdict::Reject { status, .. } => write!(f, "Reject({status})"),
            Verdict::Abort => f.write_str("Abort"),
            Verdict::Later(_) => f.write_str("Later"),
        }
    }
}

/// An opening handshake between its first call and `open`.
pub(crate) struct Attempt {
    pub(crate) attached: Attached,
    verdict: Verdict,
    waker: Arc<HandshakeWaker>,
}

struct HandshakeWaker {
    runtime: &'static Runtime,
    id: u64,
}

impl Wake for HandshakeWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.runtime.host.wake(self.id);
    }
}

impl Attempt {
    pub(crate) fn new(
        runtime: &'static Runtime,
        id: u64,
        attached: Attached,
        Handshake(verdict): Handshake,
    ) -> Box<Self> {
        let waker = Arc::new(HandshakeWaker { runtime, id });
        Box::new(Attempt {
            attached,
            verdict,
            waker,
        })
    }

    /// What the callback answers.
    pub(crate) fn answer(&mut self, response: &mut Response<'_>) -> Status {
        while let Verdict::Later(answer) = &mut self.verdict {
            let waker = Waker::from(Arc::clone(&self.waker));
            match answer.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(Ok(Handshake(verdict))) => self.verdict = verdict,
                Poll::Ready(Err(error)) => {
                    // It is not polled again, whatever the host does after this.
                    self.verdict = Verdict::Abort;
                    return guard::fail(&error.to_string());
                }
                Poll::Pending => return abi::PENDING,
            }
        }
        match &self.verdict {
            Verdict::Reject { status, body } => {
                let answer = response
                    .host
                    .response_reject(response.response, *status, body);
                match Refused::check(answer, |answer| Rule::rejection(answer, *status, body)) {
                    Ok(()) => abi::REJECT,
                    Err(refused) => guard::fail(&format!("cannot refuse with {status}: {refused}")),
                }
            }
            Verdict::Abort => abi::ABORT,
            Verdict::Accept | Verdict::Later(_) => abi::OK,
        }
    }

    /// Whether `open`, or the next call, needs it.
    pub(crate) fn is_worth_keeping(&mut self, status: Status) -> bool {
        status == abi::PENDING || (status == abi::OK && !self.attached.is_empty())
    }
}
