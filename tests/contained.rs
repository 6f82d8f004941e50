//! What one session or one handler does wrong costs no other session anything.

use std::process::Command;
use std::time::{Duration, Instant};

use tungstenite::Message;

use crate::harness::client::Client;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

/// A server whose handlers may panic often.
fn patient() -> (Site, Server) {
    let site = Site::with(&["panics_wsh", "echo_wsh"]);
    site.write("config.toml", "[limits]\npanics_max = 1000\n");
    let server = Server::start(&site);
    (site, server)
}

/// Leads a session to the callback `name`; answers the code that it ends with.
fn provoke(server: &Server, name: &str, more: &str) -> u16 {
    let mut client = server.connect(&format!("/panics?in={name}{more}"));
    match name {
        "message" => client.send("hello"),
        "ping" => client.send(Message::Ping(Default::default())),
        "pong" => client.send(Message::Pong(Default::default())),
        "closing" | "close" | "destroy" => return client.close(1000),
        _ => {}
    }
    client.close_code()
}

#[test]
fn a_panic_in_any_callback_costs_its_own_session_only() {
    let (_site, server) = patient();
    let mut neighbour = server.connect("/panics");
    let mut other = server.connect("/echo");

    for more in ["", "&drop=1"] {
        for (name, code) in [
            ("open", 1011),
            ("message", 1011),
            ("ping", 1011),
            ("pong", 1011),
            ("drain", 1011),
            ("timer", 1011),
            ("closing", 1011),
            // The closing handshake is over when these run.
            ("close", 1000),
            ("destroy", 1000),
        ] {
            assert_eq!(provoke(&server, name, more), code, "{name}{more}");
            assert_eq!(
                neighbour.ask("still there?"),
                "still there?",
                "{name}{more}"
            );
            assert_eq!(other.ask("still there?"), "still there?", "{name}{more}");
        }
        let path = format!("/panics?in=handshake{more}");
        assert_eq!(server.handshake_status(&path), 500, "handshake{more}");
    }
    server.line(&["on purpose, in message", "handler=\"panics\""]);
}

#[test]
fn a_handler_that_panics_too_often_is_out_of_service_and_a_new_file_brings_it_back() {
    let site = Site::with(&["panics_wsh", "echo_wsh"]);
    let server = Server::start(&site);

    for _ in 0..5 {
        assert_eq!(provoke(&server, "message", ""), 1011);
    }

    server.line(&["handler quarantined", "handler=panics"]);
    assert_eq!(server.handshake_status("/panics"), 503);
    assert_eq!(server.handshake_status("/echo"), 101);
    site.add("echo_wsh", "panics_wsh.so");
    crate::harness::eventually("the new file serves", || {
        server.handshake_status("/panics") == 101
    });
}

#[test]
fn a_send_from_another_thread_after_the_end_is_answered_gone() {
    let site = Site::with(&["speaks_later_wsh"]);
    let server = Server::start(&site);
    let mut client = server.connect("/speaks_later");
    client.send("thread");
    assert_eq!(client.text(), "later");
    assert_eq!(client.text(), "later");

    assert_eq!(client.close(1000), 1000);

    server.line(&["send failed: Gone"]);
}

#[test]
fn a_peer_that_does_not_read_holds_the_outbound_limit_and_is_let_go() {
    let site = Site::with(&["speaks_later_wsh"]);
    let server = Server::start(&site);
    let mut neighbour = server.connect("/speaks_later");
    let mut slow = server.connect("/speaks_later");

    slow.send("flood");

    let line = server.line(&["flood ended: TooBig("]);
    let most = line
        .split(") after ")
        .nth(1)
        .and_then(|it| it.split(' ').next());
    let most: u64 = most.and_then(|it| it.parse().ok()).expect("a number");
    assert!((1..=1024 * 1024).contains(&most), "{most} bytes buffered");
    assert_eq!(neighbour.ask("hello"), "hello");
    assert_eq!(slow.close_code(), 1008);
}

/// Sends everything at once, and begins to read when the server can take no more.
fn echo_without_reading(config: &str, bytes: usize, count: usize) {
    let site = Site::with(&["echo_wsh"]);
    site.write("config.toml", config);
    let server = Server::start(&site);
    let mut client = server.connect("/echo");
    let payload = vec![b'x'; bytes];
    let mut writer = client.raw_writer();
    let frame = crate::harness::client_frame::frame(0x82, &payload);
    let sender = std::thread::spawn(move || {
        use std::io::Write;
        for _ in 0..count {
            writer
                .write_all(&frame)
                .expect("the server goes on reading in the end");
        }
    });

    for _ in 0..count {
        assert_eq!(client.receive().len(), payload.len());
    }
    sender.join().expect("everything was sent");
}

#[test]
fn an_echo_never_runs_over_a_peer_that_sends_without_reading() {
    // 64 MiB pass although the limit is one, and none is lost.
    echo_without_reading("", 32 * 1024, 2_000);
}

