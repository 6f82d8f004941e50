//! A trial before the load: a plugin is opened, initialised and tested in a process of its own. Only a
//! plugin that passes is opened in the server.
//!
//! A library can end its process before any function of it is called: a torn page is enough for that,
//! inside `dlopen`. A constructor that hangs holds the dynamic linker's lock, and with it everything.
//! So a plugin is opened for the first time in a process that may end or hang. The server keeps one
//! *helper* process for this, forked before anything else is done, which forks a process for each trial.
//!
//! [`link`] is the server's way to the helper, and [`helper`] is that process. [`child`] runs in the
//! forked process, and [`page`] is the memory that it shares with the server: [`report`] says what it is
//! asked and what it answers. [`sentinels`] show that a plugin closes descriptors that are not its own.
//! [`passed`] keeps verdicts, and [`overlap`] finds out whether trials were under way at one time.

mod child;
mod helper;
mod link;
mod overlap;
mod page;
mod passed;
pub(crate) mod report;
mod sentinels;

pub(crate) use self::link::{be_helper_if_asked, end_helper, start_helper, start_helper_again};

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use self::helper::{ANSWER_BYTES, HelperAnswer};
use self::overlap::OverlapCheck;
use self::page::Page;
use self::passed::{note_passed, passed_before, verdict_key};
use self::report::{TrialReport, TrialRequest};
use super::handler_context::HandlerContext;
use super::handler_log::escape_into;
use crate::config::{Config, HandlerConfig, Trial};
use crate::plugin::libraries::Library;
use crate::plugin::refusal::Refusal;
use crate::plugin::step::{End, Step};

/// The copy that is tried, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) context: &'static HandlerContext,
    pub(crate) config_json: &'a str,
    pub(crate) bounds: Bounds,
    /// The hash of the plugin's file.
    pub(crate) hash: u64,
    /// The libraries that lie beside the copy.
    pub(crate) beside: &'a [Library],
    /// Whether no load follows, which would log again what the trial has logged.
    pub(crate) is_all: bool,
}

/// What a trial may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) policy: Trial,
    /// How long each step may take.
    pub(crate) timeout: Duration,
    pub(crate) memory_bytes_max: u64,
}

impl Bounds {
    /// The bounds for a handler with these settings.
    pub(crate) fn of(config: &Config, settings: &HandlerConfig) -> Bounds {
        Bounds {
            policy: config.trial,
            timeout: Duration::from_millis(settings.limits.init_timeout_ms),
            memory_bytes_max: settings.limits.trial_memory_bytes_max,
        }
    }
}

/// Whether a plugin was tried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// It passed, and these libraries come with it.
    Passed(Vec<Library>),
    /// There was no trial, because the configuration wants none or because there cannot be one.
    Not,
}

/// Why there is no trial.
#[derive(Debug, thiserror::Error)]
enum NoTrial {
    #[error("there is no process to try them in: {0}")]
    NoHelper(String),
    #[error("no process can be made for it: {0}")]
    NotMade(io::Error),
    #[error("the process that tries plugins has ended")]
    HelperGone,
    #[error("the process that tries plugins ended meanwhile")]
    HelperEnded,
    #[error("the process that tries plugins does not answer")]
    HelperSilent,
    /// The trial has not begun, so that nothing of the plugin has run.
    #[error("the process that tries plugins does not answer")]
    NotBegun,
}

