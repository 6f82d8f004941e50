//! Loads a plugin, and makes the calls that a generation makes a few times in its life.

use std::ffi::c_void;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use wsh::abi::{self, Status, Vtable};
use wsh::rules;

use super::failure_reason;
use super::guards::exits;
use super::guards::images;
use super::guards::process_state;
use super::guards::thread_keys::{self, ImageRange};
use super::guards::thread_local_destructors;
use super::handler_context::HandlerContext;
use super::handler_log::escape_into;
use super::host_table;
use super::image::{OpenedImage, copy_vtable, open};
use super::lent_memory;
use super::opening::Opening;
use super::trial::{self, Bounds, Subject, Tried};
use crate::plugin::inspect::PluginInfo;
use crate::plugin::libraries::{self, Claim};
use crate::plugin::refusal::Refusal;
use crate::plugin::stage::{Stage, StagedCopy};
use crate::plugin::step::Step;

/// A plugin that was opened and initialised. Its image is never unmapped: threads, thread-locals and
/// `'static` data of a Rust library would point into nothing.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) handler: *mut c_void,
    pub(super) context: &'static HandlerContext,
    image: ImageRange,
    /// A copy of the plugin's own. Fields that an older plugin does not have are NULL.
    pub(crate) vtable: &'static Vtable,
}

// SAFETY: by the ABI (abi.rs, *order of callbacks*) the handler's functions may be called from any thread. Only `Generation`
// calls those that must follow one another.
unsafe impl Send for Plugin {}
// SAFETY: by the ABI (abi.rs, *order of callbacks*) the handler may be used by several threads at a time.
unsafe impl Sync for Plugin {}

/// What is loaded, and how.
pub(crate) struct PluginSource<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) hash: u64,
    pub(crate) path: &'a Path,
    pub(crate) about: &'a PluginInfo,
    /// The handler's table of the configuration as JSON.
    pub(crate) config_json: &'a str,
    /// The bounds of its trial.
    pub(crate) bounds: Bounds,
}

/// The arguments of `init` that differ between loads and trials.
pub(crate) struct InitArgument<'a> {
    pub(crate) config_json: &'a str,
    /// Whether no traffic follows.
    pub(crate) is_check: bool,
}

/// The step of a load, which its waiter holds against a deadline.
#[derive(Debug)]
pub(crate) struct LoadProgress(Mutex<(Step, Instant)>);

impl LoadProgress {
    pub(crate) fn new() -> LoadProgress {
        LoadProgress(Mutex::new((Step::Staging, Instant::now())))
    }

    /// The step, and when it began.
    pub(crate) fn now(&self) -> (Step, Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, step: Step) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (step, Instant::now());
    }
}

impl Plugin {
    /// Stages, tries, opens, initialises and tests a plugin. It takes as long as the plugin's code does.
    pub(crate) fn load(
        source: &PluginSource<'_>,
        context: &'static HandlerContext,
        stage: &Stage,
        progress: &LoadProgress,
    ) -> Result<Plugin, Refusal> {
        thread_keys::check_enough_left()?;
        let copy = staged(source, context, stage)?;
        let libraries = match try_staged(&copy, source, context, progress, false)? {
            Tried::Passed(libraries) => libraries,
            Tried::Not => copy.beside.clone(),
        };
        let claim = libraries::claim(&libraries)?;
        Plugin::open_staged(copy, claim, source, context, progress, false)
    }

    /// Finds out whether a plugin could be loaded, by a trial. Where there is no trial the plugin is loaded,
    /// told that no traffic follows, and shut down again.
    pub(crate) fn check(
        source: &PluginSource<'_>,
        context: &'static HandlerContext,
        stage: &Stage,
        progress: &LoadProgress,
    ) -> Result<(), Refusal> {
        let copy = staged(source, context, stage)?;
        match try_staged(&copy, source, context, progress, true)? {
            Tried::Passed(libraries) => {
                // Claimed as in a load: of two plugins that want two versions, one is refused.
                libraries::claim(&libraries)?.keep();
            }
            Tried::Not => {
                thread_keys::check_enough_left()?;
                let claim = libraries::claim(&copy.beside)?;
                Plugin::open_staged(copy, claim, source, context, progress, true)?.shutdown();
            }
        }
        Ok(())
    }

