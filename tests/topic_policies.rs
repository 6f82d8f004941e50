//! What `[topics]` decides on a server that runs, and what the list of handlers says of what is kept.

use serde_json::{Value, json};

use crate::harness::client::Client;
use crate::harness::compile::compile;
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{at_once, eventually};

/// A server with a handler in C that asks for what servers share, under each of these names.
fn start(files: &[&str], config: &str) -> (Site, Server) {
    let site = Site::empty();
    let library = compile("tests/fixtures/c/shares.c", &[]);
    for file in files {
        site.add_bytes(&library, file);
    }
    site.write("config.toml", config);
    let server = Server::start(&site);
    (site, server)
}

/// Writes another configuration, and waits until it applies.
#[track_caller]
fn configure(site: &Site, server: &Server, config: &str) {
    let applied = server.count_lines(&["configuration applied"]);
    site.write("config.toml", config);
    server.signal("HUP");
    eventually("it is applied", || {
        server.count_lines(&["configuration applied"]) > applied
    });
}

#[track_caller]
fn publish(client: &mut Client, topic: &str, texts: &[&str]) {
    for text in texts {
        let answer = client.ask(&format!("publish {topic} {text}"));
        assert_eq!(answer, "publish 0", "nothing has subscribed");
    }
}

#[test]
fn a_smaller_bound_drops_the_oldest_messages_at_once() {
    let topics = |bounds: &str| format!("[topics.\"shares/*\"]\nhistory = {{ {bounds} }}\n");
    at_once(["count = 2", "bytes = 400"], |small| {
        let (site, server) = start(&["shares_wsh.so"], &topics("count = 100"));
        let mut client = server.connect("/shares");
        publish(&mut client, "lobby", &["1", "2", "3", "4", "5"]);
        assert_eq!(client.ask("history lobby 9"), "history OK 1 2 3 4 5");

        configure(&site, &server, &topics(small));
        let kept = client.ask("history lobby 9");

        let kept = kept.strip_prefix("history OK ").expect("some are kept");
        assert!(
            kept.ends_with("5") && !kept.contains('1'),
            "{small}: {kept}"
        );
        // They are gone, and not only hidden.
        configure(&site, &server, &topics("count = 100"));
        publish(&mut client, "lobby", &["6"]);
        let later = client.ask("history lobby 9");
        assert_eq!(later, format!("history OK {kept} 6"), "{small}");
    });
}

#[test]
fn a_new_pattern_gives_history_to_what_is_published_next() {
    let (site, server) = start(&["shares_wsh.so"], "");
    let mut client = server.connect("/shares");
    publish(&mut client, "lobby", &["before"]);
    assert_eq!(client.ask("history lobby 9"), "history refused UNSUPPORTED");

    let lobby = "[topics.\"shares/lobby\"]\nhistory = { count = 10 }\n";
    configure(&site, &server, lobby);
    publish(&mut client, "lobby", &["after"]);

    assert_eq!(client.ask("history lobby 9"), "history OK after");
    assert_eq!(client.ask("history tea 9"), "history refused UNSUPPORTED");
    let mut late = server.connect("/shares");
    late.send("join lobby 9");
    assert_eq!([late.text(), late.text()], ["join OK 1", "after"]);

    configure(&site, &server, "# the defaults\n");
    assert_eq!(client.ask("history lobby 9"), "history refused UNSUPPORTED");
    configure(&site, &server, lobby);
    assert_eq!(
        client.ask("history lobby 9"),
        "history OK",
        "it begins anew"
    );
}

#[test]
fn a_refused_file_leaves_the_topics_as_they_were() {
    let topics = "[topics.\"shares/*\"]\nhistory = { count = 2 }\n";
    let (site, server) = start(&["shares_wsh.so"], topics);
    let mut client = server.connect("/shares");
    publish(&mut client, "lobby", &["1", "2", "3"]);

    site.write(
        "config.toml",
        "[topics.\"shares/*\"]\nhistory = { count = 1, bytes = 999_999_999 }\n",
    );
    server.line(&[
        "configuration refused, the old one keeps serving",
        "config.toml:2:32: `bytes` wants at most the 67108864 bytes of `history_bytes_max`",
    ]);

    assert_eq!(client.ask("history lobby 9"), "history OK 2 3");
    publish(&mut client, "lobby", &["4"]);
    assert_eq!(client.ask("history lobby 9"), "history OK 3 4");
}

