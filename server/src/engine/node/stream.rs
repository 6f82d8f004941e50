//! What the node hears of one topic from the engine, as a state machine: what comes goes on, is held, or is too late.
//!
//! Nothing goes on twice, and nothing goes on behind a hole: the hole is filled from the history, or told. A hole that is
//! told has a line in the log and counts; no callback hears of it. What the engine has lost and what is published once more
//! stands on another stream, behind such a hole.

mod event;
mod held_back;

pub(super) use self::event::{Action, Event, Missing};
use self::held_back::{Held, Place, place};
use crate::engine::{Failure, Start, StreamPosition};

/// The state of one topic. `P` is a publication.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stream<P> {
    /// The engine was not asked.
    Idle,
    /// The engine was asked. What comes before its answer is held.
    Asked { before: Before, held: Held<P> },
    /// What comes goes on.
    Live { last: Option<StreamPosition> },
    /// Like `Live`. No session wants it any more, and at this time the engine is told.
    Lingering {
        last: Option<StreamPosition>,
        until_ms: u64,
    },
    /// Publications behind `last` are missing. What comes is held until the history has filled the hole, or until this time.
    Healing {
        last: StreamPosition,
        held: Held<P>,
        until_ms: u64,
    },
    /// The engine tells nothing now. It is asked at this time, or when it can be reached again.
    Away { before: Before, retry_ms: u64 },
}

/// What went on before the engine was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    /// Everything up to here; `None` for a topic without history.
    UpTo(Option<StreamPosition>),
}

impl<P> Stream<P> {
    /// Whether this publication goes on at once, as nearly all do. Then the stream has noted it, and needs no event.
    pub(super) fn passes(&mut self, at: Option<StreamPosition>) -> bool {
        let Stream::Live { last } = self else {
            return false;
        };
        let is_next = place(*last, at) == Place::Next;
        if is_next {
            *last = at;
        }
        is_next
    }

    /// The last publication that went on, while what comes goes on. `None` in every other state.
    pub(super) fn live(&self) -> Option<Option<StreamPosition>> {
        match self {
            Stream::Live { last } | Stream::Lingering { last, .. } => Some(*last),
            _ => None,
        }
    }

    /// Whether the engine tells of the topic.
    pub(super) fn is_subscribed(&self) -> bool {
        let is_healing = matches!(self, Stream::Healing { .. });
        is_healing || self.live().is_some()
    }

    /// When time alone changes something, as far as a session still wants the topic. It may be past.
    pub(super) fn due_ms(&self) -> Option<u64> {
        match self {
            // The topic is to be forgotten.
            Stream::Idle => Some(0),
            // It is read again at each tick.
            Stream::Healing { .. } => Some(0),
            Stream::Lingering { until_ms, .. } => Some(*until_ms),
            Stream::Away { retry_ms, .. } => (*retry_ms < u64::MAX).then_some(*retry_ms),
            Stream::Asked { .. } | Stream::Live { .. } => None,
        }
    }

    /// Follows an event at this time, and says what to do.
    pub(super) fn step(self, event: Event<P>, now_ms: u64) -> (Stream<P>, Vec<Action<P>>) {
        let mut actions = Vec::new();
        let next = match event {
            Event::Wanted => self.wanted(&mut actions),
            Event::Started(answer) => self.started(answer, now_ms, &mut actions),
            Event::Published {
                publication,
                at,
                bytes,
            } => self.published((publication, at, bytes), now_ms, &mut actions),
            Event::Read(answer) => self.read(answer, &mut actions),
            Event::Head(head) => self.head(head, now_ms, &mut actions),
            Event::Lost => self.lost(now_ms, &mut actions),
            Event::StreamChanged(head) => self.changed(head, &mut actions),
            Event::Cut => self.cut(&mut actions),
            Event::Back => match self {
                Stream::Away { before, .. } => ask(before, &mut actions),
                other => other,
            },
            Event::Tick { is_wanted } => self.tick(is_wanted, now_ms, &mut actions),
        };
        (next, actions)
    }

    fn wanted(self, actions: &mut Vec<Action<P>>) -> Stream<P> {
        match self {
            Stream::Idle => ask(Before::Nothing, actions),
            Stream::Lingering { last, .. } => Stream::Live { last },
            other => other,
        }
    }

