//! Sessions that stay on old code finish, close, or end at a deadline. They are listed until then.

use crate::harness::client::{Client, Raw};
use crate::harness::eventually;
use crate::harness::patch::{build_again, build_name};
use crate::harness::server::{Server, opening};
use crate::harness::site::Site;
use crate::migration::answered;

/// What is logged when sessions close for newer generations.
const TOO_MANY: &str =
    "more generations than `generations_max` have sessions, the oldest sessions close";

#[test]
fn a_handler_that_closes_sends_its_sessions_away_with_1012_and_they_come_back_to_the_new_code() {
    let site = Site::with(&["ledger_wsh"]);
    site.write("config.toml", "[handler.ledger]\nreload = \"close\"\n");
    let server = Server::start(&site);
    let gate = site.root().join("gate");
    let mut late = Raw {
        stream: server.raw(),
    };
    let wait = format!("/ledger?wait={}", gate.display());
    late.send(opening(&wait, "").as_bytes());
    eventually("the handshake is under way", || {
        server.sessions("ledger") == 1
    });
    let mut clients: Vec<Client> = (0..20).map(|_| server.connect("/ledger")).collect();

    site.add_bytes(&build_again("ledger_wsh", 2), "ledger_wsh.so");

    for client in &mut clients {
        assert_eq!(client.close_code(), 1012);
    }
    let mut back = server.connect("/ledger");
    assert_eq!(answered(&mut back, 0), (build_name(2), 0));
    // A session that was in the middle of the handshake is told as soon as it is over.
    site.write("gate", "");
    late.skip_head();
    assert_eq!(late.close_code(), 1012);
    server.line(&["generation retired", "generation=1"]);
}

#[test]
fn a_handler_that_drains_lets_its_sessions_be_until_the_deadline() {
    let site = Site::with(&["ledger_wsh"]);
    let drain = "reload = \"drain\"\n[handler.ledger]\ndrain_timeout_s = 1\n";
    site.write("config.toml", drain);
    let server = Server::start(&site);
    let mut client = server.connect("/ledger");

    site.add_bytes(&build_again("ledger_wsh", 2), "ledger_wsh.so");
    server.line(&["handler loaded", "generation=2"]);
    assert_eq!(answered(&mut client, 0), (build_name(1), 0));

    assert_eq!(client.close_code(), 1012);
    server.line(&[
        "`drain_timeout_s` is over, the sessions of an old generation close",
        "handler=ledger generation=1 sessions=1",
    ]);
    server.line(&["generation retired", "generation=1"]);
    assert_eq!(server.count_lines(&["sessions moved"]), 0);
}

#[test]
fn of_too_many_generations_the_oldest_sessions_close_and_those_that_can_move_stay() {
    let site = Site::empty();
    site.write("config.toml", "[handler.troubled]\ngenerations_max = 2\n");
    site.add_bytes(&build_again("troubled_wsh", 1), "troubled_wsh.so");
    let server = Server::start(&site);
    let mut calm = server.connect("/troubled");
    let mut busy = Vec::new();
    for generation in 1..=3 {
        let mut client = server.connect("/troubled");
        assert_eq!(client.ask("busy"), format!("build-000{generation} 1"));
        assert_eq!(
            calm.ask("calm"),
            format!("build-000{generation} {generation}")
        );
        busy.push(client);
        let next = build_again("troubled_wsh", generation + 1);
        site.add_bytes(&next, "troubled_wsh.so");
        let generation = format!("generation={}", generation + 1);
        server.line(&["sessions moved", &generation, "moved=1 "]);
    }

    assert_eq!(busy[0].close_code(), 1012);
    assert_eq!(busy[1].close_code(), 1012);
    assert_eq!(busy[2].ask("busy"), "build-0003 2");
    assert_eq!(calm.ask("calm"), "build-0004 4");
    let told = server.count_lines(&[TOO_MANY]);
    assert_eq!(told, 2, "{}", server.log());
}

#[test]
fn sessions_that_are_late_to_move_are_not_overtaken_by_ever_more_generations() {
    let site = Site::empty();
    site.write("config.toml", "[handler.troubled]\ngenerations_max = 2\n");
    site.add_bytes(&build_again("troubled_wsh", 1), "troubled_wsh.so");
    let server = Server::start(&site);

    // Each session is in a callback while newer code comes, and again newer code.
    let mut slow = Vec::new();
    for generation in 1..=4 {
        let mut client = server.connect("/troubled");
        client.send("slow");
        slow.push(client);
        let next = build_again("troubled_wsh", generation + 1);
        site.add_bytes(&next, "troubled_wsh.so");
        let generation = format!("generation={}", generation + 1);
        server.line(&["handler loaded", &generation]);
    }

    for (client, build) in slow.iter_mut().zip(1..) {
        assert_eq!(client.text(), format!("{} 1", build_name(build)));
        eventually("the session has moved", || {
            client.ask("calm").starts_with("build-0005 ")
        });
    }
    let told = server.count_lines(&[TOO_MANY]);
    assert_eq!(told, 0, "{}", server.log());
}

#[test]
fn the_list_of_handlers_shows_every_generation_and_the_last_refusal() {
    let site = Site::empty();
    site.add_bytes(&build_again("troubled_wsh", 1), "troubled_wsh.so");
    let server = Server::start(&site);
    let mut busy = server.connect("/troubled");
    busy.ask("busy");
    let mut calm = server.connect("/troubled");
    calm.ask("calm");

    site.add_bytes(&build_again("troubled_wsh", 2), "troubled_wsh.so");
    server.line(&["sessions moved", "moved=1 drained=1 refused=0"]);
    site.add_bytes(b"#!/bin/sh\n", "troubled_wsh.so");
    server.line(&["plugin refused"]);

    eventually("the list says so", || {
        let troubled = &server.listing()[0];
        let refusal = troubled["refusal"].as_str().unwrap_or_default();
        refusal.contains("it is not a shared library")
            && refusal.ends_with("generation 2 keeps serving")
    });
    let troubled = &server.listing()[0];
    assert_eq!(troubled["path"], "/troubled");
    assert_eq!(troubled["generation"], 2);
    assert_eq!(troubled["sessions"], 2, "on both");
    let [newest, old] = &troubled["generations"].as_array().expect("a list")[..] else {
        panic!("two generations: {troubled}");
    };
    for (generation, number, state) in [(newest, 2, "serving"), (old, 1, "draining")] {
        assert_eq!(generation["number"], number);
        assert_eq!(generation["state"], state);
        assert_eq!(generation["sessions"], 1);
        assert_eq!(generation["version"], env!("CARGO_PKG_VERSION"));
        let toolchain = generation["toolchain"].as_str().expect("text");
        assert!(toolchain.starts_with("rustc "), "{toolchain}");
    }
    assert_ne!(newest["file_hash"], old["file_hash"]);

    assert_eq!(busy.close(1000), 1000);
    // The list shows the end of a session at once.
    server.line(&["generation retired", "generation=1"]);
    let troubled = &server.listing()[0];
    assert_eq!(troubled["retired"], 1);
    assert_eq!(troubled["generations"].as_array().map(Vec::len), Some(1));
}
