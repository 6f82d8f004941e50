//! The callbacks' side of a [`BlockingChannel`]: they put in what happens, and do what the thread has left.

use std::sync::MutexGuard;

use super::{BlockingChannel, ChannelState, Congestion, FunctionResult, WaitsFor};
use crate::{
    abi,
    border::{host_session::HostSession, raw::RawFunctions},
    close::Close,
    message::Message,
    styles::{
        asynchronous::send::{CROWD_BYTES, ROOM_BYTES, room_for},
        blocking::command::{Command, CommandOrder, CommandState},
    },
};

impl BlockingChannel {
    /// A message came, and another follows at once if `is_followed`. True: the peer is to be held back.
    pub(crate) fn push(
        &self,
        message: Message<'_>,
        is_followed: bool,
        session: &HostSession,
    ) -> bool {
        let mut inner = self.lock();
        let is_full = inner.inbox.push(message);
        if is_followed && !is_full {
            // The thread takes them all at once.
            return false;
        }
        inner.serve(session);
        self.notify(inner, true);
        is_full
    }

    /// As [`push`](Self::push), for a part of a message.
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

    pub(crate) fn peer_closes(&self, close: Close) {
        let _ = self.closed.set(close);
        let mut inner = self.lock();
        inner.ending.peer_closes();
        self.notify_all(inner);
    }

    pub(crate) fn is_over_now(&self, close: Close) {
        // Already set if the peer closed first.
        let _ = self.closed.set(close);
        let mut inner = self.lock();
        inner.ending.is_over_now();
        inner.outbox.clear();
        self.notify_all(inner);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().ending.is_over()
    }

    /// Whether the peer closes, and the function is not waited for.
    pub(crate) fn is_deaf_to_close(&self) -> bool {
        let inner = self.lock();
        let is_waited_for = inner.ending.is_waited_for(!inner.inbox.is_empty());
        !inner.ending.is_open() && !is_waited_for
    }

    /// What the function came to, once all that it sent was taken.
    pub(crate) fn take_outcome(&self) -> Option<FunctionResult> {
        let mut inner = self.lock();
        if inner.has_mail() {
            return None;
        }
        inner.outcome.take()
    }

    /// A `wake`: does what the thread left to do.
    pub(crate) fn wakes(&self, session: &HostSession) {
        let mut inner = self.lock();
        inner.is_woken = false;
        inner.is_alarmed = false;
        inner.serve(session);
        self.notify(inner, false);
    }

    /// The peer has taken most of what was on its way.
    pub(crate) fn drained(&self, session: &HostSession) {
        let mut inner = self.lock();
        inner.serve(session);
        self.notify(inner, false);
    }

    /// Notifies the thread if what it waits for is there. Without the lock, which it wants at once; and
    /// once, however much comes before it runs.
    fn notify(&self, mut inner: MutexGuard<'_, ChannelState>, has_message: bool) {
        let is_served = inner.is_served();
        let WaitsFor {
            for_message,
            for_service,
        } = &mut inner.waits;
        let received = has_message && std::mem::take(for_message);
        let served = is_served && std::mem::take(for_service);
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
    /// Whether what waits for a callback can go on.
    fn is_served(&self) -> bool {
        match self.command {
            CommandState::Answered(_) => true,
            CommandState::Asked(_) => false,
            CommandState::Free => self.congestion == Congestion::Free && !self.has_mail(),
        }
    }

    /// Does what can be done now of what the thread left to do.
    fn serve(&mut self, session: &HostSession) {
        if std::mem::take(&mut self.wants_reads) && !self.is_paused {
            session.inside(|host, conn| host.reads(conn, true));
        }
        if self.asked() == Some(CommandOrder::Before) {
            self.run_errand(session);
        }
        self.look_for_room(session);
        self.send_messages(session);
        let is_time = match self.asked() {
            Some(CommandOrder::After) => {
                !self.has_mail() && !matches!(self.congestion, Congestion::Full(_))
            }
            Some(CommandOrder::Before | CommandOrder::Beside) => true,
            None => false,
        };
        if is_time {
            self.run_errand(session);
        }
    }

    fn look_for_room(&mut self, session: &HostSession) {
        if let Congestion::Crowded(low) | Congestion::Full(low) = self.congestion
            && session.buffered() <= low
        {
            self.congestion = Congestion::Free;
        }
    }

    /// Sends as much of the outbox as there is room for.
    fn send_messages(&mut self, session: &HostSession) {
        // A function that has ended, or waits for something else, sends nothing more meanwhile.
        let may_crowd = self.outcome.is_some() || self.asked() == Some(CommandOrder::After);
        while self.has_mail() {
            match self.congestion {
                Congestion::Full(_) => return,
                Congestion::Crowded(_) if !may_crowd => return,
                Congestion::Free | Congestion::Crowded(_) => {}
            }
            let Some((kind, bytes)) = self.outbox.front() else {
                return;
            };
            let answer = session.send_lent(kind | abi::IF_ROOM, bytes);
            let len = bytes.len();
            match u64::try_from(answer) {
                Ok(buffered) => {
                    self.outbox.pop();
                    if buffered > CROWD_BYTES {
                        self.wait_for(ROOM_BYTES, Congestion::Crowded, session);
                    }
                }
                Err(_) if answer == i64::from(abi::FULL) => {
                    let low = room_for(session.buffered(), len);
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

    /// From now on it is waited until no more than `low` bytes are on their way to the peer.
    fn wait_for(&mut self, low: u64, room: fn(u64) -> Congestion, session: &HostSession) {
        self.congestion = room(low);
        // Both marks are one, so that setting them again never takes back a `drain` that is due.
        session.inside(|host, conn| host.watermark(conn, low, low));
    }

    fn run_errand(&mut self, session: &HostSession) {
        let CommandState::Asked(command) = std::mem::take(&mut self.command) else {
            return;
        };
        let answer = match &command {
            Command::Send { kind, bytes, .. } => {
                let answer = session.send_lent(kind | abi::IF_ROOM, bytes);
                if answer == i64::from(abi::FULL) {
                    let low = room_for(session.buffered(), bytes.len());
                    self.wait_for(low, Congestion::Full, session);
                    self.command = CommandState::Asked(command);
                    return;
                }
                if answer >= 0 {
                    self.is_in_message = kind & abi::MORE != 0;
                }
                if answer > CROWD_BYTES as i64 {
                    self.wait_for(ROOM_BYTES, Congestion::Crowded, session);
                }
                answer
            }
            Command::Raw(bytes) => {
                let buffered = session.buffered();
                // The host knows no raw bytes that wait for room. Beside nothing they fit.
                if buffered > 0 && buffered + bytes.len() as u64 > CROWD_BYTES {
                    self.wait_for(0, Congestion::Full, session);
                    self.command = CommandState::Asked(command);
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
                // While the inbox is full, `recv` lets the peer in again.
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
