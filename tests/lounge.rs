//! History, members and kept values, as a handler in Rust has them on a running server.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::eventually;
use crate::harness::patch::{build, build_name};
use crate::harness::server::Server;
use crate::harness::site::Site;

const TOPICS: &str = "[topics.\"lounge/*\"]\nhistory = { count = 1000 }\n";

fn start() -> (Site, Server) {
    let site = Site::empty();
    site.add_bytes(&build("lounge_wsh", 1), "lounge_wsh.so");
    site.write("config.toml", TOPICS);
    let server = Server::start(&site);
    (site, server)
}

/// Replaces the handler by another build, and waits until its sessions have moved.
fn replace(site: &Site, server: &Server, number: u32) {
    site.add_bytes(&build("lounge_wsh", number), "lounge_wsh.so");
    server.line(&["sessions moved", &format!("generation={number}")]);
}

fn enter(server: &Server, name: &str) -> Client {
    let mut guest = server.connect(&format!("/lounge?name={name}"));
    read_until(&mut guest, "welcome");
    guest
}

/// Reads until a message begins so; returns the messages before it, and the message.
fn read_until(client: &mut Client, beginning: &str) -> (Vec<String>, String) {
    let mut before = Vec::new();
    loop {
        let text = client.text();
        if text.starts_with(beginning) {
            return (before, text);
        }
        before.push(text);
    }
}

/// `MESSAGE` of `POSITION BUILD MESSAGE`, for each message that has this form.
fn said(texts: &[String]) -> Vec<&str> {
    let of_form = texts.iter().filter(|text| text.contains(" build-"));
    of_form
        .filter_map(|text| text.splitn(3, ' ').nth(2))
        .collect()
}

#[test]
fn what_was_said_is_there_after_a_replacement_and_nothing_comes_twice() {
    let (site, server) = start();
    let mut ann = enter(&server, "ann");
    ann.send("one");
    let (mut of_ann, answer) = read_until(&mut ann, "said ");
    let seen = answer.trim_start_matches("said ").to_owned();
    ann.send("two");

    replace(&site, &server, 2);
    ann.send("three");
    ann.send("moves");
    let (before, moves) = read_until(&mut ann, "moves");
    of_ann.extend(before);
    assert_eq!(moves, format!("moves true {}", build_name(2)));

    // A guest that has seen the first message gets the rest once, in the form of the newer code.
    let mut ben = server.connect(&format!("/lounge?name=ben&seen={seen}"));
    let (mut of_ben, welcome) = read_until(&mut ben, "welcome");
    assert_eq!(welcome, "welcome true 2");
    ann.send("last");
    for (guest, texts) in [(&mut ann, &mut of_ann), (&mut ben, &mut of_ben)] {
        while said(texts).last() != Some(&"ann: last") {
            texts.push(guest.text());
        }
    }

    let all = ["ann: one", "ann: two", "ann: three", "ann: last"];
    assert_eq!(said(&of_ann), all);
    assert_eq!(said(&of_ben), all[1..]);
    let older = build_name(1);
    assert!(
        of_ben.iter().all(|text| !text.contains(&older)),
        "{of_ben:?}"
    );
}

#[test]
fn guests_over_ten_replacements_leave_no_ghost_and_none_is_missed() {
    let (site, server) = start();
    let mut guests: Vec<(String, Client)> = Vec::new();
    for number in 1..=10 {
        for of_this in 0..5 {
            let name = format!("g{number:02}-{of_this}");
            let guest = enter(&server, &name);
            guests.push((name, guest));
        }
        if number > 1 {
            replace(&site, &server, number);
        }
        // Some leave in good order, and some are lost.
        let (_, leaver) = guests.remove(0);
        drop(leaver);
        let (_, mut leaver) = guests.remove(0);
        leaver.close(1000);
    }

    let wanted: Vec<&str> = guests.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = format!("who {}", wanted.join(","));
    let mut last = enter(&server, "last");
    eventually("exactly those are here that have not left", || {
        last.send("who");
        let (_, who) = read_until(&mut last, "who ");
        who == format!("{wanted},last")
    });
}

#[test]
fn a_number_that_all_sessions_count_is_given_once() {
    let (site, server) = start();
    let mut guests: Vec<Client> = (0..10)
        .map(|at| enter(&server, &format!("g{at}")))
        .collect();

    for _ in 0..5 {
        guests.iter_mut().for_each(|guest| guest.send("count"));
    }
    replace(&site, &server, 2);
    for _ in 0..5 {
        guests.iter_mut().for_each(|guest| guest.send("count"));
    }

    let mut numbers = BTreeSet::new();
    for guest in &mut guests {
        for _ in 0..10 {
            let (_, answer) = read_until(guest, "count ");
            let number: u64 = answer
                .trim_start_matches("count ")
                .parse()
                .expect("a number");
            assert!(numbers.insert(number), "{number} came twice");
        }
    }
    assert_eq!(numbers, (1..=100).collect());
}

#[test]
fn a_thread_of_each_generation_waits_for_what_it_asks() {
    let (site, server) = start();
    server.line(&[&format!("{} is kept", build_name(1)), "generation=1"]);

    site.add_bytes(&build("lounge_wsh", 2), "lounge_wsh.so");

    let second = server.line_within(
        Duration::from_secs(10),
        &[&format!("{} is kept", build_name(2)), "generation=2"],
    );
    assert!(second.contains("version="), "{second}");
}
