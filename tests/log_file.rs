//! The log in a file: its rotation, its place, and what becomes of it when files are moved or cannot be written.

use std::fs;
use std::path::PathBuf;

use crate::harness::client::Client;
use crate::harness::eventually;
use crate::harness::limits::bound;
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
    // The line of a session may come behind that of a later one. No line is missing between two files, and none is there
    // twice.
    let mut files = Default::default();
    eventually("the last lines are there", || {
        files = ["a.log.2", "a.log.1", "a.log"].map(|name| logs.text(name));
        let all = files.concat();
        let closed = all.lines().filter(|line| line.contains("session closed"));
        let number = |line: &str| {
            line.split("session=")
                .nth(1)?
                .split(' ')
                .next()?
                .parse()
                .ok()
        };
        let mut numbers: Vec<u64> = closed.filter_map(number).collect();
        numbers.sort_unstable();
        let first = sessions + 1 - numbers.len() as u64;
        numbers.len() > 10 && numbers.into_iter().eq(first..=sessions)
    });
    assert!(files.iter().all(|text| (1..=3_000).contains(&text.len())));
    assert!(!logs.path("a.log.3").exists());

    server.signal("TERM");
    assert_eq!(
        server.wait(std::time::Duration::from_secs(10)).code(),
        Some(0)
    );
    let stderr = server.log();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains("the log goes to a file log_file="),
        "{stderr}"
    );
    assert!(!files.concat().contains('\u{1b}'));
}

#[test]
fn a_log_file_that_was_moved_is_made_again_with_sighup() {
    is_made_again("HUP", "reading the configuration again");
}

#[test]
fn a_log_file_that_was_moved_is_made_again_with_sigusr1_and_nothing_else_happens() {
    is_made_again("USR1", "opening log files again");
}

#[track_caller]
fn is_made_again(signal: &str, line: &str) {
    let logs = Logs::new();
    let server = Server::builder(&logs.site).args(["-l", "a.log"]).spawn();
    let port = logs.port("a.log");
    fs::rename(logs.path("a.log"), logs.path("moved.log")).expect("renaming");
    Client::connect(port, "/echo", &[]).close(1000);
    logs.line("moved.log", &["session closed", "session=1 "]);

    server.signal(signal);

    logs.line("a.log", &[line]);
    Client::connect(port, "/echo", &[]).close(1000);
    logs.line("a.log", &["session closed", "session=2 "]);
    assert!(!logs.text("moved.log").contains("session=2 "));
    let is_reread = logs.text("a.log").contains("configuration");
    assert_eq!(is_reread, signal == "HUP");
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

    // A file that cannot be opened leaves the log where it is, until it can.
    configure("log_file = \"a.log\"");
    // Otherwise the next lines might be more than files of one byte hold.
    logs.line("a.log", &["configuration applied"]);
    configure("log_file = \"nowhere/b.log\"");
    logs.line(
        "a.log",
        &[
            "ERROR",
            "the log goes on where it went before",
            "nowhere/b.log",
        ],
    );
    fs::create_dir(logs.path("nowhere")).expect("a directory");
    logs.line("a.log", &["the log goes to a file", "nowhere/b.log"]);
    server.connect("/echo").close(1000);
    logs.line("nowhere/b.log", &["session closed", "session=2 "]);

    let before = server.count_lines(&["configuration applied"]);
    configure("");
    eventually("the log is back on stderr", || {
        server.count_lines(&["configuration applied"]) > before
    });
    server.connect("/echo").close(1000);
    server.line(&["session closed", "session=3 "]);
}

#[test]
fn a_log_file_whose_directory_was_removed_is_made_again_with_all_lines_once_it_is_there() {
    let logs = Logs::new();
    fs::create_dir(logs.path("logs")).expect("a directory");
    let flags = ["-l", "logs/a.log"];
    let server = Server::builder(&logs.site).args(flags).spawn();
    let port = logs.port("logs/a.log");
    fs::remove_dir_all(logs.path("logs")).expect("removing");

    for _ in 0..20 {
        Client::connect(port, "/echo", &[]).close(1000);
    }
    let line = server.line(&["ERROR log file takes no lines", "No such file"]);
    assert!(line.contains("logs/a.log"), "{line}");
    fs::create_dir(logs.path("logs")).expect("a directory");

    logs.line("logs/a.log", &["session closed", "session=20 "]);
    let text = logs.text("logs/a.log");
    let closed = text.lines().filter(|line| line.contains("session closed"));
    assert_eq!(closed.count(), 20, "{text}");
    server.line(&["WARN log file takes lines again", "lost=0"]);
    assert_eq!(server.count_lines(&["log file takes no lines"]), 1);
}

