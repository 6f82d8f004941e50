//! A stretch of an async function that no newer generation can take up.

use std::sync::Arc;

use crate::task::Task;

/// As long as this lives, its session does not move: see [`AsyncConn::stay`](crate::AsyncConn::stay).
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
