//! A session whose callbacks wait because its handler holds too many workers (see [`Throttle`]).
//!
//! Its connection waits for nothing: what is queued leaves, and a peer that is gone or silent is noticed,
//! as is the server's order to close. The end, when it has [its turn](super::paced_end), gives socket
//! and permit back; `closed` runs when the handler has returned enough workers.
//!
//! [`Throttle`]: crate::border::throttle::Throttle

use std::task::{Context, Poll};

use super::Session;
use super::deadlines::timeouts;
use super::liveness::{Facts, LivenessVerdict};
use crate::outbound::wire::PeerEnd;
use crate::process::clock::Moment;
use crate::sessions::cause::Cause;
use crate::ws::closing::ClosingEvent;

impl Session {
    /// Ready when our side has begun to close. Looks at the peer about once a second, and when woken.
    #[cold]
    pub(super) fn poll_throttled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mailbox = self.registration.mailbox();
        if !self.is_listening {
            mailbox.listen(cx.waker());
            self.is_listening = true;
        }
        if let Some(dismissal) = mailbox.take_dismissal() {
            self.leave(dismissal);
        }
        let mut wire = &mut self.conn.controls.wire;
        while wire.buffered() > 0 && !wire.is_broken() && wire.poll_writable(cx).is_ready() {
            wire.flush();
            wire.give_back();
            self.conn.controls.note_buffered();
            wire = &mut self.conn.controls.wire;
        }
        if self.state().may_send() {
            self.look_at_unread_peer();
        }
        if !self.state().may_send() {
            return Poll::Ready(());
        }
        let (deadlines, controls) = (&mut self.deadlines, &self.conn.controls);
        deadlines.look_in_a_second(controls, &self.conn.context.shared.timer_wheel);
        Poll::Pending
    }

    /// Looks whether a peer that is not read is there and keeps its deadlines.
    fn look_at_unread_peer(&mut self) {
        let now = Moment::now();
        let wire = &self.conn.controls.wire;
        let (end, unread) = (wire.peer_end(), wire.unread());
        if wire.is_broken() || end == PeerEnd::Lost {
            return self.meet(ClosingEvent::ConnectionLost, Cause::ConnectionLost);
        }
        let facts = Facts {
            // Behind much that is unread a Pong may find no room.
            hears: self.state().is_open() && unread < UNREAD_BYTES_MAX,
            unacked: wire.unacked(),
            ..self.facts()
        };
        let timeouts = timeouts(&self.conn.controls);
        let is_finished = end == PeerEnd::Finished;
        let throttle = &self.conn.context.throttle;
        let seen = throttle.note_peer(self.registration.mailbox().id, unread, is_finished, now);
        // What has come may be the Pong that is waited for.
        if seen.has_more {
            self.deadlines.life.rest(now);
        }
        // The handler gets what came before the end, if it returns its workers in time.
        let is_over = |since: Moment| unread == 0 || now >= since.after(timeouts.close);
        if seen.finished_since.is_some_and(is_over) {
            return self.meet(ClosingEvent::ConnectionLost, Cause::ConnectionLost);
        }
        match self.look_at_peer(now, &facts, &timeouts) {
            // The rest of the message may be among what is unread.
            LivenessVerdict::Unfinished => {}
            verdict => self.follow(verdict),
        }
        self.controls().wire.flush();
    }
}

/// A Pong is expected while no more bytes than these are unread: far fewer than a kernel takes.
const UNREAD_BYTES_MAX: u64 = 16 * 1024;
