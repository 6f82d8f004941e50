//! Handlers that may write past the framing (`raw = true`), seen from raw sockets.

mod answers;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::conformance::load;
use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::deflating::{Deflating, TAKEOVER};
use crate::harness::eventually;
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;

/// A site with a raw handler in C and one in Rust, each with these lines in its table.
fn site(lines: &str) -> Site {
    let site = Site::empty();
    let in_c = compile("tests/fixtures/c/raw.c", &["-pthread"]);
    site.add_bytes(&in_c, "craw_wsh.so");
    site.add("raw_wsh", "raw_wsh.so");
    configure(&site, lines);
    site
}

/// Writes these lines into the table of each handler.
fn configure(site: &Site, lines: &str) {
    let tables = format!("[handler.craw]\n{lines}\n[handler.raw]\n{lines}\n");
    site.write("config.toml", &tables);
}

fn server(site: &Site) -> Server {
    Server::start(site)
}

/// Sends an opening handshake for `path`.
fn ask(server: &Server, path: &str) -> TcpStream {
    let mut stream = server.raw();
    stream
        .write_all(opening(path, "").as_bytes())
        .expect("sending a handshake");
    stream
}

/// Reads until the server closes.
#[track_caller]
fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an end");
    String::from_utf8_lossy(&rest).into_owned()
}

/// Reads exactly these bytes.
#[track_caller]
fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut found = vec![0; bytes.len()];
    let read = stream.read_exact(&mut found);
    read.unwrap_or_else(|error| panic!("{error}, not {}", bytes.escape_ascii()));
    assert_eq!(
        found.escape_ascii().to_string(),
        bytes.escape_ascii().to_string()
    );
}

/// Whether the server keeps the connection open for a moment and sends nothing.
fn waits(stream: &mut TcpStream) -> bool {
    let patience = Duration::from_millis(150);
    stream.set_read_timeout(Some(patience)).expect("a timeout");
    let waits =
        matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    let patience = Duration::from_secs(20);
    stream.set_read_timeout(Some(patience)).expect("a timeout");
    waits
}

#[track_caller]
fn text(raw: &mut Raw, message: &str) -> String {
    raw.send(&frame(0x81, message.as_bytes()));
    next(raw)
}

/// Returns the next message, which must be text.
#[track_caller]
fn next(raw: &mut Raw) -> String {
    let (first, payload) = raw.frame().expect("a frame");
    assert_eq!(first, 0x81, "{}", payload.escape_ascii());
    String::from_utf8(payload).expect("UTF-8")
}

