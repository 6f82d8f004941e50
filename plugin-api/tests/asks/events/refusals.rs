//! Asks that are refused, and answers that say so.

use std::time::Duration;

use wsh::{abi, prelude::*};

use super::{Asker, ask};
use crate::texts;

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
        Some("the value has version 1 and not the one that was named; nothing was done")
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
