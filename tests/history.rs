//! What was published before a session came, and then what is published: over real sockets, over reloads, and with handlers
//! that do wrong.

use std::time::{Duration, Instant};

use crate::harness::client::Client;
use crate::harness::compile::unruly;
use crate::harness::script::{ask, install, next, open, replace, run, start};
use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::{eventually, is_long};

/// A server with the handler in C that runs the code of each option, and with one that echoes.
fn start_unruly(options: &[&str]) -> (Site, Server) {
    let site = Site::with(&["echo_wsh"]);
    site.add_bytes(&unruly(options), "unruly_wsh.so");
    site.write(
        "config.toml",
        "[topics.\"unruly/*\"]\nhistory = { count = 100 }\n",
    );
    let server = Server::start(&site);
    (site, server)
}

/// The numbers that come to a session until this one, which must follow one another.
#[track_caller]
fn numbers_until(client: &mut Client, last: u32) -> (u32, u32) {
    let first: u32 = client.text().parse().expect("a number");
    let mut number = first;
    while number < last {
        number += 1;
        assert_eq!(client.text(), number.to_string(), "the first was {first}");
    }
    (first, number)
}

#[test]
fn what_is_new_follows_what_was_missed_without_gap_or_double() {
    let count = if is_long() { 20_000 } else { 2_000 };
    let history = format!("[topics.\"script/*\"]\nhistory = {{ count = {count} }}\n");
    let (_site, server) = start(&[], &history);
    let mut publisher = open(&server, "");
    let mut early = open(&server, "");
    run(&mut early, "subscribe c room 1");

    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=count {
                run(&mut publisher, &format!("publish room 1 {number} 0"));
            }
        });
        for _ in 0..20 {
            scope.spawn(|| {
                let mut client = open(&server, "");
                let answer = ask(&mut client, "subscribe_from c 1 room - 1000000");
                assert!(answer.starts_with("answer 1 OK recovered"), "{answer}");
                let (first, last) = numbers_until(&mut client, count);
                assert_eq!((first, last), (1, count), "{answer}");
            });
            std::thread::sleep(Duration::from_millis(5));
        }
    });

    assert_eq!(numbers_until(&mut early, count), (1, count));
    run(&mut publisher, "publish room 1 end 0");
    assert_eq!(early.text(), "end", "nothing came twice");
}

#[test]
fn a_message_that_its_history_can_never_have_is_refused_and_drops_none() {
    let (_site, server) = start(&[], "[topics.\"script/*\"]\nhistory = { bytes = 300 }\n");
    let mut publisher = open(&server, "");
    run(&mut publisher, "publish room 1 kept 0");

    run(
        &mut publisher,
        &format!("publish room 1 {} 0", "x".repeat(301)),
    );
    run(&mut publisher, "publish room 1 too 0");

    server.line(&[
        "call refused",
        "call=\"publish\"",
        "too big",
        "shorter than the `bytes` of the history",
    ]);
    let mut client = open(&server, "");
    assert_eq!(
        ask(&mut client, "subscribe_from c 1 room - 9"),
        "answer 1 OK recovered follows=2 positioned"
    );
    assert_eq!([client.text(), client.text()], ["kept", "too"]);
}

#[test]
fn a_session_that_joins_many_topics_and_reads_late_gets_what_each_answer_promises() {
    const TOPICS: usize = 12;
    // With `envelope`, joins are served by a task, while the session already sends what it has.
    let history = "[topics.\"script/*\"]\nhistory = { count = 100 }\n";
    let (_site, server) = start(&["-DENVELOPE=\"v1\""], history);
    let mut publisher = open(&server, "");
    for topic in 0..TOPICS {
        let publish = format!("publish room{topic} 1 a*60000 0;");
        run(&mut publisher, publish.repeat(16).trim_end_matches(';'));
    }

    // Together they are ten times the limit of outbound bytes, and more than the kernel takes.
    let mut late = open(&server, "");
    let join = |topic| format!("subscribe_from c {topic} room{topic} - 100");
    let joins: Vec<String> = (0..TOPICS).map(join).collect();
    late.send(joins.join(";"));
    for _ in 0..300 {
        run(&mut publisher, "store_get me 1 nothing");
        assert_eq!(publisher.text(), "answer 1 OK");
    }

    let (mut answers, mut promised, mut came) = (0, 0, 0);
    while answers < TOPICS || came < promised {
        let text = late.text();
        if let Some(answer) = text.strip_prefix("answer ") {
            answers += 1;
            let follows = answer
                .split(' ')
                .find_map(|word| word.strip_prefix("follows="));
            promised += follows.map_or(0, |it| it.parse().expect("a number"));
        } else if text.starts_with("v1 ") {
            came += 1;
        }
    }
    assert_eq!(came, promised);
    assert_eq!(ask(&mut late, "store_get me 99 nothing"), "answer 99 OK");
}

