//! Sessions of the events style, which hear their answers by a callback.

use std::time::Duration;

use wsh::{Answer, Position, Refused, Start, abi, prelude::*};

use crate::texts;

/// Asks what a message says, with the token that the message begins with, and sends what was answered.
#[derive(Default)]
struct Asker;

impl Session for Asker {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        let text = message.to_string();
        let words: Vec<&str> = text.split(' ').collect();
        let token = words[0].parse().unwrap_or(0);
        let number = |at: usize| words.get(at).and_then(|it| it.parse().ok()).unwrap_or(0);
        let position = |at: usize| words.get(at).and_then(|it| it.parse::<Position>().ok());
        let asked = match words[1] {
            "join" => {
                let start = Start::from(position(4)).or_last(number(3));
                conn.subscribe_from(token, words[2], start)
            }
            "subscribe" => conn.subscribe(words[2]),
            "unsubscribe" => conn.unsubscribe(words[2]),
            "enter" => conn.enter(token, words[2], words[3]),
            "leave" => conn.leave(words[2]),
            "present" => conn.present(token, words[2], None, number(3)),
            "history" => conn.history(token, words[2], position(4).as_ref(), number(3)),
            "publish" => conn.publish(words[2], words[3]).map(drop),
            "acked" => conn.publish_acked(token, words[2], words[3]),
            "get" => conn.store(token).get(words[2]),
            "put" => conn.store(token).put(words[2], words[3]),
            "put_if" => conn.store(token).put_if(words[2], words[3], number(4)),
            "long" => conn
                .store(token)
                .put(words[2], vec![b'x'; number(3) as usize]),
            "lasting" => {
                let ttl = Duration::from_millis(number(4));
                conn.store(token).ttl(ttl).put(words[2], words[3])
            }
            "delete" => conn.store(token).delete(words[2]),
            "list" => conn.store(token).list(words[2], None, number(3)),
            "many" => (0..number(2)).try_for_each(|at| conn.store(at).get("x")),
            "note" => conn.handle().notify(number(2)),
            "part" => conn.send_part(words[2], words[3] == "last").map(drop),
            "panic" => panic!("as asked"),
            _ => Ok(()),
        };
        if let Err(refused) = asked {
            conn.send(refused.to_string())?;
        }
        Ok(())
    }

    fn on_answer(&mut self, conn: &mut Conn, token: u64, answer: Answer<'_>) -> Result {
        let said = match (answer.done(), token / 10) {
            (Err(Refused::Conflict), _) => format!("conflict with {}", answer.version()),
            (_, 1) => answer.joined().map_or_else(
                |refused| refused.to_string(),
                |it| format!("{} {}", it.is_recovered, it.missed),
            ),
            (_, 2) => answer
                .published()
                .map_or_else(|refused| refused.to_string(), |it| it.to_string()),
            (_, 3) => answer
                .changed()
                .map_or_else(|refused| refused.to_string(), |it| it.to_string()),
            (_, 4) => format!(
                "{:?}",
                answer.entry().map(|it| it.map(|it| it.text().into_owned()))
            ),
            (_, 5) => format!("{:?}", answer.members()?.members.len()),
            (_, 6) => {
                let page = answer.history()?;
                let texts = page.publications.iter().map(|it| it.message.to_string());
                format!(
                    "{} {}",
                    page.is_complete,
                    texts.collect::<Vec<_>>().join(",")
                )
            }
            (_, 7) => format!("{}", answer.entered()?),
            (_, 8) => return Ok(()),
            (_, 9) => format!("{}", answer.entries()?.entries.len()),
            (done, _) => format!("{done:?}"),
        };
        if conn.send(format!("{token}: {said}")) == Err(between_parts()) {
            conn.send_part(format!("[{token}: {said}]"), false)?;
        }
        Ok(())
    }

    fn on_note(&mut self, conn: &mut Conn, note: u64) -> Result {
        conn.send(format!("note {note}"))?;
        Ok(())
    }
}

