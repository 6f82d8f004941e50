//! The arguments of `wshd` and the text of `wshd --help`.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, ValueEnum, value_parser};

use super::{Style, connect, operate};
use crate::config::environment::variable;
use crate::config::settings::{self, FlagOf, Heading};

/// The command line of `wshd`, with all of its help.
pub(in crate::config) fn program() -> clap::Command {
    clap::Command::new("wshd")
        .version(env!("CARGO_PKG_VERSION"))
        // clap's own would take `-V`, which pywebsocket has for another flag.
        .disable_version_flag(true)
        .about(ABOUT)
        .long_about(format!("{ABOUT}.\n\n{MORE_ABOUT}"))
        .max_term_width(100)
        .after_help(AFTER_HELP)
        .after_long_help(after_long_help())
        .arg(version())
        .args(server_flags(&[]))
        .subcommands([check(), dev(), connect::command(), new(), sdk()])
        .subcommands(operate::commands())
        .subcommands([completions(), man()])
}

/// The flags of a server. Those of `hidden` are taken, and help does not list them.
///
/// `check` and `dev` take all of them before and after their names, so that the command line of a server can be
/// checked as it is. Commands that serve nothing take none, so clap's `global` would be too much.
fn server_flags(hidden: &'static [&'static str]) -> impl Iterator<Item = Arg> {
    let settings = settings::flags().into_iter().map(argument);
    let flags = settings.chain(std::iter::once(stop_with_stdin()));
    flags.map(|flag| {
        let is_hidden = hidden.contains(&flag.get_id().as_str());
        flag.hide(is_hidden)
    })
}

fn version() -> Arg {
    Arg::new("version")
        .long("version")
        .action(ArgAction::Version)
        .help("Print the version")
}

fn stop_with_stdin() -> Arg {
    let about = "Stop when stdin ends, as with SIGTERM";
    Arg::new(STOP_WITH_STDIN)
        .long("stop-with-stdin")
        .action(ArgAction::SetTrue)
        .help_heading(Heading::Process.text())
        .help(about)
        .long_help(format!("{about}\n\n{STOP_WITH_STDIN_MORE}"))
}

/// The flag of a setting.
fn argument(of: FlagOf) -> Arg {
    let FlagOf { name, flag, .. } = of;
    let about = match of.default {
        Some(default) => format!("{} [default: {}]", of.about, default.trim_matches('"')),
        None => of.about.to_owned(),
    };
    let mut argument = Arg::new(name)
        .long(name.replace('_', "-"))
        .value_name(flag.value)
        .value_parser(of.parser)
        .aliases(flag.spellings)
        .help_heading(flag.heading.text());
    if let Some(short) = flag.short {
        argument = argument.short(short);
    }
    if let Some(alias) = flag.alias {
        argument = argument.visible_alias(alias);
    }
    if of.is_switch {
        argument = argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true);
    }
    if of.is_list {
        argument = argument.action(ArgAction::Append).value_delimiter(',');
    }
    if !flag.more.is_empty() {
        argument = argument.long_help(format!("{about}\n\n{}", flag.more));
    }
    argument.help(about)
}

fn check() -> clap::Command {
    let about = "Print each handler that can be served and each fault, and serve nothing";
    let more = "Exits with 0 if no fault is found, with 78 if the configuration is wrong, and with 1 for every other \
                fault, such as a refused handler, a missing directory or a log file that cannot be written. What begins \
                with `note:` is no fault. No address is listened on, and no log file is made.\n\n\
                It takes each flag of the server, so that a server's command line can be checked. A flag that is not \
                listed here changes nothing else.";
    clap::Command::new("check")
        .about(about)
        .long_about(format!("{about}\n\n{more}"))
        .args(server_flags(&[
            STOP_WITH_STDIN,
            "port",
            "listen_backlog",
            "validation_host",
            "validation_port",
            "hosts",
            "origins",
        ]))
}

fn dev() -> clap::Command {
    let about = "Build every handler at or below PATH, serve it, and rebuild what is saved";
    let more = "Pages are those of PATH/www, if there is one. `--document-root` names others, and so does the \
                `document_root` of a configuration file that `--config` or WSHD_CONFIG names.";
    clap::Command::new("dev")
        .about(about)
        .long_about(format!("{about}\n\n{more}"))
        .arg(
            Arg::new("path")
                .value_parser(value_parser!(PathBuf))
                .default_value("handlers")
                .value_name("PATH")
                .help("Where to look for crates with a `cdylib` named `…_wsh`, and for C or C++ with `WSH_DEFINE`"),
        )
        .arg(
            Arg::new("release")
                .long("release")
                .action(ArgAction::SetTrue)
                .help("Build with cargo's release profile"),
        )
        // `dev` serves what it has built, which is a directory of its own.
        .args(server_flags(&[
            "handlers_dir",
            "scan_dir",
            "allow_handlers_outside_root_dir",
            "trust",
            // It stays the user that builds.
            "user",
            "group",
        ]))
}