#[test]
fn an_echo_of_messages_as_large_as_the_outbound_limit_does_not_run_over_either() {
    echo_without_reading("[limits]\nmessage_bytes_max = 1048576\n", 1024 * 1024, 40);
}

#[test]
fn a_callback_that_blocks_holds_no_other_session_up_and_is_named() {
    let site = Site::with(&["speaks_later_wsh", "echo_wsh"]);
    let server = Server::start(&site);
    let mut blocked = server.connect("/speaks_later");
    let mut others: Vec<Client> = (0..20).map(|_| server.connect("/echo")).collect();

    blocked.send("block");
    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < Duration::from_millis(1500) {
        for other in &mut others {
            assert_eq!(other.ask("hello"), "hello");
        }
        rounds += 1;
    }

    assert!(
        rounds > 1,
        "every other session answered more than once meanwhile"
    );
    assert_eq!(server.connect("/echo").ask("new"), "new");
    server.line(&[
        "callback runs past its budget",
        "handler=speaks_later",
        "callback=\"message\"",
    ]);
    assert_eq!(blocked.text(), "done");
}

/// Sends `how` to so many sessions of a handler that does not return, all at once. Every other session
/// is served meanwhile.
fn get_stuck(how: &str, sessions: usize) -> (Site, Server, Vec<Client>) {
    let site = Site::with(&["stuck_wsh", "echo_wsh"]);
    // Loops for ever leave the processors to the tests beside this one.
    let server = Server::builder(&site).within(Command::new("nice")).start();
    let mut others: Vec<Client> = (0..20).map(|_| server.connect("/echo")).collect();
    let mut stuck: Vec<Client> = (0..sessions).map(|_| server.connect("/stuck")).collect();
    assert_eq!(stuck[0].ask("not yet"), "not yet");
    let before = is_long().then(|| echo_times(&mut others));

    let began = Instant::now();
    for client in &mut stuck {
        client.send(how);
    }
    for other in &mut others {
        assert_eq!(other.ask("still there?"), "still there?", "{how}");
    }
    let answered = began.elapsed();
    assert_eq!(server.connect("/echo").ask("new"), "new", "{how}");
    let parts = [
        "callback runs past its budget",
        "handler=stuck",
        "callback=\"message\"",
    ];
    server.line(&parts);
    let named = began.elapsed();
    for other in &mut others {
        assert_eq!(other.ask("and now?"), "and now?", "{how}");
    }
    if let Some([median_before, p99_before]) = before {
        let [median, p99] = echo_times(&mut others);
        eprintln!(
            "{how} in {sessions} sessions: all others answered after {answered:?}, the callback was \
             named after {named:?}; an echo took {median_before:?} before (p99 {p99_before:?}) and \
             {median:?} meanwhile (p99 {p99:?})"
        );
    }
    (site, server, stuck)
}

/// How long an echo takes on one of these after another: the median and the 99th percentile.
fn echo_times(clients: &mut [Client]) -> [Duration; 2] {
    let mut took: Vec<Duration> = (0..2_000)
        .map(|index| {
            let asked = Instant::now();
            let count = clients.len();
            clients[index % count].ask("how long?");
            asked.elapsed()
        })
        .collect();
    took.sort();
    [took[1_000], took[1_980]]
}

/// More sessions than the server has threads to run them.
fn many() -> usize {
    4 * (std::thread::available_parallelism().map_or(1, usize::from) + 2)
}

#[test]
fn a_callback_that_never_returns_holds_no_other_session_up() {
    for how in ["loop", "sleep", "deadlock"] {
        get_stuck(how, 1);
    }
}

#[test]
fn callbacks_that_never_return_on_every_worker_at_once_hold_no_other_handler_up() {
    for how in ["loop", "deadlock"] {
        let (site, server, _stuck) = get_stuck(how, many());
        server.line(&[
            "handler quarantined",
            "hold a quarter of the workers",
            "handler=stuck",
        ]);
        assert_eq!(server.handshake_status("/stuck"), 503, "{how}");

        // A new file brings the handler back beside the threads that are lost.
        site.add("echo_wsh", "stuck_wsh.so");
        eventually("the new file serves", || {
            server.handshake_status("/stuck") == 101
        });
        assert_eq!(server.connect("/stuck").ask("hello"), "hello", "{how}");
    }
}