#[test]
fn a_position_lasts_over_a_reload_and_says_when_something_is_missing() {
    let history = "[topics.\"script/*\"]\nhistory = { count = 3 }\n";
    let (site, server) = start(&["-DENVELOPE=\"v1\""], history);
    let mut publisher = open(&server, "");
    let mut client = open(&server, "");
    run(&mut client, "subscribe c room 1");
    run(&mut publisher, "publish room 1 one 0");
    let first = client.text();
    let (head, position) = first.split_once(' ').expect("its version and position");
    let (position, text) = position.split_once(' ').expect("its position and text");
    assert_eq!((head, text), ("v1", "one"));
    let digits: Vec<char> = position.chars().collect();
    let position: String = digits
        .chunks(2)
        .map(|it| format!("%{}{}", it[0], it[1]))
        .collect();
    drop(client);
    for text in ["two", "three", "four"] {
        run(&mut publisher, &format!("publish room 1 {text} 0"));
    }

    replace(&site, &server, &["-DENVELOPE=\"v2\"", "-DVERSION=\"2\""], 2);
    let mut back = open(&server, "");
    let join = format!("subscribe_from c 1 room {position} 1");
    assert_eq!(
        ask(&mut back, &join),
        "answer 1 OK recovered follows=3 positioned"
    );
    for text in ["two", "three", "four"] {
        let came = back.text();
        assert!(came.starts_with("v2 ") && came.ends_with(text), "{came}");
    }
    run(&mut back, "subscribe c room 0");

    // A session of the older version publishes to those of the newer one.
    run(&mut publisher, "publish room 1 five 0");
    let answer = ask(&mut back, &join);
    assert_eq!(
        answer, "answer 1 OK follows=1 positioned",
        "the second is gone"
    );
    let came = back.text();
    assert!(came.starts_with("v2 ") && came.ends_with("five"), "{came}");
    let other = format!("subscribe_from c 2 lounge {position} 0");
    assert_eq!(ask(&mut back, &other), "answer 2 OK positioned");
}

#[test]
fn a_message_whose_envelope_fails_goes_as_it_is_and_the_log_says_why() {
    for (code, told) in [
        ("return WSH_ERROR", "it answered `ERROR` (-1)"),
        (
            "return host->fail(host->ctx, wsh_str(\"no more\"))",
            "no more",
        ),
        (
            "put(sink, \"half\"); return WSH_PENDING",
            "it answered `PENDING` (4)",
        ),
        ("return 12345", "it answered 12345, which is no status"),
        (
            "sink->write(sink->ctx, (const uint8_t *)\"\\xff\", 1)",
            "not UTF-8",
        ),
        (
            "static uint8_t mib[1 << 20]; for (int i = 0; i < 1024; i++) sink->write(sink->ctx, mib, sizeof mib)",
            "larger than 67108864 bytes",
        ),
    ] {
        let in_envelope = format!("-DIN_ENVELOPE={code}");
        let (_site, server) = start_unruly(&[
            "-DIN_OPEN=host->subscribe(conn, wsh_str(\"room\"), 1)",
            "-DIN_MESSAGE=host->publish(host->ctx, wsh_str(\"room\"), WSH_TEXT, data, len, 0)",
            &in_envelope,
        ]);
        let mut client = server.connect("/unruly");
        client.send("hello");
        // The echo, and the publication.
        assert_eq!([client.text(), client.text()], ["hello", "hello"], "{code}");
        server.line(&["callback failed", "callback=\"envelope\"", told]);
        let began = Instant::now();
        for _ in 0..10 {
            client.send("again");
            assert_eq!([client.text(), client.text()], ["again", "again"], "{code}");
        }
        let told = server.count_lines(&["callback failed", "callback=\"envelope\""]);
        let is_slow = began.elapsed() > Duration::from_secs(9);
        assert!(told == 1 || is_slow, "{code}: {told} times");
        assert_eq!(server.connect("/echo").ask("hello"), "hello");
    }
}

