//! SIGUSR2: another process takes the place of a server that runs. No connection is refused, and no session is lost
//! before it is told to come back.

mod signals;
mod under_load;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::client::{Client, Raw, Steady};
use crate::harness::server::{Builder, Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::tls::Tls;
use crate::harness::{eventually, within};

const SOON: Duration = Duration::from_secs(15);
/// Sessions that do not answer a Close frame last.
pub(crate) const PATIENT: &str = "[limits]\nclose_timeout_ms = 600000\nstop_timeout_ms = 1200000\n";

/// A site with the program of the server, which a test can replace: a link to the real one.
pub(crate) struct Place {
    pub(crate) site: Site,
    program: PathBuf,
}

impl Place {
    pub(crate) fn new(config: &str) -> Place {
        let site = Site::with(&["echo_wsh", "speaks_later_wsh"]);
        site.write("config.toml", config);
        let program = site.root().join("wshd");
        let place = Place { site, program };
        place.put(Path::new(env!("CARGO_BIN_EXE_wshd")));
        place
    }

    /// Has the name of the program lead to this one.
    pub(crate) fn put(&self, program: &Path) {
        let new = self.site.root().join("wshd.new");
        symlink(program, &new).expect("a link");
        fs::rename(&new, &self.program).expect("it is replaced");
    }

    /// Has the name of the program lead to a script of the shell.
    pub(crate) fn put_script(&self, text: &str) {
        let script = self.site.write("a script", &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("a mode");
        self.put(&script);
    }

    pub(crate) fn builder(&self) -> Builder {
        self.quiet().args(["--log-level", "debug"])
    }

    /// A server with fewer lines in its log.
    fn quiet(&self) -> Builder {
        Server::of_program(&self.site, &self.program).leading_group()
    }

    /// The processes that run the program of this site.
    pub(crate) fn processes(&self) -> usize {
        let processes = fs::read_dir("/proc").expect("a directory").flatten();
        let own = self.site.root().canonicalize().expect("a directory");
        let runs_here = |path: PathBuf| {
            let here = fs::read_link(path.join("cwd")).is_ok_and(|it| it == own);
            // Those that try handlers have another name.
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            here && name.trim() == "wshd"
        };
        processes.filter(|it| runs_here(it.path())).count()
    }
}

/// Asks for an upgrade, and waits until the new process has taken over. Returns its number.
#[track_caller]
pub(crate) fn upgrade(server: &Server, old: u32, count: usize) -> u32 {
    signal(old, "USR2");
    let line = || server.lines(&["upgraded: another process serves from now on", "pid="]);
    within(4 * SOON, &format!("upgrade {count} is over"), || {
        // The log of many clients is long, and is not to be read all the time.
        std::thread::sleep(Duration::from_millis(20));
        line().len() >= count
    });
    let lines = line();
    let rest = lines[count - 1].split("pid=").nth(1).expect("a number");
    let pid = rest.split_whitespace().next().expect("a number");
    pid.parse().expect("a number")
}

pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn another_process_takes_over_every_kind_of_listener_and_sessions_are_told_to_come_back() {
    let place = Place::new(
        "listen = [\"127.0.0.1:0\", \"tls:127.0.0.1:0\", \"unix:wshd.sock\"]\nadmin_socket = \"admin.sock\"\n\
         [tls]\ncertificates = [{ certificate = \"server.pem\", key = \"server.key\" }]\n",
    );
    let tls = Tls::new(&place.site);
    let mut server = place.builder().start();
    let line = server.line(&["listening", "address=tls:127.0.0.1:"]);
    let tls_port = line.rsplit(':').next().and_then(|it| it.parse().ok());
    let tls_port: u16 = tls_port.expect("a port");
    let socket = place.site.root().join("wshd.sock");
    let port = server.port();
    let sessions = || {
        let url = format!("wss://localhost:{tls_port}/echo");
        let encrypted = Steady::over_tls(tls.client().open(tls_port));
        let unix = Steady::plain(Server::raw_unix(&socket));
        [
            Client::connect(port, "/echo", &[]),
            Client::over(encrypted, &url, "/echo", &[]),
            Client::over(unix, "ws://localhost/echo", "/echo", &[]),
        ]
    };
    let mut old = sessions();
    let mut raw = Raw::open(&server, "/echo");

    let pid = upgrade(&server, server.pid(), 1);

    assert_ne!(pid, server.pid());
    let mut new = sessions();
    for session in &mut old {
        assert_eq!(session.close_code(), 1012);
    }
    let (_, body) = raw.frame().expect("a Close frame");
    assert_eq!(body[..2], 1012u16.to_be_bytes());
    assert!(body[2..].starts_with(b"retry-after-ms="), "{body:?}");
    drop(raw);
    for session in &mut new {
        assert_eq!(session.ask("hello"), "hello");
    }
    assert_eq!(server.wait_for_process(SOON).code(), Some(0));
    for session in new.iter_mut().chain(&mut sessions()) {
        assert_eq!(
            session.ask("after the end of the old one"),
            "after the end of the old one"
        );
    }
    server.says(&["ERROR"], 0);
    let admin = place.site.root().join("admin.sock");
    let request = "GET /status HTTP/1.1\r\nHost: wshd\r\n\r\n";
    let status = Server::exchange_over(Server::raw_unix(&admin), request.as_bytes());
    assert!(status.contains(&pid.to_string()), "{status}");

    signal(pid, "TERM");
    for session in &mut new {
        assert_eq!(session.close_code(), 1001);
    }
    eventually("its Unix sockets are removed", || {
        !socket.exists() && !admin.exists()
    });
    eventually("it ends", || place.processes() == 0);
}

#[test]
fn sockets_that_are_removed_while_another_process_begins_lead_to_it_when_it_serves() {
    let place = Place::new(
        "listen = [\"127.0.0.1:0\", \"unix:wshd.sock\"]\nadmin_socket = \"admin.sock\"\n\
         [limits]\nupgrade_timeout_ms = 60000\n",
    );
    let mut server = place.builder().start();
    let [clients, operators, go] =
        ["wshd.sock", "admin.sock", "go"].map(|it| place.site.root().join(it));
    place.put_script(&format!(
        "while [ ! -e go ]; do sleep 0.01; done\nexec {} \"$@\"",
        env!("CARGO_BIN_EXE_wshd")
    ));
    signal(server.pid(), "USR2");
    server.line(&["upgrading: starting the program anew"]);

    for socket in [&clients, &operators] {
        fs::remove_file(socket).expect("it is there");
    }
    server.line(&[
        "WARN",
        "the file of a Unix socket was removed, and is made again",
    ]);
    server.line(&["WARN", "the admin socket was removed, and is made again"]);
    fs::write(go, "").expect("a file");

    assert_eq!(server.wait_for_process(4 * SOON).code(), Some(0));
    let unix = Steady::plain(Server::raw_unix(&clients));
    let mut session = Client::over(unix, "ws://localhost/echo", "/echo", &[]);
    assert_eq!(session.ask("hello"), "hello");
    let request = "GET /status HTTP/1.1\r\nHost: wshd\r\n\r\n";
    let status = Server::exchange_over(Server::raw_unix(&operators), request.as_bytes());
    assert!(!status.contains(&server.pid().to_string()), "{status}");
    // The process that serves looks after them.
    fs::remove_file(&clients).expect("it is there");
    server.says(
        &[
            "WARN",
            "the file of a Unix socket was removed, and is made again",
        ],
        2,
    );
    assert_eq!(session.ask("hello"), "hello");
}

#[test]
fn a_program_that_does_not_take_over_is_ended_and_the_server_serves_on() {
    let place = Place::new(
        "listen = [\"127.0.0.1:0\", \"unix:wshd.sock\"]\n[limits]\nupgrade_timeout_ms = 30000\n",
    );
    let server = place.builder().start();
    let mut session = server.connect("/echo");
    let mut failures = 0;
    let mut fails = |why: &str| {
        failures += 1;
        server.signal("USR2");
        server.line(&["ERROR", "upgrade failed, this process serves on", why]);
        server.says(&["upgrade failed"], failures);
        assert_eq!(session.ask("hello"), "hello", "{why}");
        assert_eq!(server.handshake_status("/echo"), 101, "{why}");
        let unix = Server::raw_unix(&place.site.root().join("wshd.sock"));
        let answer = Server::exchange_over(unix, opening("/echo", "").as_bytes());
        assert_eq!(status_of(&answer), 101, "{why}");
        eventually("no other process is there", || place.processes() == 1);
    };

    place.put_script("exit 3");
    fails("it has ended");
    place.put(Path::new("/nonexistent/wshd"));
    fails("it cannot be started: No such file or directory");
    place.put(&place.site.write("a text", "no program"));
    fails("it cannot be started: its mode 644 has no right to execute it; `chmod 755` gives that");
    place.put(place.site.root());
    fails("it cannot be started: it is a directory, and no program");
    place.put_script("echo no message >&0");
    // Either what it says is not understood, or its end is seen first.
    fails("this process serves on");

    // The configuration is what the new process reads too.
    place.put(Path::new(env!("CARGO_BIN_EXE_wshd")));
    place.site.write("config.toml", "listen = 1\n");
    fails("it has ended");
    let line = server.line(&["wshd: config.toml:1"]);
    assert!(line.contains("`listen`"), "{line}");

    place.site.write(
        "config.toml",
        "listen = [\"127.0.0.1:0\", \"unix:wshd.sock\"]\n[limits]\nupgrade_timeout_ms = 300\n",
    );
    server.line(&["configuration applied"]);
    place.put_script("exec sleep 1000");
    fails("it is not ready within 300 ms (`upgrade_timeout_ms`)");

    place.put(Path::new(env!("CARGO_BIN_EXE_wshd")));
    place.site.write(
        "config.toml",
        "listen = [\"127.0.0.1:0\", \"unix:wshd.sock\"]\n",
    );
    server.says(&["configuration applied"], 2);
    upgrade(&server, server.pid(), 1);
    assert_eq!(session.close_code(), 1012);
}

#[test]
fn a_process_that_serves_fewer_handlers_does_not_take_over() {
    let place = Place::new("listen = [\"127.0.0.1:0\"]\n");
    let server = place.builder().start();
    let mut session = server.connect("/echo");
    // The server that runs keeps the version that it has.
    place.site.add_bytes(b"no library", "echo_wsh.so");
    server.line(&["echo", "refused"]);

    server.signal("USR2");

    let why = "it does not serve `echo`, which this one serves";
    server.line(&["ERROR", "upgrade failed", why]);
    assert_eq!(session.ask("hello"), "hello");
    assert_eq!(server.handshake_status("/echo"), 101);
    eventually("no other process is there", || place.processes() == 1);
}

#[test]
fn a_request_that_was_accepted_is_answered_by_the_process_that_was_replaced() {
    let place = Place::new("listen = [\"127.0.0.1:0\"]\n");
    let mut server = place.builder().start();
    let request = opening("/echo", "");
    let (first, rest) = request.split_at(20);
    let mut slow = server.raw();
    std::io::Write::write_all(&mut slow, first.as_bytes()).expect("it is sent");
    // The old process has accepted the connections before this one.
    drop(server.connect("/echo"));

    upgrade(&server, server.pid(), 1);
    drop(server.connect("/echo"));

    let answer = Server::exchange_over(slow, rest.as_bytes());
    assert_eq!(status_of(&answer), 101);
    assert_eq!(server.wait_for_process(SOON).code(), Some(0));
}

#[test]
fn stdin_and_the_log_file_change_hands() {
    let place = Place::new("listen = [\"127.0.0.1:0\"]\nlog_file = \"wshd.log\"\n");
    let builder = place.builder().arg("--stop-with-stdin").with_stdin();
    let mut server = builder.spawn();
    let log = place.site.root().join("wshd.log");
    let read = || fs::read_to_string(&log).unwrap_or_default();
    let counted = |part: &str| read().lines().filter(|line| line.contains(part)).count();
    eventually("it listens", || counted("listening address=") == 1);

    server.signal("USR2");
    eventually("the other process listens", || {
        counted("listening address=") == 2
    });
    assert_eq!(server.wait_for_process(SOON).code(), Some(0));
    assert_eq!(counted("end of stdin"), 0);
    let rotated = place.site.root().join("wshd.log.1");
    fs::rename(&log, &rotated).expect("it is there");

    server.close_stdin();

    eventually("it stops with stdin", || place.processes() == 0);
    let rest = fs::read_to_string(&rotated).expect("it is there");
    let all = format!("{rest}{}", read());
    assert!(all.contains("end of stdin, stopping"), "{all}");
}
