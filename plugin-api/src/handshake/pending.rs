//! An opening handshake that waits for the handler's answer, or for `open`.

use std::{
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    abi::{self, Status},
    border::{guard, read::TextRef, runtime::Runtime},
    error::{Refused, rule::Rule},
    handshake::{
        request::Attachments,
        response::{Additions, Decision, Handshake, Response},
    },
};

/// An opening handshake between the first call of `handshake` and `open`.
pub(crate) struct PendingHandshake {
    pub(crate) attached: Attachments,
    decision: Decision,
    additions: Option<Box<Additions>>,
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

impl PendingHandshake {
    pub(crate) fn new(
        runtime: &'static Runtime,
        id: u64,
        attached: Attachments,
        answer: Handshake,
    ) -> Box<Self> {
        let waker = Arc::new(HandshakeWaker { runtime, id });
        Box::new(PendingHandshake {
            attached,
            decision: answer.decision,
            additions: answer.additions,
            waker,
        })
    }

    /// The status that the callback answers, for a client that offers these subprotocols.
    pub(crate) fn answer(
        &mut self,
        response: &mut Response<'_>,
        offered: &[TextRef<'_>],
    ) -> Status {
        if let Err(refused) = self.put_additions(response, offered) {
            return guard::fail(&format!("cannot answer the handshake so: {refused}"));
        }
        while let Decision::Later(answer) = &mut self.decision {
            let waker = Waker::from(Arc::clone(&self.waker));
            match answer.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(Ok(answer)) => {
                    self.decision = answer.decision;
                    self.additions = answer.additions;
                    if let Err(refused) = self.put_additions(response, offered) {
                        self.decision = Decision::Abort;
                        return guard::fail(&format!("cannot answer the handshake so: {refused}"));
                    }
                }
                Poll::Ready(Err(error)) => {
                    // The future must not be polled again, whatever the host does next.
                    self.decision = Decision::Abort;
                    return guard::fail(&error.to_string());
                }
                Poll::Pending => return abi::PENDING,
            }
        }
        match &self.decision {
            Decision::Reject { status, body } => {
                let answer = response
                    .host
                    .response_reject(response.response, *status, body);
                match Refused::check(answer, |answer| Rule::rejection(answer, *status, body)) {
                    Ok(()) => abi::REJECT,
                    Err(refused) => guard::fail(&format!("cannot refuse with {status}: {refused}")),
                }
            }
            Decision::Abort => abi::ABORT,
            Decision::Accept | Decision::Later(_) => abi::OK,
        }
    }

    fn put_additions(
        &mut self,
        response: &mut Response<'_>,
        offered: &[TextRef<'_>],
    ) -> Result<(), Refused> {
        match self.additions.take() {
            None => Ok(()),
            Some(additions) => additions.put(response, offered, &self.attached),
        }
    }

    /// Whether the next call of `handshake`, or `open`, needs this.
    pub(crate) fn is_worth_keeping(&mut self, status: Status) -> bool {
        status == abi::PENDING || (status == abi::OK && !self.attached.is_empty())
    }
}
