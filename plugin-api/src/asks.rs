//! What a handler asks of the state that servers share, for all styles: histories, members and kept values.
//!
//! A style differs in how it gets the answer: by a callback with a token, by a future, or by a call that waits. That is
//! its [`Asker`](asker::Asker). What is asked is said once, in `questions` and `store`.

pub(crate) mod answer;
pub(crate) mod any_thread;
pub(crate) mod ask;
pub(crate) mod asker;
pub(crate) mod callback_probe;
pub(crate) mod callbacks;
pub(crate) mod pages;
pub(crate) mod position;
pub(crate) mod questions;
pub(crate) mod results;
pub(crate) mod store;
pub(crate) mod waiting;