/// The refusal of a whole message between parts, whatever its rule says.
fn between_parts() -> Refused {
    #[derive(Default)]
    struct Open;
    impl Session for Open {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            conn.send_part("x", false)?;
            SEEN.set(conn.send("y").err());
            Ok(())
        }
    }
    thread_local! {
        static SEEN: std::cell::Cell<Option<Refused>> = const { std::cell::Cell::new(None) };
    }
    if SEEN.get().is_none() {
        wsh::test::connect(wsh::descriptor!(Open)).send("go");
    }
    SEEN.get().expect("a refusal")
}

fn ask(client: &mut wsh::test::Client, text: &str) -> Vec<String> {
    client.send(text);
    texts(client)
}

#[test]
fn what_was_missed_comes_after_the_answer_and_before_what_is_new() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    let (mut ann, mut ben) = (server.connect(), server.connect());
    let positions: Vec<String> = ["one", "two", "three"]
        .map(|text| ask(&mut ann, &format!("20 acked news {text}")).remove(0))
        .map(|said| said.trim_start_matches("20: ").to_owned())
        .into();

    let joined = ask(&mut ben, &format!("10 join news 0 {}", positions[0]));
    assert_eq!(joined, ["10: true 2", "two", "three"]);
    ann.send("0 publish news four");
    assert_eq!(texts(&mut ben), ["four"]);
    // A session has joined a topic once.
    let again = ask(&mut ben, "10 join news 5");
    assert_eq!(
        again,
        ["`topic` is one that the session has joined, wanted another, or `unsubscribe` first"]
    );
    ben.send("0 unsubscribe news");
    assert_eq!(ask(&mut ben, "11 join news 1"), ["11: true 1", "four"]);
}

#[test]
fn everything_since_a_position_comes_or_none_of_it_and_the_answer_says_which() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    server.set_history("news", 2, Duration::from_secs(60));
    let mut ann = server.connect();
    let first = ask(&mut ann, "20 acked news one").remove(0);
    let first = first.trim_start_matches("20: ");
    let other = ask(&mut ann, "20 acked other one").remove(0);
    let other = other.trim_start_matches("20: ");
    ann.send("0 publish news two");
    ann.send("0 publish news three");

    let join = |text: &str| ask(&mut server.connect(), text);
    assert_eq!(
        join(&format!("10 join news 0 {first}")),
        ["10: true 2", "two", "three"]
    );
    ann.send("0 publish news four");
    assert_eq!(join(&format!("10 join news 0 {first}")), ["10: false 0"]);
    assert_eq!(
        join(&format!("10 join news 1 {first}")),
        ["10: false 1", "four"]
    );
    assert_eq!(join(&format!("10 join news 0 {other}")), ["10: false 0"]);
    assert_eq!(join("10 join news 0 AAAA"), ["10: false 0"]);
    assert_eq!(join(&format!("60 history news 9 {first}")), ["60: false "]);
    assert_eq!(join("60 history news 1"), ["60: true four"]);
    server.advance(Duration::from_secs(60));
    assert_eq!(join("10 join news 9"), ["10: true 0"]);
}

#[test]
fn what_is_missed_and_more_than_may_wait_is_cut_and_not_recovered() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    let mut ann = server.connect();
    let first = ask(&mut ann, "20 acked news first").remove(0);
    let first = first.trim_start_matches("20: ");
    for letter in ["a", "b", "c"] {
        ann.send(format!("0 publish news {}", letter.repeat(400_000)));
    }

    let join = |text: &str| {
        let mut said = ask(&mut server.connect(), text).into_iter();
        let answer = said.next().unwrap();
        (answer, said.map(|text| text[..1].to_owned()).collect())
    };
    let cut: (String, Vec<String>) = join(&format!("10 join news 1 {first}"));
    assert_eq!(cut, ("10: false 1".into(), vec!["c".into()]));
    assert_eq!(
        join("10 join news 9"),
        ("10: true 2".into(), vec!["b".into(), "c".into()])
    );
}

