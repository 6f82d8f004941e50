//! What the handler asks of its shared state, and the answers on their way.
//!
//! An ask is carried out at once, or after the delay that a test has set, in the order of the asks. Its answer is posted to
//! the session, in order with what is sent to it by id, or waits for the handler.

use std::{collections::VecDeque, time::Duration};

use super::{Hub, HubState, MailboxItem, topics::TopicEvent};
use crate::{
    abi::{self, Status},
    test::{
        engine::{AnswerBuf, Condition, Engine, MemberChange},
        limits::{self, OutboundPolicy},
    },
};

/// The shared state of the handler, and what is on its way to and from it.
#[derive(Debug, Default)]
pub(super) struct SharedState {
    pub(super) engine: Engine,
    /// A test has said that the shared state cannot be reached.
    pub(super) is_away: bool,
    /// How long an ask takes.
    delay: Duration,
    pending: VecDeque<PendingAsk>,
    /// The answers to asks of the handler itself.
    handler_answers: VecDeque<HandlerAnswer>,
    /// How many asks of the handler itself wait.
    handler_asks: usize,
    pub(super) events: VecDeque<TopicEvent>,
    /// An event is being delivered.
    pub(super) is_delivering: bool,
    pub(super) callbacks: TopicCallbacks,
}

/// Which callbacks about topics the newest generation has.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::test) struct TopicCallbacks {
    pub(in crate::test) envelope: bool,
    pub(in crate::test) presence: bool,
}

/// What a handler does with a topic.
#[derive(Clone, Copy, Debug)]
pub(in crate::test) enum TopicUse {
    /// Publishes or subscribes.
    Any,
    History,
    Presence,
}

/// What has asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::test) enum Asker {
    Session(u64),
    /// The handler itself, in this generation.
    Handler(u64),
}

/// What is asked.
#[derive(Debug)]
pub(in crate::test) enum Request {
    SubscribeFrom {
        /// The number of the join.
        join: u64,
        topic: String,
        after: Vec<u8>,
        last: u64,
    },
    PublishAcked {
        topic: String,
        item: MailboxItem,
        except: u64,
    },
    History {
        topic: String,
        after: Vec<u8>,
        /// Without a position the page begins with the first of so many last publications.
        last: u64,
        limit: usize,
    },
    Enter {
        topic: String,
        value: Vec<u8>,
        /// The session is no member yet, as far as it knows.
        is_new: bool,
    },
    /// It is no ask, but keeps its place among them.
    Leave {
        topic: String,
    },
    Present {
        topic: String,
        after: Option<u64>,
        limit: usize,
    },
    Get {
        key: String,
    },
    Put {
        key: String,
        value: Vec<u8>,
        only_if: Condition,
        ttl_ms: u64,
    },
    Delete {
        key: String,
        only_if: Condition,
    },
    List {
        prefix: String,
        after: Option<String>,
        limit: usize,
    },
}

#[derive(Debug)]
struct PendingAsk {
    due: Duration,
    asker: Asker,
    token: u64,
    request: Request,
}

/// What a session could not join, so that it is to forget it.
#[derive(Clone, Debug)]
pub(in crate::test) enum NotJoined {
    Topic(String),
    Members(String),
}

/// An answer to an ask of the handler itself.
#[derive(Debug)]
pub(in crate::test) struct HandlerAnswer {
    pub(in crate::test) generation: u64,
    pub(in crate::test) token: u64,
    pub(in crate::test) answer: AnswerBuf,
}

impl Hub {
    /// Asks. [`abi::FULL`]: as many asks wait as may.
    pub(in crate::test) fn ask(
        &self,
        asker: Asker,
        token: u64,
        request: Request,
    ) -> Result<(), Status> {
        let mut state = self.lock();
        if !matches!(request, Request::Leave { .. }) {
            state.begin_ask(asker)?;
        }
        let due = state.now.saturating_add(state.shared.delay);
        if state.shared.delay.is_zero() && state.shared.pending.is_empty() {
            state.carry_out(asker, token, request);
        } else {
            state.shared.pending.push_back(PendingAsk {
                due,
                asker,
                token,
                request,
            });
        }
        self.count_post(state);
        Ok(())
    }

