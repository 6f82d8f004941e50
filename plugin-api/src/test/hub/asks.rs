//! What the handler asks of its shared state, and the answers on their way.
//!
//! An ask is carried out at once, or after the delay that a test has set, in the order of the asks. Its answer is posted to
//! the session, in order with what is sent to it by id, or waits for the handler.

use std::{collections::VecDeque, time::Duration};

use super::{Hub, HubState, MailboxItem};
use crate::{
    abi::{self, Status},
    test::{
        engine::{AnswerBuf, Condition, Engine, Join, Kept, MemberChange},
        limits,
    },
};

/// The shared state of the handler, and what is on its way to and from it.
#[derive(Debug, Default)]
pub(super) struct SharedState {
    pub(super) engine: Engine,
    /// A test has said that the shared state cannot be reached.
    is_away: bool,
    /// How long an ask takes.
    delay: Duration,
    pending: VecDeque<PendingAsk>,
    /// The answers to asks of the handler itself.
    handler_answers: VecDeque<HandlerAnswer>,
    /// How many asks of the handler itself wait.
    handler_asks: usize,
    events: VecDeque<TopicEvent>,
    /// An event is being delivered.
    is_delivering: bool,
    callbacks: TopicCallbacks,
}

/// Which callbacks about topics the newest generation has.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::test) struct TopicCallbacks {
    pub(in crate::test) envelope: bool,
    pub(in crate::test) presence: bool,
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

/// What the handler is called for before the subscribers of a topic hear of it.
#[derive(Debug)]
pub(in crate::test) enum TopicEvent {
    Publication {
        topic: String,
        position: Vec<u8>,
        item: MailboxItem,
        except: u64,
    },
    Join {
        topic: String,
        id: u64,
        token: u64,
        after: Vec<u8>,
        last: u64,
    },
    Change(MemberChange),
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

    /// Takes what the handler is to be called for. [`delivered`](Self::delivered) follows.
    pub(in crate::test) fn take_event(&self) -> Option<TopicEvent> {
        let mut state = self.lock();
        let event = state.shared.events.pop_front();
        state.shared.is_delivering = event.is_some();
        event
    }

    /// Sends a message to the subscribers of a topic, as an event has it after the callback of the handler.
    pub(in crate::test) fn deliver(&self, topic: &str, item: &MailboxItem, except: u64) {
        let mut state = self.lock();
        state.deliver(topic, item, except);
        self.count_post(state);
    }

    /// What a session gets that joins a topic; `None` if it has left the topic, or is over.
    pub(in crate::test) fn begin_join(
        &self,
        topic: &str,
        id: u64,
        after: &[u8],
        last: u64,
    ) -> Option<Join> {
        let mut state = self.lock();
        let now = state.now;
        let joins = state.joining.contains(&(topic.to_owned(), id));
        joins.then(|| state.shared.engine.join(topic, after, last, now))
    }

    /// Gives a session its answer and what it has missed, and makes it a subscriber.
    pub(in crate::test) fn end_join(
        &self,
        topic: &str,
        id: u64,
        token: u64,
        answer: AnswerBuf,
        missed: Vec<MailboxItem>,
    ) {
        let mut state = self.lock();
        state.end_join(topic, id, token, answer, missed);
        self.count_post(state);
    }

    /// An event was delivered.
    pub(in crate::test) fn delivered(&self) {
        self.lock().shared.is_delivering = false;
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

    /// Refuses a topic that may have no members.
    pub(in crate::test) fn check_presence(&self, topic: &str) -> Result<(), Status> {
        match self.lock().shared.engine.has_presence(topic) {
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
    /// Publishes a message; answers how many subscribers get it.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        item: &MailboxItem,
        except: u64,
    ) -> Result<u64, Status> {
        if self.shared.engine.history_bounds(topic).is_none() {
            return Ok(self.deliver(topic, item, except));
        }
        if self.shared.is_away {
            return Err(abi::FULL);
        }
        let (count, _) = self.publish_kept(topic, item, except);
        Ok(count)
    }

    /// Publishes a message to a topic with history; answers how many subscribers get it, and its position.
    fn publish_kept(&mut self, topic: &str, item: &MailboxItem, except: u64) -> (u64, Vec<u8>) {
        let now = self.now;
        let MailboxItem::Send { kind, bytes } = item else {
            return (0, Vec::new());
        };
        let published = self.shared.engine.publish(topic, *kind, bytes, now);
        let position = published.unwrap_or_default();
        if !self.must_queue(topic) {
            return (self.deliver(topic, item, except), position);
        }
        self.shared.events.push_back(TopicEvent::Publication {
            topic: topic.into(),
            position: position.clone(),
            item: item.clone(),
            except,
        });
        let subscribers = self.topics.get(topic).into_iter().flatten();
        let count = subscribers.filter(|id| **id != except).count();
        (count as u64, position)
    }

    /// Whether what concerns a topic waits for a callback of the handler, or for something that does.
    fn must_queue(&self, topic: &str) -> bool {
        let shared = &self.shared;
        let makes_form = shared.callbacks.envelope && !topic.starts_with('/');
        makes_form || shared.is_delivering || !shared.events.is_empty()
    }

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
            Request::SubscribeFrom { topic, after, last } => {
                return self.join(topic, id, token, after, last);
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
                limit,
            } => self.shared.engine.history(&topic, &after, limit, now),
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

    fn answer(
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

    fn join(&mut self, topic: String, id: u64, token: u64, after: Vec<u8>, last: u64) {
        if self.must_queue(&topic) {
            self.shared.events.push_back(TopicEvent::Join {
                topic,
                id,
                token,
                after,
                last,
            });
            return;
        }
        let Join { answer, missed } = self.shared.engine.join(&topic, &after, last, self.now);
        let missed = missed.into_iter().map(|(_, kept)| sent(&kept)).collect();
        self.end_join(&topic, id, token, answer, missed);
    }

    fn end_join(
        &mut self,
        topic: &str,
        id: u64,
        token: u64,
        answer: AnswerBuf,
        missed: Vec<MailboxItem>,
    ) {
        let joins = self.joining.remove(&(topic.to_owned(), id));
        self.answer(Asker::Session(id), token, answer, None);
        if !joins {
            return; // it has left the topic meanwhile
        }
        if let Some(mailbox) = self.mailboxes.get_mut(&id) {
            for item in missed {
                mailbox.has_overflowed |= mailbox.post(item).is_err();
            }
        }
        self.topics.entry(topic.into()).or_default().insert(id);
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

/// A publication as it goes to a session.
pub(in crate::test) fn sent(kept: &Kept) -> MailboxItem {
    MailboxItem::Send {
        kind: kept.kind,
        bytes: kept.bytes.to_vec(),
    }
}