    fn open_staged(
        copy: StagedCopy,
        claim: Claim,
        source: &PluginSource<'_>,
        context: &'static HandlerContext,
        progress: &LoadProgress,
        is_check: bool,
    ) -> Result<Plugin, Refusal> {
        thread_local_destructors::prepare();
        let opening = Opening::begin(&context.handler, source.bounds.timeout)?;
        let _call = process_state::lifecycle_call(context);
        progress.reach(Step::Opening);
        let within = exits::enter_call(context, "constructors");
        let opened = open(&copy.path);
        drop(within);
        drop(opening);
        process_state::restore_after(context, "constructors");
        let opened = opened?;
        claim.keep();
        drop(copy);
        // The image's addresses follow from the file. To ask the linker takes longer with each image.
        let image = source.about.placement.image(opened.descriptor_at);
        images::note(image.clone(), Some(context));
        progress.reach(Step::Init);
        let argument = InitArgument {
            config_json: source.config_json,
            is_check,
        };
        let plugin = Plugin::init(opened, &argument, context, image.clone());
        process_state::restore_after(context, "init");
        let loaded = plugin.and_then(|plugin| {
            progress.reach(Step::SelfTest);
            let is_fit = plugin.self_test();
            if is_fit.is_err() {
                plugin.shutdown();
            }
            is_fit.map(|()| plugin)
        });
        if loaded.is_err() && !source.about.may_start_threads && context.threads() == 0 {
            thread_keys::free_keys_of(&image);
        }
        loaded
    }

    /// Calls `init` of an image that is open.
    pub(crate) fn init(
        opened: OpenedImage,
        argument: &InitArgument<'_>,
        context: &'static HandlerContext,
        image: ImageRange,
    ) -> Result<Plugin, Refusal> {
        let init = opened.init.ok_or(Refusal::NoFunction("init"))?;
        let arguments = abi::Init {
            size: size_of::<abi::Init>() as u32,
            flags: if argument.is_check { abi::CHECK } else { 0 },
            generation: context.generation,
            config_json: lent_memory::lend(argument.config_json),
            name: lent_memory::lend(&context.handler),
        };
        let mut instance = abi::Instance {
            size: size_of::<abi::Instance>() as u32,
            flags: 0,
            handler: std::ptr::null_mut(),
            vtable: std::ptr::null(),
        };
        failure_reason::take_reason();
        let _within = exits::enter_call(context, "init");
        // SAFETY: the descriptor's file was inspected, and its image stays mapped. The host table lives
        // as long as the process, and the arguments live until the call returns. `init` is called once
        // for each image.
        let status = unsafe {
            init(
                host_table::table(context),
                &raw const arguments,
                &raw mut instance,
            )
        };
        settled("init", status)?;
        rules::instance(instance.flags).map_err(Refusal::Unfit)?;
        if instance.vtable.is_null() {
            let why = "it left no vtable".to_owned();
            return Err(Refusal::Failed {
                callback: "init",
                why,
            });
        }
        // SAFETY: by the ABI the vtable lives as long as the image, which is never unmapped.
        let vtable = unsafe { copy_vtable(instance.vtable) }?;
        Ok(Plugin {
            handler: instance.handler,
            context,
            image,
            vtable: keep_vtable(vtable),
        })
    }

    /// Calls `self_test`, by which the handler says whether it is fit to serve.
    pub(crate) fn self_test(&self) -> Result<(), Refusal> {
        let Some(self_test) = self.vtable.self_test else {
            return Ok(());
        };
        failure_reason::take_reason();
        let _within = exits::enter_call(self.context, "self_test");
        // SAFETY: `handler` is what `init` gave, and `shutdown` has not run.
        settled("self_test", unsafe { self_test(self.handler) })
    }