    fn started(
        self,
        answer: Result<Start, Failure>,
        now_ms: u64,
        actions: &mut Vec<Action<P>>,
    ) -> Stream<P> {
        let Stream::Asked { before, held } = self else {
            return self;
        };
        let Ok(Start { head }) = answer else {
            actions.push(Action::FailJoins);
            let retry_ms = now_ms + RETRY_MS;
            return Stream::Away { before, retry_ms };
        };
        let Before::UpTo(last) = before else {
            return go_on(head, held, now_ms, actions);
        };
        match (last, head) {
            // What was missed meanwhile is in the history.
            (Some(last), Some(head)) if place(Some(last), Some(head)) != Place::Elsewhere => {
                if last.offset < head.offset {
                    return heal(last, held, now_ms, actions);
                }
                go_on(Some(last), held, now_ms, actions)
            }
            // Whether something was missed cannot be known.
            _ => {
                actions.push(Action::TellGap);
                go_on(head, held, now_ms, actions)
            }
        }
    }

    fn published(
        mut self,
        publication: (P, Option<StreamPosition>, usize),
        now_ms: u64,
        actions: &mut Vec<Action<P>>,
    ) -> Stream<P> {
        let (publication, at, bytes) = publication;
        match &mut self {
            Stream::Idle | Stream::Away { .. } => return self,
            Stream::Asked { held, .. } => {
                held.push(publication, at, bytes);
                // The hole is found by the offsets, if the topic has any.
                while held.is_too_much() {
                    if let Some((_, None)) = held.pop() {
                        actions.push(Action::TellGap);
                    }
                }
                return self;
            }
            Stream::Healing { last, held, .. } => {
                held.push(publication, at, bytes);
                if held.is_too_much() {
                    let (last, held) = (*last, std::mem::take(held));
                    return give_up(last, held, actions);
                }
                return self;
            }
            // No session listens, so a hole harms none.
            Stream::Lingering { last, .. } => {
                if place(*last, at) != Place::Before {
                    *last = at;
                    actions.push(Action::Deliver(publication, at));
                }
                return self;
            }
            Stream::Live { .. } => {}
        }
        let Stream::Live { last } = self else {
            return self;
        };
        let mut held = Held::default();
        held.push(publication, at, bytes);
        go_on(last, held, now_ms, actions)
    }

    fn read(self, answer: Result<Missing<P>, Failure>, actions: &mut Vec<Action<P>>) -> Stream<P> {
        let Stream::Healing {
            mut last,
            held,
            until_ms,
        } = self
        else {
            return self;
        };
        // Without an answer it is read again at the next tick.
        let Ok(missing) = answer else {
            return Stream::Healing {
                last,
                held,
                until_ms,
            };
        };
        if !missing.is_complete {
            // Without anything held, what follows the head is the next.
            let last = match held.is_empty() {
                true => missing.head.unwrap_or(last),
                false => last,
            };
            return give_up(last, held, actions);
        }
        for (publication, at) in missing.publications {
            if place(Some(last), Some(at)) == Place::Next {
                actions.push(Action::Deliver(publication, Some(at)));
                last = at;
            }
        }
        if missing.has_more {
            actions.push(Action::Read(last));
            return Stream::Healing {
                last,
                held,
                until_ms,
            };
        }
        fill(last, held, until_ms, actions)
    }

    fn head(self, head: StreamPosition, now_ms: u64, actions: &mut Vec<Action<P>>) -> Stream<P> {
        match self {
            Stream::Live { last: Some(last) } => match place(Some(last), Some(head)) {
                Place::Before => self,
                Place::Next | Place::BehindHole => heal(last, Held::default(), now_ms, actions),
                Place::Elsewhere => {
                    actions.push(Action::TellGap);
                    Stream::Live { last: Some(head) }
                }
            },
            other => other,
        }
    }

    fn lost(self, now_ms: u64, actions: &mut Vec<Action<P>>) -> Stream<P> {
        match self {
            // The history says up to where.
            Stream::Live { last: Some(last) } => heal(last, Held::default(), now_ms, actions),
            Stream::Live { last: None } => {
                actions.push(Action::TellGap);
                self
            }
            other => other,
        }
    }

    /// The configuration has taken or given a history. What went on last is no place on the stream that follows.
    fn changed(self, head: Option<StreamPosition>, actions: &mut Vec<Action<P>>) -> Stream<P> {
        match self {
            Stream::Live { .. } => Stream::Live { last: head },
            Stream::Lingering { until_ms, .. } => {
                let last = head;
                Stream::Lingering { last, until_ms }
            }
            // No history can fill the hole any more.
            Stream::Healing { last, held, .. } => {
                give_up(last, held, actions);
                Stream::Live { last: head }
            }
            // An answer that is under way may be of before the change.
            Stream::Asked { before, held } => {
                actions.push(Action::Ask);
                Stream::Asked { before, held }
            }
            other => other,
        }
    }

