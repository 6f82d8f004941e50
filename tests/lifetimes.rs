//! What a plugin is told, and in which order, from the first handshake to its `shutdown`.

use std::io::{Read, Write};

use crate::harness::client::Raw;
use crate::harness::compile::compile;
use crate::harness::is_long;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

/// The handler of `tests/fixtures/c/lives.c`, built with these options.
fn lives(options: &[&str]) -> Vec<u8> {
    compile("tests/fixtures/c/lives.c", options)
}

/// The same code as another file.
fn again(library: &[u8], number: u8) -> Vec<u8> {
    [library, &[number]].concat()
}

/// A handshake that its handler has not answered.
fn pending(server: &Server, path: &str) -> std::net::TcpStream {
    let before = server.count_lines(&["handshake pending"]);
    let mut peer = server.raw();
    peer.write_all(opening(&format!("{path}?later"), "").as_bytes())
        .expect("sending a handshake");
    crate::harness::eventually("the handler says PENDING", || {
        server.count_lines(&["handshake pending"]) > before
    });
    peer
}

#[test]
fn the_last_handshake_of_an_old_generation_is_abandoned_before_that_is_shut_down() {
    let site = Site::empty();
    let library = lives(&[]);
    site.add_bytes(&library, "lives_wsh.so");
    let server = Server::start(&site);
    let rounds = if is_long() { 40 } else { 8 };

    for round in 1..=rounds {
        let peer = pending(&server, "/lives");
        site.add_bytes(&again(&library, round), "lives_wsh.so");
        server.line(&["handler loaded", &format!("generation={}", round + 1)]);
        drop(peer);
        server.line(&["generation retired", &format!("generation={round} ")]);
    }

    let abandoned = server.count_lines(&["abandon in time"]);
    assert_eq!(abandoned, usize::from(rounds), "{}", server.log());
    assert_eq!(server.count_lines(&["after shutdown"]), 0);
}

#[test]
fn a_refused_handshake_and_a_session_are_freed_before_their_old_generation_is_shut_down() {
    let site = Site::empty();
    let library = lives(&[]);
    site.add_bytes(&library, "lives_wsh.so");
    let server = Server::start(&site);

    // Refused by its handler, as the last on its generation.
    let mut peer = pending(&server, "/lives");
    let mut session = server.connect("/lives");
    assert_eq!(session.text(), "open");
    site.add_bytes(&again(&library, 1), "lives_wsh.so");
    server.line(&["handler loaded", "generation=2"]);
    session.send("reject");
    drop(session);
    assert_eq!(status(&mut peer), 403);

    server.line(&["generation retired", "generation=1 "]);
    assert_eq!(server.count_lines(&["destroy in time"]), 1);
    assert_eq!(
        server.count_lines(&["after shutdown"]),
        0,
        "{}",
        server.log()
    );
}

/// The status that the peer of a handshake gets in the end.
#[track_caller]
fn status(peer: &mut std::net::TcpStream) -> u16 {
    let mut answer = [0; 12];
    peer.read_exact(&mut answer).expect("an answer");
    status_of(&String::from_utf8_lossy(&answer))
}

#[test]
fn what_is_sent_to_a_pending_handshake_comes_after_its_open() {
    let site = Site::empty();
    site.add_bytes(&lives(&[]), "lives_wsh.so");
    let server = Server::start(&site);
    let mut other = server.connect("/lives");
    assert_eq!(other.text(), "open");
    let stream = pending(&server, "/lives");

    for ask in ["send one", "wake", "send two", "wake", "accept"] {
        assert_eq!(other.ask(ask), "0", "{ask}");
    }

    let mut raw = Raw { stream };
    raw.skip_head();
    for text in ["open", "one", "two"] {
        assert_eq!(raw.frame(), Some((0x81, text.into())));
    }
}

#[test]
fn a_pending_handshake_that_is_closed_by_its_id_is_refused_and_then_gone() {
    let site = Site::empty();
    site.add_bytes(&lives(&[]), "lives_wsh.so");
    let server = Server::start(&site);
    let mut other = server.connect("/lives");
    assert_eq!(other.text(), "open");

    for (code, wanted) in [(1008, 403), (4000, 403), (1012, 503), (1013, 503)] {
        let abandoned = server.count_lines(&["abandon in time"]);
        let mut peer = pending(&server, "/lives");
        assert_eq!(other.ask("send never to be seen"), "0");
        assert_eq!(other.ask(&format!("close {code}")), "0");

        assert_eq!(status(&mut peer), wanted, "{code}");
        // GONE, as for a session that is over.
        for ask in ["wake", "send more", "close 1000"] {
            assert_eq!(other.ask(ask), "-3", "{ask}");
        }
        let now = server.count_lines(&["abandon in time"]);
        assert_eq!(now, abandoned + 1, "{code}");
    }
}

#[test]
fn a_pending_handshake_is_refused_at_once_when_the_sessions_of_its_generation_close() {
    let site = Site::empty();
    site.write("config.toml", "[handler.lives]\nreload = \"close\"\n");
    let library = lives(&[]);
    site.add_bytes(&library, "lives_wsh.so");
    let server = Server::start(&site);
    let mut peer = pending(&server, "/lives");

    site.add_bytes(&again(&library, 1), "lives_wsh.so");

    assert_eq!(status(&mut peer), 503);
    server.line(&["generation retired", "generation=1 "]);
}
