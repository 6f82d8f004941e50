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
