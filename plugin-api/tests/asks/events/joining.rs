//! Joining a topic from a position, or with its last messages.

use std::time::Duration;

use super::{Asker, ask};
use crate::texts;

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
fn a_position_is_over_when_its_topic_loses_the_history() {
    let server = wsh::test::serve(wsh::descriptor!(Asker));
    let mut ann = server.connect();
    let first = ask(&mut ann, "20 acked news one").remove(0);
    let first = first.trim_start_matches("20: ");

    server.set_history("news", 0, Duration::ZERO);
    ann.send("0 publish news two");
    server.set_history("news", 9, Duration::from_secs(60));

    let mut ben = server.connect();
    assert_eq!(
        ask(&mut ben, &format!("10 join news 0 {first}")),
        ["10: false 0"]
    );
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
    let refused =
        "`topic` has no history, wanted a `history` in its table of `[topics]` in config.toml";
    assert_eq!(ask(&mut client, "20 acked news two"), [refused]);
    assert_eq!(ask(&mut client, "60 history news 9"), [refused]);
    assert_eq!(ask(&mut client, "0 publish news three"), ["three"]);
}
