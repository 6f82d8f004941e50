//! One open WebSocket between a test's client and its handler.

mod end;

use std::{collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use crate::{
    abi,
    close::Close,
    close_codes,
    styles::functions::session_end::echoed,
    test::{
        conn_table::ConnTable,
        controls::{Controls, LocalEnd},
        engine::AnswerBuf,
        generation::Generation,
        hub::{Hub, Mailbox, MailboxItem, asks::NotJoined},
        incoming::{self, Incoming, PartAssembly},
        plugin_handshake::PluginHandshake,
        plugin_session::{CallbackEvent, CallbackOutcome, PluginSession},
        request_table::RequestTable,
    },
};

/// One session: its callbacks, and both ends of its connection.
#[derive(Debug)]
pub(super) struct TestSession {
    pub(super) id: u64,
    pub(super) protocol: String,
    // The order of the fields matters: `destroy` runs before the table is dropped.
    instance: Option<PluginSession>,
    table: ConnTable,
    /// `None` only while a callback runs.
    controls: Option<Controls>,
    phase: Phase,
    /// What the client has sent and the handler has not received yet.
    incoming: VecDeque<Incoming>,
    assembly: PartAssembly,
    /// Calls by id that wait until a message in parts is complete.
    waiting: VecDeque<MailboxItem>,
    /// The callback `closed` was called.
    is_told: bool,
    /// The generation that the session is to move to, as soon as it can.
    destination: Option<Rc<Generation>>,
    /// When the closing handshake, or the handler after it, has taken too long.
    deadline: Option<Duration>,
    hub: Arc<Hub>,
}

#[derive(PartialEq, Debug)]
enum Phase {
    Open,
    /// The peer closes, and the handler has not answered yet.
    PeerCloses(u32, String),
    /// This side has closed first. What the peer sends before its Close is dropped.
    Closing,
    Over,
}

impl TestSession {
    pub(super) fn open(
        hub: &Arc<Hub>,
        attempt: PluginHandshake,
        request: &RequestTable,
        protocol: String,
        now: Duration,
    ) -> TestSession {
        let id = request.id();
        let table = ConnTable::new(id, &protocol);
        let mut controls = Controls::new(id, Arc::clone(hub));
        controls.now = now;
        let (instance, outcome, controls) = attempt.open(&table, controls, request);
        let mut session = TestSession {
            id,
            protocol,
            instance,
            table,
            controls: Some(controls),
            phase: Phase::Open,
            incoming: VecDeque::new(),
            assembly: PartAssembly::default(),
            waiting: VecDeque::new(),
            is_told: false,
            destination: None,
            deadline: None,
            hub: Arc::clone(hub),
        };
        session.settle(outcome);
        session
    }

    /// The client sends something.
    pub(super) fn receive(&mut self, incoming: Incoming) {
        if matches!(self.phase, Phase::Over | Phase::PeerCloses(..)) {
            return;
        }
        match incoming {
            Incoming::Message(message) => self.incoming.extend(incoming::parts(&message)),
            other => self.incoming.push_back(other),
        }
    }

    /// Does everything that can happen now. Answers whether something happened.
    pub(super) fn turn(&mut self, now: Duration) -> bool {
        self.controls().now = now;
        let mut progress = false;
        if let Some(mailbox) = self.hub.take(self.id) {
            self.deliver(mailbox);
            progress = true;
        }
        self.deliver_waiting();
        while self.reads()
            && let Some(incoming) = self.incoming.pop_front()
        {
            self.hear(incoming);
            progress = true;
        }
        while self.is_talking()
            && let Some(token) = self.controls().take_expired(now)
        {
            self.call(&CallbackEvent::Timer(token));
            progress = true;
        }
        self.flush();
        if self.is_talking() && self.controls().take_drain() {
            self.call(&CallbackEvent::Drain);
            progress = true;
        }
        if self.is_late(now) {
            self.lose();
            self.forget();
        }
        progress | self.try_to_move()
    }

    /// When the next timer or deadline is due.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let timer = self.ready().next_timer().filter(|_| self.is_talking());
        timer.into_iter().chain(self.deadline).min()
    }

    /// Asks the session to move to a newer generation, and again after each callback until it has.
    pub(super) fn move_to(&mut self, generation: &Rc<Generation>) {
        let is_there = |instance: &PluginSession| instance.generation.number == generation.number;
        if !self.instance.as_ref().is_none_or(is_there) {
            self.destination = Some(Rc::clone(generation));
        }
        self.try_to_move();
    }

    /// The number of the generation that runs the session; `None` after its end.
    pub(super) fn generation(&self) -> Option<u64> {
        self.instance.as_ref().map(|it| it.generation.number)
    }

    /// Whether the handler has had its last callback.
    pub(super) fn is_destroyed(&self) -> bool {
        self.phase == Phase::Over && self.instance.is_none()
    }

    /// Whether the session is usable. It is not after a panic of this host inside a callback.
    pub(super) fn is_whole(&self) -> bool {
        self.controls.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn controls(&mut self) -> &mut Controls {
        self.controls.as_mut().expect(AWAY)
    }

    fn ready(&self) -> &Controls {
        self.controls.as_ref().expect(AWAY)
    }

    fn hear(&mut self, incoming: Incoming) {
        if let Incoming::Close(code, reason) = incoming {
            return self.hear_close(code, reason);
        }
        if !self.is_talking() {
            return; // data after a Close
        }
        match incoming {
            Incoming::Part(part, is_last) => {
                let takes_parts = self.takes_parts();
                if let Some((kind, bytes)) = self.assembly.take(part, is_last, takes_parts) {
                    let is_followed = kind & abi::MORE == 0 && self.is_followed();
                    let followed = if is_followed { abi::FOLLOWED } else { 0 };
                    self.call(&CallbackEvent::Message(kind | followed, &bytes));
                }
            }
            Incoming::Ping(payload) => {
                // A server answers a Ping before the handler sees it.
                let _ = self.controls().pong(&payload);
                self.call(&CallbackEvent::Ping(&payload));
            }
            Incoming::Pong(payload) => self.call(&CallbackEvent::Pong(&payload)),
            // `receive` has cut messages into parts.
            Incoming::Message(_) | Incoming::Close(..) => {}
        }
    }

    fn takes_parts(&self) -> bool {
        let instance = self.instance.as_ref();
        instance.is_some_and(|instance| instance.generation.takes_parts())
    }

    /// Whether another whole message comes next, and the handler has asked to be told.
    fn is_followed(&self) -> bool {
        let instance = self.instance.as_ref();
        instance.is_some_and(|instance| instance.generation.takes_batches())
            && self.reads()
            && matches!(self.incoming.front(), Some(Incoming::Part(_, true)))
    }

    fn deliver(&mut self, mailbox: Mailbox) {
        self.waiting.extend(mailbox.items);
        self.deliver_waiting();
        self.deliver_answers();
        if mailbox.has_overflowed && self.is_talking() {
            self.controls().blame(abi::CAUSE_LIMIT);
            let _ = self
                .controls()
                .close(close_codes::POLICY_VIOLATION.into(), "");
        }
        if mailbox.is_woken {
            if self.is_talking() {
                self.call(&CallbackEvent::Wake);
            } else if self.phase == Phase::Over && self.instance.is_some() {
                self.wake_after_end();
            }
        }
    }

    fn deliver_waiting(&mut self) {
        while !self.ready().is_between_parts()
            && let Some(item) = self.waiting.pop_front()
        {
            // Refused: the session is closing, or is closed by the refusal.
            match item {
                MailboxItem::Send { kind, bytes } => drop(self.controls().send(kind, &bytes)),
                MailboxItem::Raw(bytes) => drop(self.controls().write_raw(&bytes)),
                MailboxItem::Close { code, reason } => drop(self.controls().close(code, &reason)),
                MailboxItem::Note(note) if self.is_talking() => {
                    self.call(&CallbackEvent::Note(note))
                }
                MailboxItem::Note(_) => {}
                MailboxItem::Answer {
                    token,
                    answer,
                    not_joined,
                } => self.hear_answer(token, &answer, not_joined),
            }
        }
        self.follow_ending();
    }

    /// Delivers the answers among calls that wait until a message in parts is complete. That may depend on an answer.
    fn deliver_answers(&mut self) {
        let is_answer = |item: &MailboxItem| matches!(item, MailboxItem::Answer { .. });
        while let Some(at) = self.waiting.iter().position(is_answer)
            && let Some(item) = self.waiting.remove(at)
        {
            if let MailboxItem::Answer {
                token,
                answer,
                not_joined,
            } = item
            {
                self.hear_answer(token, &answer, not_joined);
            }
        }
    }

    fn hear_answer(&mut self, token: u64, answer: &AnswerBuf, not_joined: Option<NotJoined>) {
        self.hub.end_ask(self.id);
        if let Some(not_joined) = not_joined {
            self.controls().forget(&not_joined);
        }
        if self.is_talking() {
            self.call(&CallbackEvent::Answer(token, answer));
        }
    }

    /// Runs one callback and acts on its outcome.
    fn call(&mut self, event: &CallbackEvent<'_>) {
        let outcome = self.run(event);
        self.settle(outcome);
    }

    fn run(&mut self, event: &CallbackEvent<'_>) -> CallbackOutcome {
        let Some(instance) = &mut self.instance else {
            return CallbackOutcome::Continue;
        };
        let controls = self.controls.take().expect(AWAY);
        if let CallbackEvent::Closing(..) | CallbackEvent::Closed(..) = event {
            self.table.set_cause(controls.cause);
        }
        let (outcome, controls) = instance.on(event, &self.table, controls);
        self.controls = Some(controls);
        outcome
    }

    /// Acts on the outcome of a callback.
    fn settle(&mut self, outcome: CallbackOutcome) {
        let done = match &self.phase {
            Phase::PeerCloses(code, reason) => (echoed(*code), reason.clone()),
            _ => (close_codes::NORMAL.into(), String::new()),
        };
        let close = match outcome {
            CallbackOutcome::Continue => None,
            CallbackOutcome::Pending if matches!(self.phase, Phase::PeerCloses(..)) => None,
            CallbackOutcome::Done => Some(done),
            CallbackOutcome::Pending | CallbackOutcome::Failed => {
                self.controls().blame(abi::CAUSE_FAILED);
                Some((close_codes::INTERNAL_ERROR.into(), String::new()))
            }
        };
        if let Some((code, reason)) = close {
            // GONE: the handler's own `close` or `abort` came first.
            let _ = self.controls().close(code, &reason);
        }
        self.follow_ending();
    }

    /// Lets the client take what is queued, and answer Pings and a Close.
    fn flush(&mut self) {
        self.controls().flush();
        while let Some(payload) = self.controls().wire.unanswered.pop_front() {
            self.receive(Incoming::Pong(payload));
        }
        if let (Phase::Closing, Some(close)) = (&self.phase, &self.ready().wire.close) {
            let Close { code, reason, .. } = close.clone();
            self.hear_close(code, reason);
        }
    }

    /// Moves to the destination if possible: the state is written, the new session is made, and only then the old one is
    /// destroyed.
    fn try_to_move(&mut self) -> bool {
        let Some(destination) = self.destination.clone() else {
            return false;
        };
        let (Phase::Open, LocalEnd::None) = (&self.phase, self.ready().ending) else {
            return false;
        };
        let Some(old) = &mut self.instance else {
            return false;
        };
        if !destination.can_restore(&old.generation) {
            self.destination = None;
            return false;
        }
        let sees_parts = destination.takes_parts() || old.generation.takes_parts();
        let controls = self.controls.take().expect(AWAY);
        if controls.is_between_parts() || (sees_parts && self.assembly.is_open()) {
            self.controls = Some(controls);
            return false;
        }
        let (state, controls) = old.snapshot(&self.table, controls);
        let Some(state) = state else {
            self.controls = Some(controls);
            self.follow_ending();
            return false;
        };
        self.table.set_restored(true);
        let (made, controls) = destination.restore(old, &self.table, controls, &state);
        self.controls = Some(controls);
        self.destination = None;
        match made {
            Some(new) => self.instance = Some(new),
            None => self.table.set_restored(false),
        }
        self.call(&CallbackEvent::Wake);
        true
    }

    /// Whether the peer's messages are let in.
    fn reads(&self) -> bool {
        let controls = self.ready();
        match self.phase {
            Phase::Open => controls.reads && !controls.is_congested(),
            Phase::Closing => true,
            Phase::PeerCloses(..) | Phase::Over => false,
        }
    }

    /// Whether callbacks other than `closed` may run.
    fn is_talking(&self) -> bool {
        let may = matches!(self.phase, Phase::Open | Phase::PeerCloses(..));
        may && self.ready().ending == LocalEnd::None
    }
}

const AWAY: &str = "a test's client cannot be used inside a callback of its own server";
