//! The asks of a handler: what hears each answer, and how many of them wait.

mod answers;
mod hearing;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wsh::abi::{self, Status};
use wsh::rules;
use wsh::rules::asks::PAGE_BYTES_MAX;

use self::answers::{changed, joined, of_history, of_members, of_store, published};
use self::hearing::Hearing;
use super::handler_context::{HandlerContext, prepare, status_of};
use crate::config::HandlerConfig;
use crate::engine::node::OnJoined;
use crate::engine::{Failure, PageLimit, StoreRequest};
use crate::sessions::answer::{Answer, NotJoined, SessionAsk};
use crate::sessions::mailbox::Mailbox;
use crate::sessions::topics::Topic;

/// The asks of one handler in one generation.
#[derive(Debug)]
pub(super) struct HandlerAsks {
    /// How many asks of the handler itself wait for their answers.
    waiting: AtomicUsize,
    limits: Mutex<AskLimits>,
    hearing: Hearing,
}

/// The limits of asks, as the configuration has them now.
#[derive(Clone, Copy, Debug)]
struct AskLimits {
    asks_max: usize,
    session_asks_max: usize,
    store_value_bytes_max: usize,
}

/// An ask that counts until it is answered or dropped.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The number that the handler gave it.
    token: u64,
    /// The function that it came by.
    function: &'static str,
    context: &'static HandlerContext,
    hearer: Hearer,
}

/// What hears an answer.
#[derive(Debug)]
enum Hearer {
    /// The session, by its `answer`.
    Session(SessionAsk),
    /// The handler, by its `answered`.
    Handler(HandlerAsk),
}

/// One of the asks of a handler itself. It counts until the drop.
#[derive(Debug)]
struct HandlerAsk(&'static HandlerContext);

/// What a handler uses a topic for. The configuration may not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicUse {
    /// To publish and to subscribe.
    Any,
    History,
    Presence,
}

impl HandlerAsks {
    /// No asks yet, with the limits of these settings.
    pub(super) fn new(settings: &HandlerConfig) -> HandlerAsks {
        HandlerAsks {
            waiting: AtomicUsize::new(0),
            limits: Mutex::new(AskLimits::of(settings)),
            hearing: Hearing::default(),
        }
    }
}

impl AskLimits {
    fn of(settings: &HandlerConfig) -> AskLimits {
        AskLimits {
            asks_max: settings.limits.asks_max,
            session_asks_max: settings.session.session_asks_max,
            store_value_bytes_max: settings.limits.store_value_bytes_max,
        }
    }
}

