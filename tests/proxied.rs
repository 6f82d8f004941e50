//! Which client a request is of, where it comes through a proxy that is trusted, and where a peer only says so.

use std::io::{Read, Write};

use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

/// A server with these lines in its configuration, which serves files of `www` and lets in the user `ann`.
fn start(lines: &str) -> (Site, Server) {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    site.write(
        "config.toml",
        &format!("handlers_dir = \"handlers\"\n{lines}\n"),
    );
    let server = Server::bare(&site).args(["-p", "0"]).start();
    (site, server)
}

/// What a handler is told of the client and of the far end of the connection, for a request with these lines.
#[track_caller]
fn told(server: &Server, lines: &str) -> (String, String) {
    let answer = server.exchange(opening("/features?handshake=client", lines).as_bytes());
    let value = |name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    (value("X-Client: "), value("X-Far-End: "))
}

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
}

#[test]
fn the_client_of_a_trusted_proxy_is_the_peer_everywhere() {
    let (_site, server) = start(
        "trusted_proxies = [\"loopback\"]\nbasic_auth_credential = \"ann:coffee\"\n[auth]\n\"/echo\" = \"open\"\n\
         \"/features\" = \"open\"\n\"/.wshd/*\" = \"open\"",
    );
    let forwarded = |client: &str| format!("X-Forwarded-For: {client}\r\n");

    let (client, far_end) = told(&server, &forwarded("127.0.0.1, 192.0.2.7:4711"));
    assert_eq!(
        (client.as_str(), far_end.as_str()),
        ("192.0.2.7:4711", "127.0.0.1")
    );
    server.line(&["session closed", "peer=192.0.2.7:4711", "features"]);

    server.exchange(get("/echo", &forwarded("2001:db8::1")).as_bytes());
    server.line(&["handshake refused", "peer=[2001:db8::1]:0", "/echo"]);

    // Wrong passwords of one client use up the tries of that client, and not those of another one.
    let guess = |client: &str| {
        let wrong = "Authorization: Basic YW5uOnRlYQ==\r\n";
        let request = get("/", &format!("{}{wrong}", forwarded(client)));
        status_of(&server.exchange(request.as_bytes()))
    };
    let guesses: Vec<u16> = (0..40).map(|_| guess("198.51.100.1")).collect();
    assert!(
        guesses.contains(&401) && guesses.contains(&429),
        "{guesses:?}"
    );
    assert_eq!(guess("198.51.100.2"), 401);
}

#[test]
fn what_any_other_peer_says_of_its_address_is_only_a_header() {
    let (_site, server) = start("trusted_proxies = [\"192.0.2.0/24\", \"unix\"]");
    for lines in [
        "X-Forwarded-For: 192.0.2.7\r\n",
        "X-Forwarded-For: 203.0.113.1, 192.0.2.7\r\nX-Real-IP: 203.0.113.1\r\n",
        "Forwarded: for=203.0.113.1\r\n",
        "X-Forwarded-For: nonsense\r\n",
    ] {
        let (client, far_end) = told(&server, lines);
        assert!(client.starts_with("127.0.0.1:"), "{lines}: {client}");
        assert_eq!(far_end, "127.0.0.1");
    }
    assert_eq!(server.count_lines(&["trusted proxy"]), 0);
}

#[test]
fn a_request_through_a_proxy_is_never_one_from_this_machine() {
    let (_site, server) = start("trusted_proxies = [\"loopback\"]");
    let listing = |lines: &str| {
        let answer = server.exchange(get("/.wshd/engine.json", lines).as_bytes());
        answer.contains("in_use")
    };
    assert!(listing(""));
    for lines in [
        "X-Forwarded-For: 192.0.2.7\r\n",
        // The proxy's own machine need not be this one.
        "X-Forwarded-For: 127.0.0.1\r\n",
        "X-Forwarded-For: ::1\r\n",
        "X-Forwarded-For: unknown\r\n",
        "X-Forwarded-For: nonsense\r\n",
    ] {
        assert!(!listing(lines), "{lines}");
    }
}

