//! Plugins that were built once, against ABI 1.0, are served as they are: see `tests/golden`.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::fs;
use std::path::{Path, PathBuf};

use tungstenite::Message;

use crate::harness::client::{Client, Raw};
use crate::harness::client_frame::frame;
use crate::harness::patch::{self, Patch};
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;

/// The golden plugins, by the name of their file.
const KINDS: [&str; 4] = ["async", "blocking", "c", "events"];

/// The golden plugins whose sessions have a state. Beside each, its source crate and the one with the next schema.
const WITH_STATE: [[&str; 3]; 2] = [
    ["state", "ledger_wsh", "ledger_next_wsh"],
    ["async_state", "async_ledger_wsh", "async_ledger_next_wsh"],
];

fn golden(kind: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/1.0");
    directory.join(format!("{kind}_wsh.so"))
}

fn served() -> (Site, Server) {
    let site = Site::empty();
    for kind in KINDS {
        let bytes = fs::read(golden(kind)).expect("a golden plugin");
        site.add_bytes(&bytes, &format!("{kind}_wsh.so"));
    }
    let server = Server::start(&site);
    (site, server)
}

#[test]
fn a_golden_plugin_of_each_kind_echoes_and_closes() {
    let (_site, server) = served();

    for kind in KINDS {
        let mut client = server.connect(&format!("/{kind}"));
        assert_eq!(client.ask("hello, ß"), "hello, ß", "{kind}");
        let binary = Message::Binary(vec![0, 255, 7].into());
        client.send(binary.clone());
        assert_eq!(client.receive(), binary, "{kind}");
        let large = "x".repeat(60_000);
        assert_eq!(client.ask(&large), large, "{kind}");
        assert_eq!(client.close(1000), 1000, "{kind}");
    }
    assert_eq!(server.count_lines(&["plugin refused"]), 0);
    // Their descriptors end before the field of a description.
    for handler in server.listing().as_array().expect("a list") {
        assert!(handler["description"].is_null(), "{handler}");
    }
}

#[test]
fn golden_plugins_give_way_to_newer_files_and_are_retired() {
    let (site, server) = served();
    let mut open = KINDS.map(|kind| server.connect(&format!("/{kind}")));

    for kind in KINDS {
        site.add("echo_wsh", &format!("{kind}_wsh.so"));
    }
    for kind in KINDS {
        let handler = format!("handler=\"{kind}\"");
        server.line(&["handler loaded", &handler, "generation=2"]);
    }

    for (kind, client) in KINDS.iter().zip(&mut open) {
        assert_eq!(client.ask("still there?"), "still there?", "{kind}");
        assert_eq!(client.close(1000), 1000, "{kind}");
        let handler = format!("handler={kind}");
        server.line(&["generation retired", &handler, "generation=1"]);
    }
}

#[test]
fn what_a_golden_handler_does_still_works() {
    let (_site, server) = served();

    let answer = server.exchange(opening("/events?handshake=header", "").as_bytes());
    assert!(answer.contains("\r\nSet-Cookie: seen=1\r\n"), "{answer}");
    for (handshake, status) in [
        ("reject", 418),
        ("forbid", 403),
        ("abort", 0),
        ("fail", 500),
        ("later", 101),
    ] {
        let path = format!("/events?handshake={handshake}");
        assert_eq!(server.handshake_status(&path), status, "{handshake}");
    }

    let offer = [("Sec-WebSocket-Protocol", "v1, v2")];
    let mut ann = Client::connect(server.port(), "/events", &offer);
    assert_eq!(ann.ask("protocol"), "v2");
    let cookie = [("Cookie", "name=ben")];
    let mut ben = Client::connect(server.port(), "/events?handshake=attach", &cookie);
    assert_eq!(ben.ask("attached"), "ben");
    for client in [&mut ann, &mut ben] {
        client.send("join tea");
        assert_eq!(client.ask("joined"), "joined");
    }
    ann.send("others tea psst");
    assert_eq!(ben.text(), "psst");
    ann.send("timers");
    for token in [2, 3, 1] {
        assert_eq!(ann.text(), format!("timer {token}"));
    }
    ann.send("pause");
    assert_eq!(ann.text(), "resumed");
    assert_eq!(ann.ask("with abc"), "3");
    ann.send("mark");
    assert_eq!((&*ann.text(), &*ann.text()), ("above the mark", "drained"));
    ann.send("close 4000 enough");
    assert_eq!(ann.close_code(), 4000);
    ben.send("fail in session");
    assert_eq!(ben.close_code(), 1011);

    let mut raw = Raw::open(&server, "/events");
    raw.send(&frame(0x89, b"one"));
    assert_eq!(raw.frame(), Some((0x8a, b"one".to_vec())));
    assert_eq!(raw.frame(), Some((0x81, b"ping one".to_vec())));
    raw.send(&frame(0x8a, b"two"));
    assert_eq!(raw.frame(), Some((0x81, b"pong two".to_vec())));
}

