//! What a plugin may get wrong without harm when it asks for what servers share, and in the callbacks that come of it.

use super::on_a_server_under_valgrind;
use crate::harness::compile::compile;
use crate::harness::site::Site;

/// The asks of the hostile handler with arguments that mean nothing, each with its status.
const REFUSED_ASKS: [&str; 36] = [
    "no Conn: MISUSE",
    "a copy of the Conn: MISUSE",
    "a number for a Conn: MISUSE",
    "one byte off the Conn: MISUSE",
    "the ctx for a Conn: MISUSE",
    "another session's Conn: MISUSE",
    "the Conn on another thread: MISUSE",
    "no ctx: MISUSE",
    "an id of no session: GONE",
    "an id of no session: GONE",
    "an id of no session: GONE",
    "an id of no session: GONE",
    "a text of nothing: INVALID",
    "a text of no memory: INVALID",
    "a text of all memory: TOO_BIG",
    "a text of a tebibyte: TOO_BIG",
    "a text of 256 bytes: TOO_BIG",
    "an empty text: INVALID",
    "a text with NUL: INVALID",
    "half a character: INVALID",
    "a surrogate: INVALID",
    "a value of nothing: INVALID",
    "a value of no memory: INVALID",
    "a value of all memory: TOO_BIG",
    "a value of a tebibyte: TOO_BIG",
    "a place of nothing: INVALID",
    "a place of no memory: INVALID",
    "a place of all memory: TOO_BIG",
    "a place of a tebibyte: INVALID",
    "a place of 256 bytes: INVALID",
    "no kind: INVALID",
    "a kind of no opcode: INVALID",
    "a part of a message: INVALID",
    "a message if there is room: UNSUPPORTED",
    "a kind of a later minor: UNSUPPORTED",
    "a message that is no text: INVALID",
];

/// The hostile handler has a topic that keeps its messages.
fn with_hostile_asks(options: &[&str]) -> Site {
    let site = Site::with(&["echo_wsh"]);
    let options = [&["-pthread"], options].concat();
    let library = compile("tests/fixtures/c/hostile_asks.c", &options);
    site.add_bytes(&library, "hostile_asks_wsh.so");
    let topics = "[topics.\"hostile_asks/*\"]\nhistory = { count = 9 }\n";
    site.write("config.toml", topics);
    site
}

#[test]
fn an_ask_with_arguments_that_mean_nothing_is_refused_and_an_odd_one_is_answered() {
    let site = with_hostile_asks(&[]);

    on_a_server_under_valgrind(&site, |server| {
        let mut innocent = server.connect("/echo");
        let mut first = server.connect("/hostile_asks");
        let mut client = server.connect("/hostile_asks");
        client.send("arguments");
        for refused in REFUSED_ASKS {
            assert_eq!(client.text(), refused);
        }
        // The calls are made again when the session of the Conn is gone.
        first.close(1000);
        client.send("arguments");
        for refused in REFUSED_ASKS {
            assert_eq!(client.text(), refused);
        }

        client.send("odd");
        for said in [
            "a limit of 0: INVALID",
            "0: CONFLICT, 0 items, flags 0",
            "-1: OK, 0 items, flags 0",
            "2: OK, 0 items, flags 0",
            "3: OK, 0 items, flags 0",
            "4: OK, 0 items, flags 0",
            "5: OK, 0 items, flags 0",
        ] {
            assert_eq!(client.text(), said);
        }
        client.send("fail when answered");
        assert_eq!(client.close_code(), 1011);
        server.line(&["callback failed", "callback=\"answer\"", "77"]);
        assert_eq!(innocent.ask("still there?"), "still there?");
    });
}

/// What the hostile handler is told of its calls in `envelope` and `presence`.
const SAID_OF_A_SINK: [&str; 9] = [
    "an old Conn: MISUSE",
    "the sink for a Conn: MISUSE",
    "an ask: OK",
    "no sink: MISUSE",
    "the host for a sink: MISUSE",
    "one byte off the sink: MISUSE",
    "the sink on another thread: MISUSE",
    "nothing with a length: INVALID",
    "no memory: INVALID",
];

#[test]
fn calls_from_outside_of_a_session_use_no_conn_and_no_sink_of_another_callback() {
    let site = with_hostile_asks(&[]);

    on_a_server_under_valgrind(&site, |server| {
        let mut innocent = server.connect("/echo");
        let mut client = server.connect("/hostile_asks");
        server.line(&["in self_test, a Conn: MISUSE"]);
        client.send("join");

        client.send("nonsense");
        assert_eq!(client.text(), "nonsense");
        for said in SAID_OF_A_SINK {
            server.line(&[&format!("in envelope, {said}")]);
        }
        for published in ["too much", "no text", "no status"] {
            assert_eq!(client.ask(published), published);
        }
        // The log names the first failure of several.
        server.line(&["callback=\"envelope\"", "TOO_BIG"]);

        client.send("enter");
        assert_eq!(client.text(), "5: OK, 0 items, flags 0");
        for said in SAID_OF_A_SINK {
            server.line(&[&format!("in presence, {said}")]);
        }
        server.line(&["callback=\"presence\"", "as the kind of a whole message"]);

        client.send("ask for the handler");
        for said in [
            "an old Conn: MISUSE",
            "the answer for a Conn: MISUSE",
            "an ask: OK",
            "an old sink: MISUSE",
        ] {
            server.line(&[&format!("in answered, {said}")]);
        }

        client.close(1000);
        for said in [
            "in closed, the Conn: GONE",
            "in closed, the session's id: GONE",
            "in closed, an ask: OK",
            "in destroy, a Conn: MISUSE",
            "in destroy, an ask: OK",
        ] {
            server.line(&[said]);
        }
        std::fs::remove_file(site.handlers().join("hostile_asks_wsh.so")).expect("it is there");
        server.line(&["in shutdown, a Conn: MISUSE"]);
        server.line(&["in shutdown, an ask: OK"]);
        assert_eq!(innocent.ask("still there?"), "still there?");
        site.add_bytes(
            &compile("tests/fixtures/c/hostile_asks.c", &["-pthread"]),
            "hostile_asks_wsh.so",
        );
    });
}

#[test]
fn a_callback_that_the_vtable_has_only_half_of_is_not_called() {
    for (option, has_presence) in [
        ("-DVTABLE_SIZE=offsetof(WshVtable, presence)", false),
        ("-DVTABLE_SIZE=offsetof(WshVtable, presence) + 5", false),
        ("-DCLAIMED_SIZE=UINT32_MAX", true),
    ] {
        let site = with_hostile_asks(&[option]);
        on_a_server_under_valgrind(&site, |server| {
            let mut client = server.connect("/hostile_asks");
            client.send("join");
            assert_eq!(client.ask("one"), "one");
            client.send("enter");
            assert_eq!(client.text(), "5: OK, 0 items, flags 0");
            assert_eq!(client.ask("two"), "two");
            // The change of members came before the second message.
            match has_presence {
                true => drop(server.line(&["in presence, "])),
                false => assert_eq!(server.find_line(&["in presence, "]), None, "{option}"),
            }
        });
    }
}