#[test]
fn a_proxy_on_a_unix_socket_is_trusted_where_unix_is_listed() {
    let site = Site::with(&["features_wsh"]);
    for (trusted, expected) in [("[\"unix\"]", "192.0.2.7:0"), ("[\"loopback\"]", "unix:")] {
        site.write(
            "config.toml",
            &format!("listen = [\"unix:w.sock\"]\nhandlers_dir = \"handlers\"\ntrusted_proxies = {trusted}\n"),
        );
        let server = Server::bare(&site).spawn();
        eventually("it listens", || server.count_lines(&["listening"]) > 0);
        let request = opening(
            "/features?handshake=client",
            "X-Forwarded-For: 192.0.2.7\r\n",
        );
        let stream = Server::raw_unix(&site.root().join("w.sock"));
        let answer = Server::exchange_over(stream, request.as_bytes());
        assert!(
            answer.contains(&format!("X-Client: {expected}")),
            "{answer}"
        );
    }
}

#[test]
fn a_client_that_the_proxy_does_not_name_is_told_once_and_is_not_the_proxy() {
    let (_site, server) = start("trusted_proxies = [\"loopback\"]");
    for _ in 0..50 {
        let (client, far_end) = told(&server, "X-Forwarded-For: 192.0.2.7, unix:\r\n");
        assert_eq!(
            (client.as_str(), far_end.as_str()),
            ("unknown", "127.0.0.1")
        );
    }
    // The line of a session says through which proxy it came.
    server.line(&["session closed", "peer=unknown@127.0.0.1:", "features"]);
    let warning = server.line(&["a trusted proxy says no address of its client"]);
    assert!(
        warning.contains("header=\"x-forwarded-for\"") && warning.contains("found=unix:"),
        "{warning}"
    );
    // Such lines come from clients' requests, so there is one a second, and their number.
    assert!(server.count_lines(&["a trusted proxy says no address"]) <= 5);

    // A hidden client is no fault.
    let before = server.count_lines(&["a trusted proxy says no address"]);
    let (client, _) = told(&server, "X-Forwarded-For: _hidden\r\n");
    assert_eq!(client, "unknown");
    assert_eq!(server.count_lines(&["found=_hidden"]), 0);
    assert!(before >= 1);
}

#[test]
fn a_client_is_read_from_every_form_that_says_an_address() {
    for (key, name, cases) in [
        (
            "x-forwarded-for",
            "X-Forwarded-For",
            &[
                ("10.9.1.1:4711", "10.9.1.1:4711"),
                ("\"10.9.1.1\"", "10.9.1.1:0"),
                ("::ffff:10.9.1.1", "10.9.1.1:0"),
                ("fe80::1%eth0", "[fe80::1]:0"),
            ][..],
        ),
        (
            "forwarded",
            "Forwarded",
            &[
                ("for=\"10.9.1.1\"", "10.9.1.1:0"),
                ("for=\"[2001:db8::1]:4711\"", "[2001:db8::1]:4711"),
                ("for=\"[fe80::1%25eth0]:4711\"", "[fe80::1]:4711"),
            ],
        ),
    ] {
        let lines = format!("trusted_proxies = [\"loopback\"]\nforwarded_header = \"{key}\"");
        let (_site, server) = start(&lines);
        for (said, expected) in cases {
            let (client, _) = told(&server, &format!("{name}: {said}\r\n"));
            assert_eq!(client, *expected, "{said}");
        }
    }
}

