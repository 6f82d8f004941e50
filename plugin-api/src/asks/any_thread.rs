//! Asking on any thread, for the handler itself and not for one of its sessions.

use crate::{
    asks::{
        ask::Ask,
        asker::{ByAnyThread, ListAsker},
        pages::AskAll,
        position::Position,
        questions,
        results::{History, Member, Members, Next},
        store::Store,
    },
    message::payload::Payload,
};

/// The values that the handler keeps, for any thread: see [`Store`].
///
/// ```
/// use wsh::prelude::*;
///
/// fn count() -> Result {
///     wsh::spawn(|stop| {
///         while !stop.wait(std::time::Duration::from_secs(60)) {
///             if let Err(refused) = wsh::store().put_json("alive", &true).wait() {
///                 wsh::warn!("not kept: {refused}");
///             }
///         }
///     })?;
///     Ok(())
/// }
/// ```
///
/// A function of it answers [`Refused::Misuse`](crate::Refused::Misuse) in [`test`](mod@crate::test) on a thread that the
/// handler has not begun by [`spawn()`](crate::spawn()).
pub fn store() -> Store<ByAnyThread> {
    Store::new(ByAnyThread::here())
}

/// Publishes a message like [`publish`](crate::publish), and answers with its position once the topic's history has it.
/// Any thread may call it.
///
/// ```
/// # use wsh::prelude::*;
/// # fn headline(text: &'static str) -> Result {
/// wsh::spawn(move |_| match wsh::publish_acked("news", text).wait() {
///     Ok(position) => wsh::info!("published at {position}"),
///     Err(refused) => wsh::warn!("not published: {refused}"),
/// })?;
/// # Ok(()) }
/// ```
///
/// The answer is [`Refused::Unsupported`](crate::Refused::Unsupported) for a topic without history, and otherwise refused
/// as by [`publish`](crate::publish).
pub fn publish_acked<P: Payload>(topic: &str, message: P) -> Ask<Position> {
    questions::publish_acked(&ByAnyThread::here(), topic, &message, 0)
}

/// Asks for publications of a topic, the oldest first: at most `limit` behind the position `after`, or without one the
/// last `limit`. Any thread may call it.
///
/// ```
/// # use wsh::prelude::*;
/// # fn digest() -> Result {
/// wsh::spawn(|_| {
///     let page = wsh::history("news", None, 100).wait();
///     wsh::info!("{} headlines", page.map_or(0, |page| page.publications.len()));
/// })?;
/// # Ok(()) }
/// ```
///
/// The answer is [`Refused::Unsupported`](crate::Refused::Unsupported) for a topic without history.
pub fn history(topic: &str, after: Option<&Position>, limit: u64) -> Ask<History> {
    questions::history(&ByAnyThread::here(), topic, after, limit)
}

/// Asks for members of a topic, at most `limit`, in no promised order. `after` is [`Members::next`] of the page before.
/// Any thread may call it.
///
/// ```
/// # use wsh::prelude::*;
/// # fn census() -> Result {
/// wsh::spawn(|_| {
///     let page = wsh::present("lobby", None, 100).wait();
///     wsh::info!("{} are here", page.map_or(0, |page| page.members.len()));
/// })?;
/// # Ok(()) }
/// ```
pub fn present(topic: &str, after: Option<&Next>, limit: u64) -> Ask<Members> {
    questions::present(&ByAnyThread::here(), topic, after, limit)
}

/// Asks for all members of a topic, in no promised order, and so for one page after the other. The answer is a list of
/// [`Member`]. Any thread may call it.
///
/// ```
/// # use wsh::prelude::*;
/// # fn census() -> Result {
/// wsh::spawn(|_| match wsh::members("lobby").wait() {
///     Ok(members) => wsh::info!("{} are here", members.len()),
///     Err(refused) => wsh::warn!("no census: {refused}"),
/// })?;
/// # Ok(()) }
/// ```
///
/// A list of more than 1,048,576 members is [`Refused::TooBig`](crate::Refused::TooBig); [`present`] lists a page.
pub fn members(topic: &str) -> AskAll<ByAnyThread, Member> {
    ByAnyThread::here().ask_all(topic, questions::members)
}
