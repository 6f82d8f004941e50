//! A failure becomes an HTTP status before the 101 and a close code after it, row by row.

use std::io::{Read, Write};

use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

fn features(config: &str) -> (Site, Server) {
    let site = Site::with(&["features_wsh"]);
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

/// A correct opening handshake with one thing changed.
fn changed(from: &str, to: &str) -> String {
    let request = opening("/features", "");
    assert!(request.contains(from), "{from}");
    request.replacen(from, to, 1)
}

/// Opening handshakes: the name of each, the status that it gets, and a part of the response.
fn handshakes() -> Vec<(&'static str, String, u16, &'static str)> {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let long = "x".repeat(20_000);
    let lines: String = (0..150).map(|n| format!("X-{n}: 1\r\n")).collect();
    vec![
        (
            "a correct one",
            opening("/features", ""),
            101,
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
        ),
        ("no such route", opening("/nobody", ""), 404, ""),
        (
            "no upgrade asked",
            "GET /features HTTP/1.1\r\nHost: localhost\r\n\r\n".into(),
            426,
            "Upgrade: websocket\r\n",
        ),
        (
            "version 8",
            changed("Version: 13", "Version: 8"),
            426,
            "Sec-WebSocket-Version: 13\r\n",
        ),
        (
            "no version",
            changed("Sec-WebSocket-Version: 13\r\n", ""),
            400,
            "",
        ),
        ("a POST", changed("GET", "POST"), 400, ""),
        ("HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0"), 400, ""),
        ("no Host", changed("Host: localhost\r\n", ""), 400, ""),
        (
            "two Hosts",
            opening("/features", "Host: other\r\n"),
            400,
            "",
        ),
        (
            "lines that end in LF alone",
            opening("/features", "").replace("\r\n", "\n"),
            400,
            "",
        ),
        (
            "a folded line",
            opening("/features", "X: a\r\n b\r\n"),
            400,
            "",
        ),
        (
            "no Connection",
            changed("Connection: Upgrade\r\n", ""),
            400,
            "",
        ),
        ("a short key", changed(key, "c2hvcnQ="), 400, ""),
        (
            "a key that is no base64",
            changed(key, "dGhlIHNhbXBsZSBub25jZ!=="),
            400,
            "",
        ),
        (
            "two keys",
            opening("/features", &format!("Sec-WebSocket-Key: {key}\r\n")),
            400,
            "",
        ),
        (
            "a body",
            opening("/features", "Content-Length: 5\r\n"),
            400,
            "",
        ),
        (
            "chunks",
            opening("/features", "Transfer-Encoding: chunked\r\n"),
            400,
            "",
        ),
        (
            "a bad subprotocol",
            opening("/features", "Sec-WebSocket-Protocol: a b\r\n"),
            400,
            "",
        ),
        (
            "an empty list of subprotocols",
            opening("/features", "Sec-WebSocket-Protocol:\r\n"),
            400,
            "",
        ),
        (
            "a list of no subprotocols",
            opening("/features", "Sec-WebSocket-Protocol: , \r\n"),
            400,
            "",
        ),
        (
            "a list of subprotocols with an empty line",
            opening(
                "/features",
                "Sec-WebSocket-Protocol: v2\r\nSec-WebSocket-Protocol:\r\n",
            ),
            101,
            "Sec-WebSocket-Protocol: v2\r\n",
        ),
        (
            "a subprotocol twice",
            opening("/features", "Sec-WebSocket-Protocol: v2, v1, v2\r\n"),
            400,
            "`Sec-WebSocket-Protocol` lists a subprotocol twice",
        ),
        (
            "a subprotocol again on another line",
            opening(
                "/features",
                "Sec-WebSocket-Protocol: v2\r\nSec-WebSocket-Protocol: v1, v2\r\n",
            ),
            400,
            "",
        ),
        (
            "subprotocols that differ in case",
            opening("/features", "Sec-WebSocket-Protocol: V2, v2\r\n"),
            101,
            "Sec-WebSocket-Protocol: v2\r\n",
        ),
        (
            "a list of no extensions",
            opening("/features", "Sec-WebSocket-Extensions: ,\r\n"),
            400,
            "",
        ),
        (
            "an empty list of extensions",
            opening("/features", "Sec-WebSocket-Extensions:\r\n"),
            400,
            "",
        ),
        ("a fragment", opening("/features#x", ""), 400, ""),
        ("a NUL", opening("/features%00", ""), 400, ""),
        (
            "a list of upgrades",
            changed("Upgrade: websocket", "Upgrade: h2c, WebSocket"),
            101,
            "",
        ),
        (
            "Firefox's Connection",
            changed("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
            101,
            "",
        ),
        (
            "an absolute target",
            opening("ws://localhost/features", ""),
            101,
            "",
        ),
        (
            "a long header",
            opening("/features", &format!("X: {long}\r\n")),
            431,
            "",
        ),
        ("many headers", opening("/features", &lines), 431, ""),
        ("a long target", opening(&format!("/{long}"), ""), 414, ""),
        (
            "another site's page",
            opening("/features", "Origin: https://evil.example\r\n"),
            403,
            "",
        ),
        (
            "a page from a file",
            opening("/features", "Origin: null\r\n"),
            403,
            "",
        ),
        (
            "a page of this machine",
            opening("/features", "Origin: http://127.0.0.1:5173\r\n"),
            101,
            "",
        ),
        (
            "the handler rejects",
            opening("/features?handshake=reject", ""),
            418,
            "no coffee here",
        ),
        (
            "the handler forbids",
            opening("/features?handshake=forbid", ""),
            403,
            "",
        ),
        (
            "the handler fails",
            opening("/features?handshake=fail", ""),
            500,
            "",
        ),
        (
            "the handler answers later",
            opening("/features?handshake=later", ""),
            101,
            "",
        ),
        ("no HTTP at all", "hello\r\n\r\n".into(), 400, ""),
    ]
}

#[test]
fn every_rule_of_the_opening_handshake_has_its_status() {
    let (_site, server) = features("");
    for (what, request, status, more) in handshakes() {
        let answer = server.exchange(request.as_bytes());
        assert_eq!(status_of(&answer), status, "{what}: {answer}");
        assert!(answer.contains(more), "{what}: {answer}");
        if status != 101 {
            assert!(answer.contains("\r\nConnection: close"), "{what}: {answer}");
            assert_eq!(answer.matches("\r\nDate: ").count(), 1, "{what}: {answer}");
        }
    }
    assert_eq!(
        server.exchange(opening("/features?handshake=abort", "").as_bytes()),
        ""
    );
    server.line(&["origin refused", "origin=null", "to allow it: origins = "]);
}

#[test]
fn a_refused_upgrade_is_answered_once_and_what_follows_is_no_request() {
    let (_site, server) = features("");
    let mut request = opening("/nobody", "");
    request += "GET /features HTTP/1.1\r\nHost: localhost\r\n\r\n";

    let answer = server.exchange(request.as_bytes());

    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[test]
fn a_request_that_is_too_slow_gets_408_and_one_that_its_handler_never_answers_503() {
    let (_site, server) = features("[limits]\nhandshake_timeout_ms = 200\n");

    assert_eq!(
        status_of(&server.exchange(b"GET /features HTTP/1.1\r\n")),
        408
    );
    let never = opening("/features?handshake=never", "");
    assert_eq!(status_of(&server.exchange(never.as_bytes())), 503);
}

#[test]
fn a_full_server_answers_503_and_serves_those_it_has() {
    let (site, server) = features("[limits]\nconnections_max = 1\n");
    let mut first = server.connect("/features");

    let answer = server.exchange(opening("/features", "").as_bytes());

    assert_eq!(status_of(&answer), 503);
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    assert_eq!(first.ask("hello"), "hello");

    // The limit is raised while the server runs.
    site.write("config.toml", "[limits]\nconnections_max = 100\n");
    crate::harness::eventually("there is room", || {
        server.handshake_status("/features") == 101
    });
}

#[test]
fn every_violation_has_its_close_code_and_gets_one_close_frame() {
    let (_site, server) = features("[limits]\nmessage_bytes_max = 1000\nfragments_max = 3\n");
    let unmasked = b"\x81\x02hi".to_vec();
    let fragments: Vec<u8> = [
        frame(0x01, b"a"),
        frame(0x00, b"b"),
        frame(0x00, b"c"),
        frame(0x00, b"d"),
    ]
    .concat();
    for (what, bytes, code) in [
        ("an unmasked frame", unmasked, 1002),
        ("a reserved bit", frame(0xc1, b"x"), 1002),
        ("a reserved opcode", frame(0x83, b"x"), 1002),
        ("a fragmented ping", frame(0x09, b"x"), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        (
            "a message in a message",
            [frame(0x01, b"x"), frame(0x81, b"y")].concat(),
            1002,
        ),
        (
            "a length in too many bytes",
            b"\x81\xfe\x00\x01\0\0\0\0x".to_vec(),
            1002,
        ),
        ("a close of one byte", frame(0x88, b"\x03"), 1002),
        (
            "a close with 1005",
            frame(0x88, &1005u16.to_be_bytes()),
            1002,
        ),
        (
            "a close with a bad reason",
            frame(0x88, b"\x03\xe8\xff"),
            1007,
        ),
        ("text that is none", frame(0x81, b"\xff"), 1007),
        (
            "text that is none, begun",
            frame(0x01, b"ok \xc3\x28"),
            1007,
        ),
        ("a large message", frame(0x82, &[0; 1001]), 1009),
        (
            "a large message in parts",
            [frame(0x02, &[0; 600]), frame(0x80, &[0; 600])].concat(),
            1009,
        ),
        ("many fragments", fragments, 1008),
        (
            "a failure of the handler",
            frame(0x81, b"fail on purpose"),
            1011,
        ),
        (
            "the handler's own code",
            frame(0x81, b"close 4321 enough"),
            4321,
        ),
        (
            "the peer's own code",
            frame(0x88, &4000u16.to_be_bytes()),
            4000,
        ),
        ("an empty close", frame(0x88, b""), 1005),
    ] {
        let mut raw = Raw::open(&server, "/features");
        raw.send(&bytes);
        assert_eq!(raw.close_code(), code, "{what}");
    }
    let mut raw = Raw::open(&server, "/features?open=fail");
    assert_eq!(raw.close_code(), 1011, "open fails");
    let mut raw = Raw::open(&server, "/features");
    raw.send(&frame(0x81, b"abort"));
    assert_eq!(raw.close_code(), 1006, "the handler aborts");
}

#[test]
fn a_close_reaches_a_peer_that_has_twenty_megabytes_in_flight() {
    let (_site, server) = features("[limits]\nmessage_bytes_max = 1000\n");
    let mut raw = Raw::open(&server, "/features");
    let mut writer = raw.stream.try_clone().expect("a clone");
    let sender = std::thread::spawn(move || {
        let block = frame(0x82, &[7; 64 * 1024]);
        for _ in 0..320 {
            // The server may have closed by then.
            if writer.write_all(&block).is_err() {
                return;
            }
        }
    });

    assert_eq!(raw.close_code(), 1009);
    sender.join().expect("it ends");
}

#[test]
fn files_are_served_and_nothing_outside_the_document_root_is() {
    let site = Site::with(&["features_wsh"]);
    site.write("www/index.html", "the index");
    site.write("www/a b.txt", "a file");
    site.write("secret.txt", "secret");
    std::fs::copy(
        site.handlers().join("features_wsh.so"),
        site.root().join("www/features_wsh.so"),
    )
    .expect("copying");
    let server = Server::builder(&site)
        .arg("-d")
        .arg(site.root().join("www"))
        .start();
    let get = |path: &str| {
        let mut stream = server.raw();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .expect("sending");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };

    assert!(get("/").contains("the index"));
    assert!(get("/a%20b.txt").contains("a file"));
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/%252e%252e/secret.txt",
        "/..%2fsecret.txt",
        "/..\\secret.txt",
        "//secret.txt",
        "/nothing",
        "/features_wsh.so",
        "/features_wsh%2eso",
    ] {
        let answer = get(path);
        assert!(matches!(status_of(&answer), 400 | 404), "{path}: {answer}");
        assert!(
            !answer.contains("secret\n") && !answer.ends_with("secret"),
            "{path}: {answer}"
        );
    }
}

#[test]
fn what_a_peer_writes_into_a_log_stays_on_its_line() {
    let (_site, server) = features("");
    let path = "/features?x=%0aWARN%20forged";
    let mut client = Client::connect(server.port(), path, &[("User-Agent", "x")]);
    client.send("fail first\nWARN second \u{1b}[31m");
    assert_eq!(client.close_code(), 1011);
    server.line(&["session closed", "path=/features"]);
    assert!(server.find_line(&["\u{1b}"]).is_none());
    assert!(!server.log().lines().any(|line| line.starts_with("WARN")));
}
