//! A handler answers an opening handshake in bytes of its own.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::{ask, close_code, configure, expect, rest, server, site, text, waits};
use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::deflating::{OFFER, TAKEOVER};
use crate::harness::eventually;
use crate::harness::server::opening;

#[test]
fn an_answer_can_end_the_connection_after_so_many_bytes_of_the_peers() {
    let site = site("raw = true");
    let server = server(&site);

    assert_eq!(rest(&mut ask(&server, "/craw?close")), "HTTP/9 nonsense");
    assert_eq!(rest(&mut ask(&server, "/craw?twice")), "second");

    let mut stream = ask(&server, "/craw?linger");
    expect(&mut stream, b"more?");
    stream.write_all(b"1234567").expect("sending");
    assert!(waits(&mut stream), "seven of eight bytes");
    stream.write_all(b"8").expect("sending");
    assert_eq!(rest(&mut stream), "");

    // Bytes that came with the request count. The end of the peer ends the wait.
    let mut stream = server.raw();
    let request = opening("/craw?linger", "") + "12345678";
    stream.write_all(request.as_bytes()).expect("sending");
    assert_eq!(rest(&mut stream), "more?");
    let mut stream = ask(&server, "/craw?linger");
    stream.shutdown(Shutdown::Write).expect("an end");
    assert_eq!(rest(&mut stream), "more?");

    server.says(
        &[
            "handshake refused",
            "path=/craw",
            "the handler answers in bytes of its own",
        ],
        5,
    );
    assert_eq!(server.count_lines(&["session opened"]), 0);
    eventually("no place is held", || server.sessions("craw") == 0);
}

#[test]
fn an_answer_lingers_no_longer_than_a_handshake_may_take() {
    let site = site("raw = true");
    let tables = "[limits]\nhandshake_timeout_ms = 300\n[handler.craw]\nraw = true\n";
    site.write("config.toml", tables);
    let mut server = server(&site);

    let began = Instant::now();
    let mut stream = ask(&server, "/craw?linger");
    assert_eq!(rest(&mut stream), "more?");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(250), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");

    // The wait ends when the peer resets, and when the server stops.
    drop(ask(&server, "/craw?linger"));
    configure(&site, "raw = true");
    server.line(&["configuration applied"]);
    let mut stream = ask(&server, "/craw?linger");
    expect(&mut stream, b"more?");
    server.signal("TERM");
    assert_eq!(rest(&mut stream), "");
    assert!(server.wait(Duration::from_secs(5)).success());
}

#[test]
fn an_answer_can_come_before_the_servers_own_101() {
    let site = site("raw = true");
    let server = server(&site);

    let mut stream = server.raw();
    stream
        .write_all(opening("/craw?continue", OFFER).as_bytes())
        .expect("sending a handshake");
    expect(&mut stream, b"\r\n\r\n");
    let mut client = Raw { stream };
    let head = client.skip_head();
    // The 101 has all that belongs to it.
    assert!(
        head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{head}"
    );
    assert!(head.contains(TAKEOVER), "{head}");
    assert_eq!(text(&mut client, "x"), "echo");

    let mut stream = ask(&server, "/raw?answer=two_lines");
    expect(&mut stream, b"HTTP/1.1 100 Continue\r\n\r\n");
    let mut client = Raw { stream };
    client.skip_head();
    assert_eq!(text(&mut client, "x"), "written");
}

#[test]
fn an_answer_can_stand_for_the_101() {
    let site = site("raw = true");
    let server = server(&site);

    for (path, own, asked, answered) in [
        ("/craw?open", "\r\nX-Own:\x01\r\n", "x", "echo"),
        ("/raw?answer=own", "\r\nX-Key: \x7f\r\n", "x", "written"),
    ] {
        let (mut client, head) = Raw::open_with(&server, path, OFFER);
        assert!(
            head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{head}"
        );
        assert!(head.contains(own), "{head}");
        // The head is the handler's bytes only, and no extension is in force.
        for absent in ["X-Lost", "Sec-WebSocket-Extensions"] {
            assert!(!head.contains(absent), "{head}");
        }
        assert_eq!(text(&mut client, asked), answered);
        client.send(&frame(0x88, b"\x03\xe8"));
        assert_eq!(close_code(&mut client), 1000);
    }
    server.line(&["session opened", "path=/craw", "deflate=false"]);

    // An answer of no bytes stands for the 101, too.
    let mut stream = ask(&server, "/craw?nothing");
    expect(&mut stream, b"HTTP/1.1 later");
    stream.write_all(&frame(0x81, b"x")).expect("sending");
    expect(&mut stream, b"\x81\x04echo");
}

#[test]
fn an_answer_waits_for_a_handshake_that_accepts_later_and_goes_with_one_that_refuses() {
    let site = site("raw = true");
    let server = server(&site);

    assert_eq!(rest(&mut ask(&server, "/craw?later")), "at last");
    server.line(&["abandoned=OK"]);
    assert_eq!(
        rest(&mut ask(&server, "/raw?answer=later")),
        "after a while"
    );
    let answer = rest(&mut ask(&server, "/craw?reject"));
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(!answer.contains("never"), "{answer}");
}
