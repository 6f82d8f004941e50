//! A stretch of an async function that no newer generation can take up.

use std::sync::Arc;

use crate::task::Task;

/// As long as this lives, its session does not move: see [`AsyncConn::stay`](crate::AsyncConn::stay).
///
/// ```
/// # use wsh::prelude::*;
/// async fn order(conn: &mut AsyncConn) -> Result {
///     let stay = conn.stay(); // until the order is whole, newer code waits
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
pub struct Stay(Arc<Task>);

impl Stay {
    pub(crate) fn new(task: Arc<Task>) -> Self {
        task.lock().stays += 1;
        Stay(task)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.lock().stays -= 1;
    }
}