#[test]
fn a_topic_without_history_begins_with_what_is_new_and_answers_no_position() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    server.set_history("*", 0, Duration::ZERO);
    let mut client = server.connect();
    client.send("0 publish news one");

    assert_eq!(ask(&mut client, "10 join news 9"), ["10: true 0"]);
    let refused = "this server does not know the call, or does not allow it to this handler or for this topic";
    assert_eq!(ask(&mut client, "20 acked news two"), [refused]);
    assert_eq!(ask(&mut client, "60 history news 9"), [refused]);
    assert_eq!(ask(&mut client, "0 publish news three"), ["three"]);
}

#[test]
fn answers_keep_their_order_with_what_is_sent_by_id() {
    let mut client = wsh::test::connect(wsh::descriptor!(Asker));

    client.send("40 get x");
    client.send("0 note 1");
    client.send("41 get x");
    client.send("0 note 2");

    let said = texts(&mut client);
    assert_eq!(said, ["40: Ok(None)", "note 1", "41: Ok(None)", "note 2"]);
}

#[test]
fn an_answer_does_not_wait_for_the_rest_of_a_message_in_parts() {
    let mut client = wsh::test::connect(wsh::descriptor!(Asker));

    client.send("0 part begin more");
    client.send("0 note 1");
    client.send("40 get x");
    client.send("0 part end last");

    assert_eq!(texts(&mut client), ["begin[40: Ok(None)]end", "note 1"]);
}

#[test]
fn a_member_leaves_by_leave_by_its_end_and_by_a_panic_and_not_by_a_move() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.send(format!("70 enter lobby {at}"));
    }
    let here = || {
        let members = server.members("lobby");
        members
            .iter()
            .map(|it| it.text().into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(here(), ["0", "1", "2", "3"]);

    server.reload(wsh::descriptor!(Asker)).unwrap();
    assert_eq!(clients[3].generation(), Some(2));
    assert_eq!(here(), ["0", "1", "2", "3"]);
    clients[0].send("0 leave lobby");
    clients[1].send("0 panic");
    clients[2].lose();

    assert_eq!(here(), ["3"]);
    assert_eq!(
        ask(&mut clients[3], "50 present lobby 9"),
        ["70: 4", "50: 1"]
    );
}

#[test]
fn a_value_is_changed_only_if_it_has_the_version_that_is_named() {
    let mut client = wsh::test::connect(wsh::descriptor!(Asker));

    assert_eq!(ask(&mut client, "30 put_if a x 0"), ["30: 1"]);
    assert_eq!(ask(&mut client, "30 put_if a x 0"), ["30: conflict with 1"]);
    assert_eq!(ask(&mut client, "30 put_if a y 1"), ["30: 2"]);
    assert_eq!(ask(&mut client, "40 get a"), [r#"40: Ok(Some("y"))"#]);
    assert_eq!(ask(&mut client, "30 delete a"), ["30: 3"]);
    assert_eq!(ask(&mut client, "30 put_if a z 2"), ["30: conflict with 0"]);
    assert_eq!(ask(&mut client, "30 put a z"), ["30: 4"]);
    assert_eq!(ask(&mut client, "90 list a 9"), ["90: 1"]);
}

#[test]
fn a_value_lasts_for_its_time_and_outlives_a_reload() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    let mut client = server.connect();
    client.send("80 lasting short x 1000");
    client.send("80 put long x");

    server.advance(Duration::from_millis(999));
    server.reload(wsh::descriptor!(Asker)).unwrap();
    assert_eq!(ask(&mut client, "90 list - 9"), ["90: 0"]);
    assert_eq!(ask(&mut client, "40 get short"), [r#"40: Ok(Some("x"))"#]);
    server.advance(Duration::from_millis(1));
    assert_eq!(ask(&mut client, "40 get short"), ["40: Ok(None)"]);
    assert_eq!(server.store()[0].key, "long");
}

#[test]
fn a_refusal_says_which_limit() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    server.set_store_bytes_max(100);
    let mut client = server.connect();
    let long = "k".repeat(256);

    for (text, says) in [
        (
            format!("30 put {long} x"),
            "`key` has 256 bytes, wanted 1 to 255 bytes without NUL",
        ),
        (
            "30 put a\0b x".to_owned(),
            "`key` contains NUL, wanted 1 to 255 bytes without NUL",
        ),
        (
            "30 long a 65537".to_owned(),
            "`value` has 65537 bytes, wanted at most `store_value_bytes_max`",
        ),
        (
            "30 long a 100".to_owned(),
            "30: `value` does not fit beside what the handler keeps, wanted at most `store_bytes_max` in all",
        ),
        (
            format!("70 enter lobby {}", "x".repeat(1025)),
            "`value` or the number of topics is past its limit, wanted at most `presence_value_bytes_max` bytes, on at most `topics_max` topics",
        ),
        (
            "50 present lobby 0".to_owned(),
            "`limit` is 0, wanted at least 1",
        ),
        (
            format!("10 join {long} 1"),
            "`topic` has 256 bytes, wanted 1 to 255 bytes without NUL",
        ),
    ] {
        assert_eq!(ask(&mut client, &text), [says], "{text:.20}");
    }
}

#[test]
fn as_many_asks_wait_as_may_and_the_next_one_is_refused() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    server.set_answer_delay(Duration::from_secs(1));
    let mut client = server.connect();

    let said = ask(&mut client, "0 many 65");
    assert_eq!(
        said,
        ["the queue is full; nothing was done, and it may be tried again"]
    );
    client.advance(Duration::from_secs(1));
    let said = texts(&mut client);
    assert_eq!(said.len(), 64);
}

#[test]
fn an_answer_finds_its_session_in_newer_code() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    server.set_answer_delay(Duration::from_secs(1));
    let mut client = server.connect();
    client.send("40 get x");

    server.reload(wsh::descriptor!(Asker)).unwrap();
    assert_eq!(client.generation(), Some(2));
    server.advance(Duration::from_secs(1));

    assert_eq!(texts(&mut client), ["40: Ok(None)"]);
}

#[test]
fn a_session_whose_ask_has_failed_may_ask_again() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    let mut client = server.connect();
    let away = "what servers share cannot be reached or did not answer in time; it is not known whether this was done";

    server.set_engine_available(false);
    assert_eq!(ask(&mut client, "10 join news 1"), [format!("10: {away}")]);
    assert_eq!(ask(&mut client, "30 put a x"), [format!("30: {away}")]);
    assert_eq!(
        ask(&mut client, "0 publish news lost"),
        ["the queue is full; nothing was done, and it may be tried again"]
    );
    server.set_engine_available(true);

    assert_eq!(ask(&mut client, "10 join news 1"), ["10: true 0"]);
    assert_eq!(ask(&mut client, "0 publish news there"), ["there"]);
    assert!(server.store().is_empty());
}

