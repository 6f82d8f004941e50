//! The members of a topic: those that are there, none that is gone, and each change told once.

use crate::harness::client::Client;
use crate::harness::compile::unruly;
use crate::harness::script::{ask, next, open, replace, run, start};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

/// The values of the members of a topic, in order.
#[track_caller]
fn members(client: &mut Client, topic: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut after = "-";
    loop {
        let answer = ask(client, &format!("present me 1 {topic} {after} 50"));
        let page = answer.trim_end_matches(" more").split("[member=").skip(1);
        found.extend(page.map(|it| it.trim_end().trim_end_matches(']').to_owned()));
        if !answer.ends_with(" more") {
            found.sort_unstable();
            return found;
        }
        after = "@next";
    }
}

/// A session that is a member of the room.
#[track_caller]
fn member(server: &Server, name: &str) -> Client {
    let mut client = open(server, &format!("o=enter c 9 room {name}"));
    assert_eq!(client.text(), "answer 9 OK versioned");
    client
}

#[test]
fn a_member_leaves_however_its_session_ends() {
    let (_site, server) = start(&["-DPRESENCE"], "");
    let mut watcher = open(&server, "");
    run(&mut watcher, "subscribe c room 1");
    let mut stays = member(&server, "stays");
    assert_eq!(watcher.text(), "joined stays");
    let mut end = |name: &str, end: &mut dyn FnMut(&mut Client)| {
        let mut client = member(&server, name);
        assert_eq!(watcher.text(), format!("joined {name}"));
        end(&mut client);
        drop(client);
        assert_eq!(watcher.text(), format!("left {name}"));
    };

    end("closes", &mut |it| assert_eq!(it.close(1000), 1000));
    end("vanishes", &mut |_| {});
    end("leaves", &mut |it| {
        drop(run(it, "leave c room;leave c room"))
    });
    end("fails", &mut |it| it.send("return -1"));
    end("is-done", &mut |it| it.send("return 3"));
    end("is-closed", &mut |it| it.send("close c 4000 bye"));
    end("aborts", &mut |it| it.send("abort c"));
    end("breaks-the-protocol", &mut |it| {
        use std::io::Write;
        it.stream().write_all(&[0xff; 8]).expect("it is sent");
    });
    let mut changes = member(&server, "a");
    assert_eq!(watcher.text(), "joined a");
    assert_eq!(
        ask(&mut changes, "enter c 1 room b"),
        "answer 1 OK versioned"
    );
    assert_eq!(watcher.text(), "changed b");
    drop(changes);
    assert_eq!(watcher.text(), "left b");

    // An `open` that fails leaves no session, and no member.
    let mut failed = open(&server, "o=enter c 1 room ghost;return -1");
    assert_eq!(next(&mut failed), None);
    assert_eq!(
        [watcher.text(), watcher.text()],
        ["joined ghost", "left ghost"]
    );
    assert_eq!(members(&mut watcher, "room"), ["stays"]);
    assert_eq!(stays.close(1000), 1000);
    assert_eq!(watcher.text(), "left stays");
    assert_eq!(members(&mut watcher, "room"), [""; 0]);
}

#[test]
fn a_session_is_a_member_of_several_topics_until_it_leaves_each() {
    let (_site, server) = start(&["-DPRESENCE"], "");
    let mut client = member(&server, "ann");
    for topic in ["hall", "tea"] {
        let entered = ask(&mut client, &format!("enter c 9 {topic} ann"));
        assert_eq!(entered, "answer 9 OK versioned");
    }
    for topic in ["room", "hall", "tea"] {
        assert_eq!(members(&mut client, topic), ["ann"], "{topic}");
    }

    run(&mut client, "leave c hall");

    for (topic, count) in [("room", 1), ("hall", 0), ("tea", 1)] {
        assert_eq!(members(&mut client, topic).len(), count, "{topic}");
    }
}

#[test]
fn a_reload_neither_leaves_nor_joins_and_its_failed_moves_lose_none() {
    let (count, versions) = if is_long() { (1_000, 60) } else { (30, 6) };
    let options = ["-DPRESENCE", "-DMOVES"];
    let (site, server) = start(
        &options,
        "[limits]\ngenerations_max = 64\nping_interval_ms = 0\n",
    );
    let mut watcher = open(&server, "");
    run(&mut watcher, "subscribe c room 1");
    let names: Vec<String> = (0..count).map(|index| format!("{index:04}")).collect();
    let mut all = Vec::new();
    for (index, name) in names.iter().enumerate() {
        // Of every three, one cannot write its state, and the state of another one cannot be read.
        let script = ["", "&s=return -1", "&r=return -1"][index % 3];
        let mut client = open(&server, &format!("o=enter c 9 room {name}{script}"));
        assert_eq!(client.text(), "answer 9 OK versioned");
        assert_eq!(watcher.text(), format!("joined {name}"));
        all.push(client);
    }

    for version in 2..=versions {
        let named = format!("-DVERSION=\"{version}\"");
        let options = [&options[..], &[&named]].concat();
        replace(&site, &server, &options, version);
        server.line(&["sessions moved", &format!("generation={version}")]);
        assert_eq!(members(&mut watcher, "room"), names, "version {version}");
    }

    for (client, name) in all.iter_mut().zip(&names) {
        assert_eq!(client.close(1000), 1000);
        assert_eq!(
            watcher.text(),
            format!("left {name}"),
            "once, and nothing else"
        );
    }
    assert_eq!(members(&mut watcher, "room"), [""; 0]);
}

