//! permessage-deflate through a real server (RFC 7692): what is agreed on, sent and refused.

use std::io::Write;

use crate::harness::client::Raw;
use crate::harness::client_frame::frame;
use crate::harness::deflating::{Deflating, NO_TAKEOVER, OFFER, TAKEOVER, bomb, deflate};
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

fn numbers(count: usize) -> String {
    (0..count)
        .map(|number| format!("{{\"number\":{number}}},"))
        .collect()
}

#[test]
fn long_messages_come_back_compressed_and_short_ones_as_they_are() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let mut client = Deflating::open(&server, "/echo", NO_TAKEOVER);

    for _ in 0..2 {
        let long = numbers(500);
        client.send(&long);
        let (first, text, length) = client.receive();
        assert_eq!((first, &text), (0xc1, &long));
        assert!(length < long.len() / 2, "{length} of {}", long.len());

        let short = "short ".repeat(9);
        client.send(&short);
        assert_eq!(client.receive(), (0x81, short.clone(), short.len()));
    }

    // A client that offers no compression gets none, and may not use it.
    let (mut plain, answer) = Raw::open_with(&server, "/echo", "");
    assert!(!answer.contains("Extensions"), "{answer}");
    plain.send(&frame(0xc1, &deflate(&mut client.deflater, b"Hello")));
    assert_eq!(plain.close_code(), 1002);
}

#[test]
fn no_message_is_so_long_that_others_wait_while_it_is_compressed() {
    let site = Site::with(&["echo_wsh"]);
    site.write(
        "config.toml",
        "[handler.echo]\nmessage_bytes_max = 5000000\ndeflate_bytes_min = 0\n",
    );
    let server = Server::start(&site);
    let mut client = Deflating::open(&server, "/echo", NO_TAKEOVER);

    for (bytes, first) in [(4 << 20, 0xc1), ((4 << 20) + 1, 0x81), (100, 0xc1)] {
        let text = "x".repeat(bytes);
        client.send(&text);
        let (found, back, _) = client.receive();
        assert_eq!(found, first, "{bytes} bytes");
        assert!(back == text, "{} of {bytes} bytes", back.len());
    }
}

#[test]
fn a_handlers_table_turns_it_off_or_lets_messages_refer_to_earlier_ones() {
    let site = Site::empty();
    for name in ["echo_wsh.so", "off_wsh.so", "keeps_wsh.so"] {
        site.add("echo_wsh", name);
    }
    site.write(
        "config.toml",
        "[handler.off]\ndeflate = false\n\
         [handler.keeps]\ndeflate_context_takeover = true\ndeflate_bytes_min = 0\n",
    );
    let server = Server::start(&site);

    let (_, answer) = Raw::open_with(&server, "/off", OFFER);
    assert!(!answer.contains("Extensions"), "{answer}");

    let mut client = Deflating::open(&server, "/keeps", TAKEOVER);
    let text = numbers(100);
    let first = (client.send(&text), client.receive());
    let second = (client.send(&text), client.receive());
    assert_eq!((&first.1.1, &second.1.1), (&text, &text));
    assert!(second.0 < first.0 / 4, "{} after {}", second.0, first.0);
    assert!(
        second.1.2 < first.1.2 / 4,
        "{} after {}",
        second.1.2,
        first.1.2
    );
}

#[test]
fn with_no_least_length_every_message_goes_compressed_however_short_it_is() {
    let site = Site::empty();
    for name in ["every_wsh.so", "smaller_wsh.so"] {
        site.add("echo_wsh", name);
    }
    site.write(
        "config.toml",
        "[handler.every]\ndeflate_bytes_min = 0\n[handler.smaller]\ndeflate_bytes_min = 1\n",
    );
    let server = Server::start(&site);

    for (path, first) in [("/every", 0xc1), ("/smaller", 0x81)] {
        let mut client = Deflating::open(&server, path, NO_TAKEOVER);
        for text in ["Hello", "", "Hello"] {
            client.send(text);
            let (found, back, _) = client.receive();
            assert_eq!((found, &*back), (first, text), "{path}");
        }
    }
}

#[test]
fn a_handler_can_refuse_it_and_a_malformed_offer_is_a_malformed_request() {
    let site = Site::with(&["features_wsh"]);
    let server = Server::start(&site);

    let (_, answer) = Raw::open_with(&server, "/features?handshake=plain", OFFER);
    assert!(!answer.contains("Extensions"), "{answer}");

    for (offers, status) in [
        ("permessage-deflate; =", 400),
        ("permessage-deflate; server_max_window_bits=99", 101),
    ] {
        let line = format!("Sec-WebSocket-Extensions: {offers}\r\n");
        let mut stream = server.raw();
        stream
            .write_all(opening("/features", &line).as_bytes())
            .expect("sending");
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(status_of(&answer), status, "{offers}");
    }
}

