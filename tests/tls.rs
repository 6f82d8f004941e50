//! What a server does over TLS, and that it does all else as without.

mod sessions;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use tungstenite::Message;

use crate::harness::certificates::{Authority, Issued};
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::tls::{Tls, TlsClient, TlsSocket};
use crate::harness::{eventually, is_long, patience};

/// Starts a server with TLS for `localhost`.
fn serve(plugins: &[&str]) -> (Site, Tls, Server) {
    let site = Site::with(plugins);
    let tls = Tls::new(&site);
    let server = tls.builder(&site).start();
    (site, tls, server)
}

/// Returns the common name of the certificate that a client gets.
fn subject(client: &TlsClient, server: &Server) -> Vec<u8> {
    let socket = client.open(server.port());
    let chain = socket.conn.peer_certificates().expect("a certificate");
    chain[0].to_vec()
}

fn is_for(certificate: &[u8], name: &str) -> bool {
    certificate
        .windows(name.len())
        .any(|it| it == name.as_bytes())
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
    server.line(&["handshake refused", "TLS: "]);
    let both = tls
        .client()
        .offering(&["h2", "http/1.1"])
        .open(server.port());
    assert_eq!(both.conn.alpn_protocol(), Some(&b"http/1.1"[..]));

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
    let half: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut socket = server.raw();
            socket
                .write_all(b"\x16\x03\x01\x02\x00\x01")
                .expect("the start of a hello");
            socket
        })
        .collect();

    let mut times = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        let mut echo = tls.client().connect(&server, "/echo");
        times.push(began.elapsed());
        assert_eq!(echo.ask("hello"), "hello");
    }

    // The processor may be busy with other things, so that the best one counts.
    let best = times.iter().min().expect("ten");
    assert!(*best < Duration::from_millis(100) * patience(), "{times:?}");
    drop((silent, half));
}

#[test]
fn a_certificate_that_is_replaced_is_what_new_connections_get_and_no_session_ends() {
    let (_site, tls, server) = serve(&["echo_wsh"]);
    let client = tls.client();
    let count = if is_long() { 1_000 } else { 100 };
    let mut open: Vec<_> = (0..count)
        .map(|_| client.connect(&server, "/echo"))
        .collect();
    let first = subject(&client, &server);

    tls.write(&tls.authority.server(&["localhost", "renewed.example"]));

    eventually("new connections get the new certificate", || {
        subject(&client, &server) != first
    });
    assert!(is_for(&subject(&client, &server), "renewed.example"));
    server.line(&["certificates applied"]);
    for (index, session) in open.iter_mut().enumerate() {
        assert_eq!(session.ask(&index.to_string()), index.to_string());
    }
}

#[test]
fn a_pair_that_does_not_fit_keeps_the_old_one_and_says_so_once() {
    let (site, tls, server) = serve(&["echo_wsh"]);
    let first = subject(&tls.client(), &server);
    let pem = site.root().join("server.pem");
    let other = tls.authority.server(&["localhost"]);

    fs::write(&pem, &other.certificate).expect("writing");
    server.line(&[
        "certificates refused, the old ones keep serving",
        "is not the key of",
    ]);
    assert_eq!(subject(&tls.client(), &server), first);
    fs::write(&pem, "no certificate").expect("writing");
    server.line(&["certificates refused", "has no CERTIFICATE in PEM"]);
    fs::remove_file(&pem).expect("removing");
    server.line(&["certificates refused", "cannot read"]);
    server.signal("HUP");
    eventually("each request of an operator is answered", || {
        server.count_lines(&["certificates refused", "cannot read"]) == 2
    });
    assert_eq!(subject(&tls.client(), &server), first);
    assert_eq!(server.count_lines(&["certificates refused"]), 4);

    tls.write(&other);
    server.line(&["certificates applied"]);
    assert_eq!(subject(&tls.client(), &server), other.der().to_vec());
}

#[test]
fn a_server_whose_certificate_cannot_be_used_does_not_start() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let start = || tls.builder(&site).output();
    let check = || tls.builder(&site).arg("check").output();
    let other = tls.authority.server(&["localhost"]);
    let mut faults = 0;
    for (file, text, said) in [
        (
            "server.key",
            &*other.key,
            "is not the key of the certificate",
        ),
        ("server.key", "no key", "has no PRIVATE KEY in PEM"),
        (
            "server.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
            "is encrypted",
        ),
        ("server.pem", "", "has no CERTIFICATE in PEM"),
        (
            "server.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "cannot use",
        ),
    ] {
        tls.write(&other);
        let own = tls.authority.server(&["localhost"]);
        tls.write(&own);
        site.write(file, text);
        for output in [start(), check()] {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(error.contains(said), "{error}");
            assert_eq!(output.status.code(), Some(78), "{error}");
            faults += 1;
        }
    }
    assert_eq!(faults, 10);

    let nothing = Server::builder(&site).arg("-t").output();
    let error = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(
        error.contains("TLS needs a certificate and its key: `--certificate FILE"),
        "{error}"
    );
    assert_eq!(nothing.status.code(), Some(78));
}

