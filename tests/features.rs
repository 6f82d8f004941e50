//! What a handler can do, as its peers see it.

use tungstenite::Message;

use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::compile::compile;
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;

fn features() -> (Site, Server) {
    let site = Site::with(&["features_wsh"]);
    let server = Server::start(&site);
    (site, server)
}

#[test]
fn a_subprotocol_is_the_first_of_ours_that_the_client_offers() {
    let (_site, server) = features();
    let offer = [("Sec-WebSocket-Protocol", "v1, v2")];

    let mut client = Client::connect(server.port(), "/features", &offer);

    let chosen = client.response.headers().get("sec-websocket-protocol");
    assert_eq!(chosen.and_then(|it| it.to_str().ok()), Some("v2"));
    assert_eq!(client.ask("protocol"), "v2");
}

#[test]
fn a_handler_adds_headers_and_cannot_split_the_answer() {
    let (_site, server) = features();
    let answer = server.exchange(opening("/features?handshake=header", "").as_bytes());
    assert!(answer.contains("\r\nSet-Cookie: seen=1\r\n"), "{answer}");
    assert!(!answer.contains("X-Injected"), "{answer}");
}

#[test]
fn a_late_answer_brings_headers_the_subprotocol_and_what_is_attached_by_what_was_found_out() {
    let (_site, server) = features();
    let headers = [("Cookie", "name=ann"), ("Sec-WebSocket-Protocol", "v2, v1")];
    let mut client = Client::connect(server.port(), "/features?handshake=found", &headers);
    let sent = |name: &str| client.response.headers().get(name).map(|it| it.as_bytes());
    assert_eq!(sent("x-found"), Some(&b"late"[..]));
    assert_eq!(sent("sec-websocket-protocol"), Some(&b"v1"[..]));
    assert_eq!(client.ask("attached"), "found");

    let answer = server.exchange(opening("/features?handshake=found", "").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(
        answer.contains("\r\nX-Found: late\r\n") && answer.ends_with("who?"),
        "{answer}"
    );
}

#[test]
fn what_the_handshake_attached_is_there_in_the_session() {
    let (_site, server) = features();
    let cookie = [("Cookie", "other=1; name=ann")];
    let mut client = Client::connect(server.port(), "/features?handshake=attach", &cookie);
    assert_eq!(client.ask("attached"), "ann");
}

#[test]
fn what_open_sends_comes_first_and_early_frames_are_answered() {
    let (_site, server) = features();
    let mut stream = server.raw();
    let mut bytes = opening("/features?greet=1", "").into_bytes();
    bytes.extend(frame(0x81, b"early"));
    std::io::Write::write_all(&mut stream, &bytes).expect("sending");
    let mut raw = Raw { stream };
    raw.skip_head();
    assert_eq!(raw.frame(), Some((0x81, b"welcome".to_vec())));
    assert_eq!(raw.frame(), Some((0x81, b"early".to_vec())));
}

#[test]
fn timers_run_out_in_their_order_replaced_and_cancelled() {
    let (_site, server) = features();
    let mut client = server.connect("/features");
    client.send("timers");
    for token in [2, 3, 1] {
        assert_eq!(client.text(), format!("timer {token}"));
    }
    assert_eq!(client.ask("no timer 4"), "no timer 4");
}

#[test]
fn publications_reach_subscribers_and_those_only() {
    let (_site, server) = features();
    let [mut ann, mut ben, mut cat] = [(); 3].map(|()| server.connect("/features"));
    for client in [&mut ann, &mut ben] {
        client.send("join tea");
        assert_eq!(client.ask("joined"), "joined");
    }

    ann.send("publish tea hello");
    assert_eq!((ann.text(), ben.text()), ("hello".into(), "hello".into()));
    ann.send("others tea psst");
    assert_eq!(ben.text(), "psst");
    assert_eq!(ann.ask("not me"), "not me");
    ben.send("leave tea");
    assert_eq!(ben.ask("left"), "left");
    ann.send("publish tea again");
    assert_eq!(ann.text(), "again");
    for client in [&mut ben, &mut cat] {
        assert_eq!(client.ask("nothing came"), "nothing came");
    }
}

#[test]
fn a_paused_session_reads_on_when_it_is_resumed() {
    let (_site, server) = features();
    let mut client = server.connect("/features");
    client.send("pause");
    client.send("meanwhile");
    assert_eq!(client.text(), "resumed");
    assert_eq!(client.text(), "meanwhile");
}

#[test]
fn pings_are_answered_and_seen_and_pongs_are_seen() {
    let (_site, server) = features();
    let mut raw = Raw::open(&server, "/features");
    raw.send(&frame(0x89, b"one"));
    assert_eq!(raw.frame(), Some((0x8a, b"one".to_vec())));
    assert_eq!(raw.frame(), Some((0x81, b"ping one".to_vec())));
    raw.send(&frame(0x8a, b"two"));
    assert_eq!(raw.frame(), Some((0x81, b"pong two".to_vec())));
    raw.send(&frame(0x81, b"ping three"));
    assert_eq!(raw.frame(), Some((0x89, b"three".to_vec())));
}

#[test]
fn control_frames_pass_between_fragments_and_any_split_of_reads_is_one_message() {
    let (_site, server) = features();
    let mut raw = Raw::open(&server, "/features");
    let bytes = [
        frame(0x01, b"frag"),
        frame(0x89, b"p"),
        frame(0x80, "mentß".as_bytes()),
    ]
    .concat();
    for byte in bytes.chunks(1) {
        raw.send(byte);
    }
    assert_eq!(raw.frame(), Some((0x8a, b"p".to_vec())));
    assert_eq!(raw.frame(), Some((0x81, b"ping p".to_vec())));
    assert_eq!(raw.frame(), Some((0x81, "fragmentß".as_bytes().to_vec())));
}

#[test]
fn a_message_is_written_in_place_and_a_bad_close_is_not_taken() {
    let (_site, server) = features();
    let mut client = server.connect("/features");
    assert_eq!(client.ask("with abc"), "3");
    assert_eq!(client.ask("close 1005"), "not taken");
    client.send("mark");
    assert_eq!(client.text(), "above the mark");
    assert_eq!(client.text(), "drained");
    let binary = Message::Binary(vec![0, 255].into());
    client.send(binary.clone());
    assert_eq!(client.receive(), binary);
}

#[test]
fn a_route_with_a_parameter_leads_to_its_handler() {
    let site = Site::with(&["features_wsh"]);
    site.write(
        "config.toml",
        "[routes]\n\"/\" = \"/features\"\n\"/rooms/{room}\" = \"/features\"\n",
    );
    let server = Server::start(&site);
    for path in ["/", "/rooms/blue", "/features"] {
        assert_eq!(server.handshake_status(path), 101, "{path}");
    }
    assert_eq!(server.handshake_status("/rooms/blue/deep"), 404);
    // A path with a line break stays on its line of the log.
    assert_eq!(server.handshake_status("/rooms/a%0aWARN%20forged"), 101);
    server.line(&["session closed", r#"path="/rooms/a\nWARN forged""#]);
}

#[test]
fn room_that_was_reserved_holds_what_was_asked_for_and_not_longer_than_the_callback() {
    let site = Site::empty();
    let reserves = compile("tests/fixtures/c/reserves.c", &[]);
    site.add_bytes(&reserves, "reserves_wsh.so");
    let server = Server::start(&site);
    let mut clients: Vec<_> = (0..16).map(|_| server.connect("/reserves")).collect();
    let longer = "an echo, longer than what is asked for next: ".repeat(9);
    for client in &mut clients {
        assert_eq!(client.ask(&longer), longer);
        assert_eq!(client.ask("over the end"), "refused");
    }
    let before = server.proc_status("VmRSS");

    for client in &mut clients {
        client.send("forget this");
        assert_eq!(client.ask("and then?"), "and then?");
    }

    // Each session has filled 8 MiB. The allocator may keep one such buffer a thread.
    let kept = server.proc_status("VmRSS").saturating_sub(before);
    assert!(kept < 16 * 8 * 1024 / 2, "{kept} KiB");
}
