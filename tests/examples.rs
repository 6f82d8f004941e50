//! The example handlers on the wire: what a client of pywebsocket's handler of that name gets, it gets here.

use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::harness::at_once;
use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

/// A site with one example, and its server.
fn server(example: &str) -> (Site, Server) {
    let site = Site::with(&[&format!("{example}_wsh")]);
    let server = Server::start(&site);
    (site, server)
}

/// The lines of a head that begin with `name`, such as `Set-Cookie`.
fn header_lines<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("{}: ", name.to_ascii_lowercase());
    let is_it = |line: &&str| line.to_ascii_lowercase().starts_with(&start);
    head.lines().filter(is_it).collect()
}

/// The body of a Close frame.
fn close_body(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
/// The origin of a page that has nothing to do with the server, whose handlers pywebsocket lets in all the same.
const ELSEWHERE: &str = "Origin: https://elsewhere.example\r\n";

#[test]
fn pages_of_every_origin_may_use_the_examples_of_pywebsocket() {
    let examples = [
        "echo",
        "echo_noext",
        "close",
        "abort",
        "bench",
        "benchmark_helper",
        "cookie",
        "hsts",
        "internal_error",
    ];
    let site = Site::empty();
    for example in examples {
        let library = format!("{example}_wsh");
        site.add(&library, &format!("{library}.so"));
    }
    let server = Server::start(&site);

    for example in examples {
        let answer = server.exchange(opening(&format!("/{example}"), ELSEWHERE).as_bytes());
        assert_eq!(status_of(&answer), 101, "{example}");
    }
}

#[test]
fn the_two_echoes_send_both_kinds_back_and_close_after_goodbye() {
    let site = Site::with(&["echo_wsh", "echo_noext_wsh"]);
    let server = Server::start(&site);

    for path in ["/echo", "/echo_noext"] {
        let mut client = Raw::open(&server, path);
        echoes_until_goodbye(&mut client);
    }

    let compressed = ["Sec-WebSocket-Extensions: permessage-deflate"];
    let (_, head) = Raw::open_with(&server, "/echo", DEFLATE);
    assert_eq!(header_lines(&head, "Sec-WebSocket-Extensions"), compressed);
    let (mut client, head) = Raw::open_with(&server, "/echo_noext", DEFLATE);
    assert_eq!(header_lines(&head, "Sec-WebSocket-Extensions"), [""; 0]);
    echoes_until_goodbye(&mut client);
}

#[test]
fn the_101_has_the_lines_that_pywebsocket_sends_in_its_order() {
    let site = Site::with(&["features_wsh"]);
    let server = Server::start(&site);
    let lines = format!("Sec-WebSocket-Protocol: v3, v2\r\n{DEFLATE}");

    let (_, plain) = Raw::open_with(&server, "/features", "");
    let (_, full) = Raw::open_with(&server, "/features?handshake=header", DEFLATE);
    let (_, chosen) = Raw::open_with(&server, "/features", &lines);

    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    assert_eq!(plain, format!("{head}\r\n"));
    assert_eq!(full, format!("{head}{extension}Set-Cookie: seen=1\r\n\r\n"));
    let protocol = "Sec-WebSocket-Protocol: v2\r\n";
    assert_eq!(chosen, format!("{head}{protocol}{extension}\r\n"));
}

#[test]
fn the_map_file_of_pywebsocket_leads_from_the_root_to_the_echo() {
    let site = Site::with(&["echo_wsh"]);
    let map = concat!(env!("CARGO_MANIFEST_DIR"), "/../handlers/handler_map.txt");
    let server = Server::builder(&site).args(["-m", map]).start();

    assert_eq!(server.connect("/").ask("hello"), "hello");
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
}

#[test]
fn a_map_file_may_name_its_own_aliases_and_is_read_with_any_blanks() {
    let site = Site::with(&["echo_wsh"]);
    let map = "# a comment\n\n/a /echo\n/b /a\n  /c\t /b  \n/nowhere /nobody\n";
    site.write("map.txt", map);
    let server = Server::builder(&site).args(["-m", "map.txt"]).start();

    for path in ["/a", "/b", "/c", "/echo"] {
        assert_eq!(server.handshake_status(path), 101, "{path}");
    }
    assert_eq!(server.handshake_status("/nowhere"), 404);
    let why = "map.txt:6:1: route `/nowhere` names handler `nobody`, which does not exist";
    server.line(&["WARN", why]);
}

/// Sends text and binary messages, and then the one that ends the session.
#[track_caller]
fn echoes_until_goodbye(client: &mut Raw) {
    for (first, payload) in [
        (0x81, "a".repeat(500)),
        // A message is sent in one frame, whatever its length.
        (0x82, "b".repeat(60_000)),
        (0x82, "Goodbye".to_owned()),
    ] {
        client.send(&frame(first, payload.as_bytes()));
        assert_eq!(client.frame(), Some((first, payload.into_bytes())));
    }
    client.send(&frame(0x81, b"Goodbye"));

    assert_eq!(client.frame(), Some((0x81, b"Goodbye".to_vec())));
    assert_eq!(client.frame(), Some((0x88, close_body(1000, ""))));
    client.send(&frame(0x88, &close_body(1000, "")));
    assert_eq!(client.frame(), None);
}

#[test]
fn close_closes_with_the_code_and_the_reason_that_it_is_told() {
    let (_site, server) = server("close");
    at_once(
        [
            ("1000 ", 1000, ""),
            ("1001 bye", 1001, "bye"),
            ("3000 lunch at one", 3000, "lunch at one"),
            ("4999 €", 4999, "€"),
            // What no frame may carry.
            ("0 x", 1011, ""),
            ("999 x", 1011, ""),
            ("1005 x", 1011, ""),
            ("1006 x", 1011, ""),
            ("1015 x", 1011, ""),
            ("5000 x", 1011, ""),
            (&format!("1000 {}", "x".repeat(124)), 1011, ""),
            // pywebsocket drops the connection after these. Here the client learns of its mistake.
            ("1000", 1011, ""),
            ("now please", 1011, ""),
        ],
        |(order, code, reason)| {
            let mut client = Raw::open(&server, "/close");
            client.send(&frame(0x81, order.as_bytes()));
            assert_eq!(
                client.frame(),
                Some((0x88, close_body(code, reason))),
                "{order}"
            );
            client.send(&frame(0x88, &close_body(code, reason)));
            assert_eq!(client.frame(), None, "{order}");
        },
    );
    server.line(&["a message is `CODE REASON`"]);
}

#[test]
fn close_answers_a_close_with_its_code_and_its_reason() {
    let (_site, server) = server("close");
    for body in [
        close_body(1000, ""),
        close_body(1001, "going"),
        close_body(3456, "a reason"),
        Vec::new(),
    ] {
        let mut client = Raw::open(&server, "/close");
        client.send(&frame(0x88, &body));
        assert_eq!(client.frame(), Some((0x88, body)));
        assert_eq!(client.frame(), None);
    }
}

// Where the server does better than pywebsocket, as handlers/README.md says.

#[test]
fn a_subprotocol_that_an_example_does_not_speak_is_left_to_the_client() {
    let (_site, server) = server("close");

    let (_, head) = Raw::open_with(&server, "/close", "Sec-WebSocket-Protocol: tea\r\n");

    assert_eq!(header_lines(&head, "Sec-WebSocket-Protocol"), [""; 0]);
}

#[test]
fn a_close_is_answered_with_its_code_and_a_wrong_one_with_1002() {
    let (_site, server) = server("bench");

    for (code, answered) in [(1000, 1000), (3000, 3000), (999, 1002), (1005, 1002)] {
        let mut client = Raw::open(&server, "/bench");
        client.send(&frame(0x88, &close_body(code, "")));
        assert_eq!(client.close_code(), answered, "{code}");
    }
}

#[test]
fn abort_ends_the_connection_after_the_101_and_abort_handshake_before_it() {
    let site = Site::with(&["abort_wsh", "abort_handshake_wsh"]);
    let server = Server::start(&site);

    let mut client = Raw::open(&server, "/abort");
    assert_eq!(client.frame(), None);

    let answer = server.exchange(opening("/abort_handshake", "").as_bytes());
    assert_eq!(answer, "");
}

#[test]
fn bench_sends_a_message_as_often_and_as_slowly_as_it_is_told() {
    let (_site, server) = server("bench");

    let mut client = server.connect("/bench");
    let began = Instant::now();
    client.send("0.02 5 hello");
    for _ in 0..5 {
        assert_eq!(client.text(), "hello");
    }
    assert_eq!(client.close_code(), 1000);
    // It pauses after the last one, too.
    assert!(began.elapsed() >= Duration::from_millis(100));

    let mut client = server.connect("/bench");
    client.send("0 0 hello");
    assert_eq!(client.close_code(), 1000);
    // pywebsocket drops the connection after these. Here the client learns of its mistake.
    for order in ["", "1 2", "1 2 three four", "-1 2 x", "x 2 x", "1 two x"] {
        let mut client = server.connect("/bench");
        client.send(order);
        assert_eq!(client.close_code(), 1011, "{order}");
    }
}

#[test]
fn benchmark_helper_takes_and_sends_messages_of_any_length() {
    let (_site, server) = server("benchmark_helper");
    let (client, head) = Raw::open_with(&server, "/benchmark_helper", DEFLATE);
    assert_eq!(header_lines(&head, "Sec-WebSocket-Extensions"), [""; 0]);
    drop(client);
    let mut client = server.connect("/benchmark_helper");

    // Longer than `message_bytes_max`, and around the length of a part.
    for bytes in [0, 1, 65_535, 65_536, 65_537, 10_000_000] {
        client.send(format!("receive {bytes}"));
        assert_eq!(client.receive(), Message::binary(vec![b'a'; bytes]));

        client.send("send 1");
        client.send(Message::binary(vec![b'a'; bytes]));
        assert_eq!(client.text(), bytes.to_string());
    }
    client.send("send 1");
    client.send("aaa");
    assert_eq!(client.text(), "3", "text counts as well");
    client.send("send 0");
    client.send("not looked at");
    assert_eq!(client.text(), "13");

    client.send("send 1");
    client.send("aba");
    // pywebsocket drops the connection.
    assert_eq!(client.close_code(), 1011);
}

#[test]
fn cookie_sets_and_clears_cookies_by_the_query() {
    let (_site, server) = server("cookie");
    let names = [
        ("?set", vec!["foo=bar; Max-Age=86400"]),
        (
            "?set_httponly",
            vec!["httpOnlyFoo=bar; Max-Age=86400; httpOnly"],
        ),
        (
            "?clear",
            vec!["foo=0; Max-Age=0", "httpOnlyFoo=0; Max-Age=0"],
        ),
        ("?other", vec![]),
        ("", vec![]),
    ];
    for (query, cookies) in names {
        let (mut client, head) = Raw::open_with(&server, &format!("/cookie{query}"), "");
        let expected: Vec<_> = cookies
            .iter()
            .map(|it| format!("Set-Cookie: {it}"))
            .collect();
        assert_eq!(header_lines(&head, "Set-Cookie"), expected, "{query}");
        assert_eq!(client.frame(), Some((0x88, close_body(1000, ""))));
    }
}

#[test]
fn hsts_says_hello_and_asks_for_tls() {
    let (_site, server) = server("hsts");

    let (mut client, head) = Raw::open_with(&server, "/hsts", "");

    let line = "Strict-Transport-Security: max-age=86400";
    assert_eq!(header_lines(&head, "Strict-Transport-Security"), [line]);
    assert_eq!(client.frame(), Some((0x81, b"Hello".to_vec())));
    assert_eq!(client.frame(), Some((0x88, close_body(1000, ""))));
}

#[test]
fn internal_error_closes_with_1011_and_the_log_says_why() {
    let (_site, server) = server("internal_error");

    let mut client = Raw::open(&server, "/internal_error");

    assert_eq!(client.frame(), Some((0x88, close_body(1011, ""))));
    client.send(&frame(0x88, &close_body(1011, "")));
    assert_eq!(client.frame(), None);
    server.line(&["this handler fails on purpose"]);
}

#[test]
fn origin_check_lets_one_origin_in() {
    let (_site, server) = server("origin_check");

    let headers = [("Origin", "http://example.com")];
    let mut client = Client::connect(server.port(), "/origin_check", &headers);
    assert_eq!(client.text(), "welcome, page of http://example.com");
    assert_eq!(client.close_code(), 1000);
    for other in [
        "",
        ELSEWHERE,
        "Origin: https://example.com\r\n",
        "Origin: http://example.com:8080\r\n",
        "Origin: http://example.community\r\n",
    ] {
        let answer = server.exchange(opening("/origin_check", other).as_bytes());
        assert_eq!(status_of(&answer), 403, "{other}");
    }
}

#[test]
fn the_handler_of_a_folder_answers_with_and_without_a_slash() {
    let site = Site::empty();
    site.add("sub_wsh", "sub/_wsh.so");
    let server = Server::start(&site);

    for path in ["/sub", "/sub/"] {
        let mut client = server.connect(path);
        assert_eq!(client.text(), path);
        assert_eq!(client.close_code(), 1000);
    }
}
