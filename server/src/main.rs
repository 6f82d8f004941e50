//! The `wshd` command: the command line, logging, signals and exit codes. The rest is in the library.

use std::cell::RefCell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use wshd::config::{CommandLine, Config, ConfigError, Flags, LastGood, Reading, Subcommand};
use wshd::connection::overlay::Overlay;
use wshd::dev::{self, Dev, Profile};
use wshd::new::{self, NewError};
use wshd::process::heap;
use wshd::process::identity::Identity;
use wshd::process::optional::{self, Optional, is_allowed};
use wshd::process::passed_sockets::{self, PassedByService, PassedSocket};
use wshd::process::stdout;
use wshd::runtime;
use wshd::serve::upgrade::{self, Predecessor, Program};
use wshd::serve::{ServeError, Serving};
use wshd::signals::{HangUp, Signals};
use wshd::{check, commands, config, connect, last_resort, leave, logging};

fn main() {
    wshd::hold_signals();
    wshd::be_trial_helper_if_asked();
    heap::set_limits();
    let line = CommandLine::of_process();
    let inherited = match line.command {
        None => Inherited::of_process().unwrap_or_else(|error| {
            // Nothing is written by another thread yet.
            let _ = writeln!(
                std::io::stderr(),
                "wshd: the server whose place this one is to take: {error}"
            );
            leave(FAILED)
        }),
        Some(_) => Inherited::default(),
    };
    // A server listens to signals itself, as soon as it can.
    let is_server = matches!(line.command, None | Some(Subcommand::Dev { .. }));
    if !is_server {
        wshd::release_signals();
    }
    // Before there are other threads: a process that is forked later would inherit locks that they hold.
    if is_server || matches!(line.command, Some(Subcommand::Check)) {
        wshd::start_trial_helper();
    }
    if cfg!(sanitized) {
        // The first thread gets all signals. A sanitizer delays them while that thread waits in a way it does
        // not know, as runtimes do; it knows `join`.
        let _ = std::thread::spawn(|| run(line, inherited)).join();
    } else {
        run(line, inherited);
    }
}

/// What a server gets from the process that has started it.
#[derive(Default)]
struct Inherited {
    sockets: Vec<PassedSocket>,
    /// What cannot be used of all that was passed.
    remarks: Vec<String>,
    /// The server whose place this one takes.
    predecessor: Option<Predecessor>,
    /// What can take the place of this one; `None` in `wshd dev`.
    program: Option<Program>,
}

impl Inherited {
    /// What this process gets. To be called while it has a single thread.
    fn of_process() -> std::io::Result<Inherited> {
        let program = Some(Program::of_process());
        if let Some((predecessor, sockets)) = Predecessor::of_process()? {
            return Ok(Inherited {
                sockets,
                remarks: Vec::new(),
                predecessor: Some(predecessor),
                program,
            });
        }
        let PassedByService { sockets, remarks } = passed_sockets::take();
        Ok(Inherited {
            sockets,
            remarks,
            predecessor: None,
            program,
        })
    }
}

/// Does what the command line says, and ends the process.
fn run(line: CommandLine, inherited: Inherited) -> ! {
    let CommandLine {
        command,
        stop_with_stdin,
        flags,
    } = line;
    let code = match command {
        // These read no configuration.
        Some(Subcommand::New { name, style }) => {
            told(new::make(&name, style).map(|made| made.report()))
        }
        Some(Subcommand::Sdk { directory }) => {
            told(new::update(&directory).map(|updated| updated.report()))
        }
        Some(Subcommand::Completions(shell)) => printed(Ok(config::completions(shell))),
        Some(Subcommand::Man(of)) => printed(config::manual(of.as_deref())),
        Some(Subcommand::Connect(options)) => connect::run(&options),
        Some(Subcommand::Operate(command)) => commands::run(&command),
        Some(Subcommand::Check) => check(&flags),
        Some(Subcommand::Dev { path, release }) => listening(HangUp::Stops, |signals| {
            let flags = flags.with_spare_certificate(dev::certificate_pair());
            configured(flags, |config, reread| {
                let profile = if release {
                    Profile::Release
                } else {
                    Profile::Dev
                };
                // The server stays the user that builds.
                begin(&signals, &config, None, stop_with_stdin)?;
                Ok(develop(signals, config, reread, &path, profile))
            })
        }),
        None => listening(HangUp::Rereads, |signals| {
            configured(flags, |config, reread| {
                let identity = Identity::wanted(config.user.as_deref(), config.group.as_deref())
                    .map_err(|error| fail(CONFIG, &error.to_string()))?;
                begin(&signals, &config, identity.as_ref(), stop_with_stdin)?;
                for error in &inherited.remarks {
                    warn!(error, "not all that was passed is used");
                }
                Ok(serve(signals, config, reread, None, inherited, |_| Ok(())))
            })
        }),
    };
    // Not `exit`: libraries of plugins must not run destructors while threads run in them.
    leave(code)
}

