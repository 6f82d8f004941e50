//! The arguments of the commands of operators: `wshd status`, `list`, `sessions`, `reload` and others.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};

use super::connect::CloseText;
use crate::config::settings::number;

/// A command of an operator, and the server that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorCommand {
    /// Which server it is for.
    pub server: ServerChoice,
    /// What is asked for.
    pub action: OperatorAction,
    /// Whether the answer is written as JSON.
    pub is_json: bool,
}

/// Which of the servers of this machine is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerChoice {
    /// The one with this admin socket.
    pub socket: Option<PathBuf>,
    /// The one that listens on this port.
    pub port: Option<u16>,
    /// The one with this configuration file.
    pub config: Option<PathBuf>,
}

/// What an operator asks of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    /// How the server is.
    Status,
    /// Its handlers.
    List,
    /// The server live, on a terminal.
    Top {
        /// How often it is asked.
        interval: Duration,
    },
    /// Its sessions, of this handler or of all.
    Sessions {
        /// The handler's name.
        handler: Option<String>,
        /// How many are listed at most.
        max: u64,
    },
    /// Read the configuration again and load what has changed, or load this handler anew.
    Reload {
        /// The handler's name.
        handler: Option<String>,
    },
    /// Have another process take the place of the server's.
    Upgrade,
    /// Let no new session of a handler begin, and close those that are open.
    Drain {
        /// The handler's name.
        handler: String,
        /// How long their end is waited for.
        wait: Duration,
    },
    /// Let no new session of a handler begin.
    Quarantine {
        /// The handler's name.
        handler: String,
    },
    /// Let sessions of a handler begin again.
    Release {
        /// The handler's name.
        handler: String,
    },
    /// Close a session, or several.
    Close {
        /// The id of the one that is meant.
        session: Option<u64>,
        /// Those of this handler.
        handler: Option<String>,
        /// Those of these addresses.
        address: Option<String>,
        /// The Close frame.
        close: CloseText,
    },
}

impl OperatorCommand {
    /// Reads what clap has found for the command `name`; `None` if it is none of an operator's.
    pub(super) fn of(name: &str, matches: &ArgMatches) -> Option<OperatorCommand> {
        let handler = || matches.get_one::<String>("handler").cloned();
        let named = || handler().unwrap_or_default();
        let action = match name {
            "status" => OperatorAction::Status,
            "list" => OperatorAction::List,
            "top" => OperatorAction::Top {
                interval: Duration::from_secs(matches.get_one("interval").copied().unwrap_or(1)),
            },
            "sessions" => OperatorAction::Sessions {
                handler: handler(),
                max: matches.get_one("max").copied().unwrap_or_default(),
            },
            "reload" => OperatorAction::Reload { handler: handler() },
            "upgrade" => OperatorAction::Upgrade,
            "drain" => OperatorAction::Drain {
                handler: named(),
                wait: Duration::from_secs(matches.get_one("wait").copied().unwrap_or_default()),
            },
            "quarantine" => OperatorAction::Quarantine { handler: named() },
            "release" => OperatorAction::Release { handler: named() },
            "close" => OperatorAction::Close {
                session: matches.get_one("session").copied(),
                handler: matches.get_one("of_handler").cloned(),
                address: matches.get_one("address").cloned(),
                close: CloseText {
                    code: matches.get_one("code").copied().unwrap_or_default(),
                    reason: matches.get_one("reason").cloned().unwrap_or_default(),
                },
            },
            _ => return None,
        };
        Some(OperatorCommand {
            server: ServerChoice {
                socket: matches.get_one("socket").cloned(),
                port: matches.get_one("of_port").copied(),
                config: matches.get_one("of_config").cloned(),
            },
            action,
            is_json: matches.get_flag("json"),
        })
    }
}

