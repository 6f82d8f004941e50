//! Which callbacks a plugin gets, and in which order, from the first handshake to its `shutdown`.

use std::io::{Read, Write};

use crate::harness::client::Raw;
use crate::harness::compile::compile;
use crate::harness::is_long;
use crate::harness::server::{Server, opening, status_of};
use crate::harness::site::Site;

/// Compiles the handler of `tests/fixtures/c/lives.c` with these options.
fn lives(options: &[&str]) -> Vec<u8> {
    compile("tests/fixtures/c/lives.c", options)
}

/// Makes another file of the library, with equal code.
fn again(library: &[u8], number: u8) -> Vec<u8> {
    [library, &[number]].concat()
}

/// Begins a handshake that its handler does not answer.
fn pending(server: &Server, path: &str) -> std::net::TcpStream {
    let before = server.count_lines(&["handshake pending"]);
    let mut peer = server.raw();
    peer.write_all(opening(&format!("{path}?later"), "").as_bytes())
        .expect("sending a handshake");
    crate::harness::eventually("the handler says PENDING", || {
        server.count_lines(&["handshake pending"]) > before
    });
    peer
}

#[test]
fn the_last_handshake_of_an_old_generation_is_abandoned_before_that_is_shut_down() {
    let site = Site::empty();
    let library = lives(&[]);
    site.add_bytes(&library, "lives_wsh.so");
    let server = Server::start(&site);
    let rounds = if is_long() { 40 } else { 8 };

    for round in 1..=rounds {
        let peer = pending(&server, "/lives");
        site.add_bytes(&again(&library, round), "lives_wsh.so");
        server.line(&["handler loaded", &format!("generation={}", round + 1)]);
        drop(peer);
        server.line(&["generation retired", &format!("generation={round} ")]);
    }

    server.says(&["abandon in time"], usize::from(rounds));
    assert_eq!(server.count_lines(&["after shutdown"]), 0);
}

#[test]
fn a_refused_handshake_and_a_session_are_freed_before_their_old_generation_is_shut_down() {
    let site = Site::empty();
    let library = lives(&[]);
    site.add_bytes(&library, "lives_wsh.so");
    let server = Server::start(&site);

    // The last on its generation is refused by its handler.
    let mut peer = pending(&server, "/lives");
    let mut session = server.connect("/lives");
    assert_eq!(session.text(), "open");
    site.add_bytes(&again(&library, 1), "lives_wsh.so");
    server.line(&["handler loaded", "generation=2"]);
    session.send("reject");
    drop(session);
    assert_eq!(status(&mut peer), 403);

    server.line(&["generation retired", "generation=1 "]);
    assert_eq!(server.count_lines(&["destroy in time"]), 1);
    assert_eq!(
        server.count_lines(&["after shutdown"]),
        0,
        "{}",
        server.log()
    );
}

/// Waits for the status of a handshake.
#[track_caller]
fn status(peer: &mut std::net::TcpStream) -> u16 {
    let mut answer = [0; 12];
    peer.read_exact(&mut answer).expect("an answer");
    status_of(&String::from_utf8_lossy(&answer))
}

#[test]
fn what_is_sent_to_a_pending_handshake_comes_after_its_open() {
    let site = Site::empty();
    site.add_bytes(&lives(&[]), "lives_wsh.so");
    let server = Server::start(&site);
    let mut other = server.connect("/lives");
    assert_eq!(other.text(), "open");
    let stream = pending(&server, "/lives");

    for ask in ["send one", "wake", "send two", "wake", "accept"] {
        assert_eq!(other.ask(ask), "0", "{ask}");
    }

    let mut raw = Raw { stream };
    raw.skip_head();
    for text in ["open", "one", "two"] {
        assert_eq!(raw.frame(), Some((0x81, text.into())));
    }
}

#[test]
fn a_pending_handshake_that_is_closed_by_its_id_is_refused_and_then_gone() {
    let site = Site::empty();
    site.add_bytes(&lives(&[]), "lives_wsh.so");
    let server = Server::start(&site);
    let mut other = server.connect("/lives");
    assert_eq!(other.text(), "open");

    for (code, wanted) in [(1008, 403), (4000, 403), (1012, 503), (1013, 503)] {
        let abandoned = server.count_lines(&["abandon in time"]);
        let mut peer = pending(&server, "/lives");
        assert_eq!(other.ask("send never to be seen"), "0");
        assert_eq!(other.ask(&format!("close {code}")), "0");

        assert_eq!(status(&mut peer), wanted, "{code}");
        // GONE, as for a session that is over.
        for ask in ["wake", "send more", "close 1000"] {
            assert_eq!(other.ask(ask), "-3", "{ask}");
        }
        server.says(&["abandon in time"], abandoned + 1);
    }
}