    /// Carries out the asks whose time has come.
    pub(in crate::test) fn carry_out_due(&self) {
        let mut state = self.lock();
        let now = state.now;
        while (state.shared.pending.front()).is_some_and(|ask| ask.due <= now)
            && let Some(pending) = state.shared.pending.pop_front()
        {
            state.carry_out(pending.asker, pending.token, pending.request);
        }
    }

    /// When the next ask is carried out.
    pub(in crate::test) fn next_ask_due(&self) -> Option<Duration> {
        self.lock().shared.pending.front().map(|ask| ask.due)
    }

    /// Takes an answer for the handler itself.
    pub(in crate::test) fn take_handler_answer(&self) -> Option<HandlerAnswer> {
        let mut state = self.lock();
        let answer = state.shared.handler_answers.pop_front()?;
        state.shared.handler_asks -= 1;
        Some(answer)
    }

    /// An answer has reached its session.
    pub(in crate::test) fn end_ask(&self, id: u64) {
        if let Some(mailbox) = self.lock().mailboxes.get_mut(&id) {
            mailbox.asks -= 1;
        }
    }

    /// The session is over: it is a member of no topic any more, and hears no answers.
    pub(in crate::test) fn leave_all(&self, id: u64) {
        let mut state = self.lock();
        let asker = Asker::Session(id);
        state
            .shared
            .pending
            .retain(|pending| pending.asker != asker);
        for topic in state.shared.engine.memberships(id) {
            state.leave(&topic, id);
        }
    }

    /// Refuses a topic of which the handler may not make this use: [`abi::UNSUPPORTED`].
    pub(in crate::test) fn check_topic(&self, topic: &str, usage: TopicUse) -> Result<(), Status> {
        let state = self.lock();
        let engine = &state.shared.engine;
        let is_kept = match usage {
            TopicUse::Any => true,
            TopicUse::History => engine.history_bounds(topic).is_some(),
            TopicUse::Presence => engine.has_presence(topic),
        };
        match is_kept && engine.allows(topic) {
            true => Ok(()),
            false => Err(abi::UNSUPPORTED),
        }
    }

    /// Notes which callbacks about topics the newest generation has.
    pub(in crate::test) fn set_callbacks(&self, callbacks: TopicCallbacks) {
        self.lock().shared.callbacks = callbacks;
    }

    pub(in crate::test) fn set_away(&self, is_away: bool) {
        self.lock().shared.is_away = is_away;
    }

    pub(in crate::test) fn set_outbound_policy(&self, policy: OutboundPolicy) {
        self.lock().outbound_policy = policy;
    }

    pub(in crate::test) fn outbound_policy(&self) -> OutboundPolicy {
        self.lock().outbound_policy
    }

    pub(in crate::test) fn set_delay(&self, delay: Duration) {
        self.lock().shared.delay = delay;
    }

    /// Looks at the shared state, or changes it, at the present time.
    pub(in crate::test) fn with_engine<T>(
        &self,
        act: impl FnOnce(&mut Engine, Duration) -> T,
    ) -> T {
        let mut state = self.lock();
        let now = state.now;
        act(&mut state.shared.engine, now)
    }
}

impl HubState {
    fn begin_ask(&mut self, asker: Asker) -> Result<(), Status> {
        let (waiting, max) = match asker {
            Asker::Session(id) => {
                let mailbox = self.mailboxes.get_mut(&id).ok_or(abi::GONE)?;
                if mailbox.refuses_items {
                    return Err(abi::GONE);
                }
                (&mut mailbox.asks, limits::SESSION_ASKS_MAX)
            }
            Asker::Handler(_) => (&mut self.shared.handler_asks, limits::ASKS_MAX),
        };
        if *waiting == max {
            return Err(abi::FULL);
        }
        *waiting += 1;
        Ok(())
    }

