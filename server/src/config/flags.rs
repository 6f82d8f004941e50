//! The command line, whose flags come from the table of settings.
//!
//! The flags that pywebsocket has too keep its letters and both of its spellings.

pub(super) mod connect;
pub(super) mod operate;
pub(super) mod program;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;

use self::connect::ConnectOptions;
use self::operate::OperatorCommand;
use self::program::{STOP_WITH_STDIN, program};
use super::settings::{self, ConfigDraft};
use super::{CertificatePair, Config, DecidedBy};
use crate::process::stdout;

/// The arguments of the process.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// What to do; `None` is to serve.
    pub command: Option<Subcommand>,
    /// Whether the end of stdin stops the server, as SIGTERM does.
    pub stop_with_stdin: bool,
    /// The settings that the command line decides.
    pub flags: Flags,
}

/// What to do instead of serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subcommand {
    /// Print each handler that can be served and each fault.
    Check,
    /// Build every handler at or below a directory, serve it, and rebuild what is saved.
    Dev {
        /// Where to look for handlers.
        path: PathBuf,
        /// Whether they are built with cargo's release profile.
        release: bool,
    },
    /// Be a client of a WebSocket.
    Connect(Box<ConnectOptions>),
    /// Ask a server that runs, or have it do something.
    Operate(Box<OperatorCommand>),
    /// Create a new handler from a template.
    New {
        /// The directory to make; its last part is the handler's name.
        name: PathBuf,
        /// How the handler is written.
        style: Style,
    },
    /// Print the completions of a shell.
    Completions(Shell),
    /// Print the manual page of `wshd`, or of one of its commands.
    Man(Option<String>),
    /// Write the SDK, or update it.
    Sdk {
        /// The directory to write.
        directory: PathBuf,
    },
}

/// How a new handler is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// In Rust, one call for each message.
    #[default]
    Event,
    /// In Rust, an async function for each session.
    Async,
    /// In Rust, a function on a thread of its own for each session.
    Blocking,
    /// In C, one call for each message.
    C,
    /// In C++, one call for each message.
    Cpp,
}

/// What the command line decides, and after `Environment::below` what the variables decide as well:
/// texts, by the name of their setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    said: BTreeMap<&'static str, SettingText>,
    spare_certificate: SpareCertificate,
}

/// The certificate of a server that speaks TLS and has no other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum SpareCertificate {
    /// There is none: an operator names one.
    #[default]
    None,
    /// There would be one, and there is no directory to keep it in.
    NoDirectory,
    At(CertificatePair),
}

/// The text that decides a setting. The setting has read it once, so that it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SettingText {
    text: OsString,
    by: DecidedBy,
}

impl CommandLine {
    /// Reads the command line of this process. A wrong one ends the process, with what is wrong.
    pub fn of_process() -> CommandLine {
        CommandLine::of(std::env::args_os()).unwrap_or_else(|error| end(&error))
    }

    /// Reads these arguments, the name of the program first.
    pub(super) fn of(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<CommandLine, clap::Error> {
        let mut program = program();
        let matches = program.try_get_matches_from_mut(arguments);
        let matches = matches.map_err(with_tip)?;
        // Flags stand before the command or after it; those after it win.
        let mut places = vec![&matches];
        if let Some((name, of_command)) = matches.subcommand() {
            if takes_flags(&program, name) {
                places.insert(0, of_command);
            } else {
                refuse_flags(&mut program, name, &matches)?;
            }
        }
        Ok(CommandLine {
            command: matches.subcommand().map(Subcommand::of),
            stop_with_stdin: places.iter().any(|it| it.get_flag(STOP_WITH_STDIN)),
            flags: Flags::of(&places),
        })
    }
}

/// Ends the process with what is wrong with the command line, or with the help or the version that it asks for.
fn end(error: &clap::Error) -> ! {
    // It has colours on a terminal.
    if error.use_stderr() || io::stdout().is_terminal() {
        error.exit();
    }
    if let Err(error) = stdout::print(error.render().to_string().as_bytes()) {
        let _ = writeln!(io::stderr(), "wshd: {error}");
        std::process::exit(1);
    }
    std::process::exit(error.exit_code())
}

/// The completions of the command line for a shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut program(), "wshd", &mut text);
    text
}