    /// Calls `serving`: connections come from now on, or no more.
    pub(crate) fn serving(&self, on: bool) {
        if let Some(serving) = self.vtable.serving {
            let _call = process_state::lifecycle_call(self.context);
            let within = exits::enter_call(self.context, "serving");
            // SAFETY: `handler` is what `init` gave, and `shutdown` has not run: a generation's
            // lifecycle calls follow one another and `shutdown` is the last.
            unsafe { serving(self.handler, u32::from(on)) }
            drop(within);
            process_state::restore_after(self.context, "serving");
        }
    }

    /// Calls `shutdown`, which frees the handler. To be called once, when it has no session and no attempt
    /// any more.
    pub(crate) fn shutdown(&self) {
        if let Some(shutdown) = self.vtable.shutdown {
            let _call = process_state::lifecycle_call(self.context);
            let within = exits::enter_call(self.context, "shutdown");
            // SAFETY: as in `serving`, and the caller promises that this is the last call.
            unsafe { shutdown(self.handler) }
            drop(within);
            process_state::restore_after(self.context, "shutdown");
        }
    }

    /// Frees the plugin's thread keys and returns their number. To be called once, after `shutdown`, when none
    /// of the plugin's code runs or can run any more.
    pub(crate) fn free_thread_keys(&self) -> usize {
        thread_keys::free_keys_of(&self.image)
    }
}

/// Ends the process without running what libraries have for its end: threads of plugins may still run,
/// and no library was closed.
pub(crate) fn leave(code: u8) -> ! {
    #[cfg(sanitized)]
    tell_leaks();
    // SAFETY: `_exit` may be called at any time.
    unsafe { libc::_exit(i32::from(exits::code_or(code))) }
}

/// Has AddressSanitizer look for leaked memory, which it does by itself at an `exit` only.
#[cfg(sanitized)]
fn tell_leaks() {
    // SAFETY: a lookup by a name that ends with NUL.
    let check = unsafe {
        let name = c"__lsan_do_recoverable_leak_check";
        libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr())
    };
    if !check.is_null() {
        // SAFETY: the function of this name takes nothing and answers a number.
        let check: extern "C" fn() -> libc::c_int = unsafe { std::mem::transmute(check) };
        check();
    }
}

/// Keeps a vtable as long as the image of its plugin, which is never unmapped.
#[inline(never)] // A leak detector knows it by this function.
fn keep_vtable(vtable: Vtable) -> &'static Vtable {
    Box::leak(Box::new(vtable))
}

/// Stages a plugin's copy, and what it needs beside it.
fn staged(
    source: &PluginSource<'_>,
    context: &'static HandlerContext,
    stage: &Stage,
) -> Result<StagedCopy, Refusal> {
    let needed = &source.about.needed;
    let copy = stage.copy(&context.handler, source.bytes, source.path, needed);
    copy.map_err(|error| Refusal::Unstaged(error.to_string()))
}

/// Tries a copy, in a process of its own.
fn try_staged(
    copy: &StagedCopy,
    source: &PluginSource<'_>,
    context: &'static HandlerContext,
    progress: &LoadProgress,
    is_all: bool,
) -> Result<Tried, Refusal> {
    progress.reach(Step::Trial);
    let subject = Subject {
        context,
        config_json: source.config_json,
        bounds: source.bounds,
        hash: source.hash,
        beside: &copy.beside,
        is_all,
    };
    trial::try_copy(&copy.path, &subject)
}

/// The meaning of a lifecycle callback's status, with the text that the plugin gave to `fail`.
fn settled(callback: &'static str, status: Status) -> Result<(), Refusal> {
    let words = failure_reason::take_reason();
    if status == abi::OK {
        return Ok(());
    }
    let why = words.unwrap_or_else(|| match status {
        abi::PANIC => "it panicked".to_owned(),
        other => format!("it answered status {other}"),
    });
    let mut escaped = String::new();
    escape_into(&mut escaped, why.as_bytes());
    Err(Refusal::Failed {
        callback,
        why: escaped,
    })
}
