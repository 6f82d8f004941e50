//! Connections over TLS that end without the answer that a plain one would get.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};

use crate::harness::eventually;
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;
use crate::harness::tls::Tls;

/// Starts a server with TLS and these limits.
fn limited(limits: &str) -> (Site, Tls, Server) {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    let tls = Tls::new(&site);
    site.write("config.toml", &format!("[limits]\n{limits}"));
    let server = tls.builder(&site).start();
    (site, tls, server)
}

#[test]
fn a_client_that_is_over_a_limit_gets_an_alert_and_the_log_says_so() {
    let limits = "connections_max = 8\npending_handshakes_max = 8\n";
    let (_site, tls, server) = limited(limits);
    let client = tls.client();
    let sessions: Vec<_> = (0..8).map(|_| client.connect(&server, "/echo")).collect();

    let error = client.try_open(server.port()).expect_err("it is full");

    let error = error.to_string();
    assert!(error.contains("fatal alert: InternalError"), "{error}");
    server.line(&[
        "handshake refused",
        "ended by a TLS alert: `connections_max`",
    ]);
    drop(sessions);

    let (_site, tls, server) = limited("pending_handshakes_max = 4\n");
    let mut pending = Vec::new();
    // One whose request is not read yet gives way to the next one.
    eventually("all places are those of requests that wait", || {
        match tls.client().try_open(server.port()) {
            Ok(mut socket) => {
                let request = opening("/features?handshake=never", "");
                socket.write_all(request.as_bytes()).expect("a request");
                pending.push(socket);
                false
            }
            Err(error) => error.to_string().contains("fatal alert: InternalError"),
        }
    });
    server.line(&[
        "handshake refused",
        "ended by a TLS alert: `pending_handshakes_max`",
    ]);
    assert_eq!(server.count_lines(&["status=503"]), 0, "{}", server.log());
}

/// The count of handshakes with this outcome.
fn handshakes(tls: &Tls, server: &Server, outcome: &str) -> u64 {
    let request = b"GET /.wshd/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let page = tls.client().exchange(server, request);
    let name = format!("wshd_handshakes_total{{outcome=\"{outcome}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |it| it.parse().expect("a number"))
}

#[test]
fn a_hello_that_is_torn_is_logged_and_counted_and_silence_is_not() {
    let (_site, tls, server) = limited("handshake_timeout_ms = 2_000\n");
    let hello = tls.client().hello();
    let parts = [1, 4, 5, 11, hello.len() - 1].map(|end| &hello[..end]);

    // Over plain sockets silence is not told either.
    let mut waiting: Vec<_> = (0..2).map(|_| server.raw()).collect();
    drop(server.raw());
    for part in parts {
        let mut socket = server.raw();
        socket.write_all(part).expect("a part");
        waiting.push(socket);
    }
    for (at, socket) in waiting.iter_mut().enumerate() {
        let mut said = Vec::new();
        socket.read_to_end(&mut said).expect("the end");
        let is_alert = said.starts_with(b"\x15\x03") && said.len() == 7;
        assert_eq!(
            (is_alert, said.is_empty()),
            (at >= 2, at < 2),
            "{at} {said:x?}"
        );
    }
    for part in parts {
        let mut socket = server.raw();
        socket.write_all(part).expect("a part");
    }

    eventually("each torn hello is counted", || {
        let count = |outcome| handshakes(&tls, &server, outcome);
        (count("too_slow"), count("tls_failed")) == (5, 5)
    });
    server.line(&[
        "handshake refused",
        "ended by a TLS alert: no whole request within `handshake_timeout_ms`",
    ]);
    server.line(&[
        "handshake refused",
        "TLS: the peer has ended the connection before the handshake was complete",
    ]);
    let refused = server.count_lines(&["handshake refused"]);
    assert!(refused <= 10, "{}", server.log());
}

#[test]
fn a_client_that_goes_after_the_hello_of_the_server_is_logged_and_counted() {
    let (_site, tls, server) = limited("handshake_timeout_ms = 2_000\n");
    let mut gone = server.raw();
    gone.write_all(&tls.client().hello()).expect("a hello");
    gone.read_exact(&mut [0; 5])
        .expect("the hello of the server");
    drop(gone);
    let mut still = server.raw();
    still.write_all(&tls.client().hello()).expect("a hello");
    std::io::copy(&mut still, &mut std::io::sink()).expect("the end");

    eventually("both are counted", || {
        let count = |outcome| handshakes(&tls, &server, outcome);
        (count("tls_failed"), count("too_slow")) == (1, 1)
    });
    server.line(&[
        "handshake refused",
        "ended without an answer: no whole request",
    ]);
}

#[test]
fn a_file_that_is_cut_while_it_is_sent_ends_without_the_end_of_tls_and_is_named() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    site.write("www/large.bin", "");
    let file = File::options()
        .write(true)
        .open(site.root().join("www/large.bin"));
    let file = file.expect("it is there");
    let www = site.root().join("www");
    let server = tls.builder(&site).arg("-d").arg(&www).start();
    let plain = Server::builder(&site).arg("-d").arg(&www).start();
    let request = b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = 256 * 1024 * 1024;

    file.set_len(length).expect("a large file");
    let mut socket = tls.client().open(server.port());
    socket.write_all(request).expect("a request");
    socket.read_exact(&mut [0; 1000]).expect("a part");
    file.set_len(1000).expect("a short file");
    let error = std::io::copy(&mut socket, &mut std::io::sink());
    let error = error.expect_err("the end is missing");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");

    file.set_len(length).expect("a large file");
    let mut socket = plain.raw();
    socket.write_all(request).expect("a request");
    socket.read_exact(&mut [0; 1000]).expect("a part");
    file.set_len(1000).expect("a short file");
    let rest = std::io::copy(&mut socket, &mut std::io::sink()).expect("an end");
    assert!(rest < length - 1000, "{rest}");

    for server in [&server, &plain] {
        server.line(&[
            "WARN",
            "a file was sent in part only",
            "path=/large.bin",
            "has become shorter while it was sent",
        ]);
    }
}
