//! Clients that stay and clients that come and go, while servers are replaced.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tungstenite::{Error, Message};

use super::{Place, SOON, upgrade};
use crate::harness::client::{Client, Steady};
use crate::harness::{eventually, is_long, patience, within};

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
