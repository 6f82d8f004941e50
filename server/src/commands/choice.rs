//! Which server a command is for.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::client::{Client, NoAnswer};
use super::report;
use crate::admin::place;
use crate::config::{AdminSocket, CheckedReading, ConfigError, Flags, ServerChoice};

/// Why no server was chosen.
#[derive(Debug)]
pub(super) enum Choosing {
    /// None answers that could be meant.
    NoServer(String),
    /// This user may not ask it.
    Refused(String),
    /// Several could be meant: a sentence, and a line for each.
    Several(String),
}

/// The server that is meant.
pub(super) fn choose(choice: &ServerChoice) -> Result<Client, Choosing> {
    if let Some(socket) = &choice.socket {
        return Ok(Client::new(socket));
    }
    match named_socket(choice.config.as_deref())? {
        NamedSocket::Off => {
            let why = "the configuration switches the admin socket off: `admin_socket`";
            return Err(Choosing::NoServer(why.to_owned()));
        }
        NamedSocket::At { socket, file } => {
            let named = Client::new(&socket);
            match (named.get("/status"), choice.port) {
                // A server that was started with another `admin_socket` goes on with that.
                (Err(NoAnswer::NoServer { .. }), None) => {
                    return Ok(file.and_then(|it| chosen_by_file(&it)).unwrap_or(named));
                }
                (_, None) => return Ok(named),
                (Ok(status), Some(_)) if is_meant(&status, choice) => return Ok(named),
                (_, Some(_)) => {}
            }
        }
        // It may name the socket of a server that is not among those that are looked for.
        NamedSocket::Unknown { file, error } if choice.port.is_none() => {
            let why = format!(
                "which server is meant is not known: {error}; `--port` or `--socket` says it"
            );
            let chosen = file.and_then(|it| chosen_by_file(&it));
            return chosen.ok_or(Choosing::Refused(why));
        }
        NamedSocket::Unknown { .. } | NamedSocket::Automatic => {}
    }
    let mut found = Vec::new();
    let mut refused = None;
    for sockets in place::candidates() {
        if !found.is_empty() {
            break;
        }
        for socket in sockets {
            let client = Client::new(&socket);
            match client.get("/status") {
                Ok(status) => found.push((client, status)),
                Err(NoAnswer::Refused(why)) => refused = Some(why),
                // One that a killed server has left, for example.
                Err(_) => {}
            }
        }
    }
    let is_any = !found.is_empty();
    found.retain(|(_, status)| is_meant(status, choice));
    leave_out_the_replaced(&mut found);
    match (found.len(), refused) {
        (1, _) => Ok(found.remove(0).0),
        (0, Some(why)) => Err(Choosing::Refused(why)),
        (0, None) => Err(Choosing::NoServer(match is_any {
            true => "no server that runs listens there or has that configuration; `wshd status` lists them".to_owned(),
            false => "no server of this user runs; `--socket PATH` names the admin socket of another one".to_owned(),
        })),
        (_, _) => Err(Choosing::Several(several(&found))),
    }
}

/// The one server with this configuration file whose admin socket has a path of its own choice.
fn chosen_by_file(file: &Path) -> Option<Client> {
    let wanted = ServerChoice {
        config: Some(file.to_owned()),
        ..ServerChoice::default()
    };
    let sockets = place::candidates().into_iter().flatten();
    let mut found: Vec<_> = sockets
        .filter_map(|socket| {
            let client = Client::new(&socket);
            let status = client.get("/status").ok()?;
            is_meant(&status, &wanted).then_some((client, status))
        })
        .collect();
    leave_out_the_replaced(&mut found);
    match found.len() {
        1 => found.pop().map(|(client, _)| client),
        _ => None,
    }
}

/// What a configuration says of the admin socket.
enum NamedSocket {
    /// It leaves it to the server.
    Automatic,
    Off,
    At {
        socket: PathBuf,
        file: Option<PathBuf>,
    },
    /// The file cannot be read, or is wrong where it says that.
    Unknown {
        file: Option<PathBuf>,
        error: ConfigError,
    },
}

