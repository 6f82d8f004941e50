//! Guards by which an async function says when its session may move to a newer generation.

use std::sync::Arc;

use crate::styles::asynchronous::{channel::AsyncChannel, conn::AsyncConn};

impl<S> AsyncConn<S> {
    /// Keeps the session in this generation of the handler while the returned guard lives: for a section of the function
    /// that a newer generation could not continue from the [`state`](Self::state).
    ///
    /// ```standalone_crate
    /// # use wsh::prelude::*;
    /// async fn login(conn: &mut AsyncConn<String>) -> Result {
    ///     if conn.state.is_empty() {
    ///         // The state does not say that the question was asked.
    ///         let stay = conn.stay();
    ///         conn.send("who are you?").await?;
    ///         let name = conn.recv().await.ok_or("gone")?;
    ///         conn.state = name.to_string();
    ///         drop(stay);
    ///     }
    ///     while let Some(message) = conn.recv().await {
    ///         conn.send(format!("{}: {message}", conn.state)).await?;
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// wsh::handler!(async login);
    /// ```
    #[must_use = "the session stays while this lives"]
    pub fn stay(&self) -> Stay {
        Stay::new(Arc::clone(&self.channel))
    }

    /// Lets the session move while the function waits for something beside its connection, as in a `select!` that it never
    /// leaves. It holds while the returned guard lives. When the session moves, those waits are dropped, and the function
    /// begins again in the newer generation with its [`state`](Self::state).
    ///
    /// Without the guard such a session stays: an event that a channel or a socket of the function holds, and has not
    /// delivered yet, would be lost. So the guard is for events that can be asked for again, from the point that the state
    /// says.
    ///
    /// ```standalone_crate
    /// # use std::{future::{Future, poll_fn}, pin::pin, task::Poll};
    /// # use wsh::prelude::*;
    /// # async fn next_price(_: u64) -> u64 { std::future::pending().await }
    /// async fn prices(conn: &mut AsyncConn<u64>) -> Result {
    ///     let _let_go = conn.let_go();
    ///     loop {
    ///         let price = {
    ///             // Or `select!`.
    ///             let (mut next, mut said) = (pin!(next_price(conn.state)), pin!(conn.recv()));
    ///             poll_fn(|cx| match next.as_mut().poll(cx) {
    ///                 Poll::Ready(price) => Poll::Ready(Some(price)),
    ///                 Poll::Pending => said.as_mut().poll(cx).map(|_| None),
    ///             })
    ///             .await
    ///         };
    ///         let Some(price) = price else { return Ok(()) };
    ///         conn.state = price;
    ///         conn.send(price.to_string()).await?;
    ///     }
    /// }
    /// # fn main() {}
    /// wsh::handler!(async prices);
    /// ```
    ///
    /// While a [`stay`](Self::stay) lives, too, the session stays.
    #[must_use = "the function lets go while this lives"]
    pub fn let_go(&self) -> LetGo {
        LetGo::new(Arc::clone(&self.channel))
    }
}

/// Keeps its session in this generation while it lives: see [`AsyncConn::stay`](crate::AsyncConn::stay).
///
/// ```
/// # use wsh::prelude::*;
/// async fn order(conn: &mut AsyncConn) -> Result {
///     let stay = conn.stay(); // newer code waits until the order is complete
///     let what = conn.recv().await.ok_or("gone")?;
///     conn.send("how many?").await?;
///     let many = conn.recv().await.ok_or("gone")?;
///     drop(stay);
///     conn.send(format!("{many} {what}")).await?;
///     while conn.recv().await.is_some() {}
///     Ok(())
/// }
/// # let mut client = wsh::test::connect(wsh::descriptor!(async order, restarts));
/// # client.send("tea");
/// # assert_eq!(client.receive().unwrap(), "how many?");
/// # assert!(!client.migrate());
/// # client.send("two");
/// # assert_eq!(client.receive().unwrap(), "two tea");
/// ```
#[derive(Debug)]
pub struct Stay(Arc<AsyncChannel>);

impl Stay {
    pub(crate) fn new(channel: Arc<AsyncChannel>) -> Self {
        channel.lock().stays += 1;
        Stay(channel)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.lock().stays -= 1;
    }
}

/// Lets its session move while the function waits for something beside its connection: see
/// [`AsyncConn::let_go`](crate::AsyncConn::let_go).
///
/// ```
/// use wsh::prelude::*;
///
/// async fn watch(conn: &mut AsyncConn, feed: impl Future<Output = String>) -> Result {
///     let let_go = conn.let_go();
///     let news = feed.await;
///     // The session cannot move before the news is sent.
///     drop(let_go);
///     conn.send(news).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct LetGo(Arc<AsyncChannel>);

impl LetGo {
    pub(crate) fn new(channel: Arc<AsyncChannel>) -> Self {
        channel.lock().let_go_guards += 1;
        LetGo(channel)
    }
}

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.lock().let_go_guards -= 1;
    }
}
