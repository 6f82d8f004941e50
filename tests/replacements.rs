//! Clients check every message in both directions while their handler is replaced again and again.
//!
//! The long form has 1,000 clients at ten messages a second, 1,000 replacements by rename and 200 by writing in place:
//!
//! ```sh
//! WSHD_LONG=1 cargo test -p wshd --test integration replacements -- --nocapture --test-threads 1
//! ```

mod checker;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::checker::Checker;
use crate::harness::client::Raw;
use crate::harness::patch::{Builds, build_name, versioned};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, is_long, within};

/// The size of the test.
struct Form {
    clients: usize,
    renames: u32,
    in_place: u32,
}

#[test]
fn event_sessions_lose_nothing_while_their_handler_is_replaced() {
    replace("ledger_wsh", "ledger_next_wsh");
}

#[test]
fn async_sessions_lose_nothing_while_their_handler_is_replaced() {
    replace("async_ledger_wsh", "async_ledger_next_wsh");
}

/// Replaces one plugin by the other and back, while clients talk to it.
fn replace(plugin: &str, next: &str) {
    let form = if is_long() {
        Form {
            clients: 1_000,
            renames: 1_000,
            in_place: 200,
        }
    } else {
        Form {
            clients: 40,
            renames: 20,
            in_place: 3,
        }
    };
    let builds = [Builds::of(plugin), Builds::of(next)];
    let bytes = |number: u32| builds[number as usize % 2].number(number);
    let file = format!("{plugin}.so");
    let site = Site::empty();
    site.add_bytes(&bytes(1), &file);
    let server = Server::bare(&site)
        .args(["-p", "0", "-w", "handlers", "--log-level", "info"])
        .start();
    let path = format!("/{}", plugin.trim_end_matches("_wsh"));
    let is_over = AtomicBool::new(false);
    let last = 1 + form.renames + form.in_place;
    let began = Instant::now();

    let checkers: Vec<Checker> = std::thread::scope(|scope| {
        let numbers: Vec<usize> = (0..form.clients).collect();
        let threads: Vec<_> = numbers
            .chunks(form.clients.div_ceil(THREADS))
            .map(|numbers| {
                let (path, server, is_over) = (&path, &server, &is_over);
                let connected = numbers
                    .iter()
                    .map(|number| Checker::connect(server, path, *number));
                let checkers: Vec<Checker> = connected.collect();
                scope.spawn(move || talk(checkers, is_over))
            })
            .collect();
        let replaced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 2..=last {
                if number <= 1 + form.renames {
                    site.add_bytes(&bytes(number), &file);
                } else {
                    fs::write(site.handlers().join(&file), bytes(number)).expect("writing");
                }
                let generation = format!("generation={number} ");
                within(SOON, "the new build is loaded", || {
                    server.find_line(&["handler loaded", &generation]).is_some()
                });
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        let checkers = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("every message is right"));
        let checkers = checkers.collect();
        if let Err(failure) = replaced {
            std::panic::resume_unwind(failure);
        }
        checkers
    });

    let elapsed = began.elapsed();
    let (mut messages, mut ticks, mut news, mut moves) = (0, 0, 0, Vec::new());
    for mut checker in checkers {
        checker.end(&build_name(last));
        messages += checker.answered;
        ticks += checker.ticks;
        news += checker.news.values().sum::<u64>();
        moves.push(checker.moves);
        assert_eq!(checker.client.close(1000), 1000);
    }
    moves.sort_unstable();
    eventually("every session has ended as its client wished", || {
        server.count_lines(&["session closed", "code=1000"]) == form.clients
    });
    assert_eq!(server.count_lines(&["session closed"]), form.clients);
    assert_eq!(server.count_lines(&["session stays on the old code"]), 0);
    eprintln!(
        "{plugin}: {} clients, {} renames, {} writes in place in {elapsed:.0?}: {messages} messages, \
         {ticks} ticks, {news} publications, {} to {} moves a session (median {}), peak memory {} MiB",
        form.clients,
        form.renames,
        form.in_place,
        moves[0],
        moves[moves.len() - 1],
        moves[moves.len() / 2],
        server.proc_status("VmHWM") / 1024,
    );
    tell_moves(&server);
}