#[test]
fn a_golden_plugin_of_another_major_or_with_wants_of_a_newer_minor_is_refused_by_name() {
    let (site, server) = served();
    let mut open = KINDS.map(|kind| server.connect(&format!("/{kind}")));

    for kind in KINDS {
        let other_major = Patch::of_file(&golden(kind)).number(patch::ABI_MAJOR, 2);
        let file = format!("{kind}_wsh.so");
        site.add_bytes(&other_major.into_bytes(), &file);
        server.line(&[&format!(
            "cannot load `{file}`: it speaks ABI 2.0, this server speaks ABI 1.x; rebuild it against wsh 1; generation 1 keeps serving"
        )]);

        let newer_minor = Patch::of_file(&golden(kind))
            .number(patch::ABI_MINOR, 999)
            .number(patch::MIN_HOST_MINOR, 999);
        site.add_bytes(&newer_minor.into_bytes(), &file);
        let line = server.line(&[
            &format!(
                "cannot load `{file}`: it needs ABI 1.999 or newer, this server speaks ABI 1."
            ),
            "; update the server; generation 1 keeps serving",
        ]);
        assert!(line.contains("WARN"), "{line}");
    }

    for (kind, open) in KINDS.iter().zip(&mut open) {
        assert_eq!(open.ask("still there?"), "still there?", "{kind}");
        let mut new = server.connect(&format!("/{kind}"));
        assert_eq!(new.ask("still served?"), "still served?", "{kind}");
    }
}

#[test]
fn a_golden_plugin_that_knows_a_newer_minor_and_needs_none_is_served() {
    let site = Site::empty();
    for kind in KINDS {
        let newer = Patch::of_file(&golden(kind)).number(patch::ABI_MINOR, 999);
        site.add_bytes(&newer.into_bytes(), &format!("{kind}_wsh.so"));
    }
    let server = Server::start(&site);

    for kind in KINDS {
        let mut client = server.connect(&format!("/{kind}"));
        assert_eq!(client.ask("hello"), "hello", "{kind}");
    }
}

#[test]
fn sessions_move_from_a_golden_plugin_to_newer_builds_and_back_where_their_state_is_read() {
    for [kind, same, next] in WITH_STATE {
        let golden = fs::read(golden(kind)).expect("a golden plugin");
        let file = format!("{kind}_wsh.so");
        let newer = Patch::of(same).replace("build-0001", "build-0002");
        let newest = Patch::of(next)
            .replace("build-0001", "build-0003")
            .number(patch::SCHEMA, 2)
            .number(patch::SCHEMA_MIN, 1);
        let site = Site::empty();
        site.add_bytes(&golden, &file);
        let server = Server::start(&site);
        let mut client = server.connect(&format!("/{kind}"));
        assert_eq!(client.ask("0"), "0 build-0001 0");

        for (generation, bytes, answer) in [
            (2, &newer.into_bytes(), "1 build-0002 1"),
            (3, &golden, "2 build-0001 2"),
            (4, &newest.into_bytes(), "3 build-0003 3"),
        ] {
            site.add_bytes(bytes, &file);
            let number = format!("generation={generation}");
            server.line(&["sessions moved", &number, "moved=1 drained=0 refused=0"]);
            assert_eq!(client.ask(&(generation - 1).to_string()), answer, "{kind}");
        }

        // The golden code does not read the newest schema, so it gets new sessions only.
        site.add_bytes(&golden, &file);
        let number = "generation=5";
        server.line(&["sessions moved", number, "moved=0 drained=1 refused=0"]);
        server.line(&[
            "sessions stay on the old code",
            "generation=4",
            "the old code writes state of schema 2, the new code reads 1 to 1",
        ]);
        assert_eq!(client.ask("4"), "4 build-0003 3", "{kind}");
        let mut new = server.connect(&format!("/{kind}"));
        assert_eq!(new.ask("0"), "0 build-0001 0", "{kind}");
    }
}

#[test]
fn what_a_golden_session_has_open_goes_on_in_newer_builds() {
    let site = Site::empty();
    for [kind, ..] in WITH_STATE {
        let bytes = fs::read(golden(kind)).expect("a golden plugin");
        site.add_bytes(&bytes, &format!("{kind}_wsh.so"));
    }
    let server = Server::start(&site);
    let mut event = server.connect("/state?room=tea&tick_ms=20");
    let mut waiting = server.connect("/async_state");
    waiting.send("tick");
    waiting.send("join tea");

    for [kind, same, _] in WITH_STATE {
        let newer = Patch::of(same).replace("build-0001", "build-0002");
        site.add_bytes(&newer.into_bytes(), &format!("{kind}_wsh.so"));
        let handler = format!("handler={kind} ");
        server.line(&["sessions moved", &handler, "moved=1 drained=0 refused=0"]);
    }

    for (client, publication) in [(&mut event, "publish"), (&mut waiting, "publish tea")] {
        client.send(format!("{publication} news"));
        let (mut ticks, mut has_news, mut has_ticked) = (0, false, false);
        while !(has_news && has_ticked) {
            let text = client.text();
            if text.starts_with("joined") {
                continue;
            }
            if text == "news news" {
                has_news = true;
                continue;
            }
            let (tick, build) = text.rsplit_once(' ').expect("a tick");
            assert_eq!(tick, format!("tick {ticks}"));
            ticks += 1;
            has_ticked = build == "build-0002";
        }
    }
}
