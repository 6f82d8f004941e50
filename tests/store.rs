//! What a handler keeps outlives its code, within limits, and is changed by one session at a time.

use std::time::{Duration, Instant};

use crate::harness::eventually;
use crate::harness::script::{ask, install, open, replace, run, start};

#[test]
fn a_value_outlives_the_code_that_has_kept_it_and_every_session() {
    let (site, server) = start(&["-DMOVES"], "");
    let mut client = open(&server, "");
    assert_eq!(
        ask(&mut client, "store_put me 1 colour red 0 0"),
        "answer 1 OK versioned"
    );
    replace(&site, &server, &["-DMOVES", "-DVERSION=\"2\""], 2);
    assert_eq!(
        ask(&mut client, "store_get me 2 colour"),
        "answer 2 OK versioned [colour=red]"
    );
    client.close(1000);
    server.line(&["generation retired", "generation=1"]);
    install(&site, &["-DVERSION=\"3\""]);
    server.line(&["generation retired", "generation=2"]);

    let mut client = open(&server, "");

    let kept = ask(&mut client, "store_get me 3 colour");
    assert_eq!(kept, "answer 3 OK versioned [colour=red]");
    // It is this handler's, whatever another one keeps.
    site.add_bytes(
        &crate::harness::compile::compile("tests/fixtures/c/script.c", &[]),
        "other_wsh.so",
    );
    server.line(&["handler loaded", "handler=\"other\""]);
    let mut other = server.connect("/other?");
    assert_eq!(ask(&mut other, "store_get me 4 colour"), "answer 4 OK");
}

#[test]
fn one_of_many_sessions_changes_a_value_that_has_not_changed() {
    let (_site, server) = start(&[], "");
    let wins = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..50)
            .map(|index| {
                let server = &server;
                scope.spawn(move || {
                    let mut client = open(server, "");
                    ask(&mut client, &format!("store_put me 1 lock {index} 0 0"))
                })
            })
            .collect();
        let answers = sessions
            .into_iter()
            .map(|it| it.join().expect("it is answered"));
        answers
            .filter(|answer| answer == "answer 1 OK versioned")
            .count()
    });
    assert_eq!(wins, 1);
    let mut client = open(&server, "");
    let conflict = ask(&mut client, "store_put me 2 lock mine 0 0");
    assert_eq!(conflict, "answer 2 CONFLICT versioned");
    assert_eq!(
        ask(&mut client, "store_put me 3 lock mine @version 0"),
        "answer 3 OK versioned"
    );
}

#[test]
fn a_value_is_gone_within_two_seconds_of_its_time_to_live() {
    let (_site, server) = start(&[], "");
    let mut client = open(&server, "");
    let began = Instant::now();
    run(
        &mut client,
        "store_put me 1 short x -1 1000;store_put me 2 long x -1 0",
    );
    assert_eq!(
        [client.text(), client.text()],
        ["answer 1 OK versioned", "answer 2 OK versioned"]
    );
    let kept = Instant::now();
    let keys = || server.listing()[0]["store"]["keys"].as_u64();
    assert_eq!(keys(), Some(2));

    let mut seen = began;
    eventually("it is gone", || {
        let asked = Instant::now();
        let is_gone = ask(&mut client, "store_get me 4 short") == "answer 4 OK";
        if !is_gone {
            seen = asked;
        }
        is_gone
    });

    // The server's clock ticks about every 10 ms, as the documents say.
    let earliest = TTL - Duration::from_millis(30);
    assert!(began.elapsed() >= earliest, "it was gone too soon");
    let late = seen.saturating_duration_since(kept);
    assert!(
        late < TTL + Duration::from_secs(2),
        "still there after {late:?}"
    );
    assert!(ask(&mut client, "store_get me 5 long").ends_with("[long=x]"));
    let listed = ask(&mut client, "store_list me 6 - - 10");
    assert_eq!(listed, "answer 6 OK [long=x]");
    eventually("its memory is free", || keys() == Some(1));
}

#[test]
fn what_goes_beyond_the_store_is_refused_and_the_log_says_by_which_limit() {
    let limits = "[limits]\nstore_bytes_max = 4000\nstore_value_bytes_max = 3000\n";
    let (_site, server) = start(&[], limits);
    let mut client = open(&server, "");
    run(&mut client, "store_put me 1 a a*3001 0 0");
    server.line(&["said: message store_put=TOO_BIG"]);
    server.line(&[
        "call refused",
        "call=\"store_put\"",
        "`store_value_bytes_max`",
    ]);
    assert_eq!(
        ask(&mut client, "store_put me 2 a a*3000 0 0"),
        "answer 2 OK versioned"
    );
    assert_eq!(
        ask(&mut client, "store_put me 3 b b*3000 0 0"),
        "answer 3 TOO_BIG"
    );
    server.line(&["call refused", "call=\"store_put\"", "`store_bytes_max`"]);
    assert_eq!(
        ask(&mut client, "store_get me 4 b"),
        "answer 4 OK",
        "nothing was changed"
    );
    assert!(ask(&mut client, "store_delete me 5 a -1").starts_with("answer 5 OK"));
    assert_eq!(
        ask(&mut client, "store_put me 6 b b*3000 0 0"),
        "answer 6 OK versioned"
    );
}

#[test]
fn a_list_has_each_key_once_while_others_are_written() {
    let (_site, server) = start(&[], "");
    let mut client = open(&server, "");
    for key in 0..100 {
        run(&mut client, &format!("store_put 0 1 key/{key:03} x -1 0"));
    }
    let mut writer = open(&server, "");
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            for round in 0.. {
                let script = format!(
                    "store_put 0 2 key/{:03}b x -1 0;store_delete 0 3 key/{:03}b -1",
                    round % 100,
                    (round + 50) % 100
                );
                run(&mut writer, &script);
                if stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Empty) {
                    return;
                }
            }
        });
        for _ in 0..10 {
            let mut found = Vec::new();
            let mut after = "-".to_owned();
            loop {
                let answer = ask(&mut client, &format!("store_list me 1 key/ {after} 7"));
                let page = answer.split(" [").skip(1);
                found.extend(page.filter_map(|it| it.split('=').next().map(str::to_owned)));
                if !answer.ends_with(" more") {
                    break;
                }
                after = found.last().expect("a page has a key").clone();
            }
            let firm: Vec<&String> = found.iter().filter(|key| !key.ends_with('b')).collect();
            let keys: Vec<String> = (0..100).map(|key| format!("key/{key:03}")).collect();
            assert_eq!(firm, keys.iter().collect::<Vec<_>>());
        }
        drop(stop);
    });
}

const TTL: Duration = Duration::from_secs(1);
