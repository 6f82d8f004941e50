//! What a plugin is told, and in which order, from the first handshake to its `shutdown`.

use std::io::Write;

use crate::harness::compile::compile;
use crate::harness::is_long;
use crate::harness::server::{Server, opening};
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
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut peer, &mut answer).expect("an answer");

    server.line(&["generation retired", "generation=1 "]);
    assert_eq!(server.count_lines(&["destroy in time"]), 1);
    assert_eq!(
        server.count_lines(&["after shutdown"]),
        0,
        "{}",
        server.log()
    );
}