#[test]
fn clients_that_a_proxy_does_not_name_share_the_limits_of_its_address() {
    let (_site, server) =
        start("trusted_proxies = [\"loopback\"]\n[limits]\nconnections_per_address_max = 2");
    let open = |lines: &str| {
        let mut stream = server.raw();
        let request = opening("/echo", lines);
        stream.write_all(request.as_bytes()).expect("sending");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        (String::from_utf8_lossy(&status[9..]).into_owned(), stream)
    };
    let first = open("X-Forwarded-For: unknown\r\n");
    let second = open("X-Forwarded-For: _b\r\n");
    assert_eq!((first.0.as_str(), second.0.as_str()), ("101", "101"));
    assert_eq!(open("X-Forwarded-For: junk\r\n").0, "503");
    server.line(&["handshake refused", "peer=unknown@127.0.0.1:", "status=503"]);
    // Neither named clients nor the proxy itself are kept out by them.
    assert_eq!(open("X-Forwarded-For: 192.0.2.1\r\n").0, "101");
    assert_eq!(open("").0, "101");
    drop(first);
    eventually("one of them is let in again", || {
        open("X-Forwarded-For: unknown\r\n").0 == "101"
    });
}

#[test]
fn the_scheme_that_a_trusted_proxy_says_is_that_of_the_pages_of_this_host() {
    let (_site, trusting) = start("trusted_proxies = [\"loopback\"]\nhosts = [\"example.com\"]");
    let (_other_site, other) = start("hosts = [\"example.com\"]");
    let status = |server: &Server, origin: &str, lines: &str| {
        let lines = format!("Origin: {origin}\r\n{lines}");
        let request = opening("/features", &lines).replace("Host: localhost", "Host: example.com");
        status_of(&server.exchange(request.as_bytes()))
    };
    let https = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(status(&trusting, "https://example.com", https), 101);
    assert_eq!(status(&trusting, "http://example.com", https), 403);
    assert_eq!(status(&trusting, "http://evil.example", https), 403);
    // Of other peers it says nothing: a proxy that is not trusted may have ended TLS.
    assert_eq!(status(&other, "http://example.com", https), 101);
}

#[test]
fn what_is_sent_behind_a_request_is_no_request_of_another_client() {
    let (_site, server) = start("trusted_proxies = [\"loopback\"]");
    let smuggled = opening(
        "/features?handshake=client",
        "X-Forwarded-For: 127.0.0.1\r\n",
    );
    for lines in [
        format!("Content-Length: {}\r\n", smuggled.len()),
        "Transfer-Encoding: chunked\r\n".to_owned(),
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Content-Length: 0\r\nContent-Length: 5\r\n".to_owned(),
        String::new(),
    ] {
        let first = get("/", &format!("X-Forwarded-For: 192.0.2.7\r\n{lines}"));
        let answer = server.exchange(format!("{first}{smuggled}").as_bytes());
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{lines}: {answer}");
        assert!(answer.contains("\r\nConnection: close"), "{answer}");
        assert!(!answer.contains("X-Client"), "{answer}");
    }
}

#[test]
fn each_client_of_a_trusted_proxy_has_the_connections_of_an_address_and_the_proxy_has_all() {
    let (_site, server) =
        start("trusted_proxies = [\"loopback\"]\n[limits]\nconnections_per_address_max = 3");
    let open = |client: &str| {
        let request = opening("/echo", &format!("X-Forwarded-For: {client}\r\n"));
        let mut stream = server.raw();
        stream.write_all(request.as_bytes()).expect("sending");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        (String::from_utf8_lossy(&status[9..]).into_owned(), stream)
    };

    let first: Vec<_> = (0..3).map(|_| open("192.0.2.1")).collect();
    let second: Vec<_> = (0..3).map(|_| open("192.0.2.2")).collect();
    assert!(
        first
            .iter()
            .chain(&second)
            .all(|(status, _)| status == "101")
    );
    for client in ["192.0.2.1", "192.0.2.2", "203.0.113.9, 192.0.2.2"] {
        assert_eq!(open(client).0, "503", "{client}");
    }
    server.line(&["handshake refused", "peer=192.0.2.1:0", "status=503"]);
    // What the proxy itself asks for is not counted.
    let answer = server.exchange(opening("/echo", "").as_bytes());
    assert_eq!(status_of(&answer), 101, "{answer}");
    drop(first);
    eventually("the client is let in again", || {
        open("192.0.2.1").0 == "101"
    });
}
