//! A log that is not read or cannot be written holds nothing up. A handler's lines carry their session.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::compile::compile;
use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

/// Lines that the handler logs: more than a pipe and the server's own queue hold.
const MANY: usize = 20_000;
const SOON: Duration = Duration::from_secs(15);

/// A site with `echo` and a handler that logs a lot.
fn site() -> Site {
    Site::with(&["speaks_later_wsh", "echo_wsh", "async_echo_wsh"])
}

/// Lets a handler log more than can be kept. Returns when it has.
fn fill(server: &Server) {
    let mut writer = server.connect("/speaks_later");
    writer.send("log");
    assert_eq!(writer.text(), "logged");
}

#[test]
fn a_log_that_is_not_read_holds_nothing_up_and_says_later_what_it_lacks() {
    let site = site();
    let (mut server, log) = Server::builder(&site).start_unread();
    let mut open = server.connect("/echo");

    fill(&server);
    let began = Instant::now();
    let refused = opening("/async_echo", "Origin: http://evil.example\r\n");
    for _ in 0..50 {
        assert_eq!(status_of(&server.exchange(refused.as_bytes())), 403);
        assert_eq!(server.handshake_status("/echo"), 101);
        assert_eq!(open.ask("hello"), "hello");
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    server.read_on(log);
    let line = server.line(&["log lines were dropped"]);
    let lines = line.split("lines=").nth(1).and_then(|n| n.parse().ok());
    let lines: usize = lines.expect("a number");
    assert!((1..2 * MANY).contains(&lines), "{line}");
    open.close(1000);
    server.line(&["session closed", "path=/echo", "code=1000"]);
}

#[test]
fn a_log_that_is_not_read_does_not_keep_it_from_leaving() {
    let site = site();
    let (mut server, _log) = Server::builder(&site).start_unread();
    let mut open = server.connect("/echo");
    fill(&server);

    server.signal("TERM");

    assert_eq!(open.close_code(), 1001);
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn a_start_that_fails_while_the_log_is_not_read_ends_with_its_status() {
    let site = Site::empty();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    // The pipe is as full as it gets.
    rustix::io::ioctl_fionbio(&writer, true).expect("a non-blocking pipe");
    let full = std::io::copy(&mut std::io::repeat(b'.'), &mut &writer);
    assert!(full.is_err());
    rustix::io::ioctl_fionbio(&writer, false).expect("a blocking pipe");

    let began = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_wshd"))
        .current_dir(site.root())
        .args(["-p", "0", "-w", "nowhere"])
        .stderr(writer)
        .status();

    assert_eq!(status.expect("wshd starts").code(), Some(1));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    drop(reader);
}

#[test]
fn a_log_whose_reader_has_gone_costs_its_lines_only() {
    let site = site();
    let (mut server, log) = Server::builder(&site).start_unread();
    drop(log);
    fill(&server);
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    server.signal("TERM");
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn a_handlers_lines_carry_its_session_in_every_style() {
    let styles = ["streams", "async_streams", "blocking_streams"];
    let site = Site::with(&["streams_wsh", "async_streams_wsh", "blocking_streams_wsh"]);
    site.add_bytes(&compile("tests/fixtures/c/script.c", &[]), "script_wsh.so");
    let server = Server::start(&site);
    for handler in styles {
        // A second session shows that the number is the session's own.
        for _ in 0..2 {
            let mut client = server.connect(&format!("/{handler}"));
            let name = format!("handler={handler} ");
            let opened = server.count_lines(&["session opened", &name]);
            client.send("log");
            let wanted = format!("session={}", session_of(&server, &name, opened));
            let quoted = format!("handler=\"{handler}\"");
            server.line(&["a line of the function", &quoted, &wanted]);
        }
    }
    // A line of a handler's thread carries no session.
    let line = server.line(&["a line of a thread", "handler=\"streams\""]);
    assert!(!line.contains("session="), "{line}");

    // A handler in C logs with the session id 0; the line carries the session of the callback that runs.
    let mut client = server.connect("/script?h=check+0");
    client.send("check c");
    let name = "handler=script ";
    let wanted = format!("session={}", session_of(&server, name, 1));
    for text in ["said: handshake check=MISUSE", "said: message check=OK"] {
        server.line(&[text, "handler=\"script\"", &wanted]);
    }
}

/// Waits until a handler has opened `many` sessions. Returns the number of the newest one.
fn session_of(server: &Server, handler: &str, many: usize) -> String {
    eventually("the session is opened", || {
        server.count_lines(&["session opened", handler]) >= many.max(1)
    });
    let lines = server.lines(&["session opened", handler]);
    let line = lines.last().expect("a line");
    let number = line.split("session=").nth(1).expect("a number");
    number.split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn journald_is_told_the_priority_of_each_line_and_no_other_reader_of_stderr_is() {
    let site = Site::with(&["echo_wsh"]);
    site.write(
        "config.toml",
        "log_format = \"json\"\nhandlers_json = true\n",
    );
    let said = |is_journal: bool, arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let stream = std::fs::File::from(std::os::fd::OwnedFd::from(writer));
        let found = stream.metadata().expect("it is open");
        // The number of any other file where it is not the journal.
        let inode = found.ino() + u64::from(!is_journal);
        let mut wshd = Command::new(env!("CARGO_BIN_EXE_wshd"));
        wshd.current_dir(site.root()).args(arguments);
        wshd.env("JOURNAL_STREAM", format!("{}:{inode}", found.dev()));
        let mut server = wshd.stderr(stream).spawn().expect("it starts");
        // The command has a copy of the writer's end.
        drop(wshd);
        let mut lines = Vec::new();
        for line in BufReader::new(reader).lines() {
            let line = line.expect("text");
            let is_listening = line.contains("\"listening\"");
            lines.push(line);
            if is_listening {
                server.kill().expect("it runs");
            }
        }
        server.wait().expect("it ends");
        lines
    };

    let lines = said(true, &["-p", "0", "--trust", "any"]);
    assert!(lines.iter().any(|line| line.contains("\"listening\"")));
    for line in &lines {
        let priority = if line.contains("\"level\":\"WARN\"") {
            "<4>"
        } else {
            "<6>"
        };
        assert!(
            line.starts_with(&format!("{priority}{{\"time\":")),
            "{line}"
        );
    }
    assert!(
        lines.iter().any(|line| line.starts_with("<4>")),
        "{lines:?}"
    );
    for line in said(false, &["-p", "0"]) {
        assert!(line.starts_with("{\"time\":"), "{line}");
    }

    // Why a server does not start is an error.
    let lines = said(true, &["--user", "nobody-of-that-name"]);
    assert!(
        lines
            .last()
            .is_some_and(|line| line.starts_with("<3>wshd: there is no user ")),
        "{lines:?}"
    );
}