/// The times are printed, not asserted, because the machine may be busy.
#[test]
fn idle_sessions_move_all_together_and_keep_no_other_session_waiting() {
    let count = if is_long() { 10_000 } else { 300 };
    let limit = rlimit::increase_nofile_limit(2 * count + 1_000).expect("a limit of files");
    assert!(limit >= count + 100, "{limit} files are too few");
    for [plugin, next] in [
        ["versioned_wsh", "versioned_wsh"],
        ["ledger_wsh", "ledger_next_wsh"],
        ["async_ledger_wsh", "async_ledger_next_wsh"],
    ] {
        let site = Site::with(&[plugin, "echo_wsh"]);
        let server = Server::bare(&site)
            .args(["-p", "0", "-w", "handlers", "--log-level", "info"])
            .start();
        let path = format!("/{}", plugin.trim_end_matches("_wsh"));
        let idle: Vec<Raw> = (0..count).map(|_| Raw::open(&server, &path)).collect();
        let builds = |number: u32| match plugin {
            "versioned_wsh" => versioned(number),
            _ if number.is_multiple_of(2) => Builds::of(next).number(number),
            _ => Builds::of(plugin).number(number),
        };
        let rounds = 2..=6;
        let ready: Vec<Vec<u8>> = rounds.clone().map(builds).collect();

        let replace = |handler: &str, last_word: &[&str]| {
            for (number, bytes) in rounds.clone().zip(&ready) {
                site.add_bytes(bytes, &format!("{handler}_wsh.so"));
                let generation = format!("generation={number} ");
                let parts = [&[handler, &*generation], last_word].concat();
                within(SOON, "the new build is there", || {
                    server.find_line(&parts).is_some()
                });
            }
        };
        // The loads alone, with no session to move, so that what the moves add shows.
        site.add(plugin, "idle_wsh.so");
        server.line(&["handler loaded", "idle"]);
        let loads = probe(&server, || replace("idle", &["handler loaded"]));
        let moved = format!("moved={count} drained=0 refused=0");
        let moves = probe(&server, || replace(&path[1..], &["sessions moved", &moved]));

        eventually("both probes are over", || {
            server.count_lines(&["session closed"]) >= 2
        });
        assert_eq!(
            server.count_lines(&["session closed"]),
            2,
            "no other session"
        );
        eprintln!(
            "{plugin}: {count} idle sessions; echo of another handler, median and worst: {loads:?} \
             during loads, {moves:?} during loads and moves"
        );
        tell_moves(&server);
        drop(idle);
    }
}

/// The median and the longest time of an echo while `work` is done.
fn probe(server: &Server, work: impl FnOnce()) -> (Duration, Duration) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let prober = scope.spawn(|| {
            let mut client = server.connect("/echo");
            let mut took = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert_eq!(client.ask("still there?"), "still there?");
                took.push(began.elapsed());
                std::thread::sleep(Duration::from_micros(200));
            }
            assert_eq!(client.close(1000), 1000);
            took.sort_unstable();
            (took[took.len() / 2], took[took.len() - 1])
        });
        work();
        is_over.store(true, Ordering::Relaxed);
        prober.join().expect("every echo came")
    })
}

/// Lets all of these send ten times a second, until `is_over` is set and everything is answered.
fn talk(mut checkers: Vec<Checker>, is_over: &AtomicBool) -> Vec<Checker> {
    let mut round = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        for checker in &mut checkers {
            checker.say();
            checker.listen();
        }
        round += PERIOD;
        std::thread::sleep(round.saturating_duration_since(Instant::now()));
    }
    for checker in &mut checkers {
        checker.finish();
    }
    checkers
}

/// Prints what the server's log says of the moves.
fn tell_moves(server: &Server) {
    let field = |line: &str, name: &str| -> u64 {
        let value = line.split(&format!(" {name}=")).nth(1);
        let value = value.and_then(|rest| rest.split(' ').next());
        value
            .and_then(|value| value.parse().ok())
            .expect("a number")
    };
    let lines = server.lines(&["sessions moved"]);
    let sum = |name| lines.iter().map(|line| field(line, name)).sum::<u64>();
    let mut elapsed: Vec<u64> = lines.iter().map(|line| field(line, "elapsed_ms")).collect();
    elapsed.sort_unstable();
    eprintln!(
        "{} moves, {} sessions moved at once, {} later, {} refused; median {} ms, longest {} ms",
        lines.len(),
        sum("moved"),
        sum("drained"),
        sum("refused"),
        elapsed[elapsed.len() / 2],
        elapsed[elapsed.len() - 1],
    );
}

/// How often a client says something.
const PERIOD: Duration = Duration::from_millis(100);
/// Clients in a room, one of which publishes.
const ROOM: usize = 10;
const THREADS: usize = 4;
/// How long a replacement may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);