#[test]
fn a_sink_is_good_in_its_call_and_on_its_thread_only() {
    let (_site, server) = start_unruly(&[
        "-DIN_OPEN=host->subscribe(conn, wsh_str(\"room\"), 1)",
        "-DIN_MESSAGE=\
         if (kept) answer(conn, \"late\", kept->write(kept_ctx, data, len)); \
         host->publish(host->ctx, wsh_str(\"room\"), WSH_TEXT, data, len, 0)",
        "-DIN_THREAD=elsewhere = (int)kept->write(kept_ctx, some, 1)",
        "-DIN_ENVELOPE=\
         static WshSink copy; char text[99]; int wrong, nowhere, null; \
         copy = *sink; kept = &copy; kept_ctx = sink->ctx; \
         on_thread(); \
         wrong = (int)sink->write((char *)sink->ctx + 8, some, 1); \
         nowhere = (int)sink->write(NULL, some, 1); \
         null = (int)sink->write(sink->ctx, NULL, 4); \
         snprintf(text, sizeof text, \"%d %d %d %d\", elsewhere, wrong, nowhere, null); \
         put(sink, text)",
        "-DGLOBALS=static const WshSink *kept; static void *kept_ctx; static volatile int elsewhere;",
    ]);
    let mut client = server.connect("/unruly");
    client.send("one");
    assert_eq!([client.text(), client.text()], ["one", "-7 -7 -7 -6"]);
    client.send("two");
    assert_eq!([client.text(), client.text()], ["late=-7", "two"]);
}

#[test]
fn an_envelope_that_does_not_return_holds_up_its_topic_until_newer_code_serves() {
    let history = "[topics.\"unruly/*\"]\nhistory = { count = 100 }\n";
    let of_version = |code: &str| {
        [
            "-DIN_OPEN=host->subscribe(conn, request->query, 1)".to_owned(),
            // Each character is a publication.
            "-DIN_MESSAGE=for (size_t i = 1; i < len; i++) \
             host->publish(host->ctx, wsh_str(*data == 's' ? \"stuck\" : \"free\"), WSH_TEXT, data + i, 1, 0)"
                .to_owned(),
            format!("-DIN_ENVELOPE={code}"),
        ]
    };
    let site = Site::with(&["echo_wsh"]);
    let old = of_version(
        "if (*data == '!') hang(); put(sink, \"old \"); sink->write(sink->ctx, data, len)",
    );
    site.add_bytes(
        &unruly(&old.each_ref().map(String::as_str)),
        "unruly_wsh.so",
    );
    site.write("config.toml", history);
    let mut server = Server::start(&site);
    let mut stuck = server.connect("/unruly?stuck");
    let mut free = server.connect("/unruly?free");
    // What stands before the one that does not return arrives.
    stuck.send("s1!2");
    assert_eq!([stuck.text(), stuck.text()], ["s1!2", "old 1"]);
    assert_eq!(stuck.ask("s3"), "s3", "the echo");
    for _ in 0..2 {
        free.send("f1");
        assert_eq!([free.text(), free.text()], ["f1", "old 1"]);
    }
    server.line(&["callback runs past its budget", "callback=\"envelope\""]);
    assert_eq!(server.connect("/echo").ask("hello"), "hello");

    let new = of_version("put(sink, \"new \"); sink->write(sink->ctx, data, len)");
    site.add_bytes(
        &unruly(&new.each_ref().map(String::as_str)),
        "unruly_wsh.so",
    );

    // What waited goes on in its order, in the form of the newer code, and so does what comes.
    for text in ["new !", "new 2", "new 3"] {
        assert_eq!(stuck.text(), text);
    }
    let mut other = server.connect("/unruly?stuck");
    other.send("s4");
    assert_eq!([other.text(), other.text()], ["s4", "new 4"]);
    assert_eq!(stuck.text(), "new 4");

    // The older code never returns, and the server ends without it.
    server.signal("TERM");
    server.wait(Duration::from_secs(30));
    assert!(server.find_line(&["stopped waiting"]).is_none());
}