#[test]
fn a_fifo_that_is_not_read_holds_no_session_up_and_loses_what_has_no_room() {
    use std::io::{BufRead, BufReader};
    let logs = Logs::new();
    let path = logs.site.add_fifo("fifo");
    // Opened for both, so that no one is waited for.
    let mut both = fs::File::options();
    let reader = both.read(true).write(true).open(path).expect("the FIFO");
    logs.site.add("speaks_later_wsh", "speaks_later_wsh.so");
    let server = Server::builder(&logs.site).args(["-l", "fifo"]).spawn();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    while !line.contains("listening address=127.0.0.1:") {
        line.clear();
        reader.read_line(&mut line).expect("a line");
    }
    let port = line.trim_end().rsplit(':').next().expect("a port");
    let port = port.parse().expect("a port");
    let mut open = Client::connect(port, "/echo", &[]);

    // The handler logs far more lines than the FIFO and the server hold.
    let mut writer = Client::connect(port, "/speaks_later", &[]);
    writer.send("log");
    assert_eq!(writer.text(), "logged");
    assert_eq!(open.ask("hello"), "hello");
    server.line(&[
        "ERROR log file takes no lines",
        "the program that reads it takes nothing",
    ]);
    assert_eq!(open.ask("hello"), "hello");

    let mut dropped = None;
    while dropped.is_none() {
        line.clear();
        reader.read_line(&mut line).expect("a line");
        assert!(line.starts_with("20") && line.ends_with('\n'), "{line}");
        let lines = line.split("log lines were dropped lines=").nth(1);
        dropped = lines.map(|lines| lines.trim_end().to_owned());
    }
    let again = server.line(&["WARN log file takes lines again"]);
    assert!(!again.ends_with("lost=0"), "{again}");
}

#[test]
fn what_a_full_disk_has_not_taken_comes_when_there_is_room_or_to_stderr_at_the_end() {
    use std::os::unix::fs::symlink;
    let logs = Logs::new();
    let lead_to = |target: &str| {
        let link = logs.path("next");
        symlink(target, &link).expect("a link");
        fs::rename(link, logs.path("a.log")).expect("renaming");
    };
    lead_to("/dev/full");
    let mut server = Server::builder(&logs.site).args(["-l", "a.log"]).spawn();
    server.line(&["ERROR log file takes no lines", "No space left on device"]);

    lead_to("b.log");
    logs.port("b.log");
    server.line(&["log file takes lines again", "lost=0"]);

    lead_to("/dev/full");
    server.signal("HUP");
    server.says(&["ERROR log file takes no lines"], 2);
    server.signal("TERM");
    let status = server.wait(std::time::Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
    server.line(&["INFO stopped"]);
    assert!(!logs.text("b.log").contains("stopped"));
}

#[test]
fn a_fifo_that_no_program_reads_ends_a_start_at_once() {
    let site = Site::empty();
    site.add_fifo("fifo");
    let output = Server::bare(&site).args(["-p", "0", "-l", "fifo"]).output();
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.ends_with("/fifo`: it is a FIFO that no program reads\n"),
        "{stderr}"
    );
}

#[test]
fn a_check_tells_whether_the_log_file_can_be_made_and_makes_none() {
    let site = Site::empty();
    fs::create_dir(site.root().join("closed")).expect("a directory");
    site.write("closed/a.log", "");
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o555);
    fs::set_permissions(site.root().join("closed"), mode).expect("chmod");
    let check = |file: &str| {
        let check = bound(Server::bare(&site)).args(["check", "--log-file", file]);
        let output = check.output();
        let stderr = String::from_utf8(output.stderr).expect("text");
        let root = site.root().canonicalize().expect("a path");
        let stderr = stderr.replace(&format!("{}/", root.display()), "");
        let lines = stderr
            .lines()
            .filter(|line| !line.contains("no handler is in"));
        (
            output.status.code(),
            lines.map(str::to_owned).collect::<Vec<_>>(),
        )
    };
    let bad = |said: &str| {
        (
            Some(1),
            vec![format!("wshd: cannot open the log file {said}")],
        )
    };

    assert_eq!(check("a.log"), (Some(0), vec![]));
    assert!(!site.root().join("a.log").exists());
    assert_eq!(
        check("nowhere/a.log"),
        bad("`nowhere/a.log`: No such file or directory (os error 2)")
    );
    assert_eq!(
        check("handlers"),
        bad("`handlers`: it is a directory, wanted is a file")
    );
    assert_eq!(
        check("closed/b.log"),
        bad("`closed/b.log`: Permission denied (os error 13)")
    );
    let note = "wshd: note: the log file `closed/a.log` can be written and not be renamed, since its directory cannot \
                be written: it grows beyond `log_file_bytes_max`";
    assert_eq!(check("closed/a.log"), (Some(0), vec![note.to_owned()]));
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
