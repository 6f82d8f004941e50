//! What a handler asks of the engine is answered once, in order, to wherever the session is by then.

use crate::harness::client::Client;
use crate::harness::compile::unruly;
use crate::harness::eventually;
use crate::harness::script::{ask, next, open, replace, run, start};
use crate::harness::server::Server;
use crate::harness::site::Site;

/// The id of the session of a client.
fn id_of(server: &Server, client: &mut Client, name: &str) -> u64 {
    run(client, &format!("extension {name}"));
    let line = server.line(&["said: message extension=UNSUPPORTED", "session="]);
    drop(line);
    let lines = server.lines(&["session opened"]);
    let last = lines.last().expect("a session was opened");
    let id = last.split("session=").nth(1).expect("with its id");
    let id = id.split(' ').next().expect("a number");
    id.parse().expect("a number")
}

#[test]
fn an_answer_finds_its_session_in_newer_code() {
    let (site, server) = start(&["-DMOVES"], "");
    let mut moves = open(&server, "");
    let id = id_of(&server, &mut moves, "moves");
    let mut stays = open(&server, "s=return 1");
    // It asks in the older code, when the other session has moved.
    stays.send(format!("sleep 1500;store_put {id} 7 key value 0 0"));

    replace(&site, &server, &["-DMOVES", "-DVERSION=\"2\""], 2);
    server.line(&["session moved", &format!("session={id} "), "generation=2"]);

    assert_eq!(moves.text(), "answer 7 OK versioned");
    assert_eq!(stays.text(), "done");
    assert!(server.find_line(&["said: message sleep"]).is_none());
    let asked = server.line(&["said: message store_put=OK"]);
    assert!(asked.contains("generation=1"), "{asked}");
    assert_eq!(
        ask(&mut moves, "store_get me 8 key"),
        "answer 8 OK versioned [key=value]"
    );
}

#[test]
fn a_handler_hears_the_answers_to_its_own_asks_from_serving_to_shutdown() {
    let options = [
        "-DSELF_TEST=\"store_put 0 1 key value 0 0\"",
        "-DSHUTDOWN=\"store_get 0 3 key;store_get 0 4 key\"",
    ];
    let (site, server) = start(&options, "");
    server.line(&["said: handler's answer 1 OK versioned", "generation=1"]);
    let mut client = open(&server, "d=store_get 0 5 key");
    run(&mut client, "store_get 0 2 key");
    server.line(&["said: handler's answer 2 OK versioned [key=value]"]);
    client.close(1000);
    server.line(&["said: destroy store_get=OK"]);
    server.line(&["said: handler's answer 5 OK versioned [key=value]"]);

    replace(&site, &server, &["-DVERSION=\"2\""], 2);

    server.line(&["said: shutdown store_get=OK store_get=OK"]);
    server.line(&["generation retired", "generation=1"]);
    assert_eq!(server.count_lines(&["said: handler's answer"]), 3);
}

#[test]
fn asks_that_wait_are_bounded_and_the_log_says_by_which_limit() {
    let options = ["-DSELF_TEST=\"store_get 0 1 k;store_get 0 2 k;store_get 0 3 k\""];
    let limits = "[limits]\nasks_max = 2\nsession_asks_max = 3\n";
    let (_site, server) = start(&options, limits);
    server.line(&["said: self_test store_get=OK store_get=OK store_get=FULL"]);
    server.line(&[
        "call refused",
        "call=\"store_get\"",
        "`asks_max` asks of a handler",
    ]);
    server.line(&["said: handler's answer 2 OK"]);

    let mut client = open(&server, "");
    run(
        &mut client,
        "enter c 1 t x;store_get me 2 k;present me 3 t - 5;store_get me 4 k;subscribe_from c 5 t - 0",
    );
    let said = "enter=OK store_get=OK present=OK store_get=FULL subscribe_from=FULL";
    server.line(&["said: message", said]);
    server.line(&[
        "call refused",
        "call=\"store_get\"",
        "`session_asks_max` asks of a session",
    ]);
    let answers = [client.text(), client.text(), client.text()];
    assert_eq!(answers[2], "answer 3 OK versioned [member=x]");
    // The one that was refused has joined nothing.
    assert_eq!(
        ask(&mut client, "subscribe_from c 6 t - 0"),
        "answer 6 OK recovered"
    );
}

#[test]
fn an_answer_does_not_wait_for_the_end_of_a_message_in_parts() {
    let (_site, server) = start(&[], "");
    let mut client = open(&server, "");
    let mut other = open(&server, "");
    run(&mut client, "subscribe c room 1");

    // The answer ends the message in parts, which nothing else could do. What is sent by id waits for that.
    client.send("send c 0x101 one;send_to me 1 sent;notify me 5;store_get me 7 none;return 100");
    server.line(&["said: message send=taken"]);
    run(&mut other, "publish room 1 published 0");
    let got = client.text();

    assert_eq!(got, "oneanswer 7 OK");
    let rest = [client.text(), client.text(), client.text()];
    assert_eq!(rest, ["sent", "note 5", "published"]);
}

