//! Requests before a handler is asked: what is a request, and why it is refused.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

fn server(config: &str) -> (Site, Server) {
    let site = Site::with(&["features_wsh"]);
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

#[test]
fn each_refused_handshake_has_a_line_with_peer_path_status_and_reason() {
    let config = "[limits]\nhandshake_timeout_ms = 300\nheader_bytes_max = 1000\n";
    let (_site, server) = server(config);
    let long = format!("X: {}\r\n", "x".repeat(2_000));
    let old = opening("/features", "").replace("Version: 13", "Version: 8");
    for (request, parts) in [
        (
            opening("/nobody", ""),
            ["path=/nobody", "status=404", "nothing answers"],
        ),
        (old, ["path=/features", "status=426", "version 13"]),
        (
            opening("/features?handshake=reject", ""),
            ["path=/features", "status=418", "the handler refuses"],
        ),
        (
            opening("/features?handshake=never", ""),
            ["path=/features", "status=503", "`handshake_timeout_ms`"],
        ),
        (
            opening("/features", "Origin: null\r\n"),
            ["path=/features", "status=403", "`origins`"],
        ),
        (
            opening("/features", &long),
            ["", "status=431", "`header_bytes_max`"],
        ),
        (
            "GET / HTTP/1.1\r\n".into(),
            ["", "status=408", "`handshake_timeout_ms`"],
        ),
        (
            "hello\r\n\r\n".into(),
            ["", "status=400", "begin no request"],
        ),
    ] {
        let status = status_of(&server.exchange(request.as_bytes()));
        assert!(
            parts[1].ends_with(&status.to_string()),
            "{parts:?}: {status}"
        );
        let line = server.line(&[&["handshake refused", "peer=127.0.0.1:"], &parts[..]].concat());
        assert!(line.contains(" INFO "), "{line}");
    }
    let abort = opening("/features?handshake=abort", "");
    assert_eq!(server.exchange(abort.as_bytes()), "");
    let line = server.line(&["handshake refused", "path=/features", "the handler aborts"]);
    assert!(!line.contains("status="), "{line}");
    assert_eq!(server.handshake_status("/features"), 101);
    assert_eq!(server.count_lines(&["handshake refused"]), 9);
}

#[test]
fn a_flood_of_refused_handshakes_is_some_lines_and_a_count() {
    let (_site, server) = server("");
    for _ in 0..200 {
        assert_eq!(server.handshake_status("/nobody"), 404);
    }

    server.line(&["more handshakes refused", "refused="]);
    let lines = server.count_lines(&["handshake refused"]);
    let counts = server.lines(&["more handshakes refused"]);
    let count = |line: &String| -> usize {
        let count = line.split("refused=").nth(1).expect("a count");
        count.trim().parse().expect("a number")
    };
    crate::harness::eventually("each is logged or counted", || {
        let counts = server.lines(&["more handshakes refused"]);
        let lines = server.count_lines(&["handshake refused"]);
        lines + counts.iter().map(count).sum::<usize>() == 200
    });
    assert!((20..=100).contains(&lines), "{lines} lines, {counts:?}");
}

#[test]
fn bytes_that_begin_no_request_are_answered_at_once_and_named() {
    let (_site, server) = server("");
    let hello = b"\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03";
    let began = Instant::now();
    for (bytes, status, named) in [
        (&hello[..], 400, "TLS on a plain port"),
        (
            b"GET / HTTP/1.1\nHost: localhost\n\n",
            400,
            "a line that ends with LF",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\n\n",
            400,
            "a line that ends with LF",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\nA: 1\r\n\r\n",
            400,
            "a line that ends with LF",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 400, "SSH"),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            400,
            "the PROXY protocol",
        ),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
            400,
            "the PROXY protocol",
        ),
        (b"GET /\r\n", 400, "without a version"),
        (b"GET / HTTP/3\r\n", 505, "another version"),
        (b"\0", 400, "bytes that begin no request"),
        (
            b"GET /features HTTP/1.1\r\nHost: \0",
            400,
            "a control character",
        ),
        (b"{\"type\": \"hello\"}", 400, "bytes that begin no request"),
        (&[b'A'; 40], 501, "a method of more than"),
    ] {
        let shown = bytes.escape_ascii();
        let lines = server.count_lines(&["handshake refused", named]);
        let answer = server.exchange(bytes);
        assert_eq!(status_of(&answer), status, "{shown}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        crate::harness::eventually(&format!("{named} is named: {shown}"), || {
            server.count_lines(&["handshake refused", named]) == lines + 1
        });
    }
    // The answers came before any deadline. The one of a request's head is 10 s.
    assert!(began.elapsed() < Duration::from_secs(5));
    // One empty line before a request is skipped.
    let request = format!("\r\n{}", opening("/features", ""));
    assert_eq!(status_of(&server.exchange(request.as_bytes())), 101);
}

#[test]
fn a_wrong_byte_is_found_when_it_comes_and_a_right_one_is_waited_for() {
    let (_site, server) = server("");
    let request = opening("/features", "");
    for (bytes, status) in [(request.replace("\r\n", "\n"), 400), (request, 101)] {
        let mut stream = server.raw();
        for byte in bytes.as_bytes() {
            // The server has closed once a byte was wrong.
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, *format!("HTTP/1.1 {status}").as_bytes());
    }
}