/// The commands of operators.
pub(super) fn commands() -> [Command; 10] {
    [
        command("status", "Print how the server is: since when it runs, where it listens, what it serves", ""),
        command("list", "Print the handlers of the server, with their generations and sessions", ""),
        command(
            "top",
            "Show the server live: sessions, messages, queues and the time of callbacks",
            "It draws on the terminal until `q`, without colours where NO_COLOR is set. With --json it prints the numbers once.",
        )
        .arg(
            Arg::new("interval")
                .long("interval")
                .value_name("SECONDS")
                .value_parser(number::<u64>(1..=3_600))
                .default_value("1")
                .help("Ask the server so often"),
        ),
        command("sessions", "Print the open sessions of the server", "").args([
            handler(false, "Of this handler only, a name as `wshd list` prints it"),
            Arg::new("max")
                .long("max")
                .value_name("NUMBER")
                .value_parser(number::<u64>(1..=u64::MAX))
                .default_value("1000")
                .help("Print at most so many, those with the lowest ids first"),
        ]),
        command(
            "reload",
            "Read the configuration again, and load each handler whose file has changed",
            "With a name, this handler is loaded anew, whether its file has changed or not. Its sessions move to the new \
             version if they can, as after a change. It exits with 1 if a file or the configuration is refused: then what \
             served before goes on.",
        )
        .arg(handler(false, "Load this handler anew")),
        command(
            "upgrade",
            "Have the program that lies there now take the place of the server, without refusing a connection",
            "It is what SIGUSR2 does. The program is started anew, with the server's arguments and sockets. When it has loaded \
             all handlers that the server serves, it accepts connections; then this command ends, while the process of before \
             closes its sessions with 1012. It exits with 1 if the new process does not take over: it says why, and the server \
             serves on. The new process reads the configuration.",
        ),
        command(
            "drain",
            "Let no new session of a handler begin, and close those that are open with 1001",
            "New sessions are refused with 503 until `wshd release` or the end of the server, also after a reload. It waits \
             until no session is left, and exits with 1 if one is left after that time.",
        )
        .args([
            handler(true, "The handler"),
            Arg::new("wait")
                .long("wait")
                .value_name("SECONDS")
                .value_parser(number::<u64>(0..=86_400))
                .default_value("60")
                .help("How long to wait for the end of its sessions"),
        ]),
        command(
            "quarantine",
            "Let no new session of a handler begin; those that are open go on",
            "New sessions are refused with 503 until `wshd release` or the end of the server, also after a reload.",
        )
        .arg(handler(true, "The handler")),
        command(
            "release",
            "Let sessions of a handler begin again, after `quarantine`, `drain` or too many panics",
            "",
        )
        .arg(handler(true, "The handler")),
        command(
            "close",
            "Close a session, or those of an address or a handler",
            "`deny` keeps an address from connecting, and leaves open sessions alone: `--address` ends them. With --handler too, \
             those of both are closed. It prints how many they are. No handler is taken out of service: `wshd drain` does that.",
        )
        .args([
            Arg::new("session")
                .conflicts_with_all(["address", "of_handler"])
                .value_name("ID")
                .value_parser(number::<u64>(0..=u64::MAX))
                .help("The number of the session, as `wshd sessions` and the log print it"),
            Arg::new("address")
                .long("address")
                .value_name("ADDRESS")
                .help("Close the sessions of this address or network, like 192.0.2.7, 10.0.0.0/8, loopback or unix"),
            Arg::new("of_handler")
                .long("handler")
                .value_name("HANDLER")
                .help("Close the sessions of this handler"),
            Arg::new("code")
                .long("code")
                .value_name("CODE")
                .value_parser(number::<u16>(1000..=4999))
                .default_value("1001")
                .help("The code of the Close frame"),
            Arg::new("reason")
                .long("reason")
                .value_name("TEXT")
                .default_value("")
                .hide_default_value(true)
                .help("The reason in the Close frame"),
        ])
        .group(
            ArgGroup::new("which")
                .args(["session", "address", "of_handler"])
                .required(true)
                .multiple(true),
        ),
    ]
}

/// A command that is for a server which runs.
fn command(name: &'static str, about: &'static str, more: &'static str) -> Command {
    let paragraphs = [about, more, WHICH].into_iter();
    let paragraphs: Vec<&str> = paragraphs.filter(|it| !it.is_empty()).collect();
    Command::new(name)
        .about(about)
        .long_about(paragraphs.join("\n\n"))
        .after_long_help(EXIT_STATUS)
        .args([
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print the server's answer as JSON"),
            Arg::new("socket")
                .long("socket")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with_all(["of_port", "of_config"])
                .help("Ask the server with this admin socket"),
            Arg::new("of_port")
                .long("port")
                .short('p')
                .value_name("PORT")
                .value_parser(number::<u16>(0..=u16::MAX.into()))
                .help("Ask the server that listens on this port"),
            Arg::new("of_config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Ask the server with this configuration file"),
        ])
}

fn handler(is_required: bool, help: &'static str) -> Arg {
    Arg::new("handler")
        .required(is_required)
        .value_name("HANDLER")
        .help(help)
}

const WHICH: &str = "It asks the one server of this user or the machine that runs. Where there are several, --port, --config or \
                     --socket says which.";
const EXIT_STATUS: &str = "\
Exit status:
  0   all is well             2   the command line is wrong, or fits several servers
  1   it was refused          3   no server answers";
