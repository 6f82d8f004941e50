//! A server that is reloaded for weeks. What a retired generation leaves behind is bounded, or a load is refused before it
//! would end the server.
//!
//! `WSHD_LONG=1 cargo test -p wshd --test integration lasting -- --nocapture` replaces handlers 1,200 times and says what
//! a retired generation costs.

use crate::harness::compile::compile;
use crate::harness::patch::Patch;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

/// The memory, mappings and threads of a server at one moment.
#[derive(Clone, Copy)]
struct Held {
    rss_kib: u64,
    mappings: u64,
}

impl Held {
    fn by(server: &Server) -> Held {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid()));
        Held {
            rss_kib: server.proc_status("VmRSS"),
            mappings: maps.expect("the server runs").lines().count() as u64,
        }
    }

    /// Prints what each of `generations` has added since `before`. Returns the KiB of it.
    fn report(self, what: &str, before: Held, generations: u64) -> f64 {
        let rss = self.rss_kib.saturating_sub(before.rss_kib) as f64 / generations as f64;
        let mappings = self.mappings.saturating_sub(before.mappings) as f64 / generations as f64;
        eprintln!("{what}: {rss:.0} KiB resident and {mappings:.2} mappings a generation");
        rss
    }
}

fn version(plugin: &str, number: u64) -> (String, Vec<u8>) {
    let version = format!("version-{number:04}");
    let library = Patch::of(plugin).replace("version-0001", &version);
    (version, library.into_bytes())
}

/// Replaces a handler `count` times, each time with a session that ends.
#[track_caller]
fn replace(site: &Site, server: &Server, plugin: &str, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let (version, library) = version(plugin, number);
        site.add_bytes(&library, "kept_wsh.so");
        eventually(&format!("{version} serves"), || {
            let mut client = server.connect("/kept");
            let answer = client.ask("which?");
            assert_eq!(client.close(1000), 1000);
            answer == version
        });
    }
}

#[test]
fn generations_of_a_blocking_handler_give_their_thread_keys_back() {
    assert_gives_keys_back("blocking_version_wsh");
}

#[test]
fn generations_whose_threads_have_ended_give_their_thread_keys_back() {
    assert_gives_keys_back("threads_wsh");
}

/// Asserts that each generation but the last gives its key back when it is retired.
fn assert_gives_keys_back(plugin: &str) {
    let replacements = if is_long() { 1_200 } else { 10 };
    let site = Site::empty();
    site.add(plugin, "kept_wsh.so");
    let server = Server::start(&site);
    replace(&site, &server, plugin, 2..=5);
    let before = Held::by(&server);

    replace(&site, &server, plugin, 6..=replacements);

    Held::by(&server).report(plugin, before, replacements - 5);
    let given_back = ["thread keys given back", "handler=kept", "keys=1"];
    eventually("all but the last gave back", || {
        server.count_lines(&given_back) as u64 == replacements - 1
    });
    assert_eq!(server.count_lines(&["plugin refused"]), 0);
}

#[test]
fn a_handler_with_threads_of_its_own_keeps_its_keys_and_is_refused_before_they_run_out() {
    let plugin = "own_threads_wsh";
    let site = Site::empty();
    site.add(plugin, "kept_wsh.so");
    let server = Server::start(&site);
    if !is_long() {
        replace(&site, &server, plugin, 2..=5);
        assert_eq!(server.count_lines(&["thread keys given back"]), 0);
        return;
    }

    let before = Held::by(&server);
    let refused =
        ["cannot load `kept_wsh.so`: fewer than 64 of the process's thread keys are left"];
    let mut number = 1;
    while server.find_line(&refused).is_none() {
        number += 1;
        assert!(number <= 1_200, "the keys ran out unseen");
        let (version, library) = version(plugin, number);
        site.add_bytes(&library, "kept_wsh.so");
        eventually("it serves or is refused", || {
            server.find_line(&refused).is_some() || server.connect("/kept").ask("which?") == version
        });
    }
    eprintln!("{plugin}: refused at generation {number}");
    Held::by(&server).report(plugin, before, number - 1);

    let last = format!("version-{:04}", number - 1);
    assert_eq!(server.connect("/kept").ask("which?"), last);
}

/// The first backtrace in a library reads the symbols of every mapped library, and keeps them. Therefore a plugin takes no
/// backtrace, even if the environment asks for one.
#[test]
fn a_panic_in_each_generation_costs_less_than_a_mebibyte_also_when_backtraces_are_asked_for() {
    let generations = if is_long() { 150 } else { 15 };
    let site = Site::empty();
    site.add("versioned_wsh", "kept_wsh.so");
    let server = Server::builder(&site).env("RUST_BACKTRACE", "1").start();
    let panic = |number: u64| {
        let (version, library) = version("versioned_wsh", number);
        site.add_bytes(&library, "kept_wsh.so");
        eventually(&format!("{version} serves"), || {
            server.connect("/kept").ask("which?") == version
        });
        let mut client = server.connect("/kept");
        client.send("panic");
        assert_eq!(client.close_code(), 1011);
    };
    for number in 2..=5 {
        panic(number);
    }
    let before = Held::by(&server);

    for number in 6..6 + generations {
        panic(number);
    }

    let each = Held::by(&server).report("one panic in each", before, generations);
    assert!(each < 1024.0, "{each} KiB a generation");
    let panics = usize::try_from(4 + generations).expect("a few");
    server.says(&["on purpose, in message", "handler=\"kept\""], panics);
}

#[test]
fn more_thread_keys_than_a_process_has_are_taken_and_given_back() {
    let site = Site::empty();
    let library = compile("tests/fixtures/c/takes_keys.c", &["-DMINE", "-DKEYS=100"]);
    let server = Server::start(&site);

    for number in 1..=15_u8 {
        // Bytes behind the tables of a library are no part of it, and make another file of it.
        let other = [&library[..], &[number]].concat();
        site.add_bytes(&other, "keys_wsh.so");
        let generation = format!("generation={number}");
        server.line(&["handler loaded", "handler=\"keys\"", &generation]);
        if number > 1 {
            let older = format!("generation={}", number - 1);
            server.line(&["thread keys given back", "handler=keys", &older, "keys=100"]);
        }
    }

    assert_eq!(server.connect("/keys").ask("hello"), "hello");
    assert_eq!(server.count_lines(&["plugin refused"]), 0);
}

#[test]
fn a_load_is_refused_while_too_few_thread_keys_are_left() {
    let site = Site::with(&["echo_wsh"]);
    let library = compile("tests/fixtures/c/takes_keys.c", &["-DKEYS=980"]);
    let server = Server::start(&site);
    site.add_bytes(&library, "keys_wsh.so");
    server.line(&["handler loaded", "handler=\"keys\""]);

    site.add("versioned_wsh", "versioned_wsh.so");

    server.line(&[
        "cannot load `versioned_wsh.so`: fewer than 64 of the process's thread keys are left, \
         and running out of them would end the server; restart it",
    ]);
    for path in ["/echo", "/keys"] {
        assert_eq!(server.connect(path).ask("hello"), "hello", "{path}");
    }
}
