//! An opening handshake that waits for its handler.
//!
//! The handler is asked at once, and again after each `wake` while it says PENDING. Whatever happens
//! meanwhile is an [`Event`], and [`step`] says what to do about it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::UpgradeRequest;
use super::rules::Checked;
use crate::border::calls::HandshakeAnswer;
use crate::border::request_table::{RequestParts, RequestTable};
use crate::border::response_draft::Draft;
use crate::border::throttle::Throttle;
use crate::connection::next_step::NextStep;
use crate::connection::peer_watch;
use crate::connection::refusal_log::{self, RefusedRequest};
use crate::connection::reply::Reply;
use crate::connection::stopping::Stopping;
use crate::generation::owners::HandshakeOwner;
use crate::router::RouteMatch;
use crate::sessions::mailbox::HandshakePost;
use crate::sessions::permits::Permit;
use crate::sessions::registry::Registration;
use crate::transport::Transport;

/// An opening handshake that its handler has not answered.
// The fields are dropped in this order: the id is gone first, so that nothing is posted to a
// handshake that is over; then what the handler keeps for it; the permit last.
pub(in crate::connection) struct PendingHandshake {
    pub(super) registration: Registration,
    pub(super) owner: HandshakeOwner,
    /// One draft for all calls: what the handler said before PENDING still holds.
    pub(super) draft: Draft,
    waiting: Waiting,
    _permit: Permit,
}

/// What a pending handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// The handler is throttled, and is asked when that is over.
    ForRelease,
    /// The handler said PENDING, and is asked again when it calls `wake`.
    ForWake,
}

/// What happens to a pending handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The handler is not throttled any more.
    Released,
    /// The handler called `wake`, and is throttled now or not.
    Woken { is_throttled: bool },
    /// The handler closes the session that would come of the handshake.
    Closed { code: u16 },
    /// The peer has ended the connection.
    PeerGone,
    /// The handshake has taken all the time that it may take.
    DeadlinePassed,
    /// The server stops.
    Stopped,
}

/// What is to be done about an event.
#[derive(Debug)]
enum PendingAction {
    Wait,
    Ask,
    Refuse(Reply),
    Close,
}

/// The state machine of a pending handshake.
fn step(waiting: Waiting, event: Event) -> (Waiting, PendingAction) {
    use Waiting::{ForRelease, ForWake};
    match event {
        Event::Released => (ForWake, PendingAction::Ask),
        Event::Woken { is_throttled } => match (waiting, is_throttled) {
            (ForWake, false) => (ForWake, PendingAction::Ask),
            (ForWake, true) | (ForRelease, _) => (ForRelease, PendingAction::Wait),
        },
        Event::Closed { code } => (waiting, PendingAction::Refuse(Reply::ClosedEarly { code })),
        Event::PeerGone => (waiting, PendingAction::Close),
        Event::DeadlinePassed => {
            let after = THROTTLED_PAUSE;
            let reply = match waiting {
                ForRelease => Reply::Quarantined {
                    after,
                    by_operator: false,
                },
                ForWake => Reply::NoAnswer,
            };
            (waiting, PendingAction::Refuse(reply))
        }
        Event::Stopped => (waiting, PendingAction::Refuse(Reply::Stopping)),
    }
}

impl PendingHandshake {
    /// A handshake that its handler was not asked about.
    pub(super) fn new(upgrade: UpgradeRequest<'_>, checked: Checked) -> PendingHandshake {
        let RouteMatch {
            generation_ref,
            params,
        } = upgrade.route;
        let generation = generation_ref.generation();
        let outbound = generation.settings().session.outbound();
        let sessions = &generation.context.shared.sessions;
        let registration = sessions.register(&generation.handler, generation.number, outbound);
        let may_be_raw = generation.context.rights.raw;
        if let Some(trace) = refusal_log::trace_of(&upgrade.request.head) {
            registration.set_trace(trace);
        }
        let id = registration.mailbox().id;
        let draft = Draft::new(id, checked.key, checked.protocols.clone(), may_be_raw);
        let proxied = upgrade.request.proxied.as_deref();
        let far_end = proxied.map_or(upgrade.peer, |proxied| &proxied.by);
        let request = RequestTable::new(RequestParts {
            id,
            head: upgrade.request.head,
            path: upgrade.request.target.path,
            query: upgrade.request.target.query,
            host: upgrade.host,
            origin: checked.origin,
            remote_addr: far_end.to_string(),
            user: upgrade.user.map_or_else(String::new, String::from),
            client_addr: proxied.map(|_| upgrade.peer.client_addr()),
            protocols: checked.protocols,
            params,
            tls: upgrade.request.tls,
        });
        PendingHandshake {
            registration,
            owner: HandshakeOwner::new(generation_ref, request),
            draft,
            waiting: Waiting::ForWake,
            _permit: upgrade.permit,
        }
    }

