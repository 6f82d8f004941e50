//! The callbacks' side of a [`Line`]: they put in what happens, and do what the thread has left.

use std::sync::MutexGuard;

use super::{Desk, Errand, Inner, Line, Outcome, Room, Turn, Waits};
use crate::{
    abi,
    border::{host_session::Link, raw::Raw},
    close::Close,
    message::Message,
    styles::asynchronous::send::{CROWD_BYTES, ROOM_BYTES, room_for},
};

impl Line {
    /// A message came, and another follows at once if `is_followed`. True: the peer is to be held back.
    pub(crate) fn push(&self, message: Message<'_>, is_followed: bool, link: &Link) -> bool {
        let mut inner = self.lock();
        let is_full = inner.inbox.push(message);
        if is_followed && !is_full {
            // The thread takes them all at once.
            return false;
        }
        inner.serve(link);
        self.notify(inner, true);
        is_full
    }

    /// As [`push`](Self::push), for a part of a message.
    pub(crate) fn push_part(&self, message: Message<'_>, is_last: bool, link: &Link) -> bool {
        let mut inner = self.lock();
        let is_full = inner.inbox.push_part(message, is_last);
        inner.serve(link);
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
    pub(crate) fn take_outcome(&self) -> Option<Outcome> {
        let mut inner = self.lock();
        if inner.has_mail() {
            return None;
        }
        inner.outcome.take()
    }

    /// A `wake`: does what the thread left to do.
    pub(crate) fn wakes(&self, link: &Link) {
        let mut inner = self.lock();
        inner.is_woken = false;
        inner.is_alarmed = false;
        inner.serve(link);
        self.notify(inner, false);
    }

    /// The peer has taken most of what was on its way.
    pub(crate) fn drained(&self, link: &Link) {
        let mut inner = self.lock();
        inner.serve(link);
        self.notify(inner, false);
    }

    /// Notifies the thread if what it waits for is there. Without the lock, which it wants at once; and
    /// once, however much comes before it runs.
    fn notify(&self, mut inner: MutexGuard<'_, Inner>, has_message: bool) {
        let is_served = inner.is_served();
        let Waits {
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

    fn notify_all(&self, mut inner: MutexGuard<'_, Inner>) {
        inner.waits = Waits::default();
        drop(inner);
        self.changed.notify_all();
    }
}

impl Inner {
    /// Whether what waits for a callback can go on.
    fn is_served(&self) -> bool {
        match self.desk {
            Desk::Answered(_) => true,
            Desk::Asked(_) => false,
            Desk::Free => self.room == Room::Free && !self.has_mail(),
        }
    }

    /// Does what can be done now of what the thread left to do.
    fn serve(&mut self, link: &Link) {
        if std::mem::take(&mut self.wants_reads) && !self.is_paused {
            link.inside(|host, conn| host.reads(conn, true));
        }
        if self.asked() == Some(Turn::Before) {
            self.run_errand(link);
        }
        self.look_for_room(link);
        self.send_messages(link);
        let is_time = match self.asked() {
            Some(Turn::After) => !self.has_mail() && !matches!(self.room, Room::Full(_)),
            Some(Turn::Before | Turn::Beside) => true,
            None => false,
        };
        if is_time {
            self.run_errand(link);
        }
    }

    fn look_for_room(&mut self, link: &Link) {
        if let Room::Crowded(low) | Room::Full(low) = self.room
            && link.buffered() <= low
        {
            self.room = Room::Free;
        }
    }

    /// Sends as much of the outbox as there is room for.
    fn send_messages(&mut self, link: &Link) {
        // A function that has ended, or waits for something else, sends nothing more meanwhile.
        let may_crowd = self.outcome.is_some() || self.asked() == Some(Turn::After);
        while self.has_mail() {
            match self.room {
                Room::Full(_) => return,
                Room::Crowded(_) if !may_crowd => return,
                Room::Free | Room::Crowded(_) => {}
            }
            let Some((kind, bytes)) = self.outbox.front() else {
                return;
            };
            let answer = link.send_lent(kind | abi::IF_ROOM, bytes);
            let len = bytes.len();
            match u64::try_from(answer) {
                Ok(buffered) => {
                    self.outbox.pop();
                    if buffered > CROWD_BYTES {
                        self.wait_for(ROOM_BYTES, Room::Crowded, link);
                    }
                }
                Err(_) if answer == i64::from(abi::FULL) => {
                    let low = room_for(link.buffered(), len);
                    self.wait_for(low, Room::Full, link);
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
    fn wait_for(&mut self, low: u64, room: fn(u64) -> Room, link: &Link) {
        self.room = room(low);
        // Both marks are one, so that setting them again never takes back a `drain` that is due.
        link.inside(|host, conn| host.watermark(conn, low, low));
    }

    fn run_errand(&mut self, link: &Link) {
        let Desk::Asked(errand) = std::mem::take(&mut self.desk) else {
            return;
        };
        let answer = match &errand {
            Errand::Send { kind, bytes, .. } => {
                let answer = link.send_lent(kind | abi::IF_ROOM, bytes);
                if answer == i64::from(abi::FULL) {
                    let low = room_for(link.buffered(), bytes.len());
                    self.wait_for(low, Room::Full, link);
                    self.desk = Desk::Asked(errand);
                    return;
                }
                if answer >= 0 {
                    self.is_in_message = kind & abi::MORE != 0;
                }
                if answer > CROWD_BYTES as i64 {
                    self.wait_for(ROOM_BYTES, Room::Crowded, link);
                }
                answer
            }
            Errand::Raw(bytes) => {
                let buffered = link.buffered();
                // The host knows no raw bytes that wait for room. Beside nothing they fit.
                if buffered > 0 && buffered + bytes.len() as u64 > CROWD_BYTES {
                    self.wait_for(0, Room::Full, link);
                    self.desk = Desk::Asked(errand);
                    return;
                }
                match Raw::of(link.host()) {
                    Some(raw) => raw.write(link.conn(), bytes),
                    None => abi::UNSUPPORTED.into(),
                }
            }
            Errand::Ping(data) => link.inside(|host, conn| host.ping(conn, data)).into(),
            Errand::Subscribe { topic, on } => link
                .inside(|host, conn| host.subscribe(conn, topic, *on))
                .into(),
            Errand::Close { code, reason } => {
                let status = link.inside(|host, conn| host.close(conn, *code, reason));
                self.is_closing |= status == abi::OK;
                status.into()
            }
            Errand::Flush => abi::OK.into(),
            Errand::Abort => {
                let status = link.inside(|host, conn| host.abort(conn));
                self.is_closing |= status == abi::OK;
                status.into()
            }
            Errand::Reads(on) => {
                // While the inbox is full, `recv` lets the peer in again.
                self.is_paused = !on;
                if *on && self.inbox.is_full() {
                    abi::OK.into()
                } else {
                    link.inside(|host, conn| host.reads(conn, *on)).into()
                }
            }
            Errand::Buffered => (link.buffered() + self.outbox.bytes() as u64) as i64,
        };
        self.desk = Desk::Answered(answer);
    }
}