#[test]
fn a_failure_that_the_session_does_not_hear_is_a_warning() {
    #[derive(Default)]
    struct Deaf;
    impl Session for Deaf {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            conn.store(7).put_if("a", "x", 0)?;
            Ok(())
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Deaf));
    let mut client = server.connect();

    client.send("once");
    assert!(server.log().is_empty());
    client.send("twice");

    let log = server.log();
    assert_eq!(
        (log[0].level, log[0].field("token")),
        (abi::LOG_WARN, Some("7"))
    );
    assert_eq!(
        log[0].field("error"),
        Some("the value does not have the version that was named; nothing was done")
    );
    assert_eq!(client.closed(), None);
}

#[test]
fn a_snapshot_asks_nothing() {
    struct Sly(Option<Refused>);
    struct Maker;
    impl Handler for Maker {
        type Session = Sly;
        fn new(_: Config) -> Result<Self> {
            Ok(Maker)
        }
        fn open(&self, _: &mut Conn, _: &Request) -> Result<Sly> {
            Ok(Sly(None))
        }
    }
    impl Session for Sly {
        const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            conn.send(format!("{:?}", self.0))?;
            Ok(())
        }
        fn snapshot(&self, conn: &Conn) -> Result<Snapshot<Self>> {
            conn.store(1).put("a", "x")?;
            Ok(Snapshot::later())
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Maker));
    let mut client = server.connect();

    assert!(!client.migrate());

    let log = server.log();
    assert!(
        log[0].message.starts_with("called at the wrong time"),
        "{}",
        log[0]
    );
    assert!(server.store().is_empty());
}
