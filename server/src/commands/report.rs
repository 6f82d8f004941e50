//! What is printed of a server's answers.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::table::{bytes, counted, table, time, word};

/// How the server is.
pub(super) fn status(status: &Value) -> String {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let mut lines: Vec<(&str, String)> = Vec::new();
    let uptime = Duration::from_millis(number(&status["uptime_ms"]));
    lines.push((
        "server",
        format!(
            "wshd {}, {} for {}, process {}",
            text(&status["version"]),
            text(&status["state"]),
            time(uptime),
            number(&status["pid"]),
        ),
    ));
    let listen = status["listen"].as_array().into_iter().flatten();
    lines.push((
        "listens on",
        listen.map(text).collect::<Vec<_>>().join(", "),
    ));
    let file = match &status["config_file"] {
        Value::Null => "none, the defaults hold".to_owned(),
        file => text(file),
    };
    lines.push(("configuration", file));
    let handlers = &status["handlers"];
    let mut counts = format!("{} serve", number(&handlers["serving"]));
    for what in ["refused", "quarantined"] {
        if number(&handlers[what]) > 0 {
            let _ = write!(counts, ", {} {what}", number(&handlers[what]));
        }
    }
    if number(&status["panics"]) > 0 {
        let _ = write!(counts, ", {}", counted(number(&status["panics"]), "panic"));
    }
    lines.push((
        "handlers",
        format!("{counts}, of {}", text(&status["handlers_dir"])),
    ));
    lines.push(("sessions", number(&status["sessions"]).to_string()));
    let connections = &status["connections"];
    lines.push((
        "connections",
        format!(
            "{} of {}",
            number(&connections["open"]),
            number(&connections["max"])
        ),
    ));
    if let Some(memory) = status["memory_bytes"].as_u64() {
        lines.push(("memory", bytes(memory)));
    }
    lines.push(("admin socket", text(&status["admin_socket"])));
    let lines = lines
        .iter()
        .map(|(name, value)| format!("{name:<15}{value}\n"));
    lines.collect()
}

/// One line about a server, to tell it from others.
pub(super) fn server(socket: &Path, status: &Value) -> String {
    let listen = status["listen"].as_array().into_iter().flatten();
    let listen: Vec<String> = listen.map(text).collect();
    format!(
        "{}, process {}, --socket {}",
        listen.join(", "),
        status["pid"],
        word(&socket.to_string_lossy())
    )
}