fn new() -> clap::Command {
    clap::Command::new("new")
        .about("Create a new handler from a template, in a directory of its own")
        .arg(
            Arg::new("name")
                .value_parser(value_parser!(PathBuf))
                .required(true)
                .value_name("NAME")
                .help("The directory to make; its last part is the handler's name"),
        )
        .arg(
            Arg::new("style")
                .long("style")
                .value_parser(value_parser!(Style))
                .default_value("events")
                .value_name("STYLE")
                .help("How the handler is written"),
        )
}

fn sdk() -> clap::Command {
    let about = "Write the SDK, or update the one of another wshd version";
    let more = "Handlers are built with it. `wshd new` writes it beside the first handler, for all handlers there.";
    clap::Command::new("sdk")
        .about(about)
        .long_about(format!("{about}\n\n{more}"))
        .arg(
            Arg::new("directory")
                .value_parser(value_parser!(PathBuf))
                .default_value("wsh")
                .value_name("DIRECTORY")
                .help("The directory to write"),
        )
}

fn completions() -> clap::Command {
    clap::Command::new("completions")
        .about("Print the completions of a shell, which reads them from a file of its own")
        .arg(
            Arg::new("shell")
                .value_parser(value_parser!(clap_complete::Shell))
                .required(true)
                .value_name("SHELL")
                .help("The shell"),
        )
}

fn man() -> clap::Command {
    let about = "Print the manual page: `wshd man > wshd.1`, `wshd man connect > wshd-connect.1`";
    let commands = [
        "check",
        "dev",
        "connect",
        "new",
        "sdk",
        "status",
        "list",
        "sessions",
        "top",
        "reload",
        "upgrade",
        "drain",
        "quarantine",
        "release",
        "close",
        "completions",
        "man",
    ];
    clap::Command::new("man").about(about).arg(
        Arg::new("command")
            .value_parser(commands)
            .value_name("COMMAND")
            .help("Of this command"),
    )
}

impl ValueEnum for Style {
    fn value_variants<'a>() -> &'a [Style] {
        &[
            Style::Event,
            Style::Async,
            Style::Blocking,
            Style::C,
            Style::Cpp,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Style::Event => ("events", "In Rust, one call for each message"),
            Style::Async => ("async", "In Rust, an async function for each session"),
            Style::Blocking => (
                "blocking",
                "In Rust, a function on a thread of its own for each session",
            ),
            Style::C => ("c", "In C, one call for each message"),
            Style::Cpp => ("cpp", "In C++, one call for each message"),
        };
        let value = PossibleValue::new(name).help(help);
        Some(match self {
            Style::Event => value.alias("event"),
            _ => value,
        })
    }
}

/// The part of `--help` after the flags.
fn after_long_help() -> String {
    let variables: Vec<String> = settings::flags()
        .iter()
        .map(|flag| variable(flag.name))
        .collect();
    let environment = format!(
        "Each flag above but --stop-with-stdin has a variable: {}. An empty one says nothing, and so does a WSHD_PORT that \
         Kubernetes sets for a Service named `wshd`.",
        variables.join(", ")
    );
    format!(
        "Spelling:\n{}\n\
         Environment:\n{}  Priority, highest first: flag, variable, config.toml, default.\n\n\
         {AFTER_ENVIRONMENT}",
        indented(SPELLING),
        indented(&environment)
    )
}

/// Breaks a text into lines of the help's width, with two blanks before each.
fn indented(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from(" ");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() >= WIDTH {
            lines += &line;
            lines.push('\n');
            line = String::from(" ");
        }
        line.push(' ');
        line += word;
    }
    lines + &line + "\n"
}

/// The id of the flag without a setting.
pub(super) const STOP_WITH_STDIN: &str = "stop_with_stdin";
const WIDTH: usize = 100;

const ABOUT: &str = "A server of pluggable WebSocket handlers";
const MORE_ABOUT: &str = "Each compiled handler in a directory answers at a path of its own name, and is \
                          replaced while the server runs.";
const STOP_WITH_STDIN_MORE: &str = "For a program that starts a server and keeps the other end of its stdin: \
     however that program ends, the server does not outlive it. It has no variable: processes that the server \
     starts would inherit one.";
const SPELLING: &str = "Flags that pywebsocket has too are taken in both of its spellings: --document-root is --document_root.";
const AFTER_HELP: &str =
    "Priority, highest first: flag, WSHD_* variable, config.toml, default. See --help.";
const AFTER_ENVIRONMENT: &str = "\
Signals:
  SIGTERM, SIGINT, SIGQUIT  close every session with 1001, then exit with 0; a second one exits
                            at once with 130
  SIGHUP                    read the configuration again and look for changed handlers; `dev`,
                            whose terminal is closed, stops
  SIGUSR1                   open log files again that were moved
  SIGUSR2                   start the program anew with the sockets of this process, which
                            drains when the other one is ready; `dev` ignores it
  SIGALRM and others that end most programs are ignored, with a line in the log.

Exit status:
  0   all is well                    70   code of a handler called `exit`
  1   it cannot serve, or `check`    78   the configuration is wrong
      found a fault                  130  a second signal ended it at once
  2   the command line is wrong";