    /// Asks the handler for the first time.
    pub(super) fn ask(mut self) -> NextStep {
        match self.owner.ask(&mut self.draft) {
            HandshakeAnswer::Pending => NextStep::AwaitHandler(Box::new(self)),
            answer => self.conclude(answer),
        }
    }

    /// Asks the handler when it is not throttled any more.
    pub(super) fn wait_for_release(self) -> NextStep {
        let waiting = Waiting::ForRelease;
        NextStep::AwaitHandler(Box::new(PendingHandshake { waiting, ..self }))
    }

    /// Waits until the handler has answered, or something else ends the handshake. What the peer
    /// sends meanwhile is kept in `early`, up to a limit.
    pub(in crate::connection) async fn wait(
        mut self: Box<Self>,
        transport: &mut Transport,
        early: &mut Vec<u8>,
        deadline: Instant,
        stopping: &Stopping,
    ) -> NextStep {
        loop {
            let throttle = self.throttle();
            let event = tokio::select! {
                post = next_post(&self.registration) => self.event_of(post),
                () = released(throttle, &self.registration), if self.waiting == Waiting::ForRelease => {
                    Event::Released
                }
                () = peer_watch::gone::<EARLY_BYTES_MAX>(transport, early) => Event::PeerGone,
                () = sleep_until(deadline.into()) => Event::DeadlinePassed,
                () = stopping.begun() => Event::Stopped,
            };
            let (waiting, action) = step(self.waiting, event);
            self.waiting = waiting;
            match action {
                PendingAction::Wait => {}
                PendingAction::Ask => match self.owner.ask(&mut self.draft) {
                    HandshakeAnswer::Pending => {}
                    answer => return self.conclude(answer),
                },
                PendingAction::Refuse(reply) => return self.refuse(reply),
                PendingAction::Close => return NextStep::Close,
            }
        }
    }

    fn event_of(&self, post: HandshakePost) -> Event {
        match post {
            HandshakePost::Woken => Event::Woken {
                is_throttled: self.throttle().is_on(),
            },
            HandshakePost::Closed { code } => Event::Closed { code },
        }
    }

    /// Refuses the handshake with `reply`.
    pub(super) fn refuse(&self, reply: Reply) -> NextStep {
        NextStep::refuse(reply, self.refused())
    }

    /// What the log says of its request.
    pub(super) fn refused(&self) -> RefusedRequest {
        RefusedRequest {
            path: self.owner.request().path().to_owned(),
            trace: self.registration.trace(),
        }
    }

    fn throttle(&self) -> &'static Throttle {
        &self.owner.generation().context.throttle
    }
}

/// Ends when the handler is not throttled any more.
async fn released(throttle: &Throttle, registration: &Registration) {
    let id = registration.mailbox().id;
    poll_fn(|cx| match throttle.wait(id, cx.waker()) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await;
}

/// Ends when the handler calls `wake` or `close_to` with the id of the handshake.
async fn next_post(registration: &Registration) -> HandshakePost {
    poll_fn(|cx| registration.mailbox().poll_handshake_event(cx.waker())).await
}

/// When to try again a handler whose callbacks hold the workers.
const THROTTLED_PAUSE: Duration = Duration::from_secs(5);
/// Bytes that a peer may send while its handler has not answered.
const EARLY_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_handshake_does_with_each_event_what_the_table_says() {
        use Waiting::{ForRelease, ForWake};
        let woken = |is_throttled| Event::Woken { is_throttled };
        let closed = Event::Closed { code: 4000 };
        let closed_early = "Refuse(ClosedEarly { code: 4000 })";
        for (waiting, event, then, action) in [
            (ForRelease, Event::Released, ForWake, "Ask"),
            (ForRelease, woken(true), ForRelease, "Wait"),
            (ForRelease, woken(false), ForRelease, "Wait"),
            (ForRelease, closed, ForRelease, closed_early),
            (ForRelease, Event::PeerGone, ForRelease, "Close"),
            (
                ForRelease,
                Event::DeadlinePassed,
                ForRelease,
                "Refuse(Quarantined { after: 5s, by_operator: false })",
            ),
            (ForRelease, Event::Stopped, ForRelease, "Refuse(Stopping)"),
            (ForWake, Event::Released, ForWake, "Ask"),
            (ForWake, woken(true), ForRelease, "Wait"),
            (ForWake, woken(false), ForWake, "Ask"),
            (ForWake, closed, ForWake, closed_early),
            (ForWake, Event::PeerGone, ForWake, "Close"),
            (ForWake, Event::DeadlinePassed, ForWake, "Refuse(NoAnswer)"),
            (ForWake, Event::Stopped, ForWake, "Refuse(Stopping)"),
        ] {
            let (found, done) = step(waiting, event);
            let done = format!("{done:?}");
            assert_eq!((found, &*done), (then, action), "{waiting:?}, {event:?}");
        }
    }
}