#[test]
fn a_pending_handshake_has_its_time_when_its_generation_closes_and_its_session_closes_at_once() {
    let site = Site::empty();
    site.write("config.toml", "[handler.lives]\nreload = \"close\"\n");
    let library = lives(&[]);
    site.add_bytes(&library, "lives_wsh.so");
    let server = Server::start(&site);
    let mut other = server.connect("/lives");
    assert_eq!(other.text(), "open");
    let stream = pending(&server, "/lives");
    other.send("accept in 300 ms");

    site.add_bytes(&again(&library, 1), "lives_wsh.so");

    assert_eq!(other.close_code(), 1012);
    let mut raw = Raw { stream };
    raw.skip_head();
    assert_eq!(raw.close_code(), 1012);
    server.line(&["generation retired", "generation=1 "]);
}

#[test]
fn an_old_generation_ends_although_the_new_code_never_returns_from_serving() {
    let site = Site::empty();
    site.add_bytes(&lives(&[]), "lives_wsh.so");
    let server = Server::start(&site);
    let mut old = server.connect("/lives");
    assert_eq!(old.text(), "open");

    site.add_bytes(&lives(&["-DHANGS_IN_SERVING=1"]), "lives_wsh.so");
    server.line(&["serving hangs"]);

    server.line(&["serving no more in time"]);
    let mut new = server.connect("/lives");
    assert_eq!(new.text(), "open");
    assert_eq!(new.ask("hello"), "hello");
    assert_eq!(old.ask("hello"), "hello");
    drop(old);
    server.line(&["generation retired", "generation=1 "]);
}

#[test]
fn calls_that_never_return_keep_no_other_generation_from_its_end_nor_the_server() {
    let site = Site::empty();
    site.write("config.toml", "[limits]\ninit_timeout_ms = 1000\n");
    let hangs = lives(&["-DHANGS_IN_SERVING=0"]);
    for number in 0..6 {
        site.add_bytes(&hangs, &format!("hangs{number}_wsh.so"));
    }
    let library = lives(&[]);
    site.add_bytes(&library, "lives_wsh.so");
    let mut server = Server::start(&site);

    for number in 0..6 {
        std::fs::remove_file(site.handlers().join(format!("hangs{number}_wsh.so")))
            .expect("it is there");
    }
    crate::harness::eventually("all six hang", || {
        server.count_lines(&["serving hangs"]) == 6
    });
    site.add_bytes(&again(&library, 1), "lives_wsh.so");

    server.line(&["generation retired", "handler=lives", "generation=1 "]);
    server.line(&[
        "callback has not returned within `init_timeout_ms`",
        "handler=\"hangs3\"",
        "serving",
    ]);
    server.signal("TERM");
    server.wait(std::time::Duration::from_secs(8));
    assert_eq!(
        server.count_lines(&["shutdown in time"]),
        2,
        "of `lives`, both"
    );
}

#[test]
fn a_plugin_whose_init_returns_while_the_server_stops_is_shut_down() {
    let site = Site::empty();
    site.write("config.toml", "trial = \"never\"\n");
    let mut server = Server::start(&site);
    site.add_bytes(&lives(&["-DINIT_MS=400"]), "lives_wsh.so");
    server.line(&["init takes its time"]);

    server.signal("TERM");

    server.wait(std::time::Duration::from_secs(8));
    assert_eq!(
        server.count_lines(&["shutdown in time"]),
        1,
        "{}",
        server.log()
    );
    assert_eq!(server.count_lines(&["handler loaded"]), 0);
}

