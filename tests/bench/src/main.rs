//! What an echo costs wshd and other servers. Each is a process on one core, driven in turn from another core; measured are
//! CPU time, system calls, latency and memory.
//!
//! This is a tool and no test: figures differ between machines, and ratios within one run less.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its tables are what it is for"
)]

mod artifacts;
mod border;
mod callgrind;
mod cell;
#[path = "../../../server/src/testing/client_frame.rs"]
mod client_frame;
mod contender;
mod echo;
mod fan;
mod frame;
mod gate;
mod handshakes;
mod idle;
mod load;
mod machine;
mod pace;
mod peers;
mod plan;
mod reload;
mod report;
mod rounds;
mod server;
mod socket;
mod stats;
mod syscalls;
mod targets;
mod tls;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::peers::Peer;

/// wshd against other servers.
#[derive(Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Subcommand)]
enum Command {
    /// Be the echo server of a library.
    #[command(hide = true)]
    Serve { peer: Peer, port: u16 },
    /// Fail if wshd needs more instructions or system calls a message than it may.
    Gate {
        /// Functions to show for each case.
        #[arg(long, default_value_t = 12)]
        top: usize,
        /// Another plugin that echoes, `async_echo_wsh` or `blocking_echo_wsh`: its instructions, for
        /// which there are no limits.
        #[arg(long, value_name = "PLUGIN", value_parser = ["async_echo_wsh", "blocking_echo_wsh"])]
        echo: Option<String>,
    },
    /// What the border between server and plugin costs a message.
    Border {
        /// Another file than `echo_wsh`, which echoes.
        plugin: Option<PathBuf>,
    },
    /// Be an echo server with TLS.
    #[command(hide = true)]
    ServeTls {
        port: u16,
        certificate: PathBuf,
        key: PathBuf,
    },
    /// What TLS costs a message and an idle connection, beside tokio-tungstenite over rustls.
    Tls,
    /// Fail if the clients of one handler notice more than they may when another is replaced.
    Reload(reload::Plan),
}

/// How to run.
#[derive(Args)]
pub(crate) struct Run {
    /// About a minute: the cases with targets, in few and short rounds.
    #[arg(long)]
    quick: bool,
    /// Another server; `{port}` in the command is where it is to listen on 127.0.0.1. Repeatable.
    #[arg(long, value_name = "NAME=COMMAND")]
    peer: Vec<String>,
    /// The echo as an async and as a blocking function too, as `async` and `blocking`.
    #[arg(long)]
    styles: bool,
    /// Only cases whose name contains one of these, such as `20Bx100`, `handshake`, `idle`, `fan`.
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these servers beside wshd.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    against: Option<Vec<String>>,
    /// Interleaved rounds of the cases with targets; the others have a quarter. [default: 24, quick: 4]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Write every line of the tables to this file too.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> std::process::ExitCode {
    let CommandLine { command, run } = CommandLine::parse();
    let done = match command {
        None => plan::run(&run).map(|()| true),
        Some(Command::Serve { peer, port }) => peer.serve(port).map(|()| true),
        Some(Command::Gate { top, echo: None }) => gate::run(top),
        Some(Command::Gate {
            top,
            echo: Some(echo),
        }) => gate::show_echo(&echo, top),
        Some(Command::Border { plugin }) => border::run(plugin.as_deref()),
        Some(Command::ServeTls {
            port,
            certificate,
            key,
        }) => peers::tungstenite_tls::serve(port, &certificate, &key).map(|()| true),
        Some(Command::Tls) => tls::run().map(|()| true),
        Some(Command::Reload(plan)) => reload::run(&plan),
    };
    match done {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
