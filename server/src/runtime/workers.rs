//! The runtime's workers, for jobs that others hand to them.

use tokio::runtime::Handle;

use crate::runtime;

/// Where a task can be started from any thread. In a process without a runtime (a trial, `wshd check`) no task runs.
#[derive(Clone, Debug)]
pub(crate) struct Workers(Option<Handle>);

impl Workers {
    /// The workers of the runtime in which this is called, or none.
    pub(crate) fn of_this_runtime() -> Workers {
        Workers(Handle::try_current().ok())
    }

    /// Starts a task, which does not wait for the callback that this is called in. It is dropped where there is no runtime.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Workers(Some(runtime)) = self {
            runtime.spawn(task);
            // The last task that a worker starts lies in its LIFO slot, where no other worker finds it.
            runtime.spawn(async {});
        }
    }

    /// How many workers the callbacks of one handler that belong to no session may hold: a quarter of all.
    pub(crate) fn for_jobs_of_one_handler(&self) -> usize {
        let half = self.0.as_ref().map_or(1, runtime::workers_of_one_handler);
        half.div_ceil(2)
    }
}
