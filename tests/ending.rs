//! How a session ends in the middle of a message, with letters waiting, or while its handler is slow.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::eventually;
use crate::harness::limits::on_one_processor;
use crate::harness::server::Server;
use crate::harness::site::Site;

/// Starts a server with the handler of ends.c.
fn ends(options: &[&str], config: &str) -> (Site, Server) {
    let site = Site::empty();
    let bytes = compile("tests/fixtures/c/ends.c", options);
    site.add_bytes(&bytes, "ends_wsh.so");
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

/// Opens a session that has sent the first part of a message. Returns its id as well.
#[track_caller]
fn half_said(server: &Server) -> (Raw, String) {
    let mut raw = Raw::open(server, "/ends");
    raw.send(&frame(0x81, b"id"));
    let (_, id) = raw.frame().expect("the id");
    raw.send(&frame(0x81, b"begin"));
    assert_eq!(raw.frame(), Some((0x01, b"part ".to_vec())));
    (raw, String::from_utf8(id).expect("a number"))
}

fn count_of(answer: &str) -> usize {
    let count = answer.rsplit(' ').next().and_then(|it| it.parse().ok());
    count.expect("a number at the end")
}

#[test]
fn letters_that_wait_behind_a_message_in_parts_count_until_they_have_left() {
    let (_site, server) = ends(&[], "[limits]\noutbound_bytes_max = 100000\n");
    let (mut slow, id) = half_said(&server);
    let mut other = server.connect("/ends");

    // The session is woken by each batch, and takes it.
    let taken: Vec<_> = (0..20)
        .map(|_| count_of(&other.ask(&format!("send {id} 100"))))
        .collect();

    assert_eq!(taken.iter().sum::<usize>(), 9, "{taken:?}");
    slow.send(&frame(0x81, b"finish"));
    let mut bytes = 0;
    while bytes < 9 * 10_000 {
        let (first, payload) = slow.frame().expect("what was sent");
        bytes += payload.len() * usize::from(first == 0x82);
    }
    // The letters have left, so there is room again.
    assert_eq!(count_of(&other.ask(&format!("send {id} 3"))), 3);
    assert_eq!(slow.frame().map(|(first, _)| first), Some(0x82));
}

#[test]
fn publications_past_the_limit_end_a_session_that_never_completes_its_message_at_once() {
    let (_site, server) = ends(&[], "[limits]\noutbound_bytes_max = 100000\n");
    let (mut slow, _) = half_said(&server);
    let mut other = server.connect("/ends");

    assert_eq!(other.ask("publish 20"), "published");

    // Between two fragments: the message stays incomplete.
    let (first, body) = slow.frame().expect("a Close frame");
    assert_eq!((first, &body[..2]), (0x88, &1008u16.to_be_bytes()[..]));
}

#[test]
fn a_stop_and_an_eviction_close_a_session_between_two_parts_of_its_message() {
    let config = "reload = \"close\"\n[limits]\nstop_timeout_ms = 20000\n";
    let (site, mut server) = ends(&[], config);
    let (mut stopped, _) = half_said(&server);
    let (mut evicted, _) = half_said(&server);
    let mut other = server.connect("/ends");
    // A letter waits that could leave only before the Close.
    assert_eq!(other.ask("publish 3"), "published");

    let next = compile("tests/fixtures/c/ends.c", &["-DLINGERS=0", "-O1"]);
    site.add_bytes(&next, "ends_wsh.so");
    let (first, body) = evicted.frame().expect("a Close frame");
    assert_eq!((first, &body[..2]), (0x88, &1012u16.to_be_bytes()[..]));
    assert_eq!(stopped.frame().map(|(first, _)| first), Some(0x88));
    drop((stopped, evicted, other));

    let (mut stopped, _) = half_said(&server);
    let mut other = server.connect("/ends");
    assert_eq!(other.ask("publish 3"), "published");
    let began = Instant::now();
    server.signal("TERM");
    let (first, body) = stopped.frame().expect("a Close frame");
    assert_eq!((first, &body[..2]), (0x88, &1001u16.to_be_bytes()[..]));
    stopped.send(&frame(0x88, &1001u16.to_be_bytes()));
    other.close_code();
    drop(other);
    assert_eq!(server.wait(Duration::from_secs(10)).code(), Some(0));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn the_handlers_own_close_cuts_its_message_and_one_by_id_keeps_its_place() {
    let (_site, server) = ends(&[], "");
    let (mut cut, _) = half_said(&server);
    cut.send(&frame(0x81, b"cut"));
    assert_eq!(cut.frame(), Some((0x88, b"\x0f\xa1cut".to_vec())));

    let (mut kicked, id) = half_said(&server);
    let mut other = server.connect("/ends");
    assert_eq!(other.ask(&format!("send {id} 1")), "taken 1");
    assert_eq!(other.ask(&format!("kick {id}")), "status 0");
    // Nothing follows a Close, so nothing more is taken.
    assert_eq!(other.ask(&format!("send {id} 1")), "taken 0");
    assert_eq!(other.ask(&format!("kick {id}")), "status -3");
    kicked.send(&frame(0x81, b"finish"));
    assert_eq!(kicked.frame(), Some((0x80, b"end".to_vec())));
    assert_eq!(kicked.frame(), Some((0x82, vec![0; 10_000])));
    assert_eq!(kicked.frame(), Some((0x88, b"\x0f\xa2kicked".to_vec())));
}

#[test]
fn a_handler_that_takes_its_time_after_the_end_holds_neither_socket_nor_place() {
    let (_site, mut server) = ends(&["-DLINGERS=1"], "[limits]\nconnections_max = 3\n");
    let descriptors = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid()));
        open.expect("the server runs").count()
    };
    let mut other = server.connect("/ends");
    assert_eq!(other.ask("id"), "1");
    let before = descriptors();

    for end in ["the handler aborts", "the peer is gone", "both close"] {
        for _ in 0..3 {
            let mut raw = Raw::open(&server, "/ends");
            match end {
                "the handler aborts" => {
                    raw.send(&frame(0x81, b"drop"));
                    assert_eq!(raw.frame(), None, "{end}");
                }
                "both close" => {
                    raw.send(&frame(0x88, b"\x03\xe8"));
                    assert_eq!(raw.frame(), Some((0x88, b"\x03\xe8".to_vec())));
                    assert_eq!(raw.frame(), None, "{end}");
                }
                _ => drop(raw),
            }
        }
        eventually(end, || descriptors() == before);
    }

    // The handler is still there, and can be woken; the others are waited for at the end.
    assert_eq!(other.ask("wake 2"), "status 0");
    eventually("it is done", || other.ask("wake 2") == "status -3");
    assert_eq!(other.ask("send 3 1"), "taken 0");
    server.signal("TERM");
    other.close_code();
    drop(other);
    server.line(&["stopping"]);
    server.signal("TERM");
    server.wait(Duration::from_secs(5));
}

