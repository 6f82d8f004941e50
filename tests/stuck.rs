//! A callback that never returns, on one worker or on all of them, costs its own handler only.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::client::Client;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

/// Sends `how` to this many sessions of a handler that does not return. Asserts that every other session is served
/// meanwhile.
fn get_stuck(how: &str, sessions: usize) -> (Site, Server, Vec<Client>) {
    let site = Site::with(&["stuck_wsh", "echo_wsh"]);
    // `nice`, so that endless loops leave the processors to the tests beside this one.
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

/// The median and the 99th percentile of echo times on these clients in turn.
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

        // A new file brings the handler back, although the threads are lost.
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

        // Two handlers get stuck at the same moment, and a third when they are known.
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

/// Starts a server whose handler `stuck` is throttled, because its callbacks never return and hold workers. Returns its
/// idle sessions and the stuck ones.
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

    // Two clients just go, and two leave a message that is never read.
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

    // One client answers no Ping. The other one does as long as it reads.
    let mut alive = idle.pop().expect("there are two");
    let silent = idle.pop().expect("there are two").into_stream();
    let reader = std::thread::spawn(move || alive.close_code());
    server.line(&["session closed", "handler=stuck", "cause=pong_timeout_ms"]);
    drop(silent);
    site.add("echo_wsh", "stuck_wsh.so");

    assert_eq!(reader.join().expect("it reads"), 1012);
}
