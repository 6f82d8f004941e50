//! The example handlers that a newcomer begins from, on the wire.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tungstenite::Message;

use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::eventually;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

/// A site with one example, and its server.
fn server(example: &str) -> (Site, Server) {
    let site = Site::with(&[&format!("{example}_wsh")]);
    let server = Server::start(&site);
    (site, server)
}

#[test]
fn the_best_subprotocol_that_both_sides_speak_is_chosen() {
    let (_site, server) = server("subprotocol");

    for (offered, chosen, greeting) in [
        ("greeting.v1", "greeting.v1", "hello ann"),
        (
            "greeting.v1, greeting.v2",
            "greeting.v2",
            r#"[["hello","ann"]]"#,
        ),
    ] {
        let headers = [("Sec-WebSocket-Protocol", offered)];
        let mut client = Client::connect(server.port(), "/subprotocol", &headers);
        assert_eq!(client.response.headers()["Sec-WebSocket-Protocol"], chosen);
        assert_eq!(client.ask("ann"), greeting);
    }
    assert_eq!(server.handshake_status("/subprotocol"), 400);
}

#[test]
fn an_upload_tells_its_progress_and_is_kept_only_if_it_is_whole() {
    let site = Site::with(&["upload_wsh"]);
    let uploads = site.root().join("uploads");
    fs::create_dir(&uploads).expect("a directory");
    let files = || fs::read_dir(&uploads).expect("a directory").count();
    let table = format!("{{ directory = {uploads:?}, bytes_max = 6000000 }}");
    site.write(
        "config.toml",
        &format!("[handler.upload]\nconfig = {table}\n"),
    );
    let server = Server::start(&site);
    // Longer than `message_bytes_max`.
    let file: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();

    let mut client = server.connect("/upload");
    client.send(Message::binary(file.clone()));
    let mut before = 0;
    loop {
        let progress: Value = serde_json::from_str(&client.text()).expect("JSON");
        let bytes = progress["bytes"].as_u64().expect("a number");
        assert!(before < bytes, "{before}, then {bytes}");
        before = bytes;
        if progress["is_done"] == true {
            break;
        }
    }
    assert_eq!(before, 5_000_000);
    assert_eq!(client.ask("short"), r#"{"bytes":5,"is_done":true}"#);
    eventually("both files are there", || files() == 2);
    let kept = fs::read_dir(&uploads).expect("a directory");
    let mut kept = kept.map(|entry| fs::read(entry.expect("an entry").path()).expect("a file"));
    assert!(kept.any(|kept| kept == file));

    client.send(Message::binary(vec![0; 6_000_001]));
    assert_eq!(client.close_code(), 1009);
    let mut client = Raw::open(&server, "/upload");
    client.send(&frame(0x02, b"the first of two frames"));
    eventually("it is written", || files() == 3);
    drop(client);
    eventually("what is not whole is removed", || files() == 2);
}

#[test]
fn an_upload_that_cannot_be_written_is_logged_with_the_reason_for_it() {
    let site = Site::with(&["upload_wsh"]);
    // No user can make a file there.
    let error = fs::File::create_new("/sys/file").expect_err("sysfs has no such file");
    let config = "[handler.upload]\nconfig = { directory = \"/sys\" }\n";
    site.write("config.toml", config);
    let server = Server::start(&site);

    let mut client = server.connect("/upload");
    client.send("x");

    assert_eq!(client.close_code(), 1011);
    server.line(&[
        "callback failed",
        "handler=\"upload\"",
        &format!("error=\"{error}\""),
    ]);
}

#[test]
fn a_countdown_counts_seconds() {
    let (_site, server) = server("countdown");
    let mut client = server.connect("/countdown");

    let began = std::time::Instant::now();
    assert_eq!(client.ask("2"), "2");
    assert_eq!(client.text(), "1");
    assert_eq!(client.text(), "0");

    assert!(began.elapsed() >= Duration::from_millis(1_900));
    assert_eq!(client.ask("two"), "a whole number, please");
}

#[test]
fn a_thread_tells_every_session_the_load() {
    let (_site, server) = server("broadcast");
    let mut clients = [(); 3].map(|()| server.connect("/broadcast"));

    for client in &mut clients {
        let load = client.text();
        assert_eq!(load.split(' ').count(), 5, "{load}");
    }
}

#[test]
fn the_evil_handler_breaks_the_protocol_where_it_may() {
    let (site, server) = server("evil");
    let refused = server.exchange(opening("/evil", "").as_bytes());
    assert_eq!(status_of(&refused), 501);
    assert!(refused.ends_with("has to say `raw = true` in `[handler.evil]`\n"));

    let config = include_str!("../handlers/evil_wsh/config.toml");
    site.write("config.toml", config);
    let server = Server::start(&site);

    let mut client = Raw::open(&server, "/evil");
    client.send(&frame(0x81, b"reserved"));
    assert_eq!(client.frame(), Some((0xc1, b"hi".to_vec())));
    client.send(&frame(0x81, b"fragmented ping"));
    assert_eq!(client.frame(), Some((0x09, Vec::new())));
    client.send(&frame(0x81, b"what else?"));
    let (first, names) = client.frame().expect("an answer");
    assert_eq!(first, 0x81);
    assert!(names.starts_with(b"there are reserved, "));

    let wrong = server.exchange(opening("/evil?key", "").as_bytes());
    assert!(wrong.contains("\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"));
    let wrong = server.exchange(opening("/evil?status", "").as_bytes());
    assert_eq!(wrong, "HTTP/1.1 999 No Such Status\r\n\r\n");
}