/// Returns the code of the next Close frame. Pongs may come before it.
#[track_caller]
fn close_code(raw: &mut Raw) -> u16 {
    loop {
        match raw.frame().expect("a frame") {
            (0x8a, _) => {}
            (0x88, payload) => return u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn bytes_leave_in_order_with_frames_and_between_parts_of_a_message() {
    let site = site("raw = true");
    let server = server(&site);
    let mut client = Raw::open(&server, "/craw");

    client.send(&frame(0x81, b"between"));
    expect(&mut client.stream, b"\x81\x06before\xc1\x02hi\x81\x05after");
    client.send(&frame(0x81, b"parts"));
    expect(&mut client.stream, b"\x01\x04one \x8a\x02hi\x80\x07message");
    client.send(&frame(0x81, b"buffered"));
    assert_eq!(next_data(&mut client), "more=4");
    assert_eq!(next(&mut client), "same=1");
    // Bytes that are sent by id come behind the message in parts, in order with other letters.
    client.send(&frame(0x81, b"by id"));
    expect(
        &mut client.stream,
        b"\x02\x01m\x8a\x00\x80\x01m\x81\x01m\x8f\x01r",
    );
    // A write gives up a reservation, as any other send does.
    client.send(&frame(0x81, b"reserved"));
    expect(&mut client.stream, b"\x89\x00");
    assert_eq!(next(&mut client), "commit=INVALID");
}

/// Returns the next text, Pongs aside.
#[track_caller]
fn next_data(raw: &mut Raw) -> String {
    loop {
        match raw.frame().expect("a frame") {
            (0x8a, _) => {}
            (0x81, payload) => return String::from_utf8(payload).expect("UTF-8"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_server_goes_on_as_if_nothing_had_been_written() {
    let site = site("raw = true");
    let server = server(&site);

    // After half a frame a Ping is still answered, and the peer's Close is too.
    let mut client = Raw::open(&server, "/craw");
    client.send(&frame(0x81, b"half"));
    expect(&mut client.stream, b"\x81\x05he");
    client.send(&frame(0x89, b"you?"));
    expect(&mut client.stream, b"\x8a\x04you?");
    client.send(&frame(0x88, b"\x03\xe8"));
    // Bytes that `closing` writes come before the answer to the Close.
    expect(&mut client.stream, b"\x8a\x03bye\x88\x02\x03\xe8");
    assert_eq!(rest(&mut client.stream), "");

    // A Close frame among the bytes closes nothing, and the peer's answer to it is its own Close.
    let mut client = Raw::open(&server, "/craw");
    client.send(&frame(0x81, b"close frame"));
    expect(&mut client.stream, b"\x88\x02\x03\xe8\x81\x07goes on");
    assert_eq!(text(&mut client, "x"), "echo");
    client.send(&frame(0x88, b"\x03\xe8"));
    expect(&mut client.stream, b"\x8a\x03bye\x88\x02\x03\xe8");

    // The peer is judged as a peer of any other handler is.
    let mut client = Raw::open(&server, "/craw");
    client.send(&frame(0x81, b"between"));
    expect(&mut client.stream, b"\x81\x06before\xc1\x02hi\x81\x05after");
    client.send(&frame(0xc1, b"x"));
    assert_eq!(client.close_code(), 1002);

    // Nothing follows the server's own Close frame.
    let mut client = Raw::open(&server, "/craw");
    client.send(&frame(0x81, b"closed"));
    assert_eq!(client.close_code(), 1000);
    server.line(&["after close=GONE"]);
    server.line(&["in closed=GONE"]);
}

#[test]
fn without_raw_in_its_table_a_handler_gets_no_table() {
    let site = site("raw = false");
    let server = server(&site);
    let asks = |path: &str| {
        let (mut client, head) = Raw::open_with(&server, path, "");
        client.send(&frame(0x81, b"x"));
        (next(&mut client), head)
    };

    assert_eq!(asks("/craw").0, "no table");
    let (answer, head) = asks("/raw?answer=allowed");
    assert_eq!(
        answer,
        "`call` is not allowed to this handler, wanted `raw = true` in the handler's table"
    );
    assert!(head.contains("X-Allowed: false\r\n"), "{head}");
    assert_eq!(server.handshake_status("/raw?answer=later"), 501);
    assert_eq!(server.handshake_status("/raw?answer=wrong_key"), 500);
    server.line(&["raw answer refused", "it wants `raw = true`"]);

    // A change of `raw` loads the handler anew, at once.
    configure(&site, "raw = true");
    eventually("both are loaded anew", || {
        asks("/craw").0 == "echo" && asks("/raw?answer=allowed").1.contains("X-Allowed: true")
    });
    configure(&site, "");
    eventually("and again", || {
        asks("/craw").0 == "no table" && asks("/raw").0 != "written"
    });
}

#[test]
fn a_trial_has_the_table_where_the_server_has() {
    let site = Site::empty();
    let demanding = compile("tests/fixtures/c/raw.c", &["-pthread", "-DDEMANDS"]);
    site.add_bytes(&demanding, "may_wsh.so");
    site.add_bytes(&demanding, "mustnot_wsh.so");
    site.write(
        "config.toml",
        "trial = \"always\"\n[handler.may]\nraw = true\n",
    );

    let server = server(&site);

    assert_eq!(server.handshake_status("/may"), 101);
    assert_eq!(server.handshake_status("/mustnot"), 503);
    server.line(&["mustnot_wsh.so", "it wants `raw = true` in its table"]);
}

#[test]
fn bytes_count_against_the_outbound_limit() {
    let site = site("raw = true\noutbound_bytes_max = 300000");
    let server = server(&site);
    let mut client = Raw::open(&server, "/craw");

    client.send(&frame(0x81, b"flood"));
    server.line(&["flooded=TOO_BIG"]);
    drop(client);

    let line = server.line(&["session closed", "outbound_bytes_max"]);
    assert!(line.contains("code=1008"), "{line}");
}

#[test]
fn bytes_do_not_pass_the_compressor_whose_context_goes_on() {
    let site = site("raw = true\ndeflate_context_takeover = true\ndeflate_bytes_min = 1");
    let server = server(&site);
    let mut client = Deflating::open(&server, "/craw", TAKEOVER);

    client.send("between");
    let (before, raw, after) = (client.receive(), client.raw.frame(), client.receive());

    assert_eq!((before.0, &*before.1), (0xc1, "before"));
    assert_eq!(raw, Some((0xc1, b"hi".to_vec())));
    assert_eq!((after.0, &*after.1), (0xc1, "after"));
    // The second message refers to the first one.
    client.send("between");
    let (again, _, _) = (client.receive(), client.raw.frame(), client.receive());
    assert_eq!((again.0, &*again.1), (0xc1, "before"));
    assert!(again.2 < before.2, "{} and {}", again.2, before.2);
}

#[test]
fn a_peer_that_is_gone_ends_a_session_that_writes_to_it() {
    let site = site("raw = true");
    let server = server(&site);

    // The peer does not read, and goes while megabytes wait for it.
    let mut client = Raw::open(&server, "/craw");
    client.send(&frame(0x81, b"flood"));
    server.line(&["flooded=TOO_BIG"]);
    drop(client);
    let mut client = Raw::open(&server, "/craw");
    client.send(&[frame(0x81, b"half"), frame(0x81, b"half")].concat());
    drop(client);
    // The peer goes before its answer leaves, or while the server lingers for it.
    drop(ask(&server, "/craw?close"));
    drop(ask(&server, "/craw?linger"));

    eventually("no place is held", || server.sessions("craw") == 0);
    let mut client = Raw::open(&server, "/craw");
    assert_eq!(text(&mut client, "x"), "echo");
}

#[test]
fn arguments_that_break_a_rule_and_pointers_that_mean_nothing_are_refused() {
    let site = site("raw = true");
    let server = server(&site);

    let (_client, head) = Raw::open_with(&server, "/craw?limits", "");
    let told = "X-Told: TOO_BIG TOO_BIG INVALID UNSUPPORTED INVALID TOO_BIG MISUSE MISUSE INVALID \
                MISUSE\r\n";
    assert!(head.contains(told), "{head}");

    let mut other = Raw::open(&server, "/craw?stale");
    assert_eq!(next(&mut other), "answer=MISUSE");
    let mut client = Raw::open(&server, "/craw");
    client.send(&frame(0x81, b"hostile"));
    for told in HOSTILE {
        assert_eq!(&next(&mut client), told);
    }

    // The log names the call and the argument.
    for (call, rule) in [
        (
            "wsh.raw/1 answer",
            "`then` is WSH_RAW_CLOSE, WSH_RAW_CONTINUE or",
        ),
        ("wsh.raw/1 answer", "`linger` is 0, but for WSH_RAW_CLOSE"),
        ("wsh.raw/1 accept", "`out` is not NULL"),
        (
            "wsh.raw/1 write",
            "`conn` is that of the callback that runs",
        ),
        ("wsh.raw/1 write_to", "`ctx` is that of the host table"),
    ] {
        server.line(&["call refused", call, rule]);
    }

    assert_eq!(server.handshake_status("/raw?answer=too_much"), 500);
    server.line(&["raw answer refused", "at most 1 MiB"]);
    assert_eq!(text(&mut client, "x"), "echo");
}

/// The statuses that the hostile handler in C gets.
const HOSTILE: &[&str] = &[
    "thread=MISUSE",
    "null=MISUSE",
    "made up=MISUSE",
    "unaligned=MISUSE",
    "other=MISUSE",
    "no bytes=INVALID",
    "endless=TOO_BIG",
    "id 0=GONE",
    "foreign id=GONE",
    "no bytes by id=INVALID",
    "endless by id=TOO_BIG",
    "no ctx=MISUSE",
    "answer=MISUSE",
    "accept=MISUSE",
];

#[test]
fn the_host_of_tests_answers_alike() {
    let site = site("");
    let handler = load(&site.handlers().join("craw_wsh.so"));
    let server = wsh::test::load_raw(handler, "{}").expect("it is loaded");

    let _stale = server.request("/?stale").connect();
    let mut client = server.connect();
    client.send("hostile");

    for told in HOSTILE {
        assert_eq!(&client.receive().expect("a message"), told);
    }
    let limits = server.request("/?limits").connect();
    let told = "TOO_BIG TOO_BIG INVALID UNSUPPORTED INVALID TOO_BIG MISUSE MISUSE INVALID MISUSE";
    assert_eq!(limits.header("X-Told"), Some(told.as_bytes()));
    let refusal = server.request("/?linger").try_connect().unwrap_err();
    assert_eq!((refusal.status, &*refusal.body), (0, &b"more?"[..]));
    client.send("parts");
    assert_eq!(client.receive_raw().as_deref(), Some(&b"\x8a\x02hi"[..]));
    assert_eq!(client.receive().expect("a message"), "one message");
    client.send("by id");
    let raw = [client.receive_raw(), client.receive_raw()];
    assert_eq!(
        raw,
        [Some(b"\x8a\x00".to_vec()), Some(b"\x8f\x01r".to_vec())]
    );
}

#[test]
fn a_handler_in_rust_breaks_what_it_wants_to() {
    let site = site("raw = true");
    let server = server(&site);

    let (mut client, _) = Raw::open_with(&server, "/raw?greet=1", "");
    expect(&mut client.stream, b"\x81\x05hello\xf1\x02hi");
    client.send(&frame(0x81, b"masked"));
    expect(&mut client.stream, b"\x81\x82\x01\x02\x03\x04ik");
    client.send(&frame(0x81, b"unknown opcode"));
    expect(&mut client.stream, b"\x83\x00");
    client.send(&frame(0x81, b"by id"));
    expect(&mut client.stream, b"\x81\x03one\x8f\x00\x81\x03two");
    // A frame is cut, and nothing follows.
    client.send(&frame(0x81, b"cut"));
    expect(&mut client.stream, b"\x81\x7f\xff");
    assert_eq!(rest(&mut client.stream), "");

    // A Close is never answered.
    let mut client = Raw::open(&server, "/raw");
    client.send(&[frame(0x81, b"silent"), frame(0x88, b"\x03\xe8")].concat());
    assert_eq!(rest(&mut client.stream), "");

    // A 101 has a wrong key.
    let mut stream = ask(&server, "/raw?answer=wrong_key");
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n";
    expect(&mut stream, head.as_bytes());
    assert!(waits(&mut stream));
    stream.write_all(b"no").expect("sending");
    assert_eq!(rest(&mut stream), "");
}
