//! The answer of the broker, and the server's function that waits for it.

use super::events::Effect;
use crate::engine::{Done, Failure, MembersPage, Page, Start, StoreAnswer, StreamPosition};

/// What the broker answers.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Position(StreamPosition),
    Start(Start),
    Page(Page),
    Version(u64),
    Members(MembersPage),
    Store(StoreAnswer),
}

/// What is called with the answer.
pub(super) enum Waiting {
    Position(Done<StreamPosition>),
    Start(Done<Start>),
    Page(Done<Page>),
    Version(Done<u64>),
    Members(Done<MembersPage>),
    Store(Done<StoreAnswer>),
}

impl Waiting {
    pub(super) fn answer(self, reply: Result<Reply, Failure>) -> Effect {
        Box::new(move || match (self, reply) {
            (Waiting::Position(done), Ok(Reply::Position(it))) => done(Ok(it)),
            (Waiting::Start(done), Ok(Reply::Start(it))) => done(Ok(it)),
            (Waiting::Page(done), Ok(Reply::Page(it))) => done(Ok(it)),
            (Waiting::Version(done), Ok(Reply::Version(it))) => done(Ok(it)),
            (Waiting::Members(done), Ok(Reply::Members(it))) => done(Ok(it)),
            (Waiting::Store(done), Ok(Reply::Store(it))) => done(Ok(it)),
            (_, Ok(other)) => panic!("the broker has answered another question: {other:?}"),
            (Waiting::Position(done), Err(failure)) => done(Err(failure)),
            (Waiting::Start(done), Err(failure)) => done(Err(failure)),
            (Waiting::Page(done), Err(failure)) => done(Err(failure)),
            (Waiting::Version(done), Err(failure)) => done(Err(failure)),
            (Waiting::Members(done), Err(failure)) => done(Err(failure)),
            (Waiting::Store(done), Err(failure)) => done(Err(failure)),
        })
    }
}
