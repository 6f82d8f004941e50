//! A connection while it speaks HTTP: from its first byte to its session, or to its one answer.
//!
//! ```text
//! read head ──▶ judge ──▶ compare the password ──▶ judge again
//!                 ├─────▶ ask the handler ──▶ await the handler ──▶ open the session
//!                 │              └─────────────────────┴──▶ refuse, abort, send raw bytes
//!                 ├──▶ find a file ──▶ send it
//!                 └──▶ reply, refuse, stream events
//! ```
//!
//! [`HttpConnection::run`] takes the steps and decides nothing. `routing` judges a request, `handshake` what
//! its handler says, and each returns the [`NextStep`]. A connection has one request, and gets a session
//! or one answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;
use tracing::{Level, debug};

use super::files::{self, Caching, Documents, TransferTimeouts};
use super::forwarded::{self, Forwarded};
use super::handshake::answer::AcceptedHandshake;
use super::head_reader::{self, HeadDeadline, Unread};
use super::health;
use super::maybe_future::MaybeFuture;
use super::metrics_page;
use super::next_step::{FileRequest, NextStep};
use super::peer_watch;
use super::refusal_log::UnansweredEnd;
use super::reply::{self, FullOf, Reply};
use super::request::{HttpRequest, Proxied};
use super::routing::{self, RequestWithPassword};
use super::server::Server;
use super::snapshot::Snapshot;
use crate::auth::network::Network;
use crate::config::{Config, Limits};
use crate::http::head::Head;
use crate::http::head::first_bytes::NotARequest;
use crate::logging;
use crate::outbound::wire::Wire;
use crate::process::clock::Moment;
use crate::session::{ConnectionInfo, Session, SessionStart};
use crate::sessions::peer::Peer;
use crate::sessions::permits::{ConnectionGuard, Permit};
use crate::transport::Transport;
use crate::transport::tls::HandshakeFault;

/// What a connection has at every step before its session.
// The fields are dropped in this order: the socket is closed before the guard lets another
// connection in.
pub(super) struct HttpConnection {
    transport: Transport,
    /// The client, as far as it is known: the far end of the connection, until a trusted proxy says another one.
    peer: Peer,
    naming: Naming,
    /// There where a proxy says which client it is for.
    proxied: Option<Box<Proxied>>,
    server: Arc<Server>,
    /// When the server first looked at it.
    began: Instant,
    /// What the length of the head adds to the time for the opening handshake.
    extension: Duration,
    /// The limits that held at that time.
    limits: Limits,
    /// Received and not used: the request head as far as it has come, and later what follows it.
    received: Vec<u8>,
    /// Whether the request is a HEAD, whose answer has no body (RFC 9110 §9.3.2).
    is_head_request: bool,
    guard: ConnectionGuard,
}

/// Whether the peer of a connection is its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// It is, also where its address is not known.
    Client,
    /// It is a trusted proxy, and the request may name the client.
    Awaited,
    /// It is a trusted proxy that asks for something itself.
    Proxy,
}

impl Naming {
    /// What holds until a request is read.
    pub(super) fn of(peer: &Peer, config: &Config) -> Naming {
        match peer.is_known() && config.trusted_proxies.contains(peer.ip()) {
            true => Naming::Awaited,
            false => Naming::Client,
        }
    }
}

impl HttpConnection {
    /// A connection of which `received` was read.
    pub(super) fn new(
        transport: Transport,
        received: Vec<u8>,
        peer: Peer,
        server: Arc<Server>,
        guard: ConnectionGuard,
    ) -> HttpConnection {
        let config = server.config.load();
        let limits = config.limits.clone();
        let naming = Naming::of(&peer, &config);
        drop(config);
        HttpConnection {
            transport,
            peer,
            naming,
            proxied: None,
            server,
            began: Instant::now(),
            extension: Duration::ZERO,
            limits,
            received,
            is_head_request: false,
            guard,
        }
    }

