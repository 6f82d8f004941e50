//! Operators ask a server at its admin socket, and have it do things, by commands or by HTTP.

mod close;
mod socket;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::{Site, library};
use crate::harness::{eventually, patience};

/// Runs a command of an operator.
#[track_caller]
fn wshd(site: &Site, arguments: &[&str]) -> Output {
    Server::bare(site).args(arguments).output()
}

/// Runs a command that must be carried out. Returns what it prints.
#[track_caller]
fn done(site: &Site, arguments: &[&str]) -> String {
    let output = wshd(site, arguments);
    let faults = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {faults}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a command that must not be carried out. Returns its exit code and the last line of what it says.
#[track_caller]
fn refused(site: &Site, arguments: &[&str]) -> (i32, String) {
    let output = wshd(site, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().expect("it ends by itself");
    (code, said.lines().last().unwrap_or_default().to_owned())
}

#[track_caller]
fn json(site: &Site, arguments: &[&str]) -> Value {
    let text = done(site, &[arguments, &["--json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

/// The path of the server's admin socket, which lies in the site.
fn socket_of(site: &Site, server: &Server) -> PathBuf {
    let path = site.root().join(format!("wshd/{}.sock", server.pid()));
    eventually("the admin socket is there", || path.exists());
    path
}

/// Sends bytes to a socket and returns what comes back.
#[track_caller]
fn exchange(socket: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).expect("the server listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20) * patience()))
        .expect("a timeout");
    stream.write_all(request).expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn an_operator_sees_the_server_its_handlers_and_its_sessions() {
    let site = Site::with(&["echo_wsh"]);
    site.add_bytes(b"junk", "broken_wsh.so");
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    client.ask("hello");

    let status = json(&site, &["status"]);
    assert_eq!(status["pid"], server.pid());
    assert_eq!(status["listen"][0], format!("127.0.0.1:{}", server.port()));
    assert_eq!(status["state"], "ready");
    assert_eq!(status["sessions"], 1);
    assert_eq!(status["connections"]["open"], 1);
    assert_eq!(status["handlers"]["serving"], 1);
    assert_eq!(status["handlers"]["refused"], 1);
    let shown = done(&site, &["status"]);
    assert!(
        shown.contains("handlers       1 serve, 1 refused, of "),
        "{shown}"
    );

    let handlers = done(&site, &["list"]);
    let lines: Vec<&str> = handlers.lines().collect();
    assert!(lines[0].starts_with("HANDLER  STATE"), "{handlers}");
    assert!(lines[1].starts_with("broken   refused"), "{handlers}");
    assert!(lines[2].starts_with("echo     serving"), "{handlers}");
    assert_eq!(
        lines[3],
        r"broken: cannot load `broken_wsh.so`: it is not a shared library: it begins with `junk`"
    );

    let sessions = json(&site, &["sessions"]);
    let session = &sessions["sessions"][0];
    assert_eq!(session["handler"], "echo");
    assert_eq!(session["state"], "open");
    assert_eq!(session["bytes_in"], 11, "6 of the frame, 5 of the text");
    assert!(session["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(done(&site, &["sessions", "echo"]).contains("open"));
    assert_eq!(
        refused(&site, &["sessions", "ecko"]),
        (
            1,
            "wshd: there is no handler `ecko`; did you mean `echo`?".to_owned()
        )
    );
}

#[test]
fn sessions_come_in_pages_and_one_whose_callback_runs_is_listed_too() {
    let site = Site::with(&["echo_wsh", "stuck_wsh"]);
    let server = Server::start(&site);
    let open: Vec<_> = (0..5).map(|_| server.connect("/echo")).collect();
    let mut stuck = server.connect("/stuck");
    stuck.send("sleep 3000");
    let ids = |answer: &Value| -> Vec<u64> {
        let sessions = answer["sessions"].as_array().expect("a list").iter();
        sessions
            .map(|it| it["id"].as_u64().expect("an id"))
            .collect()
    };
    let all = json(&site, &["sessions"]);
    assert_eq!(ids(&all), [1, 2, 3, 4, 5, 6]);
    assert_eq!(all["next"], Value::Null);

    let few = json(&site, &["sessions", "--max", "2"]);
    assert_eq!((ids(&few), &few["next"]), (vec![1, 2], &2.into()));
    let page = done(&site, &["sessions", "--max", "2"]);
    assert!(
        page.ends_with("2 of 6 sessions; `--max` says how many are printed\n"),
        "{page}"
    );
    let socket = socket_of(&site, &server);
    let answer = exchange(&socket, b"GET /sessions?after=4&max=1 HTTP/1.1\r\n\r\n");
    assert!(
        answer.contains(r#""id":5"#) && answer.contains(r#""next":5"#),
        "{answer}"
    );
    drop(open);
}

#[test]
fn no_name_steers_the_terminal_and_each_is_read_as_it_is() {
    const ODD: &str = "a\u{1b}[31m\u{9b}2J \u{202e}\"b";
    let site = Site::empty();
    site.add("echo_wsh", &format!("{ODD}_wsh.so"));
    let server = Server::start(&site);
    let path = "/a%1B%5B31m%C2%9B2J%20%E2%80%AE%22b";
    let _client = server.connect(path);

    for command in ["list", "sessions"] {
        let shown = done(&site, &[command]);
        let is_plain = shown.chars().all(|it| it == '\n' || !it.is_control());
        assert!(is_plain && !shown.contains('\u{202e}'), "{shown:?}");
        assert!(
            shown.contains(r#""a\u{1b}[31m\u{9b}2J \u{202e}\"b""#),
            "{shown}"
        );
        let raw = done(&site, &[command, "--json"]);
        assert!(
            raw.chars()
                .all(|it| it == '\n' || it.is_ascii_graphic() || it == ' '),
            "{raw:?}"
        );
    }
    assert_eq!(json(&site, &["list"])[0]["name"], ODD);
    assert_eq!(
        json(&site, &["sessions", ODD])["sessions"][0]["handler"],
        ODD
    );
    assert!(done(&site, &["quarantine", ODD]).contains("is quarantined"));
    assert_eq!(server.handshake_status(path), 503);
}

#[test]
fn reload_says_what_was_loaded_and_what_was_refused() {
    let site = Site::with(&["echo_wsh"]);
    let config = site.write("config.toml", "log_level = \"debug\"\n");
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    assert_eq!(
        done(&site, &["reload"]),
        "the configuration was read; no handler has changed\n"
    );

    // The same bytes, loaded anew; the session moves.
    let said = done(&site, &["reload", "echo"]);
    assert!(
        said.starts_with("echo: generation 2 serves after "),
        "{said}"
    );
    assert!(said.ends_with("; sessions moved to it: 1\n"), "{said}");
    client.ask("still here");

    site.add("echo_noext_wsh", "fresh_wsh.so");
    let said = done(&site, &["reload"]);
    assert!(
        said.starts_with("fresh: generation 1 serves after "),
        "{said}"
    );
    assert_eq!(server.handshake_status("/fresh"), 101);

    site.add_bytes(b"junk", "echo_wsh.so");
    fs::write(&config, "log_level = \"much\"\n").expect("it is there");
    let output = wshd(&site, &["reload"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("wshd: configuration refused, the old one goes on: ")
            && said.contains("log_level"),
        "{said}"
    );
    assert!(
        said.contains("cannot load `echo_wsh.so`") && said.contains("generation 2 keeps serving"),
        "{said}"
    );
    client.ask("still here");
    let listed = done(&site, &["list"]);
    assert!(listed.contains("serving, newer file refused"), "{listed}");
    assert_eq!(
        refused(&site, &["reload", "/echo"]),
        (
            1,
            "wshd: there is no handler `/echo`; did you mean `echo`?".to_owned()
        )
    );
}

#[test]
fn reload_says_what_waits_for_a_restart_what_is_not_applied_and_what_is_drained() {
    let site = Site::with(&["echo_wsh"]);
    let config = site.write("config.toml", "");
    let server = Server::start(&site);

    // The server goes on at the socket that it has, and is found there.
    let changed = "pid_file = \"wshd.pid\"\nadmin_socket = \"other.sock\"\n";
    fs::write(&config, changed).expect("it is there");
    let waits =
        "changed in the configuration, and applies after a restart: `admin_socket`, `pid_file`\n";
    // Each time, as long as they wait.
    for _ in 0..2 {
        assert!(done(&site, &["reload"]).ends_with(waits));
    }
    let answer = json(&site, &["reload"]);
    assert_eq!(
        answer["wait_for_restart"],
        serde_json::json!(["admin_socket", "pid_file"])
    );
    let logged = ["applies after a restart", "key=\"pid_file\""];
    eventually("the log says it each time", || {
        server.count_lines(&logged) >= 3
    });
    let before = server.count_lines(&logged);
    server.signal("HUP");
    eventually("the log says it again", || {
        server.count_lines(&logged) > before
    });

    let unusable = "[tls]\ncertificates = [{ certificate = \"gone.pem\" }]\n";
    fs::write(&config, unusable).expect("it is there");
    let (code, said) = refused(&site, &["reload"]);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.starts_with("wshd: certificates refused, the old ones go on: cannot read `")
            && !said.contains("restart"),
        "{said}"
    );

    fs::write(&config, "").expect("it is there");
    done(&site, &["drain", "echo"]);
    let said = done(&site, &["reload", "echo"]);
    assert!(
        said.starts_with("echo: generation 2 is loaded after "),
        "{said}"
    );
    let why = " and in quarantine, since an operator has taken it out of service; `wshd release echo` lets new sessions begin\n";
    assert!(said.ends_with(why), "{said}");
    assert_eq!(server.handshake_status("/echo"), 503);
}

#[test]
fn a_handler_in_quarantine_stays_there_over_a_reload_until_it_is_released() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    let said = done(&site, &["quarantine", "echo"]);
    assert_eq!(
        said,
        "echo is quarantined: no new session begins until `wshd release echo`, and 1 open session may go on\n"
    );
    client.ask("goes on");
    assert_eq!(server.handshake_status("/echo"), 503);
    server.line(&[
        "handshake refused",
        "the operator has taken the handler out of service",
    ]);

    done(&site, &["reload", "echo"]);
    site.add("echo_noext_wsh", "echo_wsh.so");
    done(&site, &["reload"]);
    assert_eq!(server.listing()[0]["generation"], 3);
    assert_eq!(server.handshake_status("/echo"), 503);
    let generation = &json(&site, &["list"])[0]["generations"][0];
    assert_eq!(generation["state"], "quarantined");
    assert_eq!(generation["quarantined_by"], "operator");

    assert_eq!(
        done(&site, &["release", "echo"]),
        "echo is in service again\n"
    );
    assert_eq!(server.handshake_status("/echo"), 101);
    assert_eq!(
        done(&site, &["release", "echo"]),
        "echo was in service already\n"
    );
}

#[test]
fn an_operator_releases_a_handler_that_panics_have_taken_out_of_service() {
    let site = Site::with(&["panics_wsh"]);
    site.write(
        "config.toml",
        "[handler.panics]\npanics_max = 1\nquarantine_ms = 600000\n",
    );
    let server = Server::start(&site);
    let mut client = server.connect("/panics?in=message");
    client.send("now");
    assert_eq!(client.close_code(), 1011);
    assert_eq!(server.handshake_status("/panics"), 503);

    assert_eq!(
        done(&site, &["release", "panics"]),
        "panics is in service again\n"
    );

    assert_eq!(server.handshake_status("/panics"), 101);
}

#[test]
fn drain_closes_the_sessions_of_one_handler_and_waits_for_them() {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    let server = Server::start(&site);
    let mut leaving: Vec<_> = (0..3).map(|_| server.connect("/echo")).collect();
    let mut other = server.connect("/features");
    let waits = std::thread::spawn({
        let root = site.root().to_owned();
        move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wshd"));
            command.args(["drain", "echo"]).env("XDG_RUNTIME_DIR", root);
            command.output().expect("it runs")
        }
    });
    for client in &mut leaving {
        assert_eq!(client.close_code(), 1001);
    }
    drop(leaving);
    let output = waits.join().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    let expected =
        "echo is drained: 3 sessions ended, no new one begins until `wshd release echo`\n";
    assert_eq!((output.status.code(), &*said), (Some(0), expected));
    assert_eq!(server.handshake_status("/echo"), 503);
    other.ask("ping");
    server.says(&["session closed", "code=1001", "cause=operator_closed"], 3);

    // A peer that does not close is given up by `close_timeout_ms`, after the command has.
    done(&site, &["release", "echo"]);
    let silent = crate::harness::client::Raw::open(&server, "/echo");
    let (code, said) = refused(&site, &["drain", "echo", "--wait", "0"]);
    assert_eq!(
        (code, &*said),
        (
            1,
            "wshd: 1 session of echo not ended after 0 s; `wshd sessions echo` lists them"
        )
    );
    drop(silent);
}

#[test]
fn clients_and_operators_are_told_who_has_taken_a_handler_out_of_service() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);

    done(&site, &["quarantine", "echo"]);

    let answer = server.exchange(opening("/echo", "").as_bytes());
    assert_eq!(status_of(&answer), 503);
    assert!(
        answer.contains("the handler is taken out of service for now"),
        "{answer}"
    );
    server.line(&[
        "handshake refused",
        "the operator has taken the handler out of service; `wshd release` takes it back",
    ]);
    let listed = done(&site, &["list"]);
    let line = "echo: an operator has taken it out of service; `wshd release echo` lets new sessions begin again\n";
    assert!(listed.ends_with(line), "{listed}");
    done(&site, &["release", "echo"]);
    assert!(!done(&site, &["list"]).contains("operator"));
}

#[test]
fn a_command_finds_its_server_or_says_which_there_are() {
    let site = Site::with(&["echo_wsh"]);
    let config = site.write("other.toml", "handlers_dir = \"handlers\"\n");
    let config = config.to_str().expect("text");
    // Other servers of this user may run on the machine.
    let (code, said) = refused(&site, &["status", "--config", config]);
    assert_eq!(code, 3);
    assert!(said.starts_with("wshd: no server "), "{said}");
    let one = Server::start(&site);
    assert_eq!(json(&site, &["status"])["pid"], one.pid());
    let two = Server::builder(&site).args(["--config", config]).start();

    let (code, _) = refused(&site, &["list"]);
    assert_eq!(code, 2);
    let said = String::from_utf8(wshd(&site, &["list"]).stderr).expect("text");
    assert!(
        said.starts_with(
            "wshd: 2 servers run; `--port`, `--config` or `--socket` says which one is meant:\n"
        ),
        "{said}"
    );
    for server in [&one, &two] {
        let line = format!("127.0.0.1:{}, ", server.port());
        assert!(said.contains(&line), "{said}");
        let port = server.port().to_string();
        assert_eq!(json(&site, &["status", "-p", &port])["pid"], server.pid());
        let path = socket_of(&site, server);
        let path = path.to_str().expect("text");
        assert_eq!(
            json(&site, &["status", "--socket", path])["pid"],
            server.pid()
        );
    }
    assert_eq!(
        json(&site, &["status", "--config", config])["pid"],
        two.pid()
    );
    assert_eq!(refused(&site, &["status", "--port", "1"]).0, 3);
    assert_eq!(refused(&site, &["status", "--socket", "none"]).0, 3);

    // A server that was killed leaves its socket, which is no server.
    drop(two);
    assert_eq!(json(&site, &["status"])["pid"], one.pid());
}

#[test]
fn every_command_has_its_help_and_a_wrong_one_is_a_usage_error() {
    let site = Site::empty();
    for command in [
        "status",
        "list",
        "top",
        "sessions",
        "reload",
        "upgrade",
        "drain",
        "quarantine",
        "release",
        "close",
    ] {
        let help = done(&site, &[command, "--help"]);
        assert!(
            help.contains("--socket <PATH>") && help.contains("no server answers"),
            "{help}"
        );
        assert_eq!(refused(&site, &[command, "--no-such-flag"]).0, 2);
    }
    assert_eq!(refused(&site, &["drain"]).0, 2);
    assert!(library("echo_wsh").exists());
}
