//! The callbacks' side of a [`BlockingChannel`]: they put events in, and do what the thread has left to do.

use std::sync::MutexGuard;

use super::{BlockingChannel, ChannelState, Congestion, FunctionResult, WaitsFor};
use crate::{
    abi,
    asks::answer::Answer,
    border::{host_session::HostSession, raw::RawFunctions},
    close::Close,
    error::Refused,
    message::Message,
    styles::{
        asynchronous::send::{HIGH_WATER_BYTES, LOW_WATER_BYTES, retry_mark},
        blocking::command::{Command, CommandOrder, CommandState},
    },
};

impl BlockingChannel {
    /// Puts in a message. `is_followed`: another one follows at once. True: the peer is to be held back.
    pub(crate) fn push(
        &self,
        message: Message<'_>,
        is_followed: bool,
        session: &HostSession,
    ) -> bool {
        let mut inner = self.lock();
        let is_full = inner.inbox.push(message);
        if is_followed && !is_full {
            // The thread is notified once for all messages of a batch.
            return false;
        }
        inner.serve(session);
        self.notify(inner, true);
        is_full
    }

    /// Puts in a part of a message. True: the peer is to be held back.
    pub(crate) fn push_part(
        &self,
        message: Message<'_>,
        is_last: bool,
        session: &HostSession,
    ) -> bool {
        let mut inner = self.lock();
        let is_full = inner.inbox.push_part(message, is_last);
        inner.serve(session);
        self.notify(inner, true);
        is_full
    }

    /// The peer's Close came.
    pub(crate) fn peer_closes(&self, close: Close) {
        let _ = self.closed.set(close);
        let mut inner = self.lock();
        inner.end.peer_closes();
        self.notify_all(inner);
    }

    /// The session is over.
    pub(crate) fn is_over_now(&self, close: Close) {
        // Already set if the peer closed first.
        let _ = self.closed.set(close);
        let mut inner = self.lock();
        inner.end.is_over_now();
        inner.outbox.clear();
        let asks = inner.asks.take_all();
        self.notify_all(inner);
        // A session that is over gets no answers.
        asks.fail(Refused::Gone);
    }

    /// Hands over the answer to an ask.
    pub(crate) fn answered(&self, token: u64, answer: Answer<'_>) {
        let ask = self.lock().asks.take(token);
        if let Some(ask) = ask {
            ask.answer(answer.table(), None);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().end.is_over()
    }

    /// Whether the peer closes, and its answer does not wait for the function.
    pub(crate) fn ignores_close(&self) -> bool {
        let inner = self.lock();
        let is_waited_for = inner.end.is_waited_for(!inner.inbox.is_empty());
        !inner.end.is_open() && !is_waited_for
    }

    /// Takes the function's result, once the outbox is empty.
    pub(crate) fn take_outcome(&self) -> Option<FunctionResult> {
        let mut inner = self.lock();
        if inner.has_unsent_message() {
            return None;
        }
        inner.outcome.take()
    }

    /// The callback `wake`: does what the thread has left to do.
    pub(crate) fn wakes(&self, session: &HostSession) {
        let mut inner = self.lock();
        inner.is_woken = false;
        inner.has_alarm = false;
        inner.serve(session);
        self.notify(inner, false);
    }

    /// The callback `drain`: the peer has taken most of what waited for it.
    pub(crate) fn drained(&self, session: &HostSession) {
        let mut inner = self.lock();
        inner.serve(session);
        self.notify(inner, false);
    }

    /// Notifies the thread if what it waits for is there: once, however much comes before the thread runs. The lock is
    /// released before, since the thread takes it at once.
    fn notify(&self, mut inner: MutexGuard<'_, ChannelState>, has_message: bool) {
        let is_served = inner.is_served();
        let WaitsFor { message, service } = &mut inner.waits;
        let received = has_message && std::mem::take(message);
        let served = is_served && std::mem::take(service);
        drop(inner);
        if received || served {
            self.changed.notify_all();
        }
    }

    fn notify_all(&self, mut inner: MutexGuard<'_, ChannelState>) {
        inner.waits = WaitsFor::default();
        drop(inner);
        self.changed.notify_all();
    }
}

impl ChannelState {
    /// Whether a thread that waits for a callback can go on.
    fn is_served(&self) -> bool {
        match self.command {
            CommandState::Answered(_) => true,
            CommandState::Requested(_) => false,
            CommandState::None => self.congestion == Congestion::None && !self.has_unsent_message(),
        }
    }

    /// Does what the thread has left to do, as far as it is possible now.
    fn serve(&mut self, session: &HostSession) {
        if std::mem::take(&mut self.resumes_reads) && !self.is_paused {
            session.inside(|host, conn| host.reads(conn, true));
        }
        if self.command_order() == Some(CommandOrder::First) {
            self.run_command(session);
        }
        self.note_drained(session);
        self.send_messages(session);
        let is_time = match self.command_order() {
            Some(CommandOrder::Last) => {
                !self.has_unsent_message() && !matches!(self.congestion, Congestion::Full(_))
            }
            Some(CommandOrder::First | CommandOrder::AfterThoseThatFit) => true,
            None => false,
        };
        if is_time {
            self.run_command(session);
        }
    }

