//! Which addresses may connect, by the lists of the configuration, and which clients of proxies.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use crate::harness::client::{Client, Steady};
use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;
use crate::harness::tls::Tls;

fn start(lines: &str) -> (Site, Server) {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    site.write("www/staff/page.txt", "a page");
    site.write("www/open.txt", "a page");
    let top = "handlers_dir = \"handlers\"\ndocument_root = \"www\"";
    site.write("config.toml", &format!("{top}\n{lines}\n"));
    let server = Server::bare(&site).args(["-p", "0"]).start();
    (site, server)
}

fn status(server: &Server, path: &str, lines: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
    status_of(&server.exchange(request.as_bytes()))
}

fn status_of_client(server: &Server, path: &str, client: &str) -> u16 {
    let lines = format!("X-Forwarded-For: {client}\r\n");
    status_of(&server.exchange(opening(path, &lines).as_bytes()))
}

/// Waits for the end of a connection, and returns what came before it.
fn rest_of(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    rest
}

#[test]
fn an_address_that_may_not_connect_is_closed_without_an_answer() {
    for lines in [
        "deny = [\"loopback\"]",
        "allow = [\"192.0.2.0/24\", \"::1\"]",
        "allow = []",
    ] {
        let (_site, server) = start(lines);
        assert_eq!(rest_of(server.raw()), b"", "{lines}");
        let line = server.line(&[
            "handshake refused",
            "peer=127.0.0.1:",
            "closed without an answer",
        ]);
        assert!(
            line.contains("`deny` has") || line.contains("`allow` does not have"),
            "{line}"
        );
    }
    let (_site, server) = start("allow = [\"127.0.0.1\"]\ndeny = [\"192.0.2.0/24\"]");
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
}

#[test]
fn with_tls_no_alert_is_sent_either() {
    let site = Site::with(&["echo_wsh"]);
    let tls = Tls::new(&site);
    site.write(
        "config.toml",
        "handlers_dir = \"handlers\"\ndeny = [\"loopback\"]\n",
    );
    let config = site.root().join("config.toml");
    let server = tls.builder(&site).arg("--config").arg(config).start();
    assert_eq!(rest_of(server.raw()), b"");
}

#[test]
fn a_client_behind_a_trusted_proxy_is_judged_by_its_own_address() {
    let (_site, server) = start(
        "trusted_proxies = [\"loopback\"]\nallow = [\"192.0.2.0/24\", \"loopback\"]\ndeny = [\"192.0.2.66\"]",
    );
    for (client, expected) in [
        ("192.0.2.1", 101),
        ("::ffff:192.0.2.1", 101),
        ("192.0.2.66", 403),
        ("192.0.2.1, 192.0.2.66", 403),
        ("203.0.113.1", 403),
        ("127.0.0.1, 203.0.113.1", 403),
        // Whose connection it is, is not known, so the proxy's own address does not let it in.
        ("unknown", 403),
        ("_hidden", 403),
        ("unix:", 403),
        ("nonsense", 403),
        ("", 403),
        (",", 403),
        ("192.0.2.1, unknown", 403),
        ("unknown, 127.0.0.1", 403),
    ] {
        assert_eq!(
            status_of_client(&server, "/echo", client),
            expected,
            "{client}"
        );
    }
    assert_eq!(
        status_of(&server.exchange(opening("/echo", "").as_bytes())),
        101
    );
    server.line(&[
        "handshake refused",
        "peer=192.0.2.66:0",
        "status=403",
        "`deny` has the address",
    ]);
    server.line(&[
        "handshake refused",
        "peer=203.0.113.1:0",
        "`allow` does not have the address",
    ]);
    server.line(&[
        "handshake refused",
        "peer=unknown@127.0.0.1:",
        "`allow` lets in no client whose address its proxy does not say",
    ]);
}

#[test]
fn a_client_of_which_the_proxy_says_nothing_in_the_right_header_is_in_no_allow() {
    for (header, lines, expected) in [
        ("x-forwarded-for", "", 101),
        ("x-forwarded-for", "Forwarded: for=127.0.0.1\r\n", 403),
        ("x-forwarded-for", "X-Real-IP: 127.0.0.1\r\n", 403),
        ("x-forwarded-for", "Via: 1.1 proxy\r\n", 403),
        ("forwarded", "", 101),
        ("forwarded", "X-Forwarded-For: 127.0.0.1\r\n", 403),
        ("forwarded", "Forwarded:\r\n", 403),
        ("forwarded", "Forwarded: proto=https\r\n", 403),
        ("forwarded", "Forwarded: for=unknown\r\n", 403),
        ("forwarded", "Forwarded: for=\"127.0.0.1\"\r\n", 101),
    ] {
        let (_site, server) = start(&format!(
            "trusted_proxies = [\"loopback\"]\nallow = [\"loopback\"]\nforwarded_header = \"{header}\""
        ));
        let answer = server.exchange(opening("/echo", lines).as_bytes());
        assert_eq!(status_of(&answer), expected, "{header}: {lines}");
    }
}