impl Drop for HandlerAsk {
    fn drop(&mut self) {
        self.0.asks.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HandlerContext {
    /// Sets the limits of asks from now on.
    pub(crate) fn set_ask_limits(&self, settings: &HandlerConfig) {
        *self.lock_ask_limits() = AskLimits::of(settings);
    }

    /// Counts an ask of the session whose mailbox this is.
    pub(super) fn begin_session_ask(
        &'static self,
        function: &'static str,
        mailbox: &Arc<Mailbox>,
        token: u64,
    ) -> Result<Ask, Status> {
        let asks_max = self.ask_limits().session_asks_max;
        let ask = SessionAsk::begin(mailbox, asks_max).map_err(status_of)?;
        self.shared.begin_sweeps();
        Ok(Ask {
            token,
            function,
            context: self,
            hearer: Hearer::Session(ask),
        })
    }

    /// Counts an ask of the session `id`, or for 0 of the handler itself.
    fn begin_ask(
        &'static self,
        function: &'static str,
        id: u64,
        token: u64,
    ) -> Result<Ask, Status> {
        if id != 0 {
            return self.begin_session_ask(function, &self.find(id)?, token);
        }
        self.check_not_ended()?;
        let asks_max = self.ask_limits().asks_max;
        if self.asks.waiting.fetch_add(1, Ordering::Relaxed) >= asks_max {
            self.asks.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(abi::FULL);
        }
        self.shared.begin_sweeps();
        Ok(Ask {
            token,
            function,
            context: self,
            hearer: Hearer::Handler(HandlerAsk(self)),
        })
    }

    /// Publishes a message, and asks for its position.
    pub(super) fn publish_acked(
        &'static self,
        (id, token): (u64, u64),
        topic: &str,
        (kind, payload): (u32, &[u8]),
        except: u64,
    ) -> Result<(), Status> {
        let message = prepare(kind, payload)?;
        let topic = self.topic(topic, TopicUse::History)?;
        let ask = self.begin_ask("publish_acked", id, token)?;
        let done = move |outcome| ask.answer_with(outcome, published);
        let node = &self.shared.node;
        node.publish_acked(topic, &message, except, Box::new(done));
        Ok(())
    }

    /// Asks for publications of a topic.
    pub(super) fn history(
        &'static self,
        (id, token): (u64, u64),
        topic: &str,
        position: &[u8],
        limit: u64,
    ) -> Result<(), Status> {
        let position = rules::asks::position(position)?;
        let (last, limit) = (limit, PageLimit::of_handler(limit)?);
        let topic = self.topic(topic, TopicUse::History)?;
        let ask = self.begin_ask("history", id, token)?;
        let done = move |outcome| ask.answer_with(outcome, of_history);
        let node = &self.shared.node;
        node.history(topic, position, last, limit, Box::new(done));
        Ok(())
    }

    /// Asks for members of a topic.
    pub(super) fn present(
        &'static self,
        (id, token): (u64, u64),
        topic: &str,
        after: &[u8],
        limit: u64,
    ) -> Result<(), Status> {
        let after = rules::asks::after_member(after)?;
        let limit = PageLimit::of_handler(limit)?;
        let topic = self.topic(topic, TopicUse::Presence)?;
        let ask = self.begin_ask("present", id, token)?;
        let done = move |outcome| ask.answer_with(outcome, of_members);
        let node = &self.shared.node;
        node.present(topic, after, limit, Box::new(done));
        Ok(())
    }

    /// Asks for something of the handler's store.
    pub(super) fn store(
        &'static self,
        function: &'static str,
        (id, token): (u64, u64),
        request: StoreRequest,
    ) -> Result<(), Status> {
        let ask = self.begin_ask(function, id, token)?;
        let done = move |outcome| ask.answer_with(outcome, of_store);
        let node = &self.shared.node;
        node.store(&self.handler, request, Box::new(done));
        Ok(())
    }

    /// The topic of this name, if the configuration lets the handler use it so. UNSUPPORTED otherwise.
    pub(super) fn topic<'a>(&'a self, name: &'a str, usage: TopicUse) -> Result<Topic<'a>, Status> {
        let topic = Topic::new(&self.handler, name);
        let node = &self.shared.node;
        let is_kept = match usage {
            TopicUse::Any => true,
            TopicUse::History => node.has_history(topic),
            TopicUse::Presence => node.has_presence(topic),
        };
        // A handler may use all topics of its own.
        let is_allowed = !name.starts_with('/') || node.allows(&self.handler, topic);
        // A trial does not know `[topics]`. No answer is heard in it.
        match is_kept && is_allowed || self.is_trial() {
            true => Ok(topic),
            false => Err(abi::UNSUPPORTED),
        }
    }

    /// The longest value that the handler's store takes.
    pub(super) fn store_value_bytes_max(&self) -> usize {
        self.ask_limits().store_value_bytes_max
    }

    fn ask_limits(&self) -> AskLimits {
        *self.lock_ask_limits()
    }

    fn lock_ask_limits(&self) -> std::sync::MutexGuard<'_, AskLimits> {
        (self.asks.limits.lock()).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ask {
    /// Answers a session's attempt to join the topic `name`.
    pub(super) fn on_joined(self, name: &str) -> OnJoined {
        let name = Box::from(name);
        Box::new(move |outcome| match outcome {
            Ok(it) => self.tell(joined(&it)),
            Err(failure) => self.tell_not_joined(failure, NotJoined::Topic(name)),
        })
    }

    /// Answers a session's attempt to be a member of the topic `name`. `is_new`: it was none before.
    pub(super) fn on_entered(
        self,
        name: &str,
        is_new: bool,
    ) -> impl FnOnce(Result<u64, Failure>) + Send + use<> {
        let name = Box::from(name);
        move |outcome| match outcome {
            Err(failure) if is_new => self.tell_not_joined(failure, NotJoined::Members(name)),
            outcome => self.answer_with(outcome, changed),
        }
    }

    /// Answers with what came of a request to the engine.
    fn answer_with<T>(self, outcome: Result<T, Failure>, answer: impl FnOnce(T) -> Answer) {
        let answer = match outcome {
            Ok(outcome) => answer(outcome),
            Err(failure) => self.failed(failure),
        };
        self.tell(answer);
    }

    /// The session that hears the answer; 0 for the handler itself.
    fn session_id(&self) -> u64 {
        match &self.hearer {
            Hearer::Session(ask) => ask.id(),
            Hearer::Handler(_) => 0,
        }
    }

    fn tell(self, answer: Answer) {
        match self.hearer {
            Hearer::Session(ask) => ask.answer(self.token, answer, None),
            Hearer::Handler(ask) => self.context.hear(self.token, answer, ask),
        }
    }

    fn tell_not_joined(self, failure: Failure, not_joined: NotJoined) {
        let answer = self.failed(failure);
        if let Hearer::Session(ask) = self.hearer {
            ask.answer(self.token, answer, Some(not_joined));
        }
    }
}

impl PageLimit {
    /// The limit of a page that is to have `limit` items.
    pub(super) fn of_handler(limit: u64) -> Result<PageLimit, Status> {
        Ok(PageLimit {
            items: rules::asks::page_items(limit)?,
            bytes: PAGE_BYTES_MAX,
        })
    }
}