    /// This connection behind what a header of the PROXY protocol says.
    pub(super) fn behind(mut self, proxied: Option<Box<Proxied>>) -> HttpConnection {
        // What follows it is the proxy's own, so its request names no client.
        if proxied.as_ref().is_some_and(|it| it.by == self.peer) {
            self.naming = Naming::Proxy;
        }
        self.proxied = proxied;
        self
    }

    /// Refuses the connection before its request is read.
    pub(super) fn refuse(self, reply: Reply) -> MaybeFuture<Option<Box<Session>>> {
        MaybeFuture::wait_for(self.run(NextStep::refuse_without_request(reply)))
    }

    /// Goes as far as it can without waiting. `None` when the connection ends without a session.
    pub(super) fn begin(mut self) -> MaybeFuture<Option<Box<Session>>> {
        match self.first_step() {
            NextStep::OpenSession(handshake) => {
                MaybeFuture::Ready(Some(self.open_session(handshake)))
            }
            NextStep::Close => MaybeFuture::Ready(None),
            next => MaybeFuture::wait_for(self.run(next)),
        }
    }

    /// Takes one step after another. `None` when the connection ends without a session.
    // Thousands of connections may wait in the first two steps. What the others wait for is in boxes of
    // its own, so that it takes no memory before.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an async function has its arguments twice: here, half a kilobyte more"
    )]
    fn run(mut self, mut next: NextStep) -> impl Future<Output = Option<Box<Session>>> + Send {
        async move {
            loop {
                next = match next {
                    NextStep::ReadHead(permit) => self.read_head(permit).await,
                    NextStep::ComparePassword(request) => {
                        Box::pin(self.compare_password(request)).await
                    }
                    NextStep::AwaitHandler(handshake) => {
                        let deadline = self.deadline();
                        let stopping = &self.server.stopping;
                        handshake
                            .wait(&mut self.transport, &mut self.received, deadline, stopping)
                            .await
                    }
                    NextStep::OpenSession(handshake) => return Some(self.open_session(handshake)),
                    NextStep::FindFile(request) => Box::pin(self.find_file(request)).await,
                    NextStep::SendFile(transfer) => {
                        let sent = transfer.send(self.transport, self.is_head_request);
                        if let Err(fault) = Box::pin(sent).await {
                            self.server.refusals.log_unread_file(&self.peer, &fault);
                        }
                        return None;
                    }
                    NextStep::StreamEvents(overlay) => {
                        let streamed = overlay.stream(&mut self.transport);
                        Box::pin(self.server.stopping.unless_begun(streamed)).await;
                        return None;
                    }
                    // Before the end of a TLS handshake there is no HTTP.
                    NextStep::Refuse { reply, .. } if self.transport.is_handshaking() => {
                        let end = match self.transport.refuse_handshake() {
                            true => UnansweredEnd::Alert,
                            false => UnansweredEnd::Silent,
                        };
                        let refusals = &self.server.refusals;
                        refusals.log_unanswered(&self.peer, &reply, end);
                        return self.end_unanswered().await;
                    }
                    NextStep::RefuseUnread(reply) => Box::pin(self.refuse_unread(reply)).await,
                    NextStep::Refuse { reply, request } => {
                        self.server
                            .log_refusal(&self.peer, request.as_ref(), &reply);
                        NextStep::Reply(reply)
                    }
                    NextStep::Reply(reply) => {
                        debug!(peer = %self.peer, status = reply.status(), "request answered");
                        let (network, stopping) = (self.network(), &self.server.stopping);
                        let sent = reply.send(&mut self.transport, self.is_head_request, stopping);
                        let sent = self.server.admission.unless_evicted(network, sent);
                        Box::pin(sent).await;
                        return None;
                    }
                    NextStep::SendRaw { reply, request } => {
                        self.server.refusals.log_raw(&self.peer, &request);
                        let (network, deadline) = (self.network(), self.deadline());
                        let sent = reply.send(&mut self.transport, self.received.len(), deadline);
                        let sent = self.server.admission.unless_evicted(network, sent);
                        Box::pin(self.server.stopping.unless_begun(sent)).await;
                        return None;
                    }
                    NextStep::Measure => {
                        let snapshot = Box::pin(Snapshot::take(&self.server)).await;
                        NextStep::Reply(Reply::Metrics(metrics_page::text(&snapshot)))
                    }
                    NextStep::AnswerWithoutTls(reply) => {
                        self.transport = self.transport.without_tls();
                        NextStep::refuse_without_request(reply)
                    }
                    NextStep::GiveUpTls(fault) => {
                        self.server.refusals.log_tls(&self.peer, &fault);
                        return self.end_unanswered().await;
                    }
                    NextStep::Abort { request } => {
                        self.server.refusals.log_abort(&self.peer, &request);
                        return None;
                    }
                    NextStep::Close => {
                        self.transport.answer_end();
                        return None;
                    }
                };
            }
        }
    }

    /// Ends a connection whose peer may have an alert of TLS. To close over unread bytes would reset the connection,
    /// and the peer might lose the alert.
    async fn end_unanswered(mut self) -> Option<Box<Session>> {
        let network = self.network();
        let sent = reply::end_unanswered(&mut self.transport, &self.server.stopping);
        let sent = self.server.admission.unless_evicted(network, sent);
        Box::pin(sent).await;
        None
    }

    /// Judges what had come when the connection was first looked at.
    fn first_step(&mut self) -> NextStep {
        let permit = self
            .server
            .admission
            .handshake(self.network(), &self.limits);
        let permit = match permit {
            Ok(permit) => permit,
            Err(what) => return NextStep::RefuseUnread(Reply::Full(what)),
        };
        if self.transport.is_handshaking() {
            return NextStep::ReadHead(permit);
        }
        match head_reader::end(&self.received, 0, &self.limits) {
            Ok(Some(end)) => self.judge(end, permit),
            Ok(None) => NextStep::ReadHead(permit),
            Err(reply) => NextStep::refuse_without_request(reply),
        }
    }

    /// Refuses a connection for which there is no place among the opening handshakes. A probe is answered: a server
    /// that has much to do lives, and a supervisor that asks must not start it anew.
    async fn refuse_unread(&mut self, reply: Reply) -> NextStep {
        // The handshake of TLS would take more than what the server is short of.
        if self.transport.is_handshaking() {
            return NextStep::refuse_without_request(reply);
        }
        let received = std::mem::take(&mut self.received);
        let network = self.network();
        let probe = health::probe_of_refused(
            &mut self.transport,
            received,
            &self.limits,
            &self.server.tls_handshakes,
        );
        let probe = self.server.stopping.unless_begun(probe);
        match self.server.admission.unless_evicted(network, probe).await {
            Some(Some(Some((answer, is_head)))) => {
                self.is_head_request = is_head;
                NextStep::Reply(Reply::Health(answer))
            }
            Some(_) => NextStep::refuse_without_request(reply),
            None => NextStep::Close,
        }
    }

    /// Reads until the head is whole. Meanwhile the connection gives way when permits are short, and
    /// a server that stops waits only a moment for it, so that a client that has just connected is answered.
    async fn read_head(&mut self, permit: Permit) -> NextStep {
        let unjudged = self.server.admission.unjudged();
        let mut entry = unjudged.enter(self.network(), Some(permit));
        let deadline = HeadDeadline::of(self.began, &self.limits);
        let (transport, received) = (&mut self.transport, &mut self.received);
        let pacer = &*self.server.tls_handshakes;
        let read = tokio::select! {
            biased;
            read = head_reader::read(transport, received, &self.limits, deadline, pacer) => read,
            () = entry.evicted() => return NextStep::Close,
            () = self.server.stopping.begun_for(head_reader::time_at_stop(&self.limits)) => {
                Err(Unread::Stopped)
            }
        };
        let Some(permit) = entry.leave() else {
            return NextStep::Close;
        };
        match read {
            Ok(end) => {
                self.extension = deadline.extension(end);
                self.judge(end, permit)
            }
            Err(Unread::Gone | Unread::NoTls(HandshakeFault::Gone)) => NextStep::Close,
            Err(Unread::Refused(reply)) => NextStep::refuse_without_request(reply),
            Err(Unread::NoTls(HandshakeFault::NotTls)) => {
                NextStep::AnswerWithoutTls(Reply::NotARequest(NotARequest::Plain))
            }
            Err(Unread::NoTls(fault)) => NextStep::GiveUpTls(fault),
            // A peer that says nothing is told nothing.
            Err(Unread::TooSlow | Unread::Stopped) if !self.has_heard() => NextStep::Close,
            Err(Unread::Stopped) => NextStep::refuse_without_request(Reply::Stopping),
            Err(Unread::TooSlow) => NextStep::refuse_without_request(Reply::TooSlow),
        }
    }

    /// Whether the peer has said a part of a request, or of a TLS handshake.
    fn has_heard(&self) -> bool {
        !self.received.is_empty() || self.transport.is_amid_handshake()
    }

    /// Judges the request whose head is the first `end` bytes received.
    fn judge(&mut self, end: usize, permit: Permit) -> NextStep {
        let behind = self.received.split_off(end);
        let head = std::mem::replace(&mut self.received, behind);
        match HttpRequest::parse(head, &self.limits) {
            Ok(mut request) => {
                request.tls = self.transport.tls_info();
                self.is_head_request = request.head.method() == b"HEAD";
                if let Err(reply) = self.believe_proxy(&request.head) {
                    return request.refuse(reply);
                }
                request.proxied = self.proxied.take();
                routing::route(request, &self.peer, permit, &self.server, None)
            }
            Err(reply) => NextStep::refuse_without_request(reply),
        }
    }

    /// Makes the client the peer, where the request is of a client of a trusted proxy.
    ///
    /// # Errors
    ///
    /// What the client is answered, where its address has too much already.
    fn believe_proxy(&mut self, head: &Head) -> Result<(), Reply> {
        if self.naming != Naming::Awaited {
            return Ok(());
        }
        let config = self.server.config.load();
        let trusted = &config.trusted_proxies;
        let header = config.forwarded_header;
        let client = forwarded::client(head, header, |ip| trusted.contains(Some(ip)));
        let found = match &client {
            Forwarded::Missing => Some(&b""[..]),
            Forwarded::Unreadable(element) => Some(element.as_slice()),
            Forwarded::Nothing | Forwarded::Client { .. } | Forwarded::Hidden => None,
        };
        if let Some(found) = found {
            let refusals = &self.server.refusals;
            refusals.log_unread_client(&self.peer, header.name(), found);
        }
        let client = match client {
            Forwarded::Nothing => return Ok(()),
            Forwarded::Client { address } => address.into(),
            Forwarded::Missing | Forwarded::Hidden | Forwarded::Unreadable(_) => {
                Peer::unknown_behind(self.peer.clone())
            }
        };
        let far_end = std::mem::replace(&mut self.peer, client);
        let proxied = self
            .proxied
            .get_or_insert_with(|| Box::new(Proxied::by(far_end)));
        proxied.is_tls = forwarded::is_tls(head, header).or(proxied.is_tls);
        self.naming = Naming::Client;
        let permit = self.server.admission.address(&self.peer, &self.limits)?;
        self.guard.count_for_address(permit);
        Ok(())
    }

    /// What limits count the connection with.
    fn network(&self) -> Network {
        match self.naming {
            Naming::Client => Network::of(self.peer.ip()),
            Naming::Awaited | Naming::Proxy => Network::Shared,
        }
    }

    /// Waits until the password of a request is compared, and judges the request by what is configured then. Meanwhile
    /// the connection gives way when permits are short, and ends when its peer has gone.
    async fn compare_password(&mut self, waiting: Box<RequestWithPassword>) -> NextStep {
        let RequestWithPassword {
            request,
            permit,
            mut comparison,
        } = *waiting;
        let unjudged = self.server.admission.unjudged();
        let mut entry = unjudged.enter(self.network(), Some(permit));
        let deadline = self.deadline();
        let compared = tokio::select! {
            biased;
            compared = comparison.outcome() => Ok(compared),
            () = entry.evicted() => return NextStep::Close,
            () = peer_watch::gone::<UNJUDGED_BYTES_MAX>(&mut self.transport, &mut self.received) => {
                return NextStep::Close;
            }
            () = sleep_until(deadline.into()) => Err(Reply::Full(FullOf::Comparisons)),
            () = self.server.stopping.begun() => Err(Reply::Stopping),
        };
        let Some(permit) = entry.leave() else {
            return NextStep::Close;
        };
        match compared {
            Ok(compared) => {
                routing::route(request, &self.peer, permit, &self.server, Some(compared))
            }
            Err(reply) => request.refuse(reply),
        }
    }

    /// Looks for the file of a request.
    async fn find_file(&mut self, request: FileRequest) -> NextStep {
        let config = self.server.config.load_full();
        let Some(root) = &config.document_root else {
            return request.fall_back();
        };
        let Some(permit) = self.server.admission.file() else {
            return NextStep::Reply(Reply::Full(FullOf::Files));
        };
        let limits = &config.defaults.session;
        let timeouts = TransferTimeouts {
            outbound_ms: limits.outbound_timeout_ms,
            close_ms: limits.close_timeout_ms,
            stopping: self.server.stopping.clone(),
        };
        let addition = self.server.overlay.as_ref().map(|it| it.tag());
        let documents = Documents {
            root,
            lists_directories: config.lists_directories,
            addition: addition.as_deref(),
            caching: Caching {
                max_age_s: config.files_max_age_s,
                is_private: config.auth.is_some(),
            },
        };
        match files::find(&request, documents, timeouts, permit).await {
            Some(transfer) => NextStep::SendFile(transfer),
            None => request.fall_back(),
        }
    }

    /// Begins the session of a handshake that its handler accepts.
    fn open_session(self, handshake: AcceptedHandshake) -> Box<Session> {
        let unusual = handshake.unusual_names();
        let AcceptedHandshake {
            registration,
            owner,
            protocol,
            deflate,
            answer,
        } = handshake;
        // A session does not keep it, so that the line at its beginning has it, and that is rarely logged.
        let user_agent = logging::has_level(Level::DEBUG).then(|| {
            let head = owner.request().head();
            let user_agent = head.value("user-agent").ok().flatten();
            String::from_utf8_lossy(user_agent.unwrap_or_default()).into_owned()
        });
        let opening = SessionStart {
            owner,
            protocol,
            deflate,
            early: self.received,
            user_agent,
        };
        let about = ConnectionInfo {
            peer: self.peer,
            unusual,
            began: Moment::at(self.began),
        };
        let wire = Wire::new(self.transport, answer);
        let session = Session::open(registration, wire, opening, about);
        let mut session = Box::new(session);
        session.set_guard(Some(self.guard));
        session
    }

    /// When the whole opening handshake must be over.
    fn deadline(&self) -> Instant {
        self.began + Duration::from_millis(self.limits.handshake_timeout_ms) + self.extension
    }
}

/// Bytes behind its request that a peer may send while its password is not compared.
const UNJUDGED_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that an async function returns.
    fn future_bytes<A, B, F: Future>(_function: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_has_to_wait_takes_little_memory() {
        // `pending_handshakes_max` of them may wait at a time.
        let bytes = future_bytes(HttpConnection::run);
        assert!(bytes <= 1_424, "{bytes}");
    }
}