/// Tries the copy at `path`. [`Tried::Not`] is an answer only if the policy allows loads without a trial.
pub(crate) fn try_copy(path: &Path, subject: &Subject<'_>) -> Result<Tried, Refusal> {
    if subject.bounds.policy == Trial::Never {
        return Ok(Tried::Not);
    }
    let key = verdict_key(subject);
    if let Some(libraries) = passed_before(key) {
        debug!(handler = %subject.context.handler, "these bytes with this configuration have passed their trial before");
        return Ok(Tried::Passed(libraries));
    }
    let overlap = OverlapCheck::begin();
    let ran = match run_trial(path, subject) {
        // Again at once. Later, the plugin that stopped the helper may be tried again too.
        Err(NoTrial::NotBegun) => run_trial(path, subject),
        ran => ran,
    };
    let was_alone = overlap.end();
    match ran {
        Ok(outcome) => {
            let libraries = outcome?;
            note_passed(key, &libraries);
            Ok(Tried::Passed(libraries))
        }
        // No other plugin's code ran meanwhile.
        Err(NoTrial::HelperEnded | NoTrial::HelperSilent) if was_alone => Err(Refusal::LosesHelper),
        // The plugin may have caused that, and must not do it in the server.
        Err(trouble @ (NoTrial::HelperEnded | NoTrial::HelperSilent | NoTrial::NotBegun)) => {
            Err(Refusal::Untried(trouble.to_string()))
        }
        Err(trouble) if subject.bounds.policy == Trial::Always => {
            Err(Refusal::Untried(trouble.to_string()))
        }
        Err(trouble) => {
            if !HAS_WARNED.swap(true, Ordering::Relaxed) {
                warn!(error = %trouble, "plugins are loaded without a trial, and a broken one can end the server; `trial = \"always\"` refuses them instead");
            }
            Ok(Tried::Not)
        }
    }
}

/// Runs one trial. Returns the verdict, or why there was no trial.
fn run_trial(path: &Path, subject: &Subject<'_>) -> Result<Result<Vec<Library>, Refusal>, NoTrial> {
    // Before anything is made for the trial: a system call filter may end the process for that.
    link::check()?;
    let request = TrialRequest {
        copy: path.as_os_str().as_bytes().to_vec(),
        handler: subject.context.handler.to_string(),
        generation: subject.context.generation,
        config_json: subject.config_json.to_owned(),
        log_level: subject.context.shared.log_level.load(Ordering::Relaxed),
        rights: subject.context.rights,
        memory_bytes_max: subject.bounds.memory_bytes_max,
        processor_s_max: 4 * subject.bounds.timeout.as_secs() + 5,
    };
    let request = serde_json::to_vec(&request).unwrap_or_default();
    let page = Page::new(&request).map_err(NoTrial::NotMade)?;
    let (mut line, theirs) = UnixStream::pair().map_err(NoTrial::NotMade)?;
    let helper = link::ask(&page, &theirs)?;
    // Only the helper has this end from now on, so that the line ends when the helper does.
    drop(theirs);
    let (late, end) = wait(&mut line, &page, subject.bounds.timeout)?;
    if end.is_none() {
        // A plugin can stop the helper. The next trials need a helper that answers.
        helper.end();
    }
    let verdict = judge(late, end, page.report().is_some())?;
    let report = page.report();
    let report = report.and_then(|bytes| serde_json::from_slice::<TrialReport>(&bytes).ok());
    let refused = match (verdict, &report) {
        (TrialVerdict::Late(step), _) => Some(Refusal::Late {
            step,
            limit: subject.bounds.timeout,
        }),
        (TrialVerdict::Ended(End::Exited(0)), Some(report)) => {
            report.unfit.clone().map(Refusal::Unfit)
        }
        (TrialVerdict::Ended(end), _) => Some(Refusal::Died {
            step: page.step(),
            end,
            words: last_words(&page.words()),
        }),
    };
    let TrialReport {
        libraries, lines, ..
    } = report.unwrap_or_default();
    // A load that follows logs them again.
    if refused.is_some() || subject.is_all {
        for line in lines {
            line.log(&subject.context.handler, subject.context.generation, None);
        }
    }
    Ok(refused.map_or(Ok(libraries), Err))
}

/// How a trial ended.
#[derive(Debug, PartialEq, Eq)]
enum TrialVerdict {
    Ended(End),
    /// The trial was in this step for too long, and was ended.
    Late(Step),
}

/// Judges a trial by the step that was late, by the end that the helper has told, and by whether there is
/// a report. The report is the last thing that a trial writes.
fn judge(late: Option<Step>, end: Option<End>, is_reported: bool) -> Result<TrialVerdict, NoTrial> {
    match (late, end) {
        (None, Some(end)) => Ok(TrialVerdict::Ended(end)),
        (Some(Step::Trial), _) => Err(NoTrial::NotBegun),
        (None, None) => Err(NoTrial::HelperSilent),
        (Some(_), Some(end @ End::Exited(_))) if is_reported => Ok(TrialVerdict::Ended(end)),
        // All of the plugin's code has returned. It is the helper that was late.
        (Some(_), _) if is_reported => Err(NoTrial::HelperSilent),
        (Some(step), _) => Ok(TrialVerdict::Late(step)),
    }
}