#[test]
fn the_address_of_its_proxy_keeps_a_client_out_that_the_proxy_does_not_name() {
    let (_site, server) = start("trusted_proxies = [\"loopback\"]\ndeny = [\"loopback\"]");
    for (client, expected) in [("unknown", 403), ("192.0.2.1", 101)] {
        let found = status_of_client(&server, "/echo", client);
        assert_eq!(found, expected, "{client}");
    }
}

#[test]
fn a_handler_and_a_path_keep_more_addresses_out() {
    let (_site, server) = start(
        "trusted_proxies = [\"loopback\"]\n[routes]\n\"/rooms/{room}\" = \"/echo\"\n\
         [handler.echo]\nallow = [\"192.0.2.0/24\"]\n\
         [handler.later]\ndeny = [\"192.0.2.1\"]\n\
         [paths.\"/staff/*\"]\nallow = [\"192.0.2.1\"]\n\
         [paths.\"/features\"]\ndeny = [\"192.0.2.2\"]",
    );
    for (path, client, expected) in [
        ("/echo", "192.0.2.1", 101),
        ("/echo", "203.0.113.1", 403),
        // No alias leads around it.
        ("/rooms/a", "192.0.2.1", 101),
        ("/rooms/a", "203.0.113.1", 403),
        ("/features", "192.0.2.1", 101),
        ("/features", "192.0.2.2", 403),
        ("/features/", "192.0.2.2", 403),
        ("//features", "192.0.2.2", 403),
        ("/%66eatures", "192.0.2.2", 403),
        // The handler is not there yet, and its rule is.
        ("/later", "192.0.2.1", 403),
        ("/later", "192.0.2.2", 404),
    ] {
        assert_eq!(
            status_of_client(&server, path, client),
            expected,
            "{path} {client}"
        );
    }
    for (path, client, expected) in [
        ("/staff/page.txt", "192.0.2.1", 200),
        ("/staff/page.txt", "192.0.2.2", 403),
        ("/staff//page.txt", "192.0.2.2", 403),
        ("/%73taff/page.txt", "192.0.2.2", 403),
        ("/staff", "192.0.2.2", 403),
        // What is not there is not told apart.
        ("/staff/nothing", "192.0.2.2", 403),
        ("/open.txt", "192.0.2.2", 200),
        ("/echo", "203.0.113.1", 403),
    ] {
        let lines = format!("X-Forwarded-For: {client}\r\n");
        assert_eq!(status(&server, path, &lines), expected, "{path} {client}");
    }
    server.line(&[
        "handshake refused",
        "`allow` of `[handler.echo]` does not have the address",
    ]);
    server.line(&[
        "handshake refused",
        "`allow` of `[paths.\"/staff/*\"]` does not have the address",
    ]);
}

#[test]
fn a_refused_address_tries_no_password() {
    let (_site, server) = start(
        "trusted_proxies = [\"loopback\"]\ndeny = [\"203.0.113.1\"]\nbasic_auth_credential = \"ann:coffee\"",
    );
    let right = "Authorization: Basic YW5uOmNvZmZlZQ==\r\n";
    let lines = format!("X-Forwarded-For: 203.0.113.1\r\n{right}");
    assert_eq!(status(&server, "/open.txt", &lines), 403);
    assert_eq!(status(&server, "/open.txt", right), 200);
}

#[test]
fn open_sessions_stay_when_their_address_is_denied_and_no_new_one_comes() {
    let (site, server) = start("");
    let mut session = server.connect("/echo");
    site.write(
        "config.toml",
        "handlers_dir = \"handlers\"\ndeny = [\"loopback\"]\n",
    );
    server.line(&["configuration applied"]);
    eventually("no new one comes", || rest_of(server.raw()).is_empty());
    assert_eq!(session.ask("still there"), "still there");
}

// --- The PROXY protocol ---