/// Begins to listen to signals, and calls `then`. It comes first, since by default a signal ends the process.
fn listening(hang_up: HangUp, then: impl FnOnce(Signals) -> u8) -> u8 {
    last_resort::begin(wshd::leave_at_once);
    match Signals::listen(hang_up) {
        Ok(signals) => then(signals),
        Err(error) => fail(FAILED, &format!("cannot listen to signals: {error}")),
    }
}

/// Reads the configuration, and calls `then` with it and with the function that reads it again. An error is an exit code.
fn configured(flags: Flags, then: impl FnOnce(Config, Box<RereadConfig>) -> Result<u8, u8>) -> u8 {
    let working_dir = working_dir();
    let mut last = LastGood::default();
    match flags.read_again(&working_dir, &mut last) {
        Err(error) => fail(CONFIG, &format!("{error:#}")),
        Ok(Reading { config, .. }) => {
            let flags = RefCell::new(flags.with_file_of(&config));
            let last = RefCell::new(last);
            let reread = move || {
                let again = flags
                    .borrow()
                    .read_again(&working_dir, &mut last.borrow_mut());
                let reading = again?;
                // A file that has appeared is the one to read from then on.
                flags.replace_with(|flags| flags.clone().with_file_of(&reading.config));
                Ok(reading)
            };
            then(config, Box::new(reread)).unwrap_or_else(|code| code)
        }
    }
}

/// The directory to which paths on the command line are relative.
fn working_dir() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
}

/// Prints a text that another program reads.
fn printed(text: std::io::Result<Vec<u8>>) -> u8 {
    match text.map(|text| stdout::print(&text)) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => fail(FAILED, &error.to_string()),
        Err(error) => fail(FAILED, &format!("cannot write: {error}")),
    }
}

/// Prints what was written and what to do with it.
fn told(written: Result<String, NewError>) -> u8 {
    match written {
        Ok(report) => printed(Ok(report.into_bytes())),
        Err(error) => fail(FAILED, &error.to_string()),
    }
}

/// Builds the handlers at or below `path`, and serves them.
fn develop(
    signals: Signals,
    mut config: Config,
    reread: Box<RereadConfig>,
    path: &Path,
    profile: Profile,
) -> u8 {
    let dev = match Dev::open(path, profile) {
        Ok(dev) => dev,
        Err(error) => return fail(FAILED, &error.to_string()),
    };
    if let Err(error) = dev.make_certificate(&config) {
        return fail(FAILED, &error.to_string());
    }
    let overrides = dev.overrides();
    overrides.apply(&mut config);
    let reread = move || {
        let mut reading = reread()?;
        overrides.apply(&mut reading.config);
        Ok(reading)
    };
    let pages = config.document_root.clone();
    serve(
        signals,
        config,
        reread,
        Some(dev.overlay()),
        Inherited::default(),
        move |serving| {
            let control = serving.control();
            let port = serving.port();
            let (is_tls, has_pages) = (serving.is_tls(), serving.has_pages());
            dev.start(port, is_tls, has_pages, pages, move || control.rescan())
        },
    )
}

/// Begins to log, and to stop with stdin where that is wanted. With an `identity`, the server becomes another user later. An
/// error is the exit code.
fn begin(
    signals: &Signals,
    config: &Config,
    identity: Option<&Identity>,
    stop_with_stdin: bool,
) -> Result<(), u8> {
    logging::init(config.log_level);
    // Root opens no file in a directory of another user, who could have it lead elsewhere.
    let set = match identity {
        Some(_) => logging::set_files(&config.without_log_files()),
        None => logging::set_files(config),
    };
    set.map_err(|error| fail(FAILED, &error.to_string()))?;
    config.tell_remarks();
    optional::tell();
    wshd::tell_exits(true);
    if stop_with_stdin {
        let told = signals.stop_with_stdin();
        told.map_err(|error| fail(FAILED, &format!("cannot listen to stdin: {error}")))?;
    }
    Ok(())
}

