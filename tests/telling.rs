//! What the log and the list say of handlers: no false alarm, and no silence about a fault.

use std::time::Duration;

use crate::harness::client::Client;
use crate::harness::compile::{compile, unruly};
use crate::harness::eventually;
use crate::harness::server::Server;
use crate::harness::site::Site;

fn lives(options: &[&str]) -> Vec<u8> {
    compile("tests/fixtures/c/lives.c", options)
}

fn names(server: &Server) -> Vec<String> {
    let listing = server.listing();
    let handlers = listing.as_array().expect("a list").iter();
    let name = |it: &serde_json::Value| it["name"].as_str().expect("a name").to_owned();
    handlers.map(name).collect()
}

#[test]
fn a_refusal_is_listed_as_long_as_it_holds_and_no_longer() {
    let site = Site::with(&["echo_wsh"]);
    let server = Server::start(&site);
    let files: Vec<String> = (0..30).map(|it| format!("bad{it}_wsh.so")).collect();

    for file in &files {
        site.add_bytes(b"no library", file);
    }
    site.add_bytes(b"no library", "echo_wsh.so");
    eventually("all are refused", || names(&server).len() == 31);
    server.line(&[
        "plugin refused",
        "echo_wsh.so",
        "generation 1 keeps serving",
    ]);
    for file in &files {
        std::fs::remove_file(site.handlers().join(file)).expect("it is there");
    }
    site.add("echo_wsh", "echo_wsh.so");

    server.line(&["plugin whole again", "handler=echo", "generation=1"]);
    eventually("one is left", || names(&server) == ["echo"]);
    server.says(&["refused plugin removed"], 30);
    assert_eq!(server.listing()[0]["refusal"], serde_json::Value::Null);
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
}

#[test]
fn a_handler_that_was_removed_and_has_ended_is_listed_no_more() {
    let site = Site::with(&["echo_wsh"]);
    let path = site.add("echo_wsh", "other_wsh.so");
    let server = Server::start(&site);
    let mut open = server.connect("/other");

    std::fs::remove_file(path).expect("it is there");
    server.line(&["handler removed", "handler=other"]);

    assert_eq!(open.ask("still there?"), "still there?");
    assert_eq!(names(&server), ["echo", "other"]);
    assert_eq!(open.close(1000), 1000);
    eventually("it is gone", || names(&server) == ["echo"]);
}

#[test]
fn a_table_of_a_handler_that_was_refused_is_not_said_to_name_none() {
    let site = Site::with(&["echo_wsh"]);
    site.add_bytes(b"no library", "chat_wsh.so");
    site.add_bytes(&lives(&["-DNEEDS=\"token\""]), "fussy_wsh.so");
    let tables =
        "[handler.chat]\n[handler.fussy]\n[handler.nobody]\n[routes]\n\"/talk\" = \"/chat\"\n";
    site.write("config.toml", tables);
    let server = Server::start(&site);

    server.line(&["plugin refused", "chat_wsh.so"]);
    server.line(&["plugin refused", "fussy_wsh.so", "no `token` in its table"]);
    let unknown = server.lines(&["configured, and not there yet"]);
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert!(unknown[0].contains("nobody"), "{unknown:?}");

    // The missing part comes, and the handler is loaded.
    site.write("config.toml", "[handler.fussy.config]\ntoken = 1\n");
    server.line(&["handler loaded", "handler=\"fussy\""]);
    assert_eq!(server.connect("/fussy").text(), "open");
}

#[test]
fn names_that_lead_to_no_handler_are_told_at_the_start_and_after_each_change_of_the_file() {
    let site = Site::with(&["echo_wsh"]);
    let config = "[topics.\"chat/*\"]\nhistory = { count = 1 }\n";
    site.write("config.toml", config);
    let server = Server::start(&site);
    let topics =
        "`[topics.\"chat/*\"]` names handler `chat`, which does not exist; there is `echo`";
    let count = || server.count_lines(&["WARN", "configured, and not there yet", topics]);
    assert_eq!(count(), 1, "{}", server.log());

    // Another handler comes, and one that is loaded again.
    let library = lives(&[]);
    site.add_bytes(&library, "lives_wsh.so");
    server.line(&["handler loaded", "handler=\"lives\""]);
    site.add_bytes(&[&library[..], b"again"].concat(), "lives_wsh.so");
    server.line(&["handler loaded", "handler=\"lives\"", "generation=2"]);
    assert_eq!(count(), 1, "{}", server.log());

    let hidden = format!("{config}[routes]\n\"/echo\" = \"/lives\"\n\"/x\" = \"/live\"\n");
    site.write("config.toml", &hidden);
    server.line(&["a route hides a handler", "route `/echo` leads to `/lives`"]);
    server.line(&[
        "configured, and not there yet",
        "route `/x` names handler `live`, which does not exist; there are `echo`, `lives`",
    ]);
    let again = "`[topics.\"chat/*\"]` names handler `chat`, which does not exist; there are `echo`, `lives`";
    assert_eq!(server.lines(&[again]).len(), 1, "{}", server.log());
}