#[test]
fn a_message_is_answered_before_most_of_the_sessions_that_closed_before_it_came() {
    const SESSIONS: usize = 400;
    const FIRST: usize = SESSIONS * 9 / 10;
    let site = Site::empty();
    let bytes = compile("tests/fixtures/c/ends.c", &[]);
    site.add_bytes(&bytes, "ends_wsh.so");
    // With one worker all go through the same queue.
    let server = Server::builder(&site).within(on_one_processor()).start();
    let mut other = server.connect("/ends");
    let mut writer = other.raw_writer();
    let mut peers: Vec<_> = (0..SESSIONS).map(|_| Raw::open(&server, "/ends")).collect();

    server.signal("STOP");
    let (first, last) = peers.split_at_mut(FIRST);
    let close = frame(0x88, &1000u16.to_be_bytes());
    first.iter_mut().for_each(|peer| peer.send(&close));
    writer.write_all(&frame(0x81, b"over")).expect("asking");
    last.iter_mut().for_each(|peer| peer.send(&close));
    server.signal("CONT");

    let over = count_of(&other.text());
    assert!(over < FIRST / 2, "{over} had ended");
    assert!(peers.iter_mut().all(|peer| peer.close_code() == 1000));
    eventually("all have ended", || {
        count_of(&other.ask("over")) == SESSIONS
    });
}