#[test]
fn a_publication_reaches_each_subscriber_as_it_can_read_it() {
    let site = Site::with(&["features_wsh"]);
    site.write("config.toml", "[limits]\nmessage_bytes_max = 100000\n");
    let server = Server::start(&site);
    let mut compressed: Vec<_> = (0..3)
        .map(|_| Deflating::open(&server, "/features", NO_TAKEOVER))
        .collect();
    let mut plain = Raw::open(&server, "/features");
    for client in &mut compressed {
        client.send("join lobby");
    }
    plain.send(&frame(0x81, b"join lobby"));
    // A client that has had an answer has joined.
    for client in &mut compressed {
        client.send("joined?");
        assert_eq!(client.receive().1, "joined?");
    }
    plain.send(&frame(0x81, b"joined?"));
    assert_eq!(plain.frame(), Some((0x81, b"joined?".to_vec())));

    let text = numbers(500);
    compressed[0].send(&format!("publish lobby {text}"));

    for client in &mut compressed {
        let (first, received, _) = client.receive();
        assert_eq!((first, &received), (0xc1, &text));
    }
    assert_eq!(plain.frame(), Some((0x81, text.into_bytes())));
}

#[test]
fn a_message_that_is_not_to_be_compressed_leaves_as_it_is_and_the_next_one_does_not() {
    let site = Site::with(&["features_wsh"]);
    let server = Server::start(&site);
    let mut client = Deflating::open(&server, "/features", NO_TAKEOVER);
    client.send("join plain");
    let text = numbers(500);

    for word in ["plain", "plain_to", "plain_publish"] {
        client.send(&format!("{word} {text}"));
        let (first, received, length) = client.receive();
        assert_eq!(
            (first, &received, length),
            (0x81, &text, text.len()),
            "{word}"
        );
    }
    client.send(&format!("plain_parts {text}"));
    let (first, head, _) = client.receive();
    let (last, tail, _) = client.receive();
    assert_eq!((first, last, head + &tail), (0x01, 0x80, text.clone()));

    client.send(&text);
    let (first, received, length) = client.receive();
    assert_eq!((first, &received), (0xc1, &text));
    assert!(length < text.len() / 2, "{length}");
}

#[test]
fn a_bomb_is_too_big_when_it_has_inflated_to_the_limit() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);

    let mut client = Deflating::open(&server, "/echo", NO_TAKEOVER);
    client.raw.send(&frame(0xc2, &bomb()));
    assert_eq!(client.raw.close_code(), 1009);

    let mut client = Deflating::open(&server, "/echo", NO_TAKEOVER);
    client.raw.send(&frame(0xc1, b"\x07"));
    assert_eq!(client.raw.close_code(), 1007, "no block is of that type");
    assert_eq!(server.connect("/echo").ask("still here?"), "still here?");
}

#[test]
fn a_client_keeps_its_context_unless_it_offers_not_to_and_past_the_budget_goes_without() {
    let site = Site::empty();
    for name in ["echo_wsh.so", "small_wsh.so"] {
        site.add("echo_wsh", name);
    }
    // The budget is enough for two clients.
    site.write(
        "config.toml",
        "[limits]\ndeflate_contexts_bytes_max = 100000\n\
         [handler.echo]\ndeflate_level = 1\n[handler.small]\ndeflate_level = 9\n",
    );
    let server = Server::start(&site);

    let mut lengths = Vec::new();
    let mut clients: Vec<_> = ["/echo", "/small"]
        .into_iter()
        .map(|path| Deflating::open(&server, path, TAKEOVER))
        .collect();
    for client in &mut clients {
        let text = numbers(500);
        let first = client.send(&text);
        assert_eq!(client.receive().1, text);
        let second = client.send(&text);
        assert!(second < first / 4, "it refers to the first: {second}");
        let (_, answer, length) = client.receive();
        assert_eq!(answer, text);
        lengths.push(length);
    }
    assert!(
        lengths[1] < lengths[0],
        "level 9 after level 1: {lengths:?}"
    );

    let (mut plain, answer) = Raw::open_with(&server, "/echo", OFFER);
    assert!(!answer.contains("Extensions"), "{answer}");
    plain.send(&frame(0x81, b"as it is"));
    assert_eq!(plain.frame(), Some((0x81, b"as it is".to_vec())));
    let mut modest = Deflating::open(&server, "/echo", NO_TAKEOVER);
    modest.send(&numbers(500));
    assert_eq!(modest.receive().1, numbers(500));

    // A client that leaves gives its share back.
    drop(clients.pop());
    crate::harness::eventually("there is room", || {
        let (_, answer) = Raw::open_with(&server, "/echo", OFFER);
        answer.contains(TAKEOVER)
    });
}