#[test]
fn a_topic_whose_envelope_does_not_return_takes_so_much_and_no_more() {
    let (_site, server) = start_unruly(&[
        "-DIN_OPEN=host->subscribe(conn, wsh_str(\"room\"), 1)",
        "-DIN_MESSAGE=int64_t status = 0; \
         for (int i = 0; i < 100000 && status >= 0; i++) \
         status = host->publish(host->ctx, wsh_str(\"room\"), WSH_TEXT, data, len, 0); \
         answer(conn, \"publish\", status)",
        "-DIN_ENVELOPE=hang()",
    ]);
    let mut client = server.connect("/unruly");
    client.send("much");
    assert_eq!([client.text(), client.text()], ["publish=-8", "much"]);
    assert_eq!(server.connect("/echo").ask("hello"), "hello");
}

#[test]
fn a_publication_is_acknowledged_and_kept_where_no_session_listens() {
    let history = "[topics.\"script/*\"]\nhistory = { count = 10 }\n";
    let (site, server) = start(&[], history);
    let mut client = open(&server, "");
    assert_eq!(
        ask(&mut client, "publish_acked me 1 room 1 hello 0"),
        "answer 1 OK positioned"
    );
    // Its own session is excepted, here and in what is missed.
    run(&mut client, "subscribe c room 1;publish room 1 not-me me");
    let mut other = open(&server, "");
    let answer = ask(&mut other, "subscribe_from c 1 room - 9");
    assert_eq!(answer, "answer 1 OK recovered follows=2 positioned");
    assert_eq!([other.text(), other.text()], ["hello", "not-me"]);
    run(&mut client, "subscribe c room 0");
    let answer = ask(&mut client, "subscribe_from c 2 room - 9");
    assert_eq!(answer, "answer 2 OK recovered follows=1 positioned");
    assert_eq!(client.text(), "hello");

    // The history is the handler's name's, whatever its version, and also when no session is left.
    client.close(1000);
    other.close(1000);
    install(&site, &["-DVERSION=\"2\""]);
    server.line(&["generation retired", "generation=1"]);
    let mut client = open(&server, "");
    let answer = ask(&mut client, "history me 3 room - 9");
    assert_eq!(answer, "answer 3 OK recovered positioned [hello] [not-me]");
    client.close(1000);
    eventually("it is closed", || next(&mut client).is_none());
}

#[test]
fn the_last_publications_are_read_from_their_first_one_though_a_page_has_not_all() {
    let (_site, server) = start(&[], "[topics.\"script/*\"]\nhistory = { count = 2000 }\n");
    let mut client = open(&server, "");
    for number in 1..=1_030 {
        run(&mut client, &format!("publish room 1 {number} 0"));
    }

    let page = ask(&mut client, "history me 1 room - 1028");
    let beginning = "answer 1 OK recovered positioned [3] [4] [5] ";
    assert!(page.starts_with(beginning), "{page}");
    assert!(page.ends_with(" more"), "{page}");
    // A page has 1,024.
    let rest = ask(&mut client, "history me 2 room @next 1028");
    assert_eq!(
        rest,
        "answer 2 OK recovered positioned [1027] [1028] [1029] [1030]"
    );
}

#[test]
fn a_session_that_has_missed_more_than_may_wait_for_it_gets_the_last_ones_and_is_told() {
    let config =
        "[limits]\noutbound_bytes_max = 20000\n[topics.\"script/*\"]\nhistory = { count = 100 }\n";
    let (_site, server) = start(&[], config);
    let mut publisher = open(&server, "");
    let mut client = open(&server, "");
    ask(&mut client, "publish_acked me 1 room 1 first 0");
    for letter in ["a", "b", "c", "d"] {
        run(&mut publisher, &format!("publish room 1 {letter}*6000 0"));
    }

    // From the position 24,000 bytes would follow, and one message was asked for in their place.
    let answer = ask(&mut client, "subscribe_from c 2 room @position 1");
    assert_eq!(answer, "answer 2 OK follows=1 positioned");
    assert_eq!(client.text(), "d".repeat(6_000));
    run(&mut client, "subscribe c room 0");

    // Without a position nothing is recovered, and the newest follow that fit.
    let mut other = open(&server, "");
    let answer = ask(&mut other, "subscribe_from c 1 room - 5");
    assert_eq!(answer, "answer 1 OK recovered follows=3 positioned");
    for letter in ["b", "c", "d"] {
        assert_eq!(other.text(), letter.repeat(6_000));
    }
    run(&mut publisher, "publish room 1 end 0");
    assert_eq!(other.text(), "end");
}
