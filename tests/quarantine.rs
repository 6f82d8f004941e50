//! A handler that fails too often is out of service for a while, and is let back in a little at a time.

use std::time::{Duration, Instant};

use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::{Site, library};
use crate::harness::within;

/// Starts a server of `panics_wsh` whose quarantine begins with this pause. Returns an open session of it as well.
fn quarantined(pause_ms: u64) -> (Site, Server, crate::harness::client::Client) {
    let site = Site::with(&["panics_wsh", "echo_wsh"]);
    let config = format!("[handler.panics]\nquarantine_ms = {pause_ms}\n");
    site.write("config.toml", &config);
    let server = Server::start(&site);
    let open = server.connect("/panics");
    for _ in 0..5 {
        panic(&server);
    }
    server.line(&[
        "handler quarantined: it had `panics_max` panics within `panics_window_ms`; after `quarantine_ms`",
        "handler=panics",
    ]);
    (site, server, open)
}

/// Opens a session that panics.
#[track_caller]
fn panic(server: &Server) {
    let mut client = server.connect("/panics?in=message");
    client.send("now");
    assert_eq!(client.close_code(), 1011);
}

/// Returns the status of a new handshake, and its `Retry-After` in seconds.
#[track_caller]
fn handshake(server: &Server) -> (u16, Option<u64>) {
    let answer = server.exchange(opening("/panics", "").as_bytes());
    let after = answer.split("Retry-After: ").nth(1);
    let after = after.and_then(|after| after.split("\r\n").next());
    let after = after.map(|after| after.parse().expect("a number of seconds"));
    (status_of(&answer), after)
}

/// Returns the serving generation in the list of handlers.
#[track_caller]
fn listed(server: &Server) -> serde_json::Value {
    let listing = server.listing();
    let mut handlers = listing.as_array().expect("a list").iter();
    let panics = handlers.find(|it| it["name"] == "panics");
    panics.expect("it is there")["generations"][0].clone()
}

/// Asserts that a new handshake gets 503 and a time to come back: after `first` seconds, or up to nine later.
#[track_caller]
fn is_refused_for(server: &Server, first: u64) {
    let (status, after) = handshake(server);
    assert_eq!(status, 503);
    let after = after.expect("a time");
    assert!((first..first + 10).contains(&after), "{after}");
}

#[test]
fn a_quarantined_handler_is_let_back_in_by_one_session_and_then_more() {
    let (_site, server, mut open) = quarantined(1_100);
    let began = Instant::now();

    is_refused_for(&server, 2);
    let seen = listed(&server);
    assert_eq!(seen["state"], "quarantined");
    assert_eq!(seen["panics"], 5);
    let next = seen["next_try_ms"].as_u64().expect("a time");
    assert!((1..=1_100).contains(&next), "{seen}");
    assert_eq!(open.ask("still there?"), "still there?");

    within(Duration::from_secs(3), "one is let in", || {
        handshake(&server).0 == 101
    });
    assert!(began.elapsed() > Duration::from_millis(900));
    is_refused_for(&server, 1);
    assert_eq!(listed(&server)["state"], "half_open");
    server.line(&["quarantined handler is tried", "handler=panics"]);

    within(Duration::from_secs(3), "two more are let in", || {
        handshake(&server).0 == 101
    });
    assert_eq!(handshake(&server).0, 101);
    assert_eq!(handshake(&server).0, 503);
    assert_eq!(open.ask("still there?"), "still there?");
}

#[test]
fn a_handler_that_panics_while_it_is_tried_waits_twice_as_long() {
    let (site, server, mut open) = quarantined(300);

    std::thread::sleep(Duration::from_millis(310));
    panic(&server);
    server.line(&["handler quarantined again", "pause_ms=600"]);
    assert_eq!(handshake(&server).0, 503);
    std::thread::sleep(Duration::from_millis(610));
    panic(&server);
    server.line(&["handler quarantined again", "pause_ms=1200"]);

    assert_eq!(listed(&server)["panics"], 7);
    assert_eq!(open.ask("still there?"), "still there?");
    assert_eq!(server.handshake_status("/echo"), 101);
    // A new file begins without quarantine.
    site.add("echo_wsh", "panics_wsh.so");
    within(Duration::from_secs(5), "the new file serves", || {
        server.handshake_status("/panics") == 101
    });
    // The list follows the table of routes.
    within(Duration::from_secs(5), "the list says so", || {
        listed(&server)["state"] == "serving"
    });
}

#[test]
fn a_handler_that_panics_no_more_is_back_in_service_and_the_log_says_so() {
    let (_site, server, _open) = quarantined(1);

    within(Duration::from_secs(20), "all are let in", || {
        let is_in = handshake(&server).0 == 101;
        std::thread::sleep(Duration::from_millis(20));
        is_in && listed(&server)["state"] == "serving"
    });

    server.line(&["handler is in service again", "handler=panics"]);
    for _ in 0..40 {
        assert_eq!(handshake(&server).0, 101);
    }
}

#[test]
fn a_kept_message_whose_envelope_panics_costs_no_session_that_joins() {
    let site = Site::with(&["panics_wsh"]);
    site.write(
        "config.toml",
        "[topics.\"panics/*\"]\nhistory = { count = 100 }\n",
    );
    let server = Server::start(&site);
    let mut early = server.connect("/panics?join");
    early.send("publish panics");
    early.send("publish fine");
    let told = |server: &Server| {
        let parts = ["callback failed", "callback=\"envelope\"", "it panicked"];
        server.count_lines(&parts)
    };
    let mut came: Vec<String> = (0..4).map(|_| early.text()).collect();
    came.sort();
    assert_eq!(
        came,
        ["it is fine", "panics", "publish fine", "publish panics"]
    );
    server.line(&["callback failed", "topic=\"room\"", "position="]);

    for _ in 0..12 {
        let mut late = server.connect("/panics?join");
        assert_eq!([late.text(), late.text()], ["panics", "it is fine"]);
    }
    let seen = listed(&server);
    assert_eq!(
        (&seen["state"], &seen["panics"]),
        (&"serving".into(), &1.into())
    );
    assert_eq!(told(&server), 1);

    // Newer code tries it once.
    let mut newer = std::fs::read(library("panics_wsh")).unwrap();
    newer.push(0);
    site.add_bytes(&newer, "panics_wsh.so");
    server.line(&["handler loaded", "handler=\"panics\"", "generation=2"]);
    for _ in 0..12 {
        let mut late = server.connect("/panics?join");
        assert_eq!([late.text(), late.text()], ["panics", "it is fine"]);
    }
    assert_eq!(
        (&listed(&server)["state"], &listed(&server)["panics"]),
        (&"serving".into(), &0.into())
    );
    assert_eq!(told(&server), 2);
}
