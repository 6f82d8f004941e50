//! What a service manager such as systemd hears of a server, by a real socket.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::harness::compile::unruly;
use crate::harness::patience;
use crate::harness::server::{Builder, Server};
use crate::harness::site::Site;

const SOON: Duration = Duration::from_secs(10);

/// A service manager: its end of the socket.
struct Manager {
    inbox: UnixDatagram,
    name: String,
    /// Lines that came and were not asked for yet.
    lines: Vec<String>,
}

impl Manager {
    fn at(site: &Site) -> Manager {
        let path: PathBuf = site.root().join("notify");
        let name = path.to_str().expect("text").to_owned();
        Manager::of(UnixDatagram::bind(path).expect("a socket"), name)
    }

    fn of(inbox: UnixDatagram, name: String) -> Manager {
        let timeout = inbox.set_read_timeout(Some(SOON * patience()));
        timeout.expect("a timeout");
        let lines = Vec::new();
        Manager { inbox, name, lines }
    }

    fn around(&self, builder: Builder) -> Builder {
        builder.env("NOTIFY_SOCKET", &self.name)
    }

    /// The next line that begins with `wanted`. Lines before it are passed over.
    #[track_caller]
    fn hears(&mut self, wanted: &str) -> String {
        let began = Instant::now();
        loop {
            while !self.lines.is_empty() {
                let line = self.lines.remove(0);
                if line.starts_with(wanted) {
                    return line;
                }
            }
            assert!(began.elapsed() < SOON * patience(), "no `{wanted}`");
            let mut datagram = [0; 1_000];
            let read = self.inbox.recv(&mut datagram);
            let length = read.unwrap_or_else(|error| panic!("no `{wanted}`: {error}"));
            let text = std::str::from_utf8(&datagram[..length]).expect("text");
            self.lines.extend(text.lines().map(str::to_owned));
        }
    }

    /// Whether a line that begins with this has come by now. All lines are passed over.
    fn has_heard(&mut self, wanted: &str) -> bool {
        self.inbox.set_nonblocking(true).expect("a socket");
        let mut datagram = [0; 1_000];
        while let Ok(length) = self.inbox.recv(&mut datagram) {
            let text = String::from_utf8_lossy(&datagram[..length]);
            self.lines.extend(text.lines().map(str::to_owned));
        }
        self.inbox.set_nonblocking(false).expect("a socket");
        let lines = std::mem::take(&mut self.lines);
        lines.iter().any(|line| line.starts_with(wanted))
    }
}

fn number(line: &str) -> u64 {
    let number = line.split('=').nth(1).and_then(|it| it.parse().ok());
    number.expect("a number")
}

#[test]
fn the_service_manager_hears_when_the_server_is_ready_and_when_it_stops() {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", "[limits]\nclose_timeout_ms = 500\n");
    let mut manager = Manager::at(&site);
    let mut server = manager.around(Server::builder(&site)).start();

    manager.hears("READY=1");
    let status = manager.hears("STATUS=");
    assert_eq!(status, "STATUS=ready: handlers: 1, sessions: 0");
    let _silent = crate::harness::client::Raw::open(&server, "/echo");
    server.signal("TERM");
    manager.hears("STOPPING=1");
    let more = number(&manager.hears("EXTEND_TIMEOUT_USEC="));
    assert!(more > 5_000_000, "{more}");
    assert_eq!(
        manager.hears("STATUS="),
        "STATUS=draining: sessions left: 1"
    );
    assert_eq!(server.wait(SOON).code(), Some(0));
}

#[test]
fn a_server_is_ready_only_when_its_handlers_are_loaded() {
    let site = Site::with(&["echo_wsh"]);
    let slow = unruly(&["-DIN_INIT=usleep(700000)"]);
    site.add_bytes(&slow, "slow_wsh.so");
    let mut manager = Manager::at(&site);
    let server = manager.around(Server::builder(&site)).spawn();

    manager.hears("EXTEND_TIMEOUT_USEC=");
    assert_eq!(manager.hears("STATUS="), "STATUS=loading handlers");
    manager.hears("READY=1");
    server.line(&["handler loaded", "slow"]);
}

#[test]
fn a_reload_is_over_when_what_was_found_is_loaded() {
    let site = Site::with(&["echo_wsh"]);
    let mut manager = Manager::at(&site);
    let server = manager.around(Server::builder(&site)).start();
    manager.hears("READY=1");
    let slow = unruly(&["-DIN_INIT=usleep(700000)"]);
    let before = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    site.add_bytes(&slow, "slow_wsh.so");

    server.signal("HUP");

    manager.hears("RELOADING=1");
    let began = number(&manager.hears("MONOTONIC_USEC="));
    assert!(began >= before.tv_sec as u64 * 1_000_000, "{began}");
    manager.hears("READY=1");
    assert_eq!(server.handshake_status("/slow"), 101);

    for _ in 0..20 {
        server.signal("HUP");
    }
    manager.hears("RELOADING=1");
    manager.hears("READY=1");
    // The last word is that the reload is over.
    crate::harness::eventually("no reload is left", || !manager.has_heard("RELOADING=1"));
}

#[test]
fn the_watchdog_hears_of_life_also_while_a_handler_does_not_return() {
    let site = Site::with(&["echo_wsh", "stuck_wsh"]);
    let name = format!("wshd-supervised-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let inbox = UnixDatagram::bind_addr(&address).expect("a socket");
    let mut manager = Manager::of(inbox, format!("@{name}"));
    let builder = manager.around(Server::builder(&site));
    let server = builder.env("WATCHDOG_USEC", "3000000").start();

    manager.hears("READY=1");
    manager.hears("WATCHDOG=1");
    let mut stuck: Vec<_> = (0..4).map(|_| server.connect("/stuck")).collect();
    for client in &mut stuck {
        client.send("deadlock");
    }
    for _ in 0..3 {
        let began = Instant::now();
        manager.hears("WATCHDOG=1");
        assert!(began.elapsed() < Duration::from_secs(3) * patience());
    }
}

#[test]
fn a_watchdog_of_another_process_and_a_socket_that_is_not_there_change_nothing() {
    let site = Site::with(&["echo_wsh"]);
    let mut manager = Manager::at(&site);
    let builder = manager.around(Server::builder(&site));
    let builder = builder
        .env("WATCHDOG_USEC", "300000")
        .env("WATCHDOG_PID", "1");
    let mut server = builder.start();
    manager.hears("READY=1");
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    server.signal("TERM");
    assert_eq!(server.wait(SOON).code(), Some(0));
    assert!(!manager.has_heard("WATCHDOG=1"));

    let nowhere = Server::builder(&site).env("NOTIFY_SOCKET", "/nowhere/notify");
    let mut server = nowhere.start();
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
    server.signal("HUP");
    server.line(&["HUP, reading the configuration again"]);
    server.signal("TERM");
    assert_eq!(server.wait(SOON).code(), Some(0));
}
