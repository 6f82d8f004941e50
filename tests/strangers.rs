//! A callback that blocks holds up no other session, even if it has sent to others before.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::harness::client::Client;
use crate::harness::compile::compile;
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;
use crate::harness::{eventually, is_long, within};

/// How long a callback blocks at most: longer than a client waits for anything.
const BLOCK_MS: u64 = 30_000;

/// A server of `tests/fixtures/c/wakes_then_blocks.c`, with an echo beside it.
struct Blocking {
    site: Site,
    server: Server,
}

impl Blocking {
    fn start() -> Blocking {
        let site = Site::with(&["echo_wsh"]);
        let library = compile("tests/fixtures/c/wakes_then_blocks.c", &[]);
        site.add_bytes(&library, "wakes_then_blocks_wsh.so");
        let server = Server::start(&site);
        let blocking = Blocking { site, server };
        let order = format!("until {}", blocking.file().display());
        assert_eq!(blocking.connect().ask(&order), order);
        blocking
    }

    fn connect(&self) -> Client {
        self.server.connect("/wakes_then_blocks")
    }

    /// Opens the session that others send to.
    fn target(&self) -> Client {
        let mut target = self.connect();
        assert_eq!(target.ask("target"), "target");
        target
    }

    /// The file whose appearance ends the blocking.
    fn file(&self) -> PathBuf {
        self.site.root().join("go_on")
    }

    /// Ends the blocking. What has arrived until then has not waited for it.
    fn go_on(&self) {
        assert!(!self.file().exists(), "nothing blocks any more");
        self.site.write("go_on", "");
        eventually("the callback goes on", || !self.file().exists());
    }

    /// Lets a session do `what` and block, several times. `arrives` must receive the effect meanwhile.
    fn does_not_wait(&self, what: &str, mut arrives: impl FnMut()) {
        let mut blocked = self.connect();
        for _ in 0..5 {
            assert_eq!(blocked.ask("ready?"), "ready?");
            blocked.send(format!("{what} {BLOCK_MS}"));
            arrives();
            self.go_on();
        }
        assert_eq!(blocked.ask("over?"), "over?");
    }
}

#[test]
fn a_message_from_a_callback_that_blocks_afterwards_arrives_at_once() {
    let blocking = Blocking::start();
    let mut target = blocking.target();
    for (what, text) in [("publish", "news"), ("send", "sent"), ("wake", "woken")] {
        blocking.does_not_wait(what, || assert_eq!(target.text(), text, "{what}"));
    }
}

#[test]
fn a_publication_from_a_timer_or_a_wake_that_blocks_afterwards_arrives_at_once() {
    let blocking = Blocking::start();
    let mut target = blocking.target();
    for what in ["timer", "thread"] {
        blocking.does_not_wait(what, || assert_eq!(target.text(), "news", "{what}"));
    }
}

#[test]
fn a_close_from_a_callback_that_blocks_afterwards_arrives_at_once() {
    let blocking = Blocking::start();
    let mut target = blocking.target();
    let mut blocked = blocking.connect();
    blocked.send(format!("close {BLOCK_MS}"));
    assert_eq!(target.close_code(), 4000);
    blocking.go_on();
}

#[test]
fn a_handshake_answered_by_a_callback_that_blocks_afterwards_is_answered_at_once() {
    let blocking = Blocking::start();
    let server = &blocking.server;
    let mut asking = server.raw();
    let request = opening("/wakes_then_blocks?later", "");
    asking.write_all(request.as_bytes()).expect("a request");
    eventually("the handler says PENDING", || {
        server.sessions("wakes_then_blocks") == 1
    });
    let mut blocked = blocking.connect();
    assert_eq!(blocked.ask("ready?"), "ready?");

    blocked.send(format!("handshake {BLOCK_MS}"));
    let mut answer = [0; 12];
    asking.read_exact(&mut answer).expect("an answer");

    assert_eq!(answer, *b"HTTP/1.1 101");
    blocking.go_on();
}

#[test]
fn a_publication_from_an_open_that_blocks_afterwards_arrives_at_once() {
    let blocking = Blocking::start();
    let mut target = blocking.target();
    let order = format!("opens {BLOCK_MS}");
    assert_eq!(target.ask(&order), order);

    let mut opening_one = blocking.server.raw();
    let request = opening("/wakes_then_blocks", "");
    opening_one
        .write_all(request.as_bytes())
        .expect("a request");

    assert_eq!(target.receive(), Message::text("news"));
    blocking.go_on();
}

/// The sorted times of echoes on several connections while something else happens.
fn echoes_during(server: &Server, rest: Duration, happens: impl FnOnce()) -> Vec<Duration> {
    let over = AtomicBool::new(false);
    let mut all = std::thread::scope(|scope| {
        let echoes = (0..4).map(|_| {
            let mut client = server.connect("/echo");
            let over = &over;
            scope.spawn(move || {
                let mut took = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    assert_eq!(client.ask("hello"), "hello");
                    took.push(asked.elapsed());
                    std::thread::sleep(rest);
                }
                took
            })
        });
        let echoes: Vec<_> = echoes.collect();
        happens();
        over.store(true, Ordering::Relaxed);
        let took = echoes.into_iter().map(|it| it.join().expect("echoes come"));
        took.flatten().collect::<Vec<Duration>>()
    });
    all.sort();
    all
}

#[test]
fn an_echo_does_not_wait_for_a_callback_that_a_thread_has_woken() {
    let blocking = Blocking::start();
    let mut target = blocking.target();
    let mut blocked = blocking.connect();
    let counts: [AtomicU64; 4] = Default::default();
    let over = AtomicBool::new(false);

    std::thread::scope(|scope| {
        // The echoes end even if an assertion fails.
        let _end = SetWhenDropped(&over);
        for count in &counts {
            let (server, over) = (&blocking.server, &over);
            scope.spawn(move || {
                let mut client = server.connect("/echo");
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(client.ask("hello"), "hello");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let echoes = || [0, 1, 2, 3].map(|at| counts[at].load(Ordering::Relaxed));
        for _ in 0..10 {
            blocked.send(format!("thread {BLOCK_MS}"));
            // The thread of the handler wakes the session after a while, and its callback blocks.
            assert_eq!(target.text(), "news");
            let before = echoes();
            eventually(
                "each connection has its echoes while the callback blocks",
                || {
                    let pairs = before.iter().zip(echoes());
                    pairs.into_iter().all(|(before, now)| now > before + 1)
                },
            );
            blocking.go_on();
            assert_eq!(blocked.ask("over?"), "over?");
        }
    });
}

struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn echoes_take_less_than_a_callback_of_some_milliseconds_beside_them() {
    let blocking = Blocking::start();
    let mut blocked = blocking.connect();
    let mut p90_beside = |micros: u64, lasts: Duration| {
        let order = format!("nap {micros}");
        let took = echoes_during(&blocking.server, Duration::from_micros(500), || {
            let began = Instant::now();
            while began.elapsed() < lasts {
                assert_eq!(blocked.ask(order.as_str()), order);
            }
        });
        took[took.len() * 9 / 10]
    };

    if is_long() {
        for micros in [0, 500, 2_000, 5_000, 9_000, 30_000] {
            let p90 = p90_beside(micros, Duration::from_secs(3));
            eprintln!("beside callbacks of {micros} us the p90 of others is {p90:?}");
        }
    }
    // The machine may be busy with other tests.
    within(
        Duration::from_secs(20),
        "a p90 far below the callback",
        || p90_beside(9_000, Duration::from_millis(500)) < Duration::from_millis(3),
    );
}
