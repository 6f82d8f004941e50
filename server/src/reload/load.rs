//! One load, on a thread of its own, so that the reconciler goes on whatever the plugin does there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::border::handler_context::{HandlerContext, Rights};
use crate::border::library::{LoadProgress, Plugin, PluginSource};
use crate::border::trial::Bounds;
use crate::generation::Provenance;
use crate::plugin::inspect::PluginInfo;
use crate::plugin::refusal::Refusal;
use crate::plugin::stage::Stage;
use crate::plugin::step::Step;
use crate::shared::Shared;

/// A plugin that was read and inspected, and is to be loaded.
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) hash: u64,
    pub(crate) about: PluginInfo,
    pub(crate) config_json: String,
    pub(crate) rights: Rights,
    pub(crate) bounds: Bounds,
}

/// A load under way.
#[derive(Debug)]
pub(crate) struct Loading {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) began: Instant,
    context: &'static HandlerContext,
    progress: Arc<LoadProgress>,
}

/// The end of a load.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) context: &'static HandlerContext,
    pub(crate) provenance: Provenance,
    pub(crate) outcome: Result<Plugin, Refusal>,
}

/// Begins to load. `done` is called from the load's thread.
pub(crate) fn start(
    job: Job,
    shared: &Arc<Shared>,
    stage: &Arc<Stage>,
    done: impl FnOnce(Finished) + Send + 'static,
) -> Result<Loading, Refusal> {
    begin(job, shared, stage, |job, context, stage, progress| {
        let outcome = Plugin::load(&job.source(), context, stage, progress);
        if outcome.is_err() {
            context.end();
        }
        done(Finished {
            context,
            provenance: Provenance {
                path: job.path,
                hash: job.hash,
                config_json: job.config_json,
                about: job.about,
            },
            outcome,
        });
    })
}

/// Begins to find out whether a plugin could be loaded. `done` is called from the thread that does.
pub(crate) fn check(
    job: Job,
    shared: &Arc<Shared>,
    stage: &Arc<Stage>,
    done: impl FnOnce(Result<(), Refusal>) + Send + 'static,
) -> Result<Loading, Refusal> {
    begin(job, shared, stage, |job, context, stage, progress| {
        done(Plugin::check(&job.source(), context, stage, progress));
    })
}

fn begin(
    job: Job,
    shared: &Arc<Shared>,
    stage: &Arc<Stage>,
    work: impl FnOnce(Job, &'static HandlerContext, &Stage, &LoadProgress) + Send + 'static,
) -> Result<Loading, Refusal> {
    let context = HandlerContext::leak(&job.name, job.number, shared, job.rights, None);
    let progress = Arc::new(LoadProgress::new());
    let loading = Loading {
        number: job.number,
        path: job.path.clone(),
        began: Instant::now(),
        context,
        progress: progress.clone(),
    };
    let stage = stage.clone();
    let work = move || work(job, context, &stage, &progress);
    let thread = std::thread::Builder::new().name(format!("load-{}", loading.number));
    match thread.spawn(work) {
        Ok(_) => Ok(loading),
        Err(error) => {
            context.end();
            Err(Refusal::NoThread(error.to_string()))
        }
    }
}

impl Job {
    fn source(&self) -> PluginSource<'_> {
        PluginSource {
            bytes: &self.bytes,
            hash: self.hash,
            path: &self.path,
            about: &self.about,
            config_json: &self.config_json,
            bounds: self.bounds,
        }
    }
}

impl Loading {
    /// The refusal with which the load is given up, if it has been in one step for longer than `limit`.
    pub(crate) fn overdue(&self, limit: Duration) -> Option<Refusal> {
        let (step, since) = self.progress.now();
        // The thread that waits for a trial holds it against deadlines of its own.
        (step != Step::Trial && since.elapsed() > limit).then_some(Refusal::Late { step, limit })
    }

    /// Gives the load up: every host function answers the plugin GONE from now on.
    pub(crate) fn give_up(&self) {
        self.context.end();
    }

    /// Whether the load waits for the plugin's own code, and keeps no processor of the server busy.
    pub(crate) fn is_waiting_for_plugin(&self) -> bool {
        let (step, since) = self.progress.now();
        step != Step::Staging && since.elapsed() > Duration::from_millis(100)
    }
}