#[test]
fn topics_of_the_servers_own_that_look_like_those_of_a_handler_are_told() {
    let site = Site::with(&["echo_wsh"]);
    site.add("echo_wsh", "rooms/tea_wsh.so");
    let one = "history = { count = 1 }\n";
    let shared = format!("{one}handlers = [\"echo\"]\n");
    let config = format!(
        "[topics.\"/echo/*\"]\n{one}[topics.\"/rooms/tea/green\"]\n{one}[topics.\"/news\"]\n{one}\
         [topics.\"/echo/all\"]\n{shared}[topics.\"/echoes/*\"]\n{one}"
    );
    site.write("config.toml", &config);
    let server = Server::start(&site);

    let mut told = server.lines(&["WARN", "topics may be meant as those of a handler"]);
    told.sort();
    assert_eq!(told.len(), 2, "{told:?}");
    let echo = "`[topics.\"/echo/*\"]` is for topics of the server's own, whose names begin with `/`; those of handler \
                `echo` are `echo/*`";
    server.line(&["config.toml:1:9: ", echo]);
    server.line(&["those of handler `rooms/tea` are `rooms/tea//green`"]);

    let output = Server::bare(&site).arg("check").output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&format!("wshd: note: config.toml:1:9: {echo}\n")),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(0), "{said}");

    // With a pattern of the handler's own, both are meant.
    site.write(
        "config.toml",
        &format!("{config}[topics.\"echo/*\"]\n{one}"),
    );
    server.line(&["configuration applied"]);
    eventually("the other one is told again", || {
        server.count_lines(&["WARN", "those of handler `rooms/tea`"]) == 2
    });
    assert_eq!(server.count_lines(&["WARN", "those of handler `echo`"]), 1);
}

#[test]
fn a_move_says_why_sessions_stay() {
    let site = Site::empty();
    let still = lives(&[]);
    site.add_bytes(&still, "lives_wsh.so");
    let parts = |build: u8| compile("tests/fixtures/c/parts.c", &[&format!("-DBUILD={build}")]);
    site.add_bytes(&parts(1), "parts_wsh.so");
    let server = Server::start(&site);
    let mut open: Vec<Client> = (0..3).map(|_| server.connect("/lives")).collect();
    open.iter_mut().for_each(|it| assert_eq!(it.text(), "open"));
    let mut busy = server.connect("/parts");
    busy.send("begin");
    server.connect("/parts").ask("x");

    site.add_bytes(&[&still[..], b"1"].concat(), "lives_wsh.so");
    site.add_bytes(&parts(2), "parts_wsh.so");

    let moved = ["sessions moved", "handler=lives", "moved=0 drained=3"];
    let line = server.line(&moved);
    assert!(
        line.contains("3: the old code has no state that could move"),
        "{line}"
    );
    let line = server.line(&["sessions moved", "handler=parts"]);
    assert!(
        line.contains("1: it closes, or is between two parts of a message"),
        "{line}"
    );
}

#[test]
fn threads_of_a_retired_generation_have_a_moment_to_end() {
    let site = Site::empty();
    for (file, ms) in [("brief_wsh.so", 150), ("long_wsh.so", 2_500)] {
        site.add_bytes(&lives(&[&format!("-DTHREAD_MS={ms}")]), file);
    }
    let server = Server::start(&site);

    for file in ["brief_wsh.so", "long_wsh.so"] {
        std::fs::remove_file(site.handlers().join(file)).expect("it is there");
    }
    server.line(&["generation retired", "handler=brief", "threads=1"]);

    let still_run = "threads of a retired generation still run";
    server.line_within(
        Duration::from_secs(8),
        &[still_run, "handler=long", "threads=1"],
    );
    assert_eq!(server.count_lines(&[still_run]), 1, "{}", server.log());
}