    fn carry_out(&mut self, asker: Asker, token: u64, request: Request) {
        let id = match asker {
            Asker::Session(id) => id,
            Asker::Handler(_) => 0,
        };
        let (now, is_away) = (self.now, self.shared.is_away);
        let mut not_joined = None;
        let answer = match request {
            Request::Leave { topic } => return self.leave(&topic, id),
            Request::SubscribeFrom { topic, .. } if is_away => {
                not_joined = Some(NotJoined::Topic(topic));
                AnswerBuf::failed(abi::UNAVAILABLE)
            }
            Request::SubscribeFrom {
                join,
                topic,
                after,
                last,
            } => {
                let now = self.now;
                let join = self.shared.engine.join(join, &topic, &after, last, now);
                return self.join(topic, id, token, join);
            }
            Request::Enter {
                topic,
                value,
                is_new,
            } => {
                let answer = if is_away {
                    AnswerBuf::failed(abi::UNAVAILABLE)
                } else {
                    let (answer, change) = self.shared.engine.enter(&topic, id, &value);
                    self.tell(change);
                    answer
                };
                if answer.status != abi::OK && is_new {
                    not_joined = Some(NotJoined::Members(topic));
                }
                answer
            }
            _ if is_away => AnswerBuf::failed(abi::UNAVAILABLE),
            Request::PublishAcked {
                topic,
                item,
                except,
            } => {
                let (_, position) = self.publish_kept(&topic, &item, except);
                AnswerBuf {
                    position,
                    ..AnswerBuf::default()
                }
            }
            Request::History {
                topic,
                after,
                last,
                limit,
            } => (self.shared.engine).history(&topic, &after, last, limit, now),
            Request::Present {
                topic,
                after,
                limit,
            } => self.shared.engine.present(&topic, after, limit),
            Request::Get { key } => self.shared.engine.store.get(&key, now),
            Request::Put {
                key,
                value,
                only_if,
                ttl_ms,
            } => (self.shared.engine.store).put(&key, &value, only_if, ttl_ms, now),
            Request::Delete { key, only_if } => self.shared.engine.store.delete(&key, only_if, now),
            Request::List {
                prefix,
                after,
                limit,
            } => {
                let after = after.as_deref();
                self.shared.engine.store.list(&prefix, after, limit, now)
            }
        };
        self.answer(asker, token, answer, not_joined);
    }

    pub(super) fn answer(
        &mut self,
        asker: Asker,
        token: u64,
        answer: AnswerBuf,
        not_joined: Option<NotJoined>,
    ) {
        match asker {
            Asker::Session(id) => {
                let mailbox = self.mailboxes.get_mut(&id);
                if let Some(mailbox) = mailbox.filter(|mailbox| !mailbox.refuses_items) {
                    // An answer is never refused: it has had its place since the ask.
                    mailbox.items.push_back(MailboxItem::Answer {
                        token,
                        answer: Box::new(answer),
                        not_joined,
                    });
                }
            }
            Asker::Handler(generation) => self.shared.handler_answers.push_back(HandlerAnswer {
                generation,
                token,
                answer,
            }),
        }
    }

    fn leave(&mut self, topic: &str, id: u64) {
        let change = self.shared.engine.leave(topic, id);
        self.tell(change);
    }

    /// Has the handler hear of a change.
    fn tell(&mut self, change: Option<MemberChange>) {
        let hears = |change: &MemberChange| {
            self.shared.callbacks.presence && !change.topic.starts_with('/')
        };
        if let Some(change) = change.filter(hears) {
            self.shared.events.push_back(TopicEvent::Change(change));
        }
    }
}