/// The manual page of the command line, or of the command `of`, for `man`.
///
/// # Errors
///
/// Writing into memory does not fail.
pub fn manual(of: Option<&str>) -> std::io::Result<Vec<u8>> {
    let mut program = program();
    // Only then do subcommands know that they are of `wshd`.
    program.build();
    let command = of.and_then(|name| program.find_subcommand(name));
    let source = format!("wshd {}", env!("CARGO_PKG_VERSION"));
    let page = clap_mangen::Man::new(command.unwrap_or(&program).clone()).source(source);
    let mut text = Vec::new();
    page.render(&mut text)?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    // clap_mangen takes it for granted that each subcommand has a page of its own.
    for name in program.get_subcommands().map(Command::get_name) {
        let page = format!("\nwshd\\-{name}(1)\n");
        text = text.replace(&page, &format!("\nwshd {name}\n"));
    }
    // The lines of these tables stay as they are.
    let text = text.replace("\n.SH EXTRA\n", "\n.SH NOTES\n.nf\n");
    Ok(text
        .replace("\n.SH VERSION\n", "\n.fi\n.SH VERSION\n")
        .into_bytes())
}

impl Subcommand {
    fn of((name, matches): (&str, &ArgMatches)) -> Subcommand {
        let path = |name: &str| {
            let path = matches.get_one::<PathBuf>(name);
            path.cloned().unwrap_or_default()
        };
        match name {
            "completions" => {
                let shell = matches.get_one("shell").copied();
                Subcommand::Completions(shell.unwrap_or(Shell::Bash))
            }
            "man" => Subcommand::Man(matches.get_one("command").cloned()),
            "connect" => Subcommand::Connect(Box::new(ConnectOptions::of(matches))),
            "dev" => Subcommand::Dev {
                path: path("path"),
                release: matches.get_flag("release"),
            },
            "new" => Subcommand::New {
                name: path("name"),
                style: matches.get_one("style").copied().unwrap_or_default(),
            },
            "sdk" => Subcommand::Sdk {
                directory: path("directory"),
            },
            _ => match OperatorCommand::of(name, matches) {
                Some(command) => Subcommand::Operate(Box::new(command)),
                None => Subcommand::Check,
            },
        }
    }
}

impl Flags {
    /// The flags of the first of these places that has them.
    fn of(places: &[&ArgMatches]) -> Flags {
        let mut flags = Flags::default();
        for flag in settings::flags() {
            let mut found = places.iter().filter_map(|place| place.get_raw(flag.name));
            if let Some(values) = found.next() {
                // A list can be given several times; all of it is one text.
                let text = values.collect::<Vec<_>>().join(OsStr::new(","));
                flags.say(flag.name, text, DecidedBy::Flag);
            }
        }
        flags
    }

    /// Flags that name this configuration file and nothing else.
    pub(crate) fn of_file(file: &Path) -> Flags {
        let mut flags = Flags::default();
        flags.say(CONFIG, file.into(), DecidedBy::Flag);
        flags
    }

    /// The text that decides the setting `name`.
    pub(super) fn text(&self, name: &str) -> Option<&OsStr> {
        self.said.get(name).map(|said| &*said.text)
    }

    /// The configuration file that is named.
    pub(super) fn file(&self) -> Option<&Path> {
        self.text(CONFIG).map(Path::new)
    }

    /// Decides the setting `name` by a text that it can read.
    pub(super) fn say(&mut self, name: &'static str, text: OsString, by: DecidedBy) {
        self.said.insert(name, SettingText { text, by });
    }

    /// Lays these decisions over `draft`. Paths are relative to `working_dir`.
    pub(super) fn decide(&self, draft: &mut ConfigDraft, working_dir: &Path) {
        for flag in settings::flags() {
            if let Some(SettingText { text, by }) = self.said.get(flag.name) {
                settings::decide(draft, flag.name, text, *by, working_dir)
                    .expect("the text was read when it was said");
            }
        }
    }

    /// Has a server that speaks TLS use `pair` where no layer names a certificate. `None` is a pair for which there is
    /// no directory.
    #[must_use]
    pub fn with_spare_certificate(self, pair: Option<CertificatePair>) -> Flags {
        Flags {
            spare_certificate: pair.map_or(SpareCertificate::NoDirectory, SpareCertificate::At),
            ..self
        }
    }