#[test]
fn several_handlers_that_never_return_hold_no_other_handler_up() {
    for how in ["deadlock", "loop"] {
        let site = Site::with(&["echo_wsh"]);
        let names = ["ann", "ben", "cat"];
        for name in names {
            site.add("stuck_wsh", &format!("{name}_wsh.so"));
        }
        let server = Server::builder(&site).within(Command::new("nice")).start();
        let mut others: Vec<Client> = (0..20).map(|_| server.connect("/echo")).collect();
        let [ann, ben, cat] = names.map(|name| {
            let connected = (0..many()).map(|_| server.connect(&format!("/{name}")));
            connected.collect::<Vec<Client>>()
        });

        // Two at the same moment, and another one when they are known.
        let mut stuck: Vec<Client> = Vec::new();
        for (ann, ben) in ann.into_iter().zip(ben) {
            stuck.extend([ann, ben]);
        }
        for client in &mut stuck {
            client.send(how);
        }
        for other in &mut others {
            assert_eq!(other.ask("still there?"), "still there?", "{how}");
        }
        for mut client in cat {
            client.send(how);
            stuck.push(client);
        }
        for other in &mut others {
            assert_eq!(other.ask("and now?"), "and now?", "{how}");
        }

        assert_eq!(server.connect("/echo").ask("new"), "new", "{how}");
        for name in names {
            let handler = format!("handler={name} ");
            server.line(&["callback runs past its budget", &handler]);
        }
    }
}

#[test]
fn callbacks_that_return_late_on_every_worker_at_once_lose_no_message() {
    let (_site, server, mut stuck) = get_stuck("sleep", 2 * many() / 3);
    let mut others = server.connect("/echo");

    for client in &mut stuck {
        assert_eq!(others.ask("meanwhile"), "meanwhile");
        assert_eq!(client.text(), "done");
        assert_eq!(client.ask("and on"), "and on");
    }
    assert_eq!(stuck[0].close(1000), 1000);
}

#[test]
fn a_server_with_a_callback_that_never_returns_stops_all_the_same() {
    let site = Site::with(&["stuck_wsh"]);
    site.write("config.toml", "[limits]\nstop_timeout_ms = 500\n");
    let mut server = Server::start(&site);
    let mut stuck = server.connect("/stuck");
    stuck.send("deadlock");
    server.line(&["callback runs past its budget"]);

    server.signal("TERM");

    assert!(server.wait(Duration::from_secs(20)).success());
}

#[test]
fn a_session_of_each_style_survives_a_hundred_thousand_messages_in_order() {
    let styles = ["echo", "async_echo", "blocking_echo"];
    let site = Site::with(
        &styles
            .map(|style| format!("{style}_wsh"))
            .each_ref()
            .map(|it| &**it),
    );
    let server = Server::start(&site);

    for style in styles {
        let mut client = server.connect(&format!("/{style}"));
        let total = 100_000;
        for first in (0..total).step_by(1_000) {
            for number in first..first + 1_000 {
                client.write(number.to_string());
            }
            client.flush();
            for number in first..first + 1_000 {
                assert_eq!(client.text(), number.to_string(), "{style}");
            }
        }
        assert_eq!(client.close(1000), 1000, "{style}");
    }
}

#[test]
fn a_server_takes_as_many_files_as_the_system_allows() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid()));
    let limits = limits.expect("the server runs");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let numbers: Vec<&str> = files
        .expect("a limit of files")
        .split_whitespace()
        .collect();
    assert_eq!(numbers[3], numbers[4], "soft and hard: {limits}");
}

/// A server whose handler `stuck` is held, because callbacks of it that never return hold the workers,
/// and some sessions of it that have done nothing yet.
fn held(config: &str, idle: usize) -> (Site, Server, Vec<Client>, Vec<Client>) {
    let site = Site::with(&["stuck_wsh", "echo_wsh"]);
    site.write("config.toml", config);
    let server = Server::start(&site);
    let idle: Vec<Client> = (0..idle).map(|_| server.connect("/stuck")).collect();
    let mut stuck: Vec<Client> = (0..many()).map(|_| server.connect("/stuck")).collect();
    for client in &mut stuck {
        client.send("deadlock");
    }
    server.line(&["its callbacks hold the workers", "handler=stuck"]);
    (site, server, idle, stuck)
}

#[test]
fn sessions_of_a_handler_that_holds_the_workers_end_with_their_connection() {
    let (_site, server, idle, _stuck) = held("", 4);

    // Two just go, and two leave something unread behind.
    for (number, mut client) in idle.into_iter().enumerate() {
        if number % 2 == 1 {
            client.send("never read");
        }
        drop(client);
    }

    let lost = ["session closed", "handler=stuck", "code=1006"];
    eventually("those without anything unread are gone", || {
        server.count_lines(&lost) >= 2
    });
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
}

#[test]
fn sessions_of_a_handler_that_holds_the_workers_meet_deadlines_and_are_sent_away() {
    let config =
        "[handler.stuck]\nreload = \"close\"\nping_interval_ms = 1000\npong_timeout_ms = 500\n";
    let (site, server, mut idle, _stuck) = held(config, 2);

    // One answers no Ping; the other does, as long as it reads.
    let mut alive = idle.pop().expect("there are two");
    let silent = idle.pop().expect("there are two").into_stream();
    let reader = std::thread::spawn(move || alive.close_code());
    server.line(&["session closed", "handler=stuck", "cause=pong_timeout_ms"]);
    drop(silent);
    site.add("echo_wsh", "stuck_wsh.so");

    assert_eq!(reader.join().expect("it reads"), 1012);
}