    fn note_drained(&mut self, session: &HostSession) {
        if let Congestion::Crowded(low) | Congestion::Full(low) = self.congestion
            && session.buffered() <= low
        {
            self.congestion = Congestion::None;
        }
    }

    /// Sends the messages of the outbox that fit.
    fn send_messages(&mut self, session: &HostSession) {
        // A function that has ended, or waits for a command, adds no messages meanwhile.
        let may_send_on =
            self.outcome.is_some() || self.command_order() == Some(CommandOrder::Last);
        while self.has_unsent_message() {
            match self.congestion {
                Congestion::Full(_) => return,
                Congestion::Crowded(_) if !may_send_on => return,
                Congestion::None | Congestion::Crowded(_) => {}
            }
            let Some((kind, bytes)) = self.outbox.front() else {
                return;
            };
            let answer = session.send_lent(kind | abi::IF_ROOM, bytes);
            let len = bytes.len();
            match u64::try_from(answer) {
                Ok(buffered) => {
                    self.outbox.pop();
                    if buffered > HIGH_WATER_BYTES {
                        self.wait_for(LOW_WATER_BYTES, Congestion::Crowded, session);
                    }
                }
                Err(_) if answer == i64::from(abi::FULL) => {
                    let low = retry_mark(session.buffered(), len);
                    self.wait_for(low, Congestion::Full, session);
                }
                Err(_) if answer == i64::from(abi::GONE) => return self.outbox.clear(),
                Err(_) => {
                    crate::warn!(answer, "message refused");
                    self.outbox.pop();
                }
            }
        }
    }

    /// Enters a kind of congestion, which ends when at most `low` bytes wait for the peer.
    fn wait_for(&mut self, low: u64, congestion: fn(u64) -> Congestion, session: &HostSession) {
        self.congestion = congestion(low);
        // Both marks are equal, so that setting them again never cancels a `drain` that is due.
        session.inside(|host, conn| host.watermark(conn, low, low));
    }

    fn run_command(&mut self, session: &HostSession) {
        let CommandState::Requested(command) = std::mem::take(&mut self.command) else {
            return;
        };
        let answer = match &command {
            Command::Send { kind, bytes, .. } => {
                let answer = session.send_lent(kind | abi::IF_ROOM, bytes);
                if answer == i64::from(abi::FULL) {
                    let low = retry_mark(session.buffered(), bytes.len());
                    self.wait_for(low, Congestion::Full, session);
                    self.command = CommandState::Requested(command);
                    return;
                }
                if answer >= 0 {
                    self.is_in_message = kind & abi::MORE != 0;
                }
                if answer > HIGH_WATER_BYTES as i64 {
                    self.wait_for(LOW_WATER_BYTES, Congestion::Crowded, session);
                }
                answer
            }
            Command::Raw(bytes) => {
                let buffered = session.buffered();
                // The host has no IF_ROOM for raw bytes. If nothing waits for the peer, they fit.
                if buffered > 0 && buffered + bytes.len() as u64 > HIGH_WATER_BYTES {
                    self.wait_for(0, Congestion::Full, session);
                    self.command = CommandState::Requested(command);
                    return;
                }
                match RawFunctions::of(session.host()) {
                    Some(raw) => raw.write(session.conn(), bytes),
                    None => abi::UNSUPPORTED.into(),
                }
            }
            Command::Ping(data) => session.inside(|host, conn| host.ping(conn, data)).into(),
            Command::Subscribe { topic, on } => session
                .inside(|host, conn| host.subscribe(conn, topic, *on))
                .into(),
            Command::SubscribeFrom(ask) => session
                .inside(|host, conn| {
                    let (after, last) = (ask.start.after_bytes(), ask.start.last);
                    host.subscribe_from(conn, ask.token, &ask.topic, after, last)
                })
                .into(),
            Command::Enter(ask) => session
                .inside(|host, conn| host.enter(conn, ask.token, &ask.topic, &ask.value))
                .into(),
            Command::Leave(topic) => session.inside(|host, conn| host.leave(conn, topic)).into(),
            Command::Close { code, reason } => {
                let status = session.inside(|host, conn| host.close(conn, *code, reason));
                self.is_closing |= status == abi::OK;
                status.into()
            }
            Command::Flush => abi::OK.into(),
            Command::Abort => {
                let status = session.inside(|host, conn| host.abort(conn));
                self.is_closing |= status == abi::OK;
                status.into()
            }
            Command::Reads(on) => {
                // While the inbox is full, a later `recv` lets the peer's messages in again.
                self.is_paused = !on;
                if *on && self.inbox.is_full() {
                    abi::OK.into()
                } else {
                    session.inside(|host, conn| host.reads(conn, *on)).into()
                }
            }
            Command::Buffered => (session.buffered() + self.outbox.bytes() as u64) as i64,
        };
        self.command = CommandState::Answered(answer);
    }
}