/// A server with an address for proxies, and the port of that.
fn start_for_proxies(kind: &str, lines: &str) -> (Site, Server) {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    let top = format!("listen = [\"proxy:{kind}127.0.0.1:0\"]\nhandlers_dir = \"handlers\"");
    site.write("config.toml", &format!("{top}\n{lines}\n"));
    let server = Server::bare(&site).start();
    (site, server)
}

/// A header of version 2 with this command, family, and what follows.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("16 bits").to_be_bytes();
    let fixed = [0x20 | command, family];
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &fixed, &length, body].concat()
}

/// A header of version 2 for a client at 192.0.2.7:4711.
fn of_client() -> Vec<u8> {
    binary(1, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 187])
}

fn exchange(server: &Server, parts: &[&[u8]]) -> String {
    server.exchange(&parts.concat())
}

#[test]
fn the_client_of_a_proxy_header_is_the_peer() {
    let (_site, server) = start_for_proxies("", "trusted_proxies = [\"loopback\"]");
    let request = opening("/features?handshake=client", "");
    let v6 = [
        &[0x20, 0x01, 0x0d, 0xb8][..],
        &[0; 11],
        &[1],
        &[0; 16],
        &[0x12, 0x67, 0, 1],
    ]
    .concat();
    for (header, client) in [
        (
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n".to_vec(),
            "192.0.2.7:4711",
        ),
        (
            b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n".to_vec(),
            "[2001:db8::1]:4711",
        ),
        (of_client(), "192.0.2.7:4711"),
        (binary(1, 0x21, &v6), "[2001:db8::1]:4711"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "unknown\r\n"),
        (binary(1, 0x00, b""), "unknown\r\n"),
        (binary(1, 0x31, &[0; 216]), "unknown\r\n"),
        (binary(0, 0x00, b""), "127.0.0.1:"),
    ] {
        let answer = exchange(&server, &[&header, request.as_bytes()]);
        assert!(answer.contains(&format!("X-Client: {client}")), "{answer}");
        assert!(answer.contains("X-Far-End: 127.0.0.1\r\n"), "{answer}");
    }
    server.line(&["session closed", "peer=192.0.2.7:4711"]);
    // A client can send headers too, and this proxy does not look into requests.
    let spoof = opening(
        "/features?handshake=client",
        "X-Forwarded-For: 127.0.0.1\r\n",
    );
    for header in [of_client(), b"PROXY UNKNOWN\r\n".to_vec()] {
        let answer = exchange(&server, &[&header, spoof.as_bytes()]);
        assert!(!answer.contains("X-Client: 127.0.0.1:0"), "{answer}");
    }
    // No browser sends such a header, so no name can have led one here.
    let elsewhere = request.replace("Host: localhost", "Host: example.com");
    let answer = exchange(&server, &[&of_client(), elsewhere.as_bytes()]);
    assert_eq!(status_of(&answer), 101, "{answer}");
    // A client of a proxy is on no machine that is this one.
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for header in [
        of_client(),
        binary(0, 0, b""),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n".to_vec(),
    ] {
        let answer = exchange(&server, &[&header, get("/.wshd/engine.json").as_bytes()]);
        assert!(
            status_of(&answer) == 200 && !answer.contains("in_use"),
            "{answer}"
        );
        let answer = exchange(&server, &[&header, get("/.wshd/metrics").as_bytes()]);
        assert_eq!(status_of(&answer), 404, "{answer}");
    }
}

#[test]
fn an_allow_with_the_proxy_lets_in_what_the_proxy_asks_for_itself_and_no_unknown_client() {
    let lines = "trusted_proxies = [\"loopback\"]\nallow = [\"loopback\"]";
    let (_site, server) = start_for_proxies("", lines);
    for (header, expected) in [
        (binary(0, 0x00, b""), 101),
        (b"PROXY UNKNOWN\r\n".to_vec(), 403),
        (b"PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 1\r\n".to_vec(), 403),
        (binary(1, 0x00, b""), 403),
        (binary(1, 0x31, &[0; 216]), 403),
        (of_client(), 403),
    ] {
        // What such a client says of itself changes nothing.
        let said = if expected == 101 {
            ""
        } else {
            "X-Forwarded-For: 127.0.0.1\r\n"
        };
        let answer = exchange(&server, &[&header, opening("/echo", said).as_bytes()]);
        assert_eq!(status_of(&answer), expected, "{}", header.escape_ascii());
    }
}