/// Waits for the end of a trial, and brings it about when a step takes longer than `limit`. Returns that
/// step, and the end that the helper has told, if it has told one.
fn wait(
    line: &mut UnixStream,
    page: &Page,
    limit: Duration,
) -> Result<(Option<Step>, Option<End>), NoTrial> {
    let tick = (limit / 4).clamp(Duration::from_millis(1), TICK);
    let (mut step, mut since) = (Step::Trial, Instant::now());
    let mut late = None;
    loop {
        let pause = if late.is_some() { END_TIMEOUT } else { tick };
        line.set_read_timeout(Some(pause))
            .map_err(NoTrial::NotMade)?;
        let mut answer = [0; ANSWER_BYTES];
        match line.read_exact(&mut answer) {
            Ok(()) => {
                let end = match HelperAnswer::from_bytes(answer) {
                    HelperAnswer::NotMade(error) => {
                        return Err(NoTrial::NotMade(io::Error::from_raw_os_error(error)));
                    }
                    HelperAnswer::Exited(status) => End::Exited(status),
                    HelperAnswer::Killed(signal) => End::Killed(signal),
                };
                return Ok((late, Some(end)));
            }
            Err(error) if is_early(&error) => {}
            // Another trial has ended the helper meanwhile. This one was late already.
            Err(_) if late.is_some() => return Ok((late, None)),
            Err(_) if page.step() == Step::Trial => return Err(NoTrial::NotBegun),
            Err(_) => return Err(NoTrial::HelperEnded),
        }
        if late.is_some() {
            return Ok((late, None));
        }
        let now = page.step();
        if now != step {
            (step, since) = (now, Instant::now());
        } else if since.elapsed() > limit {
            late = Some(step);
            // This tells the helper to end the trial.
            let _ = line.shutdown(Shutdown::Write);
        }
    }
}

/// Whether the answer may still come.
fn is_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// The last line that a trial wrote to stderr, made safe for a log line.
fn last_words(words: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(words);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let line: String = line.chars().take(WORDS_CHARACTERS_MAX).collect();
    let mut escaped = String::new();
    escape_into(&mut escaped, line.as_bytes());
    Some(escaped)
}

/// Whether the log says that plugins are loaded without a trial. Global, because it is said once in a process.
static HAS_WARNED: AtomicBool = AtomicBool::new(false);

/// How often the step of a trial is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long the helper may take to end a process and to say so.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest part of a line on stderr that is told.
const WORDS_CHARACTERS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_late_only_in_a_step_that_its_own_code_was_in() {
        let (exited, killed) = (End::Exited(0), End::Killed(libc::SIGKILL));
        for (late, end, is_reported, verdict) in [
            (None, Some(exited), true, Some(TrialVerdict::Ended(exited))),
            (None, Some(killed), false, Some(TrialVerdict::Ended(killed))),
            (
                Some(Step::Init),
                Some(killed),
                false,
                Some(TrialVerdict::Late(Step::Init)),
            ),
            (
                Some(Step::Init),
                None,
                false,
                Some(TrialVerdict::Late(Step::Init)),
            ),
            // The process never began.
            (Some(Step::Trial), None, false, None),
            (Some(Step::Trial), Some(killed), false, None),
            // The trial has come to its end, and the helper said so late or not at all.
            (Some(Step::Shutdown), None, true, None),
            (
                Some(Step::Shutdown),
                Some(exited),
                true,
                Some(TrialVerdict::Ended(exited)),
            ),
        ] {
            let judged = judge(late, end, is_reported).ok();
            assert_eq!(judged, verdict, "{late:?} {end:?} {is_reported}");
        }
    }

    #[test]
    fn the_last_words_are_one_line_without_control_characters() {
        for (words, told) in [
            (&b""[..], None),
            (b"\n \n", None),
            (
                b"free(): invalid pointer\n",
                Some("free(): invalid pointer"),
            ),
            (b"one\ntwo \x1b[31m\n\n", Some("two \\u{1b}[31m")),
        ] {
            assert_eq!(last_words(words).as_deref(), told);
        }
        let long = last_words(&[b'x'; 4096]).expect("a line");
        assert_eq!(long.len(), WORDS_CHARACTERS_MAX);
    }
}