    /// The certificate of a server that speaks TLS and has no other.
    pub(super) fn spare_certificate(&self) -> &SpareCertificate {
        &self.spare_certificate
    }

    /// Names the file of `config`, so that the file that was read once is the one to be read again.
    ///
    /// Otherwise, while an editor replaces the file, the next place would be looked at, and the defaults
    /// would apply in the end.
    #[must_use]
    pub fn with_file_of(mut self, config: &Config) -> Flags {
        if let Some(file) = &config.file {
            let by = match self.said.get(CONFIG) {
                Some(said) => said.by,
                // Default places are searched unless a flag or a variable names the file.
                None if config.file_places.is_empty() => DecidedBy::Variable,
                None => DecidedBy::File,
            };
            self.say(CONFIG, file.clone().into(), by);
        }
        self
    }

    /// Whether a flag or a variable names the file. A file that was found is not named by an operator.
    pub(super) fn is_file_named(&self) -> bool {
        let said = self.said.get(CONFIG);
        said.is_some_and(|said| said.by != DecidedBy::File)
    }
}

/// Whether the command `name` takes the flags of the server.
fn takes_flags(program: &Command, name: &str) -> bool {
    let command = program.find_subcommand(name);
    let mut arguments = command.into_iter().flat_map(Command::get_arguments);
    arguments.any(|argument| argument.get_id() == STOP_WITH_STDIN)
}

/// An error if one of the server's flags stands before a command that takes none of them.
fn refuse_flags(
    program: &mut Command,
    command: &str,
    matches: &ArgMatches,
) -> Result<(), clap::Error> {
    let is_given = |flag: &&Arg| {
        matches.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine)
    };
    let given = program.get_arguments().find(is_given);
    let Some(flag) = given.map(ToString::to_string) else {
        return Ok(());
    };
    let usage = program.render_usage();
    let mut error = clap::Error::new(ErrorKind::ArgumentConflict).with_cmd(program);
    let command = ContextValue::String(command.to_owned());
    error.insert(ContextKind::InvalidSubcommand, command);
    error.insert(ContextKind::PriorArg, ContextValue::String(flag));
    error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    Err(error)
}

/// Adds a tip where a directory stands behind the program's name, as many other servers take it, and where a flag of
/// pywebsocket is not taken.
fn with_tip(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg)
        && let Some(tip) = instead_of(flag)
    {
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.remove(ContextKind::SuggestedArg);
        // It shows the flag that is spelt most like it, which has nothing to do with it.
        error.remove(ContextKind::Usage);
        error.insert(ContextKind::Suggested, tips);
        return error;
    }
    let is_command = error.kind() == ErrorKind::InvalidSubcommand;
    let found = error.get(ContextKind::InvalidSubcommand).cloned();
    let has_tip = error.get(ContextKind::SuggestedSubcommand).is_some();
    if let (true, Some(ContextValue::String(found))) = (is_command, found)
        // A path is no misspelt command, however much it looks like one.
        && (!has_tip || found.contains('/'))
    {
        error.remove(ContextKind::SuggestedSubcommand);
        let tip = format!(
            "`wshd -w {found}` serves the compiled handlers of a directory, `wshd dev {found}` builds and serves their sources"
        );
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// What to do instead of a flag of pywebsocket that this server does not take.
fn instead_of(flag: &str) -> Option<&'static str> {
    let name = flag.split([' ', '=']).next().unwrap_or(flag);
    Some(match name.replace('_', "-").as_str() {
        "-x" | "--cgi-paths" => {
            "CGI programs are not run here: a web server beside this one can run them"
        }
        "--handler-encoding" => {
            "handlers are compiled, so there is no source to decode: leave it out"
        }
        "--thread-monitor-interval-in-sec" => {
            "a connection has no thread of its own here: `/.wshd/handlers.json` lists the sessions of each handler"
        }
        "--deflate-log-level" => {
            "compression has no log of its own: `--log-level` is for all of it"
        }
        _ => return None,
    })
}

/// The setting that names the file.
const CONFIG: &str = "config";