#[test]
fn the_log_tells_once_in_a_while_that_histories_are_too_large_together() {
    let config =
        "[topics.\"shares/*\"]\nhistory = { count = 1000 }\n[limits]\nhistory_bytes_max = 5000\n";
    let (_site, server) = start(&["shares_wsh.so"], config);
    let mut client = server.connect("/shares");
    publish(&mut client, "quiet", &["kept"]);

    for _ in 0..100 {
        publish(&mut client, "lobby", &["hello"]);
    }

    let too_large =
        "histories drop their oldest messages: together they are larger than `history_bytes_max`";
    let line = server.line(&["WARN", too_large]);
    for told in [
        "history_bytes_max=5000",
        "handler=shares",
        "topic=\"lobby\"",
    ] {
        assert!(line.contains(told), "{told}: {line}");
    }
    // The message that passes the limit may have the queue grow, which takes the memory of several messages.
    let is_few = (1..=5).any(|count| line.contains(&format!(" dropped={count} ")));
    assert!(is_few, "{line}");
    assert_eq!(client.ask("history quiet 9"), "history OK kept");
    assert_eq!(server.count_lines(&[too_large]), 1);
}

#[test]
fn each_handler_has_the_topics_that_its_own_patterns_name() {
    let config = "[topics]\n\"shares/lobby\" = { history = { count = 1 } }\n\
                  \"rooms/shares//lobby\" = { history = { count = 2 } }\n\
                  \"./lobby\" = { history = { count = 3 } }\n";
    let files = ["shares_wsh.so", "rooms/shares_wsh.so", "_wsh.so"];
    let (_site, server) = start(&files, config);

    for (path, kept) in [("/shares", "3"), ("/rooms/shares", "2 3"), ("/", "1 2 3")] {
        let mut client = server.connect(path);
        publish(&mut client, "lobby", &["1", "2", "3"]);
        let history = client.ask("history lobby 9");
        assert_eq!(history, format!("history OK {kept}"), "{path}");
    }
}

#[test]
fn a_topic_of_the_servers_own_is_for_the_handlers_that_its_table_lists() {
    let news = |handlers: &str| {
        format!("[topics.\"/news\"]\nhistory = {{ count = 9 }}\nhandlers = [{handlers}]\n")
    };
    let (site, server) = start(&["one_wsh.so", "two_wsh.so"], &news("\"one\""));
    let [mut one, mut two] = ["/one", "/two"].map(|path| server.connect(path));

    publish(&mut one, "/news", &["1"]);
    for (ask, refused) in [
        ("publish /news 2", "publish refused UNSUPPORTED"),
        ("join /news 9", "join refused UNSUPPORTED"),
        ("history /news 9", "history refused UNSUPPORTED"),
        ("enter /news 1", "enter refused UNSUPPORTED"),
        ("present /news", "present refused UNSUPPORTED"),
    ] {
        assert_eq!(two.ask(ask), refused, "{ask}");
    }

    configure(&site, &server, &news("\"one\", \"two\""));
    publish(&mut two, "/news", &["2"]);
    assert_eq!(one.ask("history /news 9"), "history OK 1 2");

    two.send("join /news 0");
    assert_eq!(two.text(), "join OK 0");
    configure(&site, &server, &news("\"one\""));
    assert_eq!(one.ask("publish /news 3"), "publish 1");
    assert_eq!(two.text(), "3", "it stays a subscriber");

    configure(&site, &server, &news(""));
    for client in [&mut one, &mut two] {
        let refused = "history refused UNSUPPORTED";
        assert_eq!(client.ask("history /news 9"), refused, "it is reserved");
    }
}

#[test]
fn presence_that_is_switched_off_refuses_members() {
    let (site, server) = start(&["shares_wsh.so"], "");
    let mut client = server.connect("/shares");
    assert_eq!(client.ask("enter lobby 3"), "enter OK");
    assert_eq!(client.ask("present lobby"), "present OK 1");

    configure(&site, &server, "[topics.\"shares/*\"]\npresence = false\n");

    assert_eq!(client.ask("enter tea 3"), "enter refused UNSUPPORTED");
    assert_eq!(client.ask("present lobby"), "present refused UNSUPPORTED");
    configure(&site, &server, "# the defaults\n");
    assert_eq!(client.ask("present lobby"), "present OK 1", "it stayed one");
}