#[test]
fn the_certificate_is_that_of_the_name_which_a_client_asks_for() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    for (name, names) in [
        ("one", &["one.example", "localhost"][..]),
        ("two", &["two.example", "*.two.example"]),
    ] {
        tls.authority.server(names).write(site.root(), name);
    }
    site.write(
        "config.toml",
        "[tls]\nevery_address = true\ncertificates = [{ certificate = \"one.pem\", key = \"one.key\" }, \
         { certificate = \"two.pem\", key = \"two.key\" }]\n",
    );
    let server = Server::builder(&site).start();

    for (asked, expected) in [
        ("one.example", "one.example"),
        ("localhost", "one.example"),
        ("two.example", "two.example"),
        ("TWO.example", "two.example"),
        ("any.two.example", "two.example"),
    ] {
        let client = tls.client().named(asked);
        assert!(is_for(&subject(&client, &server), expected), "{asked}");
    }
    for asked in ["a.b.two.example", "unknown.example"] {
        let error = tls.client().named(asked).try_open(server.port());
        let error = error
            .expect_err("the first certificate is not for this name")
            .to_string();
        assert!(error.contains("not valid for name"), "{error}");
    }
}

#[test]
fn clients_show_certificates_where_the_server_wants_them() {
    let site = Site::with(&["features_wsh"]);
    let tls = Tls::new(&site);
    let known = tls.authority.client("known");
    let unknown = Authority::new("another CA").client("unknown");
    let path = "/features?handshake=tls";
    let opened = |server: &Server, client: TlsClient| {
        // With TLS 1.3 the client has done its part before the server has judged its certificate.
        let request = opening(path, "");
        let mut socket = client.try_open(server.port())?;
        socket.write_all(request.as_bytes())?;
        let mut answer = vec![0; 12];
        socket.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    for (flags, may_have_none) in [
        (&["--tls-client-auth"][..], false),
        (&["--tls-client-auth", "--tls-client-cert-optional"], true),
    ] {
        let builder = tls.builder(&site).args(["--tls-client-ca", "ca.pem"]);
        let server = builder.args(flags).start();
        for version in [&TLS12, &TLS13] {
            let with = |own| tls.client_of(&[version], own);
            let answer = opened(&server, with(Some(&known))).expect("a known client");
            assert_eq!(status_of(&answer), 101);
            let bytes = known.der().len().to_string();
            let session = with(Some(&known)).connect(&server, path);
            let seen = session.response.headers()["x-tls"]
                .to_str()
                .expect("text")
                .to_owned();
            assert!(seen.ends_with(&bytes), "{seen}, {bytes}");
            // An issuer that no root has is refused with or without.
            let error = opened(&server, with(Some(&unknown))).expect_err("an unknown CA");
            assert!(
                error.to_string().contains("received fatal alert"),
                "{error}"
            );
            let without = opened(&server, with(None));
            match may_have_none {
                true => assert_eq!(status_of(&without.expect("none is wanted")), 101),
                false => {
                    let error = without.expect_err("one is wanted").to_string();
                    assert!(error.contains("received fatal alert"), "{error}");
                    server.line(&["handshake refused", "`client_auth` requires one"]);
                }
            }
        }
        server.line(&["handshake refused", "UnknownIssuer"]);
    }
}

#[test]
fn what_is_said_of_tls_applies_to_the_next_connection() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    let other = Authority::new("another CA");
    site.write("other.pem", other.pem());
    let renewed = tls.authority.server(&["localhost"]);
    renewed.write(site.root(), "renewed");
    let configure = |pair: &str, rest: &str| {
        let pair = format!("{{ certificate = \"{pair}.pem\", key = \"{pair}.key\" }}");
        site.write(
            "config.toml",
            &format!("[tls]\nevery_address = true\ncertificates = [{pair}]\n{rest}"),
        );
    };
    configure("server", "");
    let server = Server::builder(&site).start();
    let stays = &mut tls.client().connect(&server, "/echo");
    let applied = |times: usize| {
        server.signal("HUP");
        eventually("it is applied", || {
            server.count_lines(&["certificates applied"]) >= times
        });
    };
    let lets_in = |own: Option<&Issued>| {
        let client = tls.client_of(&[&TLS12], own);
        client.try_open(server.port()).is_ok()
    };

    configure("renewed", "");
    applied(1);
    assert_eq!(subject(&tls.client(), &server), renewed.der().to_vec());
    assert!(lets_in(None));
    let known = tls.authority.client("known");
    for (rest, expected) in [
        (
            "client_auth = \"required\"\nclient_ca = \"ca.pem\"",
            [false, true],
        ),
        (
            "client_auth = \"optional\"\nclient_ca = \"ca.pem\"",
            [true, true],
        ),
        (
            "client_auth = \"required\"\nclient_ca = \"other.pem\"",
            [false, false],
        ),
        ("client_auth = \"none\"", [true, true]),
    ] {
        let times = server.count_lines(&["certificates applied"]);
        configure("renewed", rest);
        applied(times + 1);
        assert_eq!([lets_in(None), lets_in(Some(&known))], expected, "{rest}");
        assert_eq!(stays.ask("still"), "still");
    }
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
