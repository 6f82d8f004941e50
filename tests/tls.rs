//! What a server does over TLS, and that it does all else as without.

mod certificates;
mod parts;
mod sessions;
mod unanswered;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use tungstenite::Message;

use crate::harness::certificates::Authority;
use crate::harness::limits::on_one_processor;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::tls::{Tls, TlsClient, TlsSocket};
use crate::harness::{is_long, patience};

/// Starts a server with TLS for `localhost`.
fn serve(plugins: &[&str]) -> (Site, Tls, Server) {
    let site = Site::with(plugins);
    let tls = Tls::new(&site);
    let server = tls.builder(&site).start();
    (site, tls, server)
}

#[test]
fn an_echo_comes_back_over_tls_in_both_versions() {
    let (_site, tls, server) = serve(&["echo_wsh", "features_wsh"]);
    for (version, name) in [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")] {
        let client = tls.client_of(&[version], None);
        let mut echo = client.connect(&server, "/echo");
        for length in [
            0, 1, 125, 126, 16_383, 16_384, 16_385, 40_000, 65_535, 65_536,
        ] {
            let sent = Message::binary(vec![7; length]);
            echo.send(sent.clone());
            assert!(echo.receive() == sent, "{length} bytes over {name}");
        }
        for index in 0..100 {
            echo.write(Message::text(index.to_string()));
        }
        echo.flush();
        for index in 0..100 {
            assert_eq!(echo.text(), index.to_string());
        }
        assert_eq!(echo.close(1000), 1000);

        let features = client.connect(&server, "/features?handshake=tls");
        let seen = format!("true {name} localhost 0");
        assert_eq!(features.response.headers()["x-tls"], seen.as_str());
    }
    server.line(&["listening", "address=tls:127.0.0.1:"]);
    server.line(&["handler answers", "url=wss://localhost:"]);
}

#[test]
fn pages_and_refusals_come_over_tls_and_end_with_the_alert() {
    let site = Site::with(&["features_wsh"]);
    let tls = Tls::new(&site);
    let large = "0123456789abcdef".repeat(50_000);
    site.write("www/large.txt", &large);
    site.write("www/empty.txt", "");
    let www = site.root().join("www");
    let server = tls.builder(&site).arg("-d").arg(www).start();
    let client = tls.client();
    let get = |path: &str, lines: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        client.exchange(&server, request.as_bytes())
    };

    let answer = get("/large.txt", "");
    assert_eq!(status_of(&answer), 200);
    assert!(answer.ends_with(&large));
    let answer = get("/large.txt", "Range: bytes=16380-16389\r\n");
    assert!(answer.ends_with("\r\n\r\ncdef012345"), "{answer}");
    assert_eq!(status_of(&get("/empty.txt", "")), 200);
    assert_eq!(status_of(&get("/none", "")), 404);
    assert_eq!(status_of(&get("/features", "")), 426);
    assert!(get("/.wshd/handlers.json", "").contains("\"features\""));
    let refused = opening("/features?handshake=reject", "");
    assert_eq!(
        status_of(&client.exchange(&server, refused.as_bytes())),
        418
    );
    let slow = opening("/features?handshake=found", "");
    assert_eq!(status_of(&client.exchange(&server, slow.as_bytes())), 401);
    let evil = opening("/features", "Origin: https://evil.example\r\n");
    assert_eq!(status_of(&client.exchange(&server, evil.as_bytes())), 403);
}