#[test]
fn a_session_that_is_over_hears_nothing_and_a_stranger_asks_for_none() {
    let (site, server) = start(&[], "");
    site.add("echo_wsh", "echo_wsh.so");
    server.line(&["handler loaded", "handler=\"echo\""]);
    let mut client = open(&server, "");
    let id = id_of(&server, &mut client, "over");
    let _echo = server.connect("/echo");
    let mut other = open(&server, "");
    client.send("store_put me 1 k v 0 0;close c 1000 -;store_get me 2 k");
    assert_eq!(next(&mut client), None, "an answer came behind the Close");
    eventually("the session is over", || {
        run(&mut other, &format!("store_get {id} 1 k"));
        server
            .find_line(&["said: message store_get=GONE"])
            .is_some()
    });
    let echo = id + 1;
    run(
        &mut other,
        &format!("history {echo} 1 t - 1;present {echo} 1 t - 1"),
    );
    server.line(&["said: message history=UNSUPPORTED present=GONE"]);
    // What was asked before the Close was done.
    let kept = ask(&mut other, "store_get me 3 k");
    assert_eq!(kept, "answer 3 OK versioned [k=v]");
}

#[test]
fn asking_without_end_costs_a_handler_its_own_answers_only() {
    let site = Site::with(&["echo_wsh"]);
    let options = [
        "-DMIGRATES",
        "-DIN_MESSAGE=answer(conn, \"session\", ask(conn->id, 1000000));\
         answer(conn, \"handler\", ask(0, 1000000) > 0)",
        "-DIN_ANSWER=ask(conn->id, 2)",
        "-DIN_HANDSHAKE=ask(request->id, 100); ask(0, 100)",
        "-DIN_SNAPSHOT=ask(conn->id, 100); ask(0, 100)",
        "-DIN_RESTORE=ask(conn->id, 100); ask(0, 100)",
        "-DIN_CLOSED=ask(conn->id, 100); ask(0, 100)",
        "-DIN_DESTROY=ask(0, 100)",
        "-DIN_SHUTDOWN=ask(0, 5000)",
        "-DIN_INIT=ask(0, 5000)",
        "-DIN_SERVING=ask(0, 5000)",
    ];
    site.add_bytes(&unruly(&options), "unruly_wsh.so");
    let server = Server::start(&site);
    let mut echo = server.connect("/echo");
    let mut client = server.connect("/unruly");
    let before = server.proc_status("VmRSS");

    for _ in 0..2 {
        client.send("ask");
        // Some of those of the handshake and of earlier answers still wait.
        let of_session = client.text();
        let accepted = of_session.strip_prefix("session=").expect("a number");
        assert!(
            accepted.parse::<u32>().expect("a number") <= 64,
            "{of_session}"
        );
        assert_eq!([client.text(), client.text()], ["handler=1", "ask"]);
        assert_eq!(echo.ask("still there?"), "still there?");
    }
    let taken = server.proc_status("VmRSS").saturating_sub(before);
    assert!(taken < 32 * 1024, "{taken} KiB more");

    site.add_bytes(&unruly(&["-DMIGRATES"]), "unruly_wsh.so");
    server.line(&["session moved", "handler=unruly"]);
    assert_eq!(client.ask("now"), "now");
    server.line(&["generation retired", "handler=unruly", "generation=1"]);
    client.close(1000);
    assert_eq!(echo.ask("and now?"), "and now?");
}

#[test]
fn every_ask_that_a_handler_may_make_is_answered_however_busy_it_keeps_its_worker() {
    let site = Site::with(&[]);
    let options = [
        "-DIN_MESSAGE=if (data[0] == 'a') accepted_asks += ask(0, 50000); \
         answer(conn, \"missing\", accepted_asks - __atomic_load_n(&heard_answers, 5))",
        "-DIN_ANSWERED=__atomic_add_fetch(&heard_answers, 1, 5)",
    ];
    site.add_bytes(&unruly(&options), "unruly_wsh.so");
    let server = Server::start(&site);
    let mut client = server.connect("/unruly");

    for _ in 0..6 {
        client.send("ask");
        client.text();
        assert_eq!(client.text(), "ask");
        eventually("the handler has heard all answers", || {
            client.send("?");
            let missing = client.text();
            assert_eq!(client.text(), "?");
            missing == "missing=0"
        });
    }
}

#[test]
fn an_answer_that_a_handler_does_not_return_from_holds_up_no_other() {
    let site = Site::with(&["echo_wsh"]);
    let options = [
        "-DIN_MESSAGE=ask(0, 100)",
        "-DIN_ANSWERED=if (token == 0) { hang(); } \
         if (token == 99) { wsh_log(host, WSH_LOG_INFO, \"said: the last\"); }",
    ];
    site.add_bytes(&unruly(&options), "unruly_wsh.so");
    let server = Server::start(&site);
    let mut client = server.connect("/unruly");
    assert_eq!(client.ask("go"), "go");
    server.line(&["said: the last"]);
    let late = [
        "callback runs past its budget",
        "callback=\"answered\"",
        "handler=unruly",
    ];
    server.line(&late);

    let mut echoes: Vec<_> = (0..20).map(|_| server.connect("/echo")).collect();
    for echo in &mut echoes {
        assert_eq!(echo.ask("still there?"), "still there?");
    }
    assert_eq!(client.ask("you too?"), "you too?");

    let options = [
        "-DIN_MESSAGE=ask(0, 1)",
        "-DIN_ANSWERED=wsh_log(host, WSH_LOG_INFO, \"said: heard\")",
    ];
    site.add_bytes(&unruly(&options), "unruly_wsh.so");
    server.line(&["handler loaded", "handler=\"unruly\"", "generation=2"]);
    assert_eq!(server.connect("/unruly").ask("new"), "new");
    server.line(&["said: heard"]);
}