/// Serves until the server is told to stop. What `beside` answers is kept until then.
fn serve<T>(
    signals: Signals,
    config: Config,
    reread: impl Fn() -> Result<Reading, ConfigError> + Send + 'static,
    overlay: Option<Arc<Overlay>>,
    inherited: Inherited,
    beside: impl FnOnce(&Serving) -> std::io::Result<T>,
) -> u8 {
    // A connection is an open file, and the usual limit is a thousand. So the limit is raised as far as the
    // system allows.
    if is_allowed(Optional::OpenFiles) {
        let _ = rlimit::increase_nofile_limit(u64::MAX);
    }
    let runtime = match runtime::build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, &format!("cannot start: {error}")),
    };
    let serve = async {
        signals.start();
        let Inherited {
            sockets,
            predecessor,
            program,
            ..
        } = inherited;
        match Serving::start(
            config,
            Box::new(reread),
            overlay,
            sockets,
            predecessor.is_some(),
        ) {
            Ok(mut serving) => {
                let beside = match beside(&serving) {
                    Ok(beside) => beside,
                    Err(error) => {
                        serving.give_up();
                        return fail(FAILED, &format!("cannot start: {error}"));
                    }
                };
                let upgrade = program.map(|program| {
                    let signals = signals.clone();
                    serving.upgrade(program, move || signals.hand_over())
                });
                signals.serve(serving.control(), upgrade, serving.stop_limit());
                if let Some(predecessor) = predecessor {
                    if signals.is_told_to_stop() {
                        serving.give_up();
                        return fail(FAILED, "it was told to stop before it took over");
                    }
                    serving.take_over(predecessor);
                }
                serving.run(signals.stopped()).await;
                drop(beside);
                0
            }
            Err(error @ ServeError::Tls(_)) => fail(CONFIG, &error.to_string()),
            Err(error) => fail(FAILED, &error.to_string()),
        }
    };
    // A panic would end the process by `exit`.
    let code = catch_unwind(AssertUnwindSafe(|| runtime.block_on(serve)))
        .unwrap_or_else(|_| fail(FAILED, "the server itself has panicked, leaving"));
    last_resort::leave_within(END_PATIENCE);
    // A worker may be in a callback that never returns.
    runtime.shutdown_background();
    code
}

/// Checks the configuration, what it names and the plugins, and prints what can be served and all that is wrong.
fn check(flags: &Flags) -> u8 {
    let reading = match flags.read_to_check(&working_dir()) {
        Ok(reading) => reading,
        Err(error) => return fail(CONFIG, &format!("{error:#}")),
    };
    let config = &reading.config;
    logging::init(config.log_level);
    config.tell_remarks();
    wshd::tell_exits(false);
    let report = check::check(&reading);
    // The log comes before the result.
    logging::flush(Duration::from_secs(1));
    let mut printed = Ok(());
    for plugin in &report.good {
        let (name, path) = (&plugin.name, shown(&plugin.path, config).display());
        let mut line = format!("good: /{name} {path}");
        if !plugin.description.is_empty() {
            line += &format!(" ({})", plugin.description);
        }
        line = logging::on_one_line(&line) + "\n";
        printed = printed.and_then(|()| stdout::print(line.as_bytes()));
    }
    let good = report.good.iter().map(|plugin| &plugin.name);
    let known: Vec<String> = good.chain(&report.refused).cloned().collect();
    let unknown = config.unknown_handlers(&known);
    // Which handlers there are is known where they were tried.
    let is_complete = reading.error.is_none();
    if let Some(error) = &reading.error {
        blame(&format!("{error:#}"));
    }
    if let Err(error) = &printed {
        blame(&error.to_string());
    }
    for sentence in report.bad.iter().chain(&report.bad_tls) {
        blame(&logging::on_one_line(sentence));
    }
    for fault in unknown.iter().filter(|_| is_complete) {
        blame(&format!("{fault:#}"));
    }
    for sentence in report.emptiness.iter().chain(&report.notes) {
        note(&logging::on_one_line(sentence));
    }
    if !is_complete {
        return CONFIG;
    }
    for sentence in config.rules_without_handler(&known) {
        note(&logging::on_one_line(&sentence));
    }
    // A route may hide a handler on purpose, so this is no reason to fail. The handlers of topics may come later, and
    // topics may be shared on purpose.
    let hidden = config.hidden_handlers(&known).into_iter();
    let topics = (config.topics_without_handler(&known).into_iter())
        .chain(config.topics_like_handlers(&known));
    for fault in hidden.chain(topics) {
        note(&format!("{fault:#}"));
    }
    let is_configured = unknown.is_empty() && report.bad_tls.is_empty();
    match (is_configured, report.bad.is_empty() && printed.is_ok()) {
        (_, false) => FAILED,
        (false, true) => CONFIG,
        (true, true) => 0,
    }
}

fn shown<'a>(path: &'a Path, config: &Config) -> &'a Path {
    path.strip_prefix(&config.handlers_dir).unwrap_or(path)
}

/// Writes what a check has found to stderr, and waits for the reader.
fn blame(why: &str) {
    let _ = writeln!(std::io::stderr(), "wshd: {why}");
}

/// Writes to stderr what a check has found and what is no reason to fail.
fn note(what: &str) {
    blame(&format!("note: {what}"));
}

/// Logs why the server does not start, and answers the exit code.
fn fail(code: u8, why: &str) -> u8 {
    logging::say(&format!("wshd: {why}"));
    upgrade::tell_failure(why);
    code
}

/// Reads the configuration again, from the file that it was read from.
type RereadConfig = dyn Fn() -> Result<Reading, ConfigError> + Send;

/// The exit code for a wrong configuration: `EX_CONFIG` of sysexits.h.
const CONFIG: u8 = 78;
/// The exit code for every other failure. For a wrong command line, clap exits with 2.
const FAILED: u8 = 1;
/// How long the process may still take to end when everything has stopped.
const END_PATIENCE: Duration = Duration::from_secs(5);