#[test]
fn a_connection_without_a_right_proxy_header_is_closed_without_an_answer() {
    let (_site, server) = start_for_proxies("", "trusted_proxies = [\"loopback\"]");
    let request = opening("/echo", "");
    for (header, why) in [
        (Vec::new(), "does not begin with a PROXY header"),
        (
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n".to_vec(),
            "version 1 is malformed",
        ),
        (b"PROXY x".repeat(20), "no end within 107 bytes"),
        (binary(1, 0x11, &[0; 11]), "shorter than the addresses"),
        (
            binary(1, 0x11, &[[0; 12].as_slice(), &[4, 0, 9, 0]].concat()),
            "longer than the header",
        ),
        (
            binary(
                1,
                0x11,
                &[[0; 12].as_slice(), &[3, 0, 4, 0, 0, 0, 0]].concat(),
            ),
            "checksum",
        ),
        (binary(3, 0x11, &[0; 12]), "does not know"),
        (binary(1, 0x11, &[0; 9000]), "more than 8192 bytes"),
    ] {
        let answer = exchange(&server, &[&header, request.as_bytes()]);
        assert_eq!(answer, "", "{why}");
        server.line(&["handshake refused", "closed without an answer", why]);
    }
    // The others do not notice.
    let answer = exchange(&server, &[&of_client(), request.as_bytes()]);
    assert_eq!(status_of(&answer), 101);
}

#[test]
fn only_trusted_proxies_connect_where_proxies_do() {
    let (_site, server) = start_for_proxies("", "trusted_proxies = [\"192.0.2.1\"]");
    assert_eq!(
        exchange(&server, &[&of_client(), opening("/echo", "").as_bytes()]),
        ""
    );
    server.line(&["handshake refused", "none of `trusted_proxies`"]);
}

#[test]
fn a_proxy_header_may_come_byte_by_byte_but_not_forever() {
    let (_site, server) = start_for_proxies(
        "",
        "trusted_proxies = [\"loopback\"]\n[limits]\nhandshake_timeout_ms = 300",
    );
    let mut slow = server.raw();
    for half in [b"PROXY TCP4 192.0.2.7".as_slice(), b" 10.0.0.1 4711 443\r"] {
        std::io::Write::write_all(&mut slow, half).expect("sending");
    }
    let rest = [b"\n", opening("/features?handshake=client", "").as_bytes()].concat();
    let answer = Server::exchange_over(slow, &rest);
    assert!(answer.contains("X-Client: 192.0.2.7:4711"), "{answer}");

    let mut endless = server.raw();
    std::io::Write::write_all(&mut endless, b"PROXY TCP4").expect("sending");
    assert_eq!(rest_of(endless), b"");
    server.line(&[
        "handshake refused",
        "did not come within `handshake_timeout_ms`",
    ]);
    // A port that is only looked at leaves no line.
    assert_eq!(rest_of(server.raw()), b"");
    assert_eq!(server.count_lines(&["did not come within"]), 1);
}

#[test]
fn tls_begins_behind_the_proxy_header() {
    let site = Site::with(&["echo_wsh", "features_wsh"]);
    let tls = Tls::new(&site);
    site.write(
        "config.toml",
        "listen = [\"proxy:tls:127.0.0.1:0\"]\nhandlers_dir = \"handlers\"\ntrusted_proxies = [\"loopback\"]\n\
         [tls]\ncertificates = [{ certificate = \"server.pem\", key = \"server.key\" }]\n",
    );
    let server = Server::bare(&site).start();
    let mut socket = server.raw();
    std::io::Write::write_all(&mut socket, &of_client()).expect("sending");
    let stream = Steady::over_tls(tls.client().over(socket).expect("a handshake"));
    let url = format!("wss://localhost:{}/echo", server.port());
    let mut client = Client::over(stream, &url, "/echo", &[]);
    assert_eq!(client.ask("hello"), "hello");
    drop(client);
    server.line(&["session closed", "peer=192.0.2.7:4711"]);
}

#[test]
fn a_place_for_proxies_wants_proxies_that_could_connect() {
    let site = Site::with(&["echo_wsh"]);
    for (listen, trusted, wanted) in [
        (
            "proxy:127.0.0.1:0",
            "[]",
            "`trusted_proxies = [\"127.0.0.1\"]`",
        ),
        (
            "proxy:unix:w.sock",
            "[\"loopback\"]",
            "`trusted_proxies = [\"unix\"]`",
        ),
    ] {
        let text = format!(
            "listen = [\"{listen}\"]\nhandlers_dir = \"handlers\"\ntrusted_proxies = {trusted}\n"
        );
        site.write("config.toml", &text);
        let output = Server::bare(&site).output();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(
            said.contains("config.toml:1:") && said.contains(wanted),
            "{said}"
        );
    }
}
