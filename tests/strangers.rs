//! A callback that blocks holds up no session but its own, whatever it did before.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::harness::client::Client;
use crate::harness::compile::compile;
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;
use crate::harness::{is_long, within};

/// How long the callbacks block, and how long others may wait meanwhile.
const BLOCK: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_millis(200);

/// A server of `tests/fixtures/c/wakes_then_blocks.c`.
fn server() -> (Site, Server) {
    let site = Site::empty();
    let library = compile("tests/fixtures/c/wakes_then_blocks.c", &[]);
    site.add_bytes(&library, "wakes_then_blocks_wsh.so");
    let server = Server::start(&site);
    (site, server)
}

fn connect(server: &Server) -> Client {
    server.connect("/wakes_then_blocks")
}

/// The session that things are done to.
fn target(server: &Server) -> Client {
    let mut target = connect(server);
    assert_eq!(target.ask("target"), "target");
    target
}

/// Has a session do `what` and block, several times; `arrives` receives what comes of it.
fn does_not_wait(server: &Server, what: &str, mut arrives: impl FnMut()) {
    let mut blocked = connect(server);
    let order = format!("{what} {}", BLOCK.as_millis());
    for _ in 0..2 {
        assert_eq!(blocked.ask("ready?"), "ready?");
        let began = Instant::now();
        blocked.send(order.as_str());
        arrives();
        let took = began.elapsed();
        assert!(took < PATIENCE, "`{what}` was seen after {took:?}");
    }
    assert_eq!(blocked.ask("over?"), "over?");
}

#[test]
fn a_message_from_a_callback_that_blocks_afterwards_arrives_at_once() {
    let (_site, server) = server();
    let mut target = target(&server);
    for (what, text) in [("publish", "news"), ("send", "sent"), ("wake", "woken")] {
        does_not_wait(&server, what, || assert_eq!(target.text(), text, "{what}"));
    }
}

#[test]
fn a_publication_from_a_timer_or_a_wake_that_blocks_afterwards_arrives_at_once() {
    let (_site, server) = server();
    let mut target = target(&server);
    for what in ["timer", "thread"] {
        does_not_wait(&server, what, || {
            assert_eq!(target.text(), "news", "{what}")
        });
    }
}

#[test]
fn a_close_from_a_callback_that_blocks_afterwards_arrives_at_once() {
    let (_site, server) = server();
    let mut target = target(&server);
    let mut blocked = connect(&server);
    let began = Instant::now();
    blocked.send(format!("close {}", BLOCK.as_millis()));
    assert_eq!(target.close_code(), 4000);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn a_handshake_answered_by_a_callback_that_blocks_afterwards_is_answered_at_once() {
    let (_site, server) = server();
    let mut asking = server.raw();
    let request = opening("/wakes_then_blocks?later", "");
    asking.write_all(request.as_bytes()).expect("a request");
    crate::harness::eventually("the handler says PENDING", || {
        server.sessions("wakes_then_blocks") == 1
    });
    let mut blocked = connect(&server);
    assert_eq!(blocked.ask("ready?"), "ready?");

    let began = Instant::now();
    blocked.send(format!("handshake {}", BLOCK.as_millis()));
    let mut answer = [0; 12];
    asking.read_exact(&mut answer).expect("an answer");

    assert_eq!(answer, *b"HTTP/1.1 101");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn a_publication_from_an_open_that_blocks_afterwards_arrives_at_once() {
    let (_site, server) = server();
    let mut target = target(&server);
    let order = format!("opens {}", BLOCK.as_millis());
    assert_eq!(target.ask(order.as_str()), order);

    let began = Instant::now();
    let mut opening_one = server.raw();
    let request = opening("/wakes_then_blocks", "");
    opening_one
        .write_all(request.as_bytes())
        .expect("a request");

    assert_eq!(target.receive(), Message::text("news"));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

/// A server with an echo beside the handler that blocks.
fn server_with_echo() -> (Site, Server) {
    let site = Site::with(&["echo_wsh"]);
    let library = compile("tests/fixtures/c/wakes_then_blocks.c", &[]);
    site.add_bytes(&library, "wakes_then_blocks_wsh.so");
    let server = Server::start(&site);
    (site, server)
}

/// How long each echo takes, several connections at a time, while something else happens; sorted.
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
    let (_site, server) = server_with_echo();
    let mut blocked = connect(&server);

    let took = echoes_during(&server, Duration::ZERO, || {
        for _ in 0..6 {
            blocked.send("thread 400");
            assert_eq!(blocked.ask("over?"), "over?");
            // The thread takes its time, and the session that it wakes blocks.
            std::thread::sleep(Duration::from_millis(25));
            assert_eq!(blocked.ask("over?"), "over?");
        }
    });

    let longest = took.last().expect("there were echoes");
    assert!(*longest < Duration::from_millis(300), "{longest:?}");
}

#[test]
fn echoes_take_less_than_a_callback_of_some_milliseconds_beside_them() {
    let (_site, server) = server_with_echo();
    let mut blocked = connect(&server);
    let mut p90_beside = |micros: u64, lasts: Duration| {
        let order = format!("nap {micros}");
        let took = echoes_during(&server, Duration::from_micros(500), || {
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