#[test]
fn the_head_of_an_answer_is_asked_for_without_its_body_and_what_is_only_read_takes_no_other_method()
{
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let ask = |method: &str, path: &str, host: &str| {
        server.exchange(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
    };

    for (path, host, status) in [
        ("/echo", "localhost", 426),
        ("/nothing", "localhost", 404),
        ("/echo", "elsewhere.example", 421),
        ("/.wshd/handlers.json", "localhost", 200),
        ("/.wshd/engine.json", "localhost", 200),
    ] {
        let (head, whole) = (ask("HEAD", path, host), ask("GET", path, host));
        assert_eq!((status_of(&head), status_of(&whole)), (status, status));
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        let (head_of_whole, body) = whole.split_once("\r\n\r\n").expect("a head and a body");
        assert!(!body.is_empty(), "{whole}");
        assert_eq!(head.trim_end(), head_of_whole, "RFC 9110 \u{a7}9.3.2");
    }
    let upgrade = opening("/echo", "").replacen("GET", "HEAD", 1);
    let refused = server.exchange(upgrade.as_bytes());
    assert_eq!(status_of(&refused), 400, "an opening handshake is a GET");
    assert!(refused.ends_with("\r\n\r\n"), "{refused}");
    for (method, status) in [
        ("POST", 405),
        ("PUT", 405),
        ("DELETE", 405),
        ("OPTIONS", 200),
    ] {
        let answer = ask(method, "/.wshd/handlers.json", "localhost");
        assert_eq!(status_of(&answer), status, "{method}: {answer}");
        let allowed = "\r\nAllow: GET, HEAD, OPTIONS\r\n";
        assert!(answer.contains(allowed), "{answer}");
    }
}

#[test]
fn a_handlers_path_shows_the_page_that_lies_there_where_no_upgrade_is_asked_for() {
    let site = Site::with(&["features_wsh", "echo_wsh"]);
    site.write("www/index.html", "the index");
    site.write("www/features", "beside the handler");
    site.write("www/other.txt", "another file");
    site.write("config.toml", "[routes]\n\"/\" = \"/echo\"\n");
    let www = site.root().join("www");
    let server = Server::builder(&site).arg("-d").arg(www).start();
    let ask = |method: &str, path: &str| {
        server.exchange(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    };

    // A page lies at the path of a handler.
    assert!(ask("GET", "/").ends_with("the index"));
    assert!(ask("GET", "/features").ends_with("beside the handler"));
    let head = ask("HEAD", "/features");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert_eq!(server.handshake_status("/"), 101);
    assert_eq!(server.handshake_status("/features"), 101);
    assert_eq!(server.find_line(&["handshake refused"]), None);
    // No page lies there.
    let answer = ask("GET", "/echo");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    for line in ["upgrade: websocket", "connection: close, upgrade"] {
        assert!(answer.to_lowercase().contains(line), "{answer}");
    }
    assert_eq!(status_of(&ask("POST", "/echo")), 426);
    server.line(&["handshake refused", "path=/echo", "status=426"]);

    // An upgrade that is not taken ends the connection, so what follows is no request.
    let mut request = opening("/other.txt", "");
    request += &opening("/echo", "");
    let answer = server.exchange(request.as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("another file"),
        "{answer}"
    );
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(server.handshake_status("/nowhere"), 404);
    server.line(&["handshake refused", "path=/nowhere", "status=404"]);
    assert_eq!(status_of(&ask("GET", "/nothing")), 404);
    assert_eq!(server.find_line(&["path=/nothing"]), None);
}

#[test]
fn a_path_that_nearly_leads_to_a_handler_is_told_with_the_one_that_does() {
    let site = Site::with(&["features_wsh"]);
    site.add("echo_wsh", "rooms/tea_wsh.so");
    site.write(
        "config.toml",
        "[routes]\n\"/chat\" = \"/features\"\n\"/wide/{*path}\" = \"/features\"\n",
    );
    let server = Server::start(&site);
    for (path, meant) in [
        ("/features/", "/features"),
        ("//features", "/features"),
        ("//features//", "/features"),
        ("/Features", "/features"),
        ("/features_wsh", "/features"),
        ("/features_wsh.so", "/features"),
        ("/fetures", "/features"),
        ("/chat/", "/chat"),
        ("/rooms//tea", "/rooms/tea"),
        ("//wide/a", "/wide/a"),
    ] {
        assert_eq!(server.handshake_status(path), 404, "{path}");
        server.line(&[
            "handshake refused",
            &format!("path={path} "),
            &format!("reason=\"nothing answers at this path; did you mean `{meant}`?\""),
        ]);
    }
    assert_eq!(server.handshake_status("/entirely/other"), 404);
    server.line(&[
        "path=/entirely/other ",
        "reason=\"nothing answers at this path\"",
    ]);
    assert_eq!(server.handshake_status("/wide/..%2f..%2fetc/passwd"), 101);
}

#[test]
fn a_browser_takes_no_error_and_no_document_of_the_server_for_another_kind() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        ("no request\r\n\r\n", 400),
        (
            "GET /.wshd/handlers.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
            200,
        ),
        (
            "GET /.wshd/engine.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
            200,
        ),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    ] {
        let answer = server.exchange(request.as_bytes());
        assert_eq!(status_of(&answer), status, "{answer}");
        let line = "\r\nX-Content-Type-Options: nosniff\r\n";
        assert_eq!(answer.matches(line).count(), 1, "{answer}");
    }
}