#[test]
fn newer_code_hears_of_the_members_of_topics_that_older_code_has_joined() {
    let (site, server) = start(&["-DMOVES"], "");
    let mut watcher = open(&server, "");
    run(&mut watcher, "subscribe c room 1");
    let older = member(&server, "older");
    replace(
        &site,
        &server,
        &["-DPRESENCE", "-DMOVES", "-DVERSION=\"2\""],
        2,
    );

    let newer = member(&server, "newer");

    assert_eq!(watcher.text(), "joined newer");
    drop(older);
    assert_eq!(watcher.text(), "left older");
    drop(newer);
    assert_eq!(watcher.text(), "left newer");
}

#[test]
fn topics_and_members_are_bounded_and_a_refused_member_is_none() {
    let limits =
        "[limits]\npresence_bytes_max = 3000\npresence_value_bytes_max = 3000\ntopics_max = 3\n";
    let (_site, server) = start(&[], limits);
    let mut client = open(&server, "");
    let answer = ask(&mut client, "enter c 1 a a*3000");
    assert_eq!(answer, "answer 1 TOO_BIG", "with what it takes besides");
    server.line(&["call refused", "call=\"enter\"", "`presence_bytes_max`"]);
    for topic in ["b", "c", "d"] {
        let answer = ask(&mut client, &format!("enter c 2 {topic} x"));
        assert_eq!(answer, "answer 2 OK versioned", "{topic}");
    }
    run(&mut client, "enter c 3 e x");
    server.line(&["said: message enter=TOO_BIG"]);
    server.line(&["call refused", "call=\"enter\"", "`topics_max`"]);
    run(&mut client, "leave c b");
    assert_eq!(ask(&mut client, "enter c 4 e x"), "answer 4 OK versioned");
    assert_eq!(members(&mut client, "a"), [""; 0]);
    assert_eq!(members(&mut client, "e"), ["x"]);
}

#[test]
fn members_come_in_pages_each_once() {
    let (_site, server) = start(&[], "");
    let names: Vec<String> = (0..120).map(|index| format!("{index:03}")).collect();
    let all: Vec<Client> = names.iter().map(|name| member(&server, name)).collect();
    let mut client = open(&server, "");
    assert_eq!(members(&mut client, "room"), names);
    drop(all);
    eventually("all have left", || members(&mut client, "room").is_empty());
}

#[test]
fn a_presence_callback_that_does_wrong_costs_its_message_only() {
    for (code, told) in [
        ("return WSH_ERROR", Some("it answered `ERROR` (-1)")),
        (
            "put(sink, \"x\"); *kind = 9; return WSH_OK",
            Some("it left 9 as the kind of a whole message"),
        ),
        (
            "put(sink, \"x\"); *kind = WSH_TEXT | WSH_MORE",
            Some("as the kind of a whole message"),
        ),
        (
            "sink->write(sink->ctx, (const uint8_t *)\"\\xff\", 1)",
            Some("not UTF-8"),
        ),
        ("put(sink, \"x\"); return WSH_DONE", None),
        ("(void)0", None),
        // It publishes to its own topic, and enters in the name of no session.
        (
            "host->publish(host->ctx, change->topic, WSH_TEXT, some, 0, 0); \
             host->enter((WshConn *)(void *)sink, 1, change->topic, change->value); ask(0, 1000); ask(change->id, 1000)",
            None,
        ),
    ] {
        let in_presence = format!("-DIN_PRESENCE={code}");
        let site = Site::with(&["echo_wsh"]);
        let options = [
            "-DIN_OPEN=host->subscribe(conn, wsh_str(\"room\"), 1); host->enter(conn, 1, wsh_str(\"room\"), wsh_str(\"x\"))",
            &in_presence,
        ];
        site.add_bytes(&unruly(&options), "unruly_wsh.so");
        let server = Server::start(&site);
        let mut clients: Vec<Client> = (0..10).map(|_| server.connect("/unruly")).collect();
        if let Some(told) = told {
            server.line(&["callback failed", "callback=\"presence\"", told]);
        }
        for client in &mut clients {
            client.send("hello");
            while client.text() != "hello" {}
        }
        drop(clients);
        eventually("all are gone", || server.sessions("unruly") == 0);
        assert_eq!(server.connect("/echo").ask("hello"), "hello", "{code}");
    }
}
