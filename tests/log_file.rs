//! The log in a file: its rotation, its place, and what becomes of it when files are moved or cannot be written.

use std::fs;
use std::path::PathBuf;

use crate::harness::client::Client;
use crate::harness::eventually;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// A site with `echo`, whose server logs to files.
struct Logs {
    site: Site,
}

impl Logs {
    fn new() -> Logs {
        let site = Site::with(&["echo_wsh"]);
        Logs { site }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.root().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Waits for a line of a file that contains all of `parts`.
    #[track_caller]
    fn line(&self, name: &str, parts: &[&str]) -> String {
        let mut found = None;
        eventually(&format!("{parts:?} in {name}"), || {
            let text = self.text(name);
            let mut lines = text.lines();
            let line = lines.find(|line| parts.iter().all(|part| line.contains(part)));
            found = line.map(str::to_owned);
            found.is_some()
        });
        found.expect("it was found")
    }

    /// Waits until the server listens. Returns its port.
    #[track_caller]
    fn port(&self, name: &str) -> u16 {
        let line = self.line(name, &["listening address=127.0.0.1:"]);
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("a port")
    }
}

#[test]
fn a_log_file_is_renamed_when_it_is_full_and_the_oldest_is_given_up() {
    let logs = Logs::new();
    let flags = ["-l", "a.log", "--log-max", "3000", "--log_count", "2"];
    let mut server = Server::builder(&logs.site).args(flags).spawn();
    let port = logs.port("a.log");

    let sessions = 60;
    for _ in 0..sessions {
        Client::connect(port, "/echo", &[]).close(1000);
    }
    logs.line(
        "a.log",
        &["session closed", &format!("session={sessions} ")],
    );

    let files = ["a.log.2", "a.log.1", "a.log"].map(|name| logs.text(name));
    assert!(files.iter().all(|text| (1..=3_000).contains(&text.len())));
    assert!(!logs.path("a.log.3").exists());
    // No line is missing between two files, and none is there twice.
    let all = files.concat();
    let closed = all.lines().filter(|line| line.contains("session closed"));
    let numbers: Vec<u64> = closed
        .filter_map(|line| {
            line.split("session=")
                .nth(1)?
                .split(' ')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    let first = sessions + 1 - numbers.len() as u64;
    assert_eq!(numbers, (first..=sessions).collect::<Vec<_>>());

    server.signal("TERM");
    assert_eq!(
        server
            .wait(crate::harness::patience() * std::time::Duration::from_secs(10))
            .code(),
        Some(0)
    );
    let stderr = server.log();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains("the log goes to a file log_file="),
        "{stderr}"
    );
    assert!(!all.contains('\u{1b}'));
}

#[test]
fn a_log_file_that_was_moved_is_made_again_with_sighup() {
    let logs = Logs::new();
    let server = Server::builder(&logs.site).args(["-l", "a.log"]).spawn();
    let port = logs.port("a.log");
    fs::rename(logs.path("a.log"), logs.path("moved.log")).expect("renaming");
    Client::connect(port, "/echo", &[]).close(1000);
    logs.line("moved.log", &["session closed", "session=1 "]);

    server.signal("HUP");

    logs.line("a.log", &["reading the configuration again"]);
    Client::connect(port, "/echo", &[]).close(1000);
    logs.line("a.log", &["session closed", "session=2 "]);
    assert!(!logs.text("moved.log").contains("session=2 "));
}

#[test]
fn the_file_that_the_configuration_names_applies_at_once() {
    let logs = Logs::new();
    let configure = |lines: &str| {
        let text = format!("handlers_dir = \"handlers\"\n{lines}\n");
        logs.site.write("config.toml", &text);
    };
    configure("");
    let server = Server::bare(&logs.site).args(["-p", "0"]).start();

    configure("log_file = \"a.log\"");
    server.line(&["the log goes to a file"]);
    logs.line("a.log", &["configuration applied"]);

    // The limits of an open file change as well.
    configure("log_file = \"a.log\"\nlog_file_bytes_max = 1\nlog_files_max = 2");
    eventually("the open file is renamed", || logs.path("a.log.1").exists());
    server.connect("/echo").close(1000);
    logs.line("a.log", &["session closed"]);
    for name in ["a.log", "a.log.1"] {
        assert_eq!(logs.text(name).lines().count(), 1, "{name}");
    }

    // A file that cannot be opened leaves the log where it is.
    configure("log_file = \"nowhere/b.log\"");
    logs.line(
        "a.log.1",
        &[
            "ERROR",
            "the log goes on where it went before",
            "nowhere/b.log",
        ],
    );

    let before = server.count_lines(&["configuration applied"]);
    configure("");
    eventually("the log is back on stderr", || {
        server.count_lines(&["configuration applied"]) > before
    });
    server.connect("/echo").close(1000);
    server.line(&["session closed", "session=2 "]);
}

#[test]
fn a_start_that_fails_says_so_on_stderr_too() {
    let site = Site::empty();
    let start = |flags: &[&str]| {
        let server = Server::bare(&site).args(["-p", "0"]).args(flags);
        let output = server.output();
        (
            output.status.code(),
            String::from_utf8(output.stderr).expect("text"),
        )
    };

    let (code, stderr) = start(&["-l", "nowhere/a.log"]);
    let path = site
        .root()
        .canonicalize()
        .expect("a path")
        .join("nowhere/a.log");
    let said = format!(
        "wshd: cannot open the log file `{}`: No such file or directory (os error 2)\n",
        path.display()
    );
    assert_eq!((code, stderr), (Some(1), said));

    let (code, stderr) = start(&["-l", "a.log", "-w", "missing"]);
    assert_eq!(code, Some(1));
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("wshd: "), "{stderr}");
    let log = fs::read_to_string(site.root().join("a.log")).expect("a log");
    assert!(log.contains(last), "{log}");
}