    fn cut(self, actions: &mut Vec<Action<P>>) -> Stream<P> {
        let before = match self {
            Stream::Idle => return Stream::Idle,
            Stream::Lingering { .. } => {
                actions.push(Action::Forget);
                return Stream::Idle;
            }
            Stream::Asked { before, .. } | Stream::Away { before, .. } => before,
            Stream::Live { last } => Before::UpTo(last),
            Stream::Healing { last, .. } => Before::UpTo(Some(last)),
        };
        actions.push(Action::FailJoins);
        let retry_ms = u64::MAX;
        Stream::Away { before, retry_ms }
    }

    fn tick(self, is_wanted: bool, now_ms: u64, actions: &mut Vec<Action<P>>) -> Stream<P> {
        match self {
            Stream::Idle | Stream::Away { .. } if !is_wanted => {
                actions.push(Action::Forget);
                Stream::Idle
            }
            Stream::Away { before, retry_ms } if retry_ms <= now_ms => ask(before, actions),
            Stream::Live { last } if !is_wanted => Stream::Lingering {
                last,
                until_ms: now_ms + LINGER_MS,
            },
            Stream::Lingering { last, .. } if is_wanted => Stream::Live { last },
            Stream::Lingering { until_ms, .. } if until_ms <= now_ms => {
                actions.extend([Action::Release, Action::Forget]);
                Stream::Idle
            }
            Stream::Healing {
                last,
                held,
                until_ms,
            } => {
                if until_ms <= now_ms {
                    return give_up(last, held, actions);
                }
                actions.push(Action::Read(last));
                Stream::Healing {
                    last,
                    held,
                    until_ms,
                }
            }
            other => other,
        }
    }
}

fn ask<P>(before: Before, actions: &mut Vec<Action<P>>) -> Stream<P> {
    actions.push(Action::Ask);
    let held = Held::default();
    Stream::Asked { before, held }
}

fn heal<P>(
    last: StreamPosition,
    held: Held<P>,
    now_ms: u64,
    actions: &mut Vec<Action<P>>,
) -> Stream<P> {
    actions.push(Action::Read(last));
    Stream::Healing {
        last,
        held,
        until_ms: now_ms + HEAL_MS,
    }
}

/// Lets what is held go on behind `last`, up to the first hole.
fn go_on<P>(
    last: Option<StreamPosition>,
    held: Held<P>,
    now_ms: u64,
    actions: &mut Vec<Action<P>>,
) -> Stream<P> {
    match held.splice(last, actions) {
        (Some(last), held) if !held.is_empty() => heal(last, held, now_ms, actions),
        (last, _) => Stream::Live { last },
    }
}

/// Like [`go_on`], for what was held while a hole was filled. Another hole is filled by the same time.
fn fill<P>(
    last: StreamPosition,
    held: Held<P>,
    until_ms: u64,
    actions: &mut Vec<Action<P>>,
) -> Stream<P> {
    match held.splice(Some(last), actions) {
        (Some(last), held) if !held.is_empty() => Stream::Healing {
            last,
            held,
            until_ms,
        },
        (last, _) => Stream::Live { last },
    }
}

/// Tells the hole behind `last`, and each one in what is held, and lets everything go on.
fn give_up<P>(last: StreamPosition, held: Held<P>, actions: &mut Vec<Action<P>>) -> Stream<P> {
    let (mut last, mut held) = held.splice(Some(last), actions);
    if held.is_empty() {
        actions.push(Action::TellGap);
    }
    while let Some((publication, at)) = held.pop() {
        actions.extend([Action::TellGap, Action::Deliver(publication, at)]);
        (last, held) = held.splice(at, actions);
    }
    Stream::Live { last }
}

/// How long a hole may take to be filled.
const HEAL_MS: u64 = 1_000;
/// How long the engine goes on telling of a topic that no session wants. A page that is loaded again comes back sooner.
const LINGER_MS: u64 = 5_000;
/// How long after a refusal the engine is asked again.
const RETRY_MS: u64 = 1_000;

#[cfg(test)]
mod tests;