#[test]
fn a_peer_that_speaks_the_other_protocol_is_told_at_once_and_named() {
    let (site, tls, server) = serve(&["echo_wsh"]);
    let began = Instant::now();

    let answer = server.exchange(b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(status_of(&answer), 400);
    assert!(
        answer.ends_with("this port speaks TLS; use https:// or wss://\n"),
        "{answer}"
    );
    server.line(&["handshake refused", "status=400", "no TLS on a TLS port"]);

    let plain = Server::start(&site);
    tls.client()
        .try_open(plain.port())
        .expect_err("no TLS is there");
    plain.line(&["handshake refused", "status=400", "TLS on a plain port"]);
    assert!(began.elapsed() < Duration::from_secs(5) * patience());
}

#[test]
fn what_fails_in_the_tls_handshake_is_in_the_log_with_its_reason() {
    let (site, tls, server) = serve(&["echo_wsh"]);
    let stranger = TlsClient::trusting(&Authority::new("another CA"));
    let error = stranger.try_open(server.port());
    let error = error.expect_err("it does not trust the server");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    server.line(&[
        "handshake refused",
        "the client does not trust the server's certificate",
    ]);

    let http2 = tls.client().offering(&["h2"]).try_open(server.port());
    assert!(
        http2
            .expect_err("it wants HTTP/2")
            .to_string()
            .contains("NoApplicationProtocol")
    );
    server.line(&["handshake refused", "TLS: ", "wanted is `http/1.1`"]);
    let both = tls
        .client()
        .offering(&["h2", "http/1.1"])
        .open(server.port());
    assert_eq!(both.conn.alpn_protocol(), Some(&b"http/1.1"[..]));

    // A hello of TLS 1.0, without extensions.
    let mut old = server.raw();
    let hello = [
        &b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x01"[..],
        &[0; 33],
        b"\x00\x04\xc0\x13\xc0\x14\x01\x00",
    ];
    old.write_all(&hello.concat()).expect("a hello");
    let mut alert = [0; 7];
    old.read_exact(&mut alert).expect("an alert");
    assert_eq!(alert[..2], [0x15, 3]);
    server.line(&["handshake refused", "wanted is TLS 1.2 or 1.3"]);

    let mut silent = server.raw();
    silent
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        .expect("half a hello");
    drop(silent);
    assert_eq!(
        tls.client().connect(&server, "/echo").ask("still here"),
        "still here"
    );
    drop(site);
}

#[test]
fn silent_clients_delay_no_handshake() {
    let (_site, tls, server) = serve(&["echo_wsh"]);
    let silent: Vec<TcpStream> = (0..500).map(|_| server.raw()).collect();
    let half: Vec<TcpStream> = (0..200)
        .map(|at| {
            let mut socket = server.raw();
            let start = &b"\x16\x03\x01\x02\x00\x01"[..1 + at % 6];
            socket.write_all(start).expect("the start of a hello");
            socket
        })
        .collect();

    let mut times = Vec::new();
    for _ in 0..if is_long() { 200 } else { 10 } {
        let began = Instant::now();
        let mut echo = tls.client().connect(&server, "/echo");
        times.push(began.elapsed());
        assert_eq!(echo.ask("hello"), "hello");
    }

    // None of them had to go for that.
    for socket in silent.iter().chain(&half) {
        socket.set_nonblocking(true).expect("no waiting");
        let read = socket.peek(&mut [0]).expect_err("nothing has come");
        assert_eq!(read.kind(), ErrorKind::WouldBlock);
    }
    if is_long() {
        times.sort();
        let [half, most, worst] = [50, 99, 100].map(|part| times[times.len() * part / 100 - 1]);
        eprintln!(
            "handshakes beside 700 silent clients: half within {half:?}, 99 % {most:?}, all {worst:?}"
        );
        assert!(half < Duration::from_millis(100) * patience(), "{half:?}");
    }
}

#[test]
fn a_message_is_answered_before_most_of_the_handshakes_that_began_before_it_came() {
    const PEERS: usize = 400;
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    // With one worker all go through the same queue.
    let server = tls.builder(&site).within(on_one_processor()).start();
    let mut echo = tls.client().connect(&server, "/echo");
    let hello = tls.client().hello();

    // Clients that the system lets run late count too many answers, so one time of a few has to show it.
    let is_early = (0..10).any(|_| {
        let mut peers: Vec<TcpStream> = (0..PEERS).map(|_| server.raw()).collect();
        // The others are accepted when this one is.
        drop(tls.client().connect(&server, "/echo"));
        server.signal("STOP");
        let (first, last) = peers.split_at_mut(PEERS * 9 / 10);
        let say_hello = |peer: &mut TcpStream| peer.write_all(&hello).expect("a hello");
        first.iter_mut().for_each(say_hello);
        echo.send("still here?");
        last.iter_mut().for_each(say_hello);
        server.signal("CONT");

        assert_eq!(echo.text(), "still here?");
        let is_answered = |peer: &&TcpStream| {
            peer.set_nonblocking(true).expect("no waiting");
            peer.peek(&mut [0]).is_ok()
        };
        let answered = peers.iter().filter(is_answered).count();
        for peer in &peers {
            peer.set_nonblocking(false).expect("waiting");
            assert_eq!(peer.peek(&mut [0]).expect("an answer"), 1);
        }
        answered < PEERS / 2
    });

    assert!(is_early, "it waits for the handshakes");
}

/// Runs `openssl s_client` with `input`, and returns what it prints.
fn s_client(server: &Server, site: &Site, flags: &[&str], input: &[u8]) -> String {
    let address = format!("localhost:{}", server.port());
    let spawned = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-CAfile"])
        .arg(site.root().join("ca.pem"))
        .args(["-servername", "localhost", "-connect", &address])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = spawned.expect("`openssl` runs; `apt-get install openssl` installs it");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input).expect("sending");
    let mut printed = Vec::new();
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_to_end(&mut printed).expect("its output");
    drop(stdin);
    child.wait().expect("it ends");
    String::from_utf8_lossy(&printed).into_owned()
}

#[test]
fn openssl_talks_to_the_server_in_each_version() {
    let (site, _tls, server) = serve(&["echo_wsh"]);
    let request = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for flags in [
        &["-tls1_2"][..],
        &["-tls1_3"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
        &["-alpn", "http/1.1"],
    ] {
        let answer = s_client(&server, &site, flags, request);
        assert_eq!(status_of(&answer), 426, "{flags:?}: {answer}");
    }
    for flags in [&["-tls1_1"][..], &["-alpn", "h2"]] {
        assert_eq!(s_client(&server, &site, flags, request), "", "{flags:?}");
    }
}

fn read_to_end(mut socket: TlsSocket) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn a_stop_closes_sessions_with_1001_and_says_the_end_of_tls() {
    let (_site, tls, mut server) = serve(&["echo_wsh"]);
    let mut session = tls.client().connect(&server, "/echo");
    let mut raw = tls.client().open(server.port());
    raw.write_all(opening("/echo", "").as_bytes())
        .expect("a handshake");
    let mut head = [0; 12];
    raw.read_exact(&mut head).expect("an answer");

    server.signal("TERM");

    assert_eq!(session.close_code(), 1001);
    let mut close = vec![];
    let mut byte = [0];
    while !close.ends_with(b"\x03\xe9") {
        raw.read_exact(&mut byte).expect("a Close frame");
        close.push(byte[0]);
    }
    raw.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9])
        .expect("the answer");
    // It is an error where the server ends without saying so.
    read_to_end(raw).expect("the alert at the end");
    let status = server.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0));
}