/// Starts a server of one handler in C that makes these calls on each message.
fn making(calls: &str) -> (Site, Server) {
    let site = Site::empty();
    let option = format!("-DIN_MESSAGE={calls}");
    let bytes = unruly(&[&option]);
    site.add_bytes(&bytes, "calls_wsh.so");
    let server = Server::start(&site);
    (site, server)
}

#[test]
fn a_refused_call_names_handler_function_and_the_rule_of_its_argument() {
    let (_site, server) = making(
        "host->close(conn, 1005, (WshStr){0}); \
         host->ping(conn, some, endless); \
         host->send(conn, 7, some, 8); \
         host->commit(conn, WSH_TEXT, 9); \
         host->watermark(conn, 2, 1); \
         host->subscribe(conn, (WshStr){0}, 1); \
         host->send_to(host->ctx, conn->id, WSH_TEXT | WSH_MORE, some, 8); \
         host->publish(NULL, (WshStr){some, 1}, WSH_TEXT, some, 8, 0); \
         host->timer(NULL, 1, 1)",
    );
    let mut client = server.connect("/calls");

    assert_eq!(client.ask("go"), "go");

    for (call, error, rule) in [
        ("close", "an argument breaks its rule", "`code` is 1000 to"),
        ("ping", "too big", "a length above 0 is not NULL"),
        ("send", "an argument breaks", "`kind` is WSH_TEXT or"),
        ("commit", "an argument breaks", "`reserve`, for as many"),
        ("watermark", "an argument breaks", "`low` is not above"),
        ("subscribe", "an argument breaks", "`topic` is not empty"),
        (
            "send_to",
            "an argument breaks",
            "`kind` is without WSH_MORE",
        ),
        ("publish", "the wrong time or on the wrong thread", "`ctx`"),
        ("timer", "the wrong time or on the wrong thread", "`conn`"),
    ] {
        let line = server.line(&["call refused", &format!("call=\"{call}\""), error, rule]);
        assert!(line.contains("handler=\"calls\""), "{line}");
        assert!(line.contains("callback=\"message\""), "{line}");
    }
    // A second call that breaks the rule logs nothing.
    let told = server.count_lines(&["call refused"]);
    assert_eq!(client.ask("go"), "go");
    assert_eq!(server.count_lines(&["call refused"]), told);
}

#[test]
fn a_refused_call_in_a_handshake_is_told_and_one_that_is_taken_is_not() {
    let site = Site::empty();
    let calls = "-DIN_HANDSHAKE=\
        host->response_header(response, (WshStr){(const uint8_t *)\"Upgrade\", 7}, (WshBytes){0}); \
        host->response_protocol(response, (WshStr){(const uint8_t *)\"chat\", 4}); \
        host->response_reject(response, 200, (WshBytes){0}); \
        host->response_header(response, (WshStr){(const uint8_t *)\"X-Fine\", 6}, (WshBytes){0})";
    let bytes = unruly(&[calls]);
    site.add_bytes(&bytes, "calls_wsh.so");
    let server = Server::start(&site);

    assert_eq!(server.connect("/calls").ask("go"), "go");

    let header = [
        "call=\"response_header\"",
        "no header that the server writes",
    ];
    server.line(&header);
    server.line(&["call=\"response_protocol\"", "one that the client offered"]);
    server.line(&["call=\"response_reject\"", "`status` is 300 to 599"]);
    assert_eq!(server.count_lines(&["call refused"]), 3);
}

#[test]
fn a_key_that_a_handler_does_not_ask_for_is_told_with_the_one_that_was_probably_meant() {
    let site = Site::with(&["ledger_wsh", "slow_wsh"]);
    site.write(
        "config.toml",
        "[handler.ledger]\nconfig = { nota = \"x\" }\n\n[handler.slow]\nconfig = { steps = 1 }\n",
    );
    let server = Server::start(&site);

    server.line(&[
        "WARN",
        "`nota` in [handler.ledger.config] is not known to the handler; did you mean `note`?",
    ]);
    server.line(&[
        "WARN",
        "`steps` in [handler.slow.config] is not known to the handler",
    ]);
    // The line comes once, although the file is tried before it is loaded.
    assert_eq!(server.count_lines(&["`nota`"]), 1, "{}", server.log());
}
