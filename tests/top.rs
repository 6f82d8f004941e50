//! `wshd top` draws a running server on a terminal, and leaves the terminal as it was, however it ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, within};

/// `wshd top` in a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    master: File,
    /// A descriptor of the side that the program has.
    slave: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    pub(crate) fn start(site: &Site, extra: &[&str], variables: &[(&str, &str)]) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC);
        let master = master.expect("the system has terminals");
        grantpt(&master).expect("it is ours");
        unlockpt(&master).expect("it is ours");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let open = || {
            let path = name.to_str().expect("text");
            let file = File::options().read(true).write(true).open(path);
            OwnedFd::from(file.expect("it opens"))
        };
        let slave = open();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wshd"));
        command
            .arg("top")
            .args(extra)
            .env("XDG_RUNTIME_DIR", site.root())
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied())
            .stdin(Stdio::from(open()))
            .stdout(Stdio::from(open()))
            .stderr(Stdio::from(open()));
        let terminal = Terminal {
            child: command.spawn().expect("wshd runs"),
            master: master.into(),
            slave,
            shown: Arc::default(),
        };
        terminal.resize(100, 30);
        let (mut reader, shown) = (
            terminal.master.try_clone().expect("a copy"),
            terminal.shown.clone(),
        );
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                shown
                    .lock()
                    .expect("no panic")
                    .extend_from_slice(&buffer[..length]);
            }
        });
        terminal
    }

    fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.master, size).expect("it is ours");
    }

    fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("it reads");
    }

    /// All that was written.
    fn written(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("no panic")).into_owned()
    }

    /// What was drawn last.
    pub(crate) fn screen(&self) -> String {
        let written = self.written();
        written
            .rsplit("\x1b[H")
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        eventually(
            &format!("the screen shows `{text}`, it is\n{}", self.screen()),
            || self.screen().contains(text),
        );
    }

    fn takes_lines(&self) -> bool {
        let modes = tcgetattr(&self.slave)
            .expect("it is a terminal")
            .local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits for the end, and asserts that the terminal is as it was.
    #[track_caller]
    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        within(Duration::from_secs(20), "`wshd top` ends", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        assert!(self.takes_lines(), "the terminal is as it was");
        eventually("the screen is as it was", || {
            let written = self.written();
            let left = written
                .rfind("\x1b[?1049l")
                .is_some_and(|left| Some(left) > written.rfind("\x1b[?1049h"));
            left && written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")
        });
        status.expect("it ended")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn top_shows_the_handlers_live_and_each_way_out_restores_the_terminal() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    let mut terminal = Terminal::start(&site, &[], &[]);
    terminal.shows("sessions 1   connections 1 of ");
    assert!(!terminal.takes_lines(), "keys count without Enter");
    // Messages move the rate of the handler, and draw a bar.
    eventually("a bar of messages", || {
        client.ask("hello");
        terminal.screen().contains('█')
    });
    assert!(
        terminal.screen().contains("\x1b[1mHANDLER"),
        "{}",
        terminal.screen()
    );
    let _other = server.connect("/echo");
    terminal.shows("sessions 2   ");

    terminal.type_in("q");
    assert_eq!(terminal.end().code(), Some(0));
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut terminal = Terminal::start(&site, &[], &[]);
        terminal.shows("HANDLER");
        let sent = Command::new("kill")
            .args(["-s", signal, &terminal.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
        assert_eq!(terminal.end().code(), Some(code), "{signal}");
    }
    let mut terminal = Terminal::start(&site, &[], &[]);
    terminal.shows("HANDLER");
    terminal.type_in("\x03");
    assert_eq!(terminal.end().code(), Some(0), "Ctrl-C");
}

#[test]
fn top_fits_a_terminal_that_changes_its_size_and_has_no_colours_where_none_are_wanted() {
    let site = Site::with(&["echo_wsh"]);
    site.add_bytes(b"junk", "broken_wsh.so");
    let _server = Server::start(&site);
    let mut terminal = Terminal::start(&site, &[], &[("NO_COLOR", "1")]);
    terminal.shows("broken refused");
    let longest = |screen: &str| {
        let lines = screen
            .split("\r\n")
            .map(|line| line.replace("\x1b[0m", "").replace("\x1b[K", ""))
            .filter(|line| line != "\x1b[J");
        let lines: Vec<usize> = lines.map(|line| line.chars().count()).collect();
        (lines.len(), lines.into_iter().max().unwrap_or(0))
    };

    terminal.resize(30, 4);
    eventually("four short lines", || {
        let (lines, columns) = longest(&terminal.screen());
        lines == 4 && columns <= 30
    });
    terminal.resize(0, 0);
    eventually("the usual size", || longest(&terminal.screen()).1 > 60);

    terminal.type_in("q");
    assert_eq!(terminal.end().code(), Some(0));
    let written = terminal.written();
    assert!(
        !written.contains("\x1b[31m") && !written.contains("\x1b[1m"),
        "{written:?}"
    );
}

#[test]
fn top_says_that_the_server_is_lost_after_it_has_restored_the_terminal() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut terminal = Terminal::start(&site, &[], &[]);
    terminal.shows("HANDLER");

    drop(server);

    assert_eq!(terminal.end().code(), Some(3));
    eventually("a sentence on the screen as it was", || {
        let written = terminal.written();
        let after = written.rsplit("\x1b[?1049l").next().unwrap_or_default();
        after.contains("wshd: no server answers at `") || after.contains("wshd: the server at `")
    });
}

#[test]
fn top_without_a_terminal_says_so_and_prints_its_numbers_as_json() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    client.ask("hello");
    let output = Server::bare(&site).arg("top").output();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "wshd: `wshd top` draws on a terminal, and stdin is none; `wshd top --json` prints the numbers once\n"
    );
    assert!(output.stdout.is_empty());

    let output = Server::bare(&site).args(["top", "--json"]).output();

    let numbers: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(numbers["handlers"][0]["name"], "echo");
    assert_eq!(numbers["handlers"][0]["sessions"], 1);
    assert_eq!(numbers["handlers"][0]["traffic"]["messages_in"], 1);
}