#[test]
fn a_handlers_own_table_decides_how_much_it_keeps() {
    let small = "[limits]\nstore_bytes_max = 0\n";
    let (site, server) = start(&["one_wsh.so", "two_wsh.so"], small);
    let [mut one, mut two] = ["/one", "/two"].map(|path| server.connect(path));
    assert_eq!(one.ask("put colour 10"), "put TOO_BIG");

    let own = format!("{small}[handler.two]\nstore_bytes_max = 1000\n");
    configure(&site, &server, &own);

    assert_eq!(one.ask("put colour 10"), "put TOO_BIG");
    assert_eq!(two.ask("put colour 10"), "put OK");
    assert_eq!(two.ask("put taste 1000"), "put TOO_BIG");
}

#[test]
fn the_list_of_handlers_says_what_is_kept_for_each() {
    let config = "[topics.\"shares/*\"]\nhistory = { count = 9 }\n";
    let (_site, server) = start(&["shares_wsh.so", "other_wsh.so"], config);
    let of = |name: &str| {
        let listed = server.listing();
        let handlers = listed.as_array().expect("a list");
        let found = handlers.iter().find(|it| it["name"] == name).cloned();
        found.expect("it is served")
    };
    let kept = |handler: &Value| [&handler["topics"], &handler["members"]].map(Value::clone);
    let mut client = server.connect("/shares");
    let mut member = server.connect("/shares");
    publish(&mut client, "lobby", &["hello"]);
    assert_eq!(client.ask("enter lobby 3"), "enter OK");
    assert_eq!(member.ask("enter tea 3"), "enter OK");
    assert_eq!(client.ask("put colour 100"), "put OK");

    let shares = of("shares");

    assert_eq!(kept(&shares), [json!(2), json!(2)]);
    assert!(shares["history_bytes"].as_u64() > Some(5), "{shares}");
    assert_eq!(shares["store"]["keys"], 1);
    assert!(shares["store"]["bytes"].as_u64() > Some(106), "{shares}");
    let other = of("other");
    assert_eq!(kept(&other), [json!(0), json!(0)]);
    assert_eq!(other["store"], json!({ "keys": 0, "bytes": 0 }));
    member.close(1000);
    eventually("the member has left", || {
        kept(&of("shares")) == [json!(1), json!(1)]
    });
}

#[test]
fn the_report_of_the_engine_says_what_is_kept_of_topics_that_handlers_share() {
    let config =
        "[topics.\"/news\"]\nhistory = { count = 9 }\n[limits]\nhistory_bytes_max = 70000\n";
    let (_site, server) = start(&["one_wsh.so", "two_wsh.so"], config);
    let [mut one, mut two] = ["/one", "/two"].map(|path| server.connect(path));
    publish(&mut one, "/news", &["hello"]);
    assert_eq!(one.ask("enter /news 3"), "enter OK");
    assert_eq!(two.ask("enter /news 3"), "enter OK");
    assert_eq!(two.ask("present /news"), "present OK 2");
    assert_eq!(two.ask("enter own 3"), "enter OK");
    assert_eq!(one.ask("put colour 100"), "put OK");

    let report = server.document("/.wshd/engine.json");

    let number = |table: &str, key: &str| report[table][key].as_u64().expect(key);
    assert_eq!(report["kind"], "local");
    assert_eq!(report["status"], "reachable");
    let shared = ["topics", "members"].map(|key| number("shared", key));
    assert_eq!(shared, [1, 2], "{report}");
    let in_use = ["topics", "members", "keys"].map(|key| number("in_use", key));
    assert_eq!(in_use, [2, 3, 1], "{report}");
    let history_bytes = number("in_use", "history_bytes");
    assert_eq!(number("shared", "history_bytes"), history_bytes);
    assert!(
        history_bytes > 5 && number("in_use", "store_bytes") > 106,
        "{report}"
    );
    assert_eq!(number("limits", "history_bytes_max"), 70_000);
}