/// The handlers, and below them why some are refused.
pub(super) fn handlers(handlers: &Value) -> String {
    let handlers = handlers.as_array().map(Vec::as_slice).unwrap_or_default();
    if handlers.is_empty() {
        return "no handler is there\n".to_owned();
    }
    let rows = handlers.iter().map(|handler| {
        let newest = &handler["generations"][0];
        vec![
            text(&handler["name"]),
            state_of(handler),
            number(&handler["generation"]),
            number(&handler["sessions"]),
            older(handler),
            number(&newest["panics"]),
            text(&newest["version"]),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let headings = [
        "HANDLER",
        "STATE",
        ">GENERATION",
        ">SESSIONS",
        ">ON OLDER",
        ">PANICS",
        "VERSION",
    ];
    let mut page = table(&headings, &rows);
    for handler in handlers {
        if let Some(why) = handler["refusal"].as_str() {
            let name = text(&handler["name"]);
            let _ = writeln!(page, "{name}: {}", crate::logging::on_one_line(why));
        }
        if is_withdrawn(handler) {
            let name = text(&handler["name"]);
            let _ = writeln!(
                page,
                "{name}: an operator has taken it out of service; `wshd release {name}` lets new sessions begin again"
            );
        }
    }
    page
}

fn state_of(handler: &Value) -> String {
    if handler["generation"].is_null() {
        return match handler["refusal"].is_null() {
            true => "removed".to_owned(),
            false => "refused".to_owned(),
        };
    }
    let newest = &handler["generations"][0];
    let mut state = text(&newest["state"]).replace('_', " ");
    if is_withdrawn(handler) {
        state += " by the operator";
    }
    if !handler["refusal"].is_null() {
        state += ", newer file refused";
    }
    state
}

/// Whether an operator has taken the handler out of service.
fn is_withdrawn(handler: &Value) -> bool {
    handler["generations"][0]["quarantined_by"] == "operator"
}

/// The sessions on older generations than the one that serves.
fn older(handler: &Value) -> String {
    let all = handler["generations"].as_array().into_iter().flatten();
    let old = all.filter(|it| it["number"] != handler["generation"]);
    let old: u64 = old.filter_map(|it| it["sessions"].as_u64()).sum();
    old.to_string()
}

/// The sessions, and how many more there are.
pub(super) fn sessions(answer: &Value) -> String {
    let sessions = answer["sessions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if sessions.is_empty() {
        return "no session is open\n".to_owned();
    }
    let rows = sessions.iter().map(|session| {
        let age = session["age_ms"].as_u64().map(Duration::from_millis);
        let size = |name: &str| {
            session[name]
                .as_u64()
                .map(bytes)
                .unwrap_or_else(|| "-".to_owned())
        };
        vec![
            number(&session["id"]),
            text(&session["handler"]),
            number(&session["generation"]),
            text(&session["state"]),
            age.map_or_else(|| "-".to_owned(), time),
            size("bytes_in"),
            size("bytes_out"),
            size("buffered"),
            text(&session["peer"]),
            text(&session["user"]),
            text(&session["path"]),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let headings = [
        ">ID",
        "HANDLER",
        ">GENERATION",
        "STATE",
        ">AGE",
        ">IN",
        ">OUT",
        ">QUEUED",
        "PEER",
        "USER",
        "PATH",
    ];
    let mut page = table(&headings, &rows);
    if !answer["next"].is_null() {
        let open = answer["open"].as_u64().unwrap_or(0);
        let _ = writeln!(
            page,
            "{} of {open} sessions; `--max` says how many are printed",
            sessions.len()
        );
    }
    page
}

/// What became of a reload: what was loaded, and what was refused.
pub(super) fn reload(answer: &Value) -> (String, Vec<String>) {
    let list = |name: &str| {
        answer[name]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let mut page = String::new();
    for loaded in list("loaded") {
        let name = text(&loaded["handler"]);
        let elapsed = Duration::from_millis(loaded["elapsed_ms"].as_u64().unwrap_or(0));
        let generation = number(&loaded["generation"]);
        let (elapsed, by) = (time(elapsed), loaded["quarantined_by"].as_str());
        let _ = match by {
            None => write!(
                page,
                "{name}: generation {generation} serves after {elapsed}"
            ),
            Some(by) => {
                let why = match by {
                    "operator" => "an operator has taken it out of service",
                    _ => "it has failed too often",
                };
                write!(
                    page,
                    "{name}: generation {generation} is loaded after {elapsed} and in quarantine, since {why}; \
                     `wshd release {name}` lets new sessions begin"
                )
            }
        };
        if let Some(moved) = loaded["moved"].as_u64() {
            let _ = write!(page, "; sessions moved to it: {moved}");
        }
        page.push('\n');
    }
    let refused = list("refused")
        .iter()
        .map(|it| it["why"].as_str().unwrap_or_default().to_owned());
    let faults = list("config_faults").iter();
    let faults = faults.map(|it| {
        format!(
            "configuration refused, the old one goes on: {}",
            it.as_str().unwrap_or_default()
        )
    });
    let not_applied = list("not_applied").iter();
    let not_applied = not_applied.map(|it| it.as_str().unwrap_or_default().to_owned());
    let faults: Vec<String> = faults.chain(not_applied).chain(refused).collect();
    let waiting: Vec<String> = list("wait_for_restart")
        .iter()
        .map(|key| format!("`{}`", text(key)))
        .collect();
    if page.is_empty() && faults.is_empty() {
        page.push_str("the configuration was read; no handler has changed\n");
    }
    if !waiting.is_empty() {
        let _ = writeln!(
            page,
            "changed in the configuration, and applies after a restart: {}",
            waiting.join(", ")
        );
    }
    (page, faults)
}

/// Which process has taken the place of which.
pub(super) fn upgraded(answer: &Value) -> String {
    format!(
        "process {} serves, with wshd {}; process {} closes its sessions and ends\n",
        number(&answer["pid"]),
        text(&answer["version"]),
        number(&answer["pid_before"]),
    )
}

/// Which sessions were told to close.
pub(super) fn closed(answer: &Value) -> String {
    if let Some(session) = answer["session"].as_u64() {
        return format!("session {session} is told to close\n");
    }
    let number = |name: &str| answer[name].as_u64().unwrap_or(0);
    let are = |number| if number == 1 { "is" } else { "are" };
    let (sessions, busy) = (number("sessions"), number("busy"));
    let mut page = format!(
        "{} {} told to close\n",
        counted(sessions, "session"),
        are(sessions)
    );
    if busy > 0 {
        let _ = writeln!(
            page,
            "{busy} more {} in a callback or an opening handshake; when that ends, what is meant is closed",
            are(busy)
        );
    }
    page
}

pub(super) fn quarantined(handler: &str, answer: &Value) -> String {
    let name = word(handler);
    let sessions = counted(answer["sessions"].as_u64().unwrap_or(0), "open session");
    format!(
        "{name} is quarantined: no new session begins until `wshd release {name}`, and {sessions} may go on\n"
    )
}

pub(super) fn released(handler: &str, answer: &Value) -> String {
    let name = word(handler);
    match answer["was_quarantined"] == true {
        true => format!("{name} is in service again\n"),
        false => format!("{name} was in service already\n"),
    }
}

/// A text as it can be shown; a dash for none.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), word)
}

fn number(value: &Value) -> String {
    value
        .as_u64()
        .map_or_else(|| "-".to_owned(), |number| number.to_string())
}