/// What is said of the admin socket by the configuration of a server that would be started here, or by the file that is
/// named. What else is wrong in it does not matter.
fn named_socket(file: Option<&Path>) -> Result<NamedSocket, Choosing> {
    let flags = match file {
        Some(file) => Flags::of_file(file),
        None => Flags::default(),
    };
    if let Some(file) = file
        && let Err(error) = std::fs::metadata(file)
    {
        let why = format!("cannot read `{}`: {error}", file.display());
        return Err(Choosing::Refused(why));
    }
    let working_dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let unknown = |error| NamedSocket::Unknown {
        file: flags.file_to_read(&working_dir),
        error,
    };
    Ok(match flags.read_to_check(&working_dir) {
        Err(error) => unknown(error),
        Ok(CheckedReading {
            error: Some(error),
            is_admin_socket_known: false,
            ..
        }) => unknown(error),
        Ok(CheckedReading { config, .. }) => match config.admin_socket {
            AdminSocket::Automatic => NamedSocket::Automatic,
            AdminSocket::Off => NamedSocket::Off,
            AdminSocket::At(socket) => NamedSocket::At {
                socket,
                file: config.file,
            },
        },
    })
}

/// Where a server is there that does not drain, those that drain are not meant: another process has taken their place.
fn leave_out_the_replaced<T>(found: &mut Vec<(T, Value)>) {
    let drains = |status: &Value| status["state"] == "draining";
    if found.iter().any(|(_, status)| !drains(status)) {
        found.retain(|(_, status)| !drains(status));
    }
}

fn is_meant(status: &Value, choice: &ServerChoice) -> bool {
    let listens_on = |port: u16| {
        let listen = status["listen"].as_array().into_iter().flatten();
        let mut texts = listen.filter_map(Value::as_str);
        texts.any(|text| text.ends_with(&format!(":{port}")))
    };
    let is_port = choice.port.is_none_or(listens_on);
    let is_file = choice.config.as_ref().is_none_or(|wanted| {
        let found = status["config_file"].as_str().map(Path::new);
        let real = |path: &Path| path.canonicalize().ok();
        found.is_some_and(|found| {
            found == wanted || real(found).is_some() && real(found) == real(wanted)
        })
    });
    is_port && is_file
}

fn several(found: &[(Client, Value)]) -> String {
    let mut text = format!(
        "{} servers run; `--port`, `--config` or `--socket` says which one is meant:",
        found.len()
    );
    for (client, status) in found {
        text += &format!("\n  {}", report::server(client.socket(), status));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_is_chosen_by_a_port_and_by_its_file() {
        let status = json!({
            "listen": ["127.0.0.1:9998", "tls:[::1]:443", "unix:/a:80"],
            "config_file": "/etc/wshd/config.toml",
        });
        let choice = |port, config: Option<&str>| ServerChoice {
            socket: None,
            port,
            config: config.map(PathBuf::from),
        };
        for (port, config, expected) in [
            (None, None, true),
            (Some(9998), None, true),
            (Some(443), Some("/etc/wshd/config.toml"), true),
            (Some(998), None, false),
            (Some(9998), Some("/etc/other.toml"), false),
        ] {
            assert_eq!(
                is_meant(&status, &choice(port, config)),
                expected,
                "{port:?} {config:?}"
            );
        }
    }

    #[test]
    fn a_server_that_was_replaced_is_meant_only_where_no_other_one_runs() {
        for (states, expected) in [
            (&["ready"][..], &[0][..]),
            (&["draining"], &[0]),
            (&["draining", "ready"], &[1]),
            (&["overloaded", "draining", "draining"], &[0]),
            (&["ready", "ready"], &[0, 1]),
            (&["draining", "draining"], &[0, 1]),
        ] {
            let of = |(number, state): (usize, &&str)| (number, json!({ "state": state }));
            let mut found: Vec<_> = states.iter().enumerate().map(of).collect();
            leave_out_the_replaced(&mut found);
            let left: Vec<usize> = found.iter().map(|(number, _)| *number).collect();
            assert_eq!(left, expected, "{states:?}");
        }
    }
}
