//! The servers that are compared: wshd first, then every other server.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::artifacts::{Artifacts, STYLES};
use crate::fan::Crowd;
use crate::peers::Peer;
use crate::{Result, Run};

/// A server that can be started.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    start: Start,
}

#[derive(Clone, Debug)]
enum Start {
    /// wshd, with these lines at the end of its configuration.
    Wshd(Artifacts, String),
    Library(Peer),
    /// A command of the shell with `{port}` in it.
    Command(String),
}

impl Contender {
    /// Returns wshd, the libraries and the servers of the command line, in this order.
    pub(crate) fn all(run: &Run) -> Result<Vec<Contender>> {
        let mut all = Vec::new();
        if run.styles {
            let artifacts = Artifacts::build_styles()?;
            let styles = STYLES.map(|(name, plugin)| Contender {
                name: name.to_owned(),
                start: Start::Wshd(artifacts.echoing(plugin), String::new()),
            });
            all.push(Contender::wshd(artifacts.without_styles()));
            all.extend(styles);
        } else {
            all.push(Contender::wshd(Artifacts::build()?));
        }
        all.extend(LIBRARIES.map(|(name, library)| Contender {
            name: name.to_owned(),
            start: Start::Library(library),
        }));
        for peer in &run.peer {
            let (name, command) = peer.split_once('=').unwrap_or_default();
            if name.is_empty() || !command.contains("{port}") {
                return Err(format!(
                    "`--peer` wants NAME=COMMAND with `{{port}}` in the command, found `{peer}`"
                )
                .into());
            }
            all.push(Contender {
                name: name.to_owned(),
                start: Start::Command(command.to_owned()),
            });
        }
        if let Some(wanted) = &run.against {
            if let Some(unknown) = wanted
                .iter()
                .find(|wanted| !all.iter().any(|it| it.name == **wanted))
            {
                let known: Vec<&str> = all.iter().map(|it| &*it.name).collect();
                let known = known.join("`, `");
                return Err(format!("no server is called `{unknown}`; there are `{known}`").into());
            }
            let mut index = 0;
            all.retain(|it| {
                index += 1;
                index == 1 || wanted.contains(&it.name)
            });
        }
        Ok(all)
    }

    pub(crate) fn wshd(artifacts: Artifacts) -> Contender {
        Contender::wshd_with(artifacts, "")
    }

    /// Returns wshd with more lines in its configuration.
    pub(crate) fn wshd_with(artifacts: Artifacts, more: &str) -> Contender {
        Contender {
            name: "wshd".to_owned(),
            start: Start::Wshd(artifacts, more.to_owned()),
        }
    }

    /// Returns wshd with the lines that a crowd with history wants, and wshd without them.
    pub(crate) fn pair(artifacts: &Artifacts, crowd: Crowd) -> [Contender; 2] {
        let without = Contender {
            name: WITHOUT_HISTORY.to_owned(),
            ..Contender::wshd(artifacts.clone())
        };
        let with = Contender::wshd_with(artifacts.clone(), &crowd.configuration());
        [with, without]
    }

    /// Returns the files of wshd; `None` for another server.
    pub(crate) fn artifacts(&self) -> Option<&Artifacts> {
        match &self.start {
            Start::Wshd(artifacts, _) => Some(artifacts),
            Start::Library(_) | Start::Command(_) => None,
        }
    }

    /// Returns the command that serves on this port, and a directory that must live as long as its process.
    pub(crate) fn command(&self, port: u16) -> Result<(Command, Option<TempDir>)> {
        match &self.start {
            Start::Wshd(artifacts, more) => {
                let (program, arguments, site) = wshd(artifacts, port, more)?;
                let mut command = Command::new(program);
                command.args(arguments);
                for (name, _) in std::env::vars_os() {
                    if name.as_encoded_bytes().starts_with(b"WSHD_") {
                        command.env_remove(name);
                    }
                }
                Ok((command, Some(site)))
            }
            Start::Library(peer) => {
                let mut command = Command::new(std::env::current_exe()?);
                let name = LIBRARIES.iter().find(|(_, library)| library == peer);
                let name = name.map_or("", |(name, _)| name);
                command.args(["serve", name, &port.to_string()]);
                Ok((command, None))
            }
            Start::Command(text) => {
                // `exec` makes the shell's process the server's, which is the one that is measured.
                let text = format!("exec {}", text.replace("{port}", &port.to_string()));
                let mut command = Command::new("sh");
                command.args(["-c", &text]);
                Ok((command, None))
            }
        }
    }
}

/// Makes a directory with the plugins and a configuration, which differs from the shipped one in `more`, lines of `[limits]`
/// and tables behind them. Returns the command and the directory.
pub(crate) fn wshd(
    artifacts: &Artifacts,
    port: u16,
    more: &str,
) -> Result<(PathBuf, Vec<PathBuf>, TempDir)> {
    let site = tempfile::Builder::new().prefix("wshd-bench-").tempdir()?;
    let handlers = site.path().join("handlers");
    std::fs::create_dir(&handlers)?;
    for plugin in &artifacts.plugins {
        std::fs::copy(plugin, handlers.join(Artifacts::served_as(plugin)))
            .map_err(|error| format!("cannot copy `{}`: {error}", plugin.display()))?;
    }
    let config = site.path().join("config.toml");
    let text =
        format!("listen = [\"127.0.0.1:{port}\"]\nhandlers_dir = \"handlers\"\n\n[limits]\n{more}");
    std::fs::write(&config, text)?;
    Ok((
        artifacts.server.clone(),
        vec!["--config".into(), config],
        site,
    ))
}

/// The name of wshd beside wshd with history.
pub(crate) const WITHOUT_HISTORY: &str = "without history";
const LIBRARIES: [(&str, Peer); 6] = [
    ("tungstenite", Peer::Tungstenite),
    ("tungstenite-4k", Peer::Tungstenite4k),
    ("fastwebsockets", Peer::Fastwebsockets),
    ("tokio-websockets", Peer::TokioWebsockets),
    ("yawc", Peer::Yawc),
    ("axum", Peer::Axum),
];
