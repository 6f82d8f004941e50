//! SIGUSR2: another process takes the place of a server that runs. No connection is refused, and no session is lost
//! before it is told to come back.

use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tungstenite::{Error, Message};

use crate::harness::client::{Client, Raw, Steady};
use crate::harness::client_frame::frame;
use crate::harness::compile::unruly;
use crate::harness::server::{Builder, Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::tls::Tls;
use crate::harness::{eventually, is_long, patience, within};

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
fn a_stop_while_another_process_starts_ends_both() {
    let place = Place::new("listen = [\"127.0.0.1:0\"]\n");
    let mut server = place.builder().start();
    let mut session = server.connect("/echo");
    place.put_script("echo it is there >&2; exec sleep 1000");

    server.signal("USR2");
    server.line(&["it is there"]);
    server.signal("USR2");
    server.line(&["an upgrade is under way already"]);
    server.signal("TERM");

    assert_eq!(session.close_code(), 1001);
    // The log ends with the last process that has it.
    assert_eq!(server.wait(SOON).code(), Some(0));
    server.says(&["upgrade failed"], 0);
    server.says(&["WARN", "upgrade given up: the server stops"], 1);
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

#[test]
fn the_first_sigterm_to_a_process_that_was_replaced_leaves_its_sessions_their_time() {
    let place = Place::new(&format!("listen = [\"127.0.0.1:0\"]\n{PATIENT}"));
    let mut server = place.builder().start();
    // It is told to come back, and does not answer yet.
    let mut slow = Raw::open(&server, "/echo");
    upgrade(&server, server.pid(), 1);
    let (kind, _) = slow.frame().expect("a Close frame");
    assert_eq!(kind, 0x88);

    server.signal("TERM");

    server.line(&["SIGTERM, but another process has taken the place of this one"]);
    slow.send(&frame(0x88, &1012u16.to_be_bytes()));
    assert_eq!(server.wait_for_process(SOON).code(), Some(0));
    assert_eq!(server.handshake_status("/echo"), 101);
}

#[test]
fn the_second_sigterm_to_a_process_that_was_replaced_ends_it_now() {
    let place = Place::new(&format!("listen = [\"127.0.0.1:0\"]\n{PATIENT}"));
    let mut server = place.builder().start();
    let _slow = Raw::open(&server, "/echo");
    upgrade(&server, server.pid(), 1);

    server.signal("TERM");
    server.line(&["SIGTERM, but another process has taken the place of this one"]);
    server.signal("TERM");

    assert_eq!(server.wait_for_process(SOON).code(), Some(130));
    assert_eq!(server.handshake_status("/echo"), 101);
}

#[test]
fn signals_for_a_process_that_has_just_been_started_to_take_over_do_not_end_it() {
    let place = Place::new("listen = [\"127.0.0.1:0\"]\n");
    let server = place.builder().start();
    let program = env!("CARGO_BIN_EXE_wshd");
    let kill = "for name in HUP USR1 USR2; do kill -s $name $$; done";
    place.put_script(&format!("{kill}; exec {program} \"$@\""));

    upgrade(&server, server.pid(), 1);

    // It may hear of them during its start, or once it serves.
    server.line(&["SIGHUP", "reading the configuration again"]);
    server.says(&["upgrade failed"], 0);
    assert_eq!(server.handshake_status("/echo"), 101);
}

#[test]
fn a_process_that_is_told_to_stop_before_it_serves_does_not_take_over() {
    let place = Place::new("listen = [\"127.0.0.1:0\"]\nstage_dir = \"staged\"\n");
    // It stops the process that is to take over, and waits for the test.
    let in_init = "-DIN_INIT=if (!is_check && getenv(\"WSHD_UPGRADE_OF\")) { \
                   kill(getpid(), SIGTERM); while (access(\"go on\", F_OK)) { usleep(1000); } }";
    place.site.add_bytes(&unruly(&[in_init]), "unruly_wsh.so");
    let server = place.builder().start();
    let mut session = server.connect("/echo");

    server.signal("USR2");
    server.line(&["SIGTERM, stopping"]);
    place.site.write("go on", "");

    let why = "it was told to stop before it took over";
    server.line(&["ERROR", "upgrade failed, this process serves on", why]);
    assert_eq!(session.ask("hello"), "hello");
    assert_eq!(server.handshake_status("/echo"), 101);
    eventually("no other process is there", || place.processes() == 1);
    // It has left nothing.
    let staged = std::fs::read_dir(place.site.root().join("staged")).expect("it is there");
    assert_eq!(staged.count(), 1);
}

/// What clients have seen while servers were replaced.
#[derive(Debug, Default)]
struct Seen {
    /// Connections that were made and became sessions.
    connects: AtomicUsize,
    /// Sessions that were told to come back.
    told: AtomicUsize,
    is_over: AtomicBool,
}

/// Ends the clients when the test ends, also when it fails.
struct Ending<'a>(&'a Seen);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Sends a message and reads the answer. False when the server has told the client to come back instead.
#[track_caller]
fn is_answered(client: &mut Client) -> bool {
    // A write may meet a socket that the server has closed, after its Close frame has come.
    client.write(Message::text("here"));
    client.flush();
    loop {
        match client.try_read() {
            Ok(Message::Text(text)) => {
                assert_eq!(text.as_str(), "here");
                return true;
            }
            Ok(Message::Close(Some(close))) => {
                assert_eq!(u16::from(close.code), 1012, "{close}");
                return false;
            }
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("a session is lost: {error}"),
        }
    }
}

/// Connects so many times a second. Each client is a session, sends one message and goes.
fn connect_again_and_again(port: u16, per_second: u32, seen: &Seen) {
    let (began, mut made) = (Instant::now(), 0);
    while !seen.is_over.load(Ordering::Relaxed) {
        let due = began + Duration::from_secs(1) * made / per_second;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        made += 1;
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("no connection is refused");
        let timeout = Some(Duration::from_secs(20) * patience());
        stream.set_read_timeout(timeout).expect("a timeout");
        // It panics unless the answer is a 101.
        let mut client = Client::over(Steady::plain(stream), "ws://localhost/echo", "/echo", &[]);
        seen.connects.fetch_add(1, Ordering::Relaxed);
        match is_answered(&mut client) {
            true => drop(client.close(1000)),
            false => drop(seen.told.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Holds a session, and comes back when it is told to.
fn stay(port: u16, seen: &Seen) {
    while !seen.is_over.load(Ordering::Relaxed) {
        let mut client = Client::connect(port, "/echo", &[]);
        while is_answered(&mut client) {
            if seen.is_over.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        seen.told.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn upgrades_under_load_refuse_no_connection_and_lose_no_session() {
    let (upgrades, per_second) = match is_long() {
        true => (50, 500),
        false => (3, 100),
    };
    let place = Place::new("listen = [\"127.0.0.1:0\"]\n");
    let server = place.quiet().start();
    let (port, seen) = (server.port(), Seen::default());
    let began = Instant::now();
    let elapsed = std::thread::scope(|scope| {
        let (connects, stays) = (5, 10);
        let (per_second, seen) = (per_second / connects, &seen);
        for _ in 0..connects {
            scope.spawn(move || connect_again_and_again(port, per_second, seen));
        }
        for _ in 0..stays {
            scope.spawn(move || stay(port, seen));
        }
        let _ending = Ending(seen);
        let mut pid = server.pid();
        for count in 1..=upgrades {
            pid = upgrade(&server, pid, count);
            // Every client that stayed has come back before the next one.
            within(4 * SOON, "all are told", || {
                seen.told.load(Ordering::Relaxed) >= count * stays
            });
        }
        began.elapsed()
    });
    let connects = seen.connects.load(Ordering::Relaxed);
    eprintln!("{upgrades} upgrades in {elapsed:?}: {connects} connections, none refused; {seen:?}");
    server.says(&["upgraded"], upgrades);
    server.says(&["upgrade failed"], 0);
    server.says(&["stopped waiting for connections"], 0);
    eventually("those that were replaced have ended", || {
        place.processes() == 1
    });
}