#[test]
fn a_plugin_whose_init_returns_after_it_was_given_up_is_shut_down() {
    let site = Site::empty();
    site.write(
        "config.toml",
        "trial = \"never\"\n[limits]\ninit_timeout_ms = 100\n",
    );
    let server = Server::start(&site);

    site.add_bytes(&lives(&["-DINIT_MS=900"]), "lives_wsh.so");

    server.line(&["plugin refused", "`init` did not return"]);
    server.line(&["shutdown in time"]);
    assert_eq!(server.handshake_status("/lives"), 503);
}

#[test]
fn a_panic_on_the_control_road_ends_neither_the_road_nor_a_wait_for_it() {
    let site = Site::empty();
    let config = wshd::config::Config {
        listen: vec![wshd::config::Endpoint::Plain(([127, 0, 0, 1], 0).into())],
        handlers_dir: site.handlers(),
        ..Default::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let entered = runtime.enter();
    let reread = Box::new(|| panic!("on purpose"));
    let serving =
        wshd::serve::Serving::start(config, reread, None, Vec::new(), false).expect("it starts");
    let control = serving.control();

    control.reread();
    assert_eq!(control.rescan(), Vec::new());
    site.add_bytes(b"no library", "bad_wsh.so");
    let changes = control.rescan();

    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].outcome.is_err());
    drop(entered);
    // The server stops as well.
    runtime.block_on(serving.run(async { wshd::serve::StopReason::Told }));
    // On one processor a worker rests until the process ends, as a reserve, and the end of a runtime waits for its workers.
    runtime.shutdown_background();
}

#[test]
fn an_abandon_that_takes_long_is_named_and_holds_up_no_other_session() {
    let site = Site::empty();
    site.add_bytes(&lives(&["-DABANDON_MS=1300"]), "lives_wsh.so");
    let server = Server::start(&site);
    let mut others: Vec<_> = (0..8).map(|_| server.connect("/lives")).collect();
    for other in &mut others {
        assert_eq!(other.text(), "open");
    }

    drop(pending(&server, "/lives"));

    let began = std::time::Instant::now();
    for other in &mut others {
        assert_eq!(other.ask("hello"), "hello");
    }
    assert!(began.elapsed() < std::time::Duration::from_millis(1000));
    server.line(&["past its budget", "callback=\"abandon\""]);
}

#[test]
fn the_words_of_a_failure_are_told_of_that_callback_only() {
    let site = Site::empty();
    let library = lives(&[]);
    for file in ["lives_wsh.so", "other_wsh.so"] {
        site.add_bytes(&library, file);
    }
    let server = Server::start(&site);
    // Enough sessions that each thread that makes calls has been given words.
    for _ in 0..40 {
        let mut speaker = server.connect("/lives");
        assert_eq!(speaker.text(), "open");
        speaker.send("says why");
        assert_eq!(speaker.ask("done"), "done");
    }
    for path in ["/lives", "/other"] {
        let mut silent = server.connect(path);
        assert_eq!(silent.text(), "open");
        silent.send("fails");
        assert_eq!(silent.close_code(), 1011);
    }
    let mut speaker = server.connect("/other");
    speaker.send("fails and says why");
    assert_eq!(speaker.close_code(), 1011);

    server.line(&["callback failed", "handler=\"other\"", "out of luck"]);
    assert_eq!(
        server.count_lines(&["callback failed", "`ERROR` (-1)"]),
        2,
        "{}",
        server.log()
    );
    assert_eq!(server.count_lines(&["the words of"]), 0, "{}", server.log());
}

#[test]
fn a_session_that_ended_while_its_handler_held_the_workers_is_told_so_once_and_later() {
    let site = Site::empty();
    site.add_bytes(&lives(&[]), "lives_wsh.so");
    let server = Server::start(&site);
    let idle = server.connect("/lives");
    let workers = 2 * (std::thread::available_parallelism().map_or(1, usize::from) + 2);
    let mut asleep: Vec<_> = (0..workers).map(|_| server.connect("/lives")).collect();
    for client in &mut asleep {
        assert_eq!(client.text(), "open");
        client.send("sleep");
    }
    server.line(&["its callbacks hold the workers", "handler=lives"]);

    drop(idle);
    server.line(&["session closed", "session=1 "]);
    assert_eq!(server.count_lines(&["closed with"]), 0, "{}", server.log());

    for client in &mut asleep {
        assert_eq!(client.ask("awake"), "awake");
    }
    server.says(&["closed with 1006 in time"], 1);
    server.says(&["destroy in time"], 1);
}
