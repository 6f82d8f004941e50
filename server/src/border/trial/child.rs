//! One trial, in a process of its own: opens the copy, makes the calls of a load, and reports.
//!
//! The process has the server's working directory, its environment and the functions that the program
//! exports, as a load has, and none of its descriptors. What the plugin does here ends with the process.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
};

use super::page::{Mapped, REPORT_BYTES_MAX};
use super::report::{TrialReport, TrialRequest};
use super::sentinels::Sentinels;
use crate::border::handler_context::HandlerContext;
use crate::border::handler_log::CapturedLines;
use crate::border::image;
use crate::border::library::{InitArgument, Plugin};
use crate::config::{Config, LogLevel};
use crate::plugin::libraries;
use crate::plugin::refusal::Refusal;
use crate::plugin::step::Step;
use crate::process::machine;
use crate::process::optional::{Optional, is_allowed};
use crate::shared::Shared;

/// Runs the trial that `page` asks for, in the process that `helper` has forked for it.
pub(super) fn run(page: &OwnedFd, helper: Pid) -> ! {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if getppid() != Some(helper) {
        // The helper ended before the signal was asked for, so that it never comes.
        // SAFETY: `_exit` takes a number, and may be called at any time.
        unsafe { libc::_exit(BROKEN) }
    }
    let ran = std::panic::catch_unwind(|| {
        if let Ok(mapped) = Mapped::map(page)
            && let Ok(request) = serde_json::from_slice::<TrialRequest>(&mapped.request())
        {
            isolate(page, &mapped, &request);
            try_plugin(&mapped, &request);
        }
    });
    // A panic in here is a fault of this program's own.
    let status = if ran.is_ok() { 0 } else { BROKEN };
    // Functions that libraries have for the end of a process do not run, as they do not in the server.
    // SAFETY: `_exit` takes a number, and may be called at any time.
    unsafe { libc::_exit(status) }
}

/// Makes the process one that can be ended with its children, and that can harm nothing else.
fn isolate(page: &OwnedFd, mapped: &Mapped, request: &TrialRequest) {
    // Failures are ignored: each of these limits a bad plugin, and no good plugin depends on one.
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"wshd-trial-of");
    for signal in IGNORED {
        // SAFETY: the call sets a signal to its default, which has no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let words = rustix::fs::SeekFrom::Start(mapped.words_at());
    if rustix::fs::seek(page, words).is_ok() {
        let _ = rustix::stdio::dup2_stderr(page);
    }
    // SAFETY: the process never returns from `run`, and uses no descriptor but the first three: the
    // page stays mapped.
    unsafe { close_from(3) };
    // If memory runs out, the kernel ends this process and not the server.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    // One byte and not 0, which is no limit for a core that is piped to a program.
    limit(Resource::Core, 1);
    limit(Resource::Cpu, request.processor_s_max);
    let allowed = match request.memory_bytes_max {
        0 => machine::memory_bytes() / 2,
        bytes => bytes,
    };
    limit(Resource::Data, data_bytes().saturating_add(allowed));
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

/// Makes the calls of a load, and reports what came of them.
fn try_plugin(page: &Mapped, request: &TrialRequest) {
    let mut config = Config {
        log_level: LogLevel::Off,
        ..Config::default()
    };
    // The server holds the plugin to its limits, which are not known here.
    config.defaults.limits.asks_max = usize::MAX;
    config.defaults.limits.store_value_bytes_max = usize::MAX;
    // Its engine is this process's own, and ends with it.
    let shared = Shared::new(Arc::new(ArcSwap::from_pointee(config)));
    let level = &shared.log_level;
    level.store(request.log_level, std::sync::atomic::Ordering::Relaxed);
    let context = HandlerContext::leak(
        &request.handler,
        request.generation,
        &shared,
        request.rights,
        Some(CapturedLines::new(LINES_BYTES_MAX)),
    );
    let before = libraries::mapped();
    let copy = Path::new(OsStr::from_bytes(&request.copy));
    // Opened last, when the limit of open files is the one that the plugin finds.
    let sentinels = Sentinels::open();
    let outcome = load(page, request, context, copy).and_then(|()| match sentinels.harm() {
        Some(harm) => Err(Refusal::Unfit(harm.to_owned())),
        None => Ok(()),
    });
    let after = libraries::mapped();
    let came = after
        .iter()
        .filter(|path| !before.contains(path) && *path != copy);
    let mut report = TrialReport {
        unfit: outcome.err().map(|refusal| refusal.to_string()),
        libraries: came.filter_map(|path| libraries::read(path)).collect(),
        lines: context
            .captured_lines
            .as_ref()
            .map(CapturedLines::take)
            .unwrap_or_default(),
    };
    let mut bytes = serde_json::to_vec(&report).unwrap_or_default();
    if bytes.len() > REPORT_BYTES_MAX {
        // The verdict matters more than the log lines.
        report.lines.clear();
        bytes = serde_json::to_vec(&report).unwrap_or_default();
    }
    page.write_report(&bytes);
}

/// Opens the copy, and makes the calls of a load with `context`.
fn load(
    page: &Mapped,
    request: &TrialRequest,
    context: &'static HandlerContext,
    copy: &Path,
) -> Result<(), Refusal> {
    page.reach(Step::Opening);
    let opened = image::open(copy)?;
    page.reach(Step::Init);
    let argument = InitArgument {
        config_json: &request.config_json,
        is_check: true,
    };
    // The image's addresses matter only where thread keys are freed.
    let plugin = Plugin::init(opened, &argument, context, 0..0)?;
    page.reach(Step::SelfTest);
    let is_fit = plugin.self_test();
    page.reach(Step::Shutdown);
    plugin.shutdown();
    is_fit
}

/// Sets the soft limit of a resource, if it is lower than what holds.
fn limit(resource: Resource, most: u64) {
    let now = getrlimit(resource);
    let current = now.current.map_or(most, |current| current.min(most));
    let _ = setrlimit(
        resource,
        Rlimit {
            current: Some(current),
            maximum: now.maximum,
        },
    );
}

/// The memory that this process can write to already, which counts against the limit.
fn data_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_ascii_whitespace().nth(5);
    let pages: u64 = pages.and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

/// Closes every descriptor from `first` on.
///
/// # Safety
///
/// No owner of such a descriptor uses or drops it afterwards.
pub(super) unsafe fn close_from(first: i32) {
    if is_allowed(Optional::ClosingMany) {
        // SAFETY: the caller promises that no owner uses the descriptors.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
        if closed == 0 {
            return;
        }
    }
    // A kernel before 5.9, or a filter that does not know the call.
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.parse::<i32>().ok()
    });
    let open: Vec<i32> = open.filter(|fd| *fd >= first).collect();
    for fd in open {
        // SAFETY: the caller promises that no owner uses the descriptor. The directory's own one is closed already.
        unsafe { libc::close(fd) };
    }
}

/// The signals that the helper ignores, because they are meant for the server.
pub(super) const IGNORED: [i32; 7] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
];
/// The most bytes of a trial's log lines that are kept.
const LINES_BYTES_MAX: usize = 48 * 1024;
/// The exit status after a fault of this program's own: `EX_SOFTWARE` of sysexits.h.
const BROKEN: i32 = 70;
