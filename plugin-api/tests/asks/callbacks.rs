//! `envelope` and `presence`: what a handler makes of publications and of changes of members.

use wsh::{Answer, Envelope, Position, Presence, PresenceChange, Publication, abi, prelude::*};

use crate::texts;

/// A room whose publications carry the mark of the version that sent them.
#[derive(Default)]
struct Room<const VERSION: u32>;

impl<const VERSION: u32> Session for Room<VERSION> {
    fn on_open(&mut self, conn: &mut Conn) -> Result {
        conn.subscribe_from(1, "room", Start::last(9))?;
        conn.subscribe("/all")?;
        Ok(())
    }
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        match (message, message.as_text()) {
            (_, Some("leave")) => conn.leave("room")?,
            (_, Some(name)) if name.starts_with("i am ") => conn.enter(2, "room", name)?,
            (_, Some(text)) if text.starts_with('/') => drop(conn.publish("/all", text)?),
            _ => drop(conn.publish("room", message)?),
        }
        Ok(())
    }
    fn on_answer(&mut self, conn: &mut Conn, token: u64, answer: Answer<'_>) -> Result {
        if token == 1 {
            conn.send(format!("{} missed", answer.joined()?.missed))?;
        }
        Ok(())
    }
}

impl<const VERSION: u32> Envelope for Room<VERSION> {
    fn envelope(&self, publication: &Publication<'_>) -> Result<Option<MessageBuf>> {
        assert_eq!(publication.topic, "room");
        match publication.message.as_text() {
            Some("plain") => Ok(None),
            Some("panic") => panic!("as asked"),
            Some("fail") => Err("no form".into()),
            Some("binary") => Ok(Some(MessageBuf::Binary(vec![0]))),
            Some(text) => Ok(Some(MessageBuf::Text(format!("v{VERSION} {text}")))),
            None => Ok(Some(MessageBuf::Binary(b"bytes".to_vec()))),
        }
    }
}

impl<const VERSION: u32> Presence for Room<VERSION> {
    fn presence(&self, change: &PresenceChange<'_>) -> Result<Option<MessageBuf>> {
        let text = change.text();
        if text.ends_with("quiet") {
            return Ok(None);
        }
        Ok(Some(MessageBuf::Text(format!(
            "{:?} {} {text}",
            change.kind, change.version
        ))))
    }
}

#[test]
fn the_newest_code_makes_its_own_form_of_what_older_code_published() {
    let server = wsh::test::serve(wsh::descriptor!(Room::<1>));
    let mut ann = server.connect();
    ann.send("hello");
    assert_eq!(texts(&mut ann), ["0 missed", "v1 hello"]);

    server.reload(wsh::descriptor!(Room::<2>)).unwrap();
    let mut ben = server.connect();
    ann.send("again");

    assert_eq!(texts(&mut ben), ["1 missed", "v2 hello", "v2 again"]);
    assert_eq!(texts(&mut ann), ["v2 again"]);
    let kept: Vec<String> = server
        .history("room")
        .iter()
        .map(|it| it.message.to_string())
        .collect();
    assert_eq!(kept, ["hello", "again"]);
}

#[test]
fn a_session_that_joins_between_two_publications_gets_each_once() {
    #[derive(Default)]
    struct Joiner;
    impl Session for Joiner {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            conn.publish("room", "before")?;
            conn.subscribe_from(1, "room", Start::last(9))?;
            conn.publish("room", "behind")?;
            Ok(())
        }
        fn on_answer(&mut self, conn: &mut Conn, _: u64, answer: Answer<'_>) -> Result {
            conn.send(format!("{} missed", answer.joined()?.missed))?;
            Ok(())
        }
    }
    impl Envelope for Joiner {
        fn envelope(&self, publication: &Publication<'_>) -> Result<Option<MessageBuf>> {
            Ok(Some(MessageBuf::Text(format!(
                "form of {}",
                publication.message
            ))))
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Joiner));

    client.send("go");

    let said = texts(&mut client);
    assert_eq!(said, ["1 missed", "form of before", "form of behind"]);
}

#[test]
fn a_join_that_is_given_up_is_answered_and_does_not_take_the_next_ones_place() {
    #[derive(Default)]
    struct Leaver;
    impl Session for Leaver {
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            let seen = message
                .as_text()
                .and_then(|text| text.parse::<Position>().ok());
            let start = seen.map_or(Start::last(2), |seen| Start::from(Some(seen)));
            conn.publish("room", "one")?;
            conn.subscribe_from(1, "room", start)?;
            conn.unsubscribe("room")?;
            conn.subscribe_from(2, "room", Start::last(1))?;
            Ok(())
        }
        fn on_answer(&mut self, conn: &mut Conn, token: u64, answer: Answer<'_>) -> Result {
            let joined = answer.joined()?;
            conn.send(format!("{token} {} {}", joined.is_recovered, joined.missed))?;
            if token == 1 {
                assert_eq!(joined.position, None);
            } else {
                conn.unsubscribe("room")?;
                conn.send(joined.position.expect("a history").to_string())?;
            }
            Ok(())
        }
    }
    impl Envelope for Leaver {
        fn envelope(&self, publication: &Publication<'_>) -> Result<Option<MessageBuf>> {
            let form = format!("form of {}", publication.message);
            Ok(Some(MessageBuf::Text(form)))
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Leaver));

    client.send("from the last ones");
    let said = texts(&mut client);
    let position = said[2].clone();
    let expected = ["1 true 0", "2 true 1", &position, "form of one"];
    assert_eq!(said, expected, "it has nothing to recover");

    client.send(position);
    assert_eq!(texts(&mut client)[..2], ["1 false 0", "2 true 1"]);
}

#[test]
fn a_publication_without_a_form_goes_as_it_is_and_a_failure_is_logged() {
    let server = wsh::test::serve(wsh::descriptor!(Room::<1>));
    let mut client = server.connect();

    for text in ["plain", "fail", "panic", "binary", "/to all"] {
        client.send(text);
    }
    client.send(b"\xff");

    let bytes = texts(&mut client);
    assert_eq!(
        bytes,
        [
            "0 missed", "plain", "fail", "panic", "binary", "/to all", "bytes"
        ]
    );
    let said: Vec<String> = (server.log().into_iter())
        .filter(|line| line.level == abi::LOG_ERROR && line.field("callback") == Some("envelope"))
        .map(|line| line.message)
        .collect();
    assert_eq!(
        said,
        [
            "no form",
            "`envelope` panicked",
            "`envelope` makes text of a binary message, or the other way round"
        ]
    );
    assert_eq!(client.closed(), None);
}

#[test]
fn every_change_of_members_is_told_once_with_versions_without_holes() {
    let server = wsh::test::serve(wsh::descriptor!(Room::<1>));
    let (mut ann, mut ben) = (server.connect(), server.connect());

    ann.send("i am ann");
    ann.send("i am ann"); // no change
    ben.send("i am ben");
    ben.send("i am ben, quiet");
    ben.send("i am Ben");
    server.reload(wsh::descriptor!(Room::<2>)).unwrap();
    ben.lose();
    ann.send("leave");

    assert_eq!(
        texts(&mut ann),
        [
            "0 missed",
            "Joined 1 i am ann",
            "Joined 2 i am ben",
            "Changed 4 i am Ben",
            "Left 5 i am Ben",
            "Left 6 i am ann",
        ]
    );
}

#[test]
fn the_shared_value_of_a_function_has_the_callbacks() {
    struct Former;
    impl Shared for Former {
        fn new(_: Config) -> Result<Self> {
            Ok(Former)
        }
    }
    impl Envelope for Former {
        fn envelope(&self, _: &Publication<'_>) -> Result<Option<MessageBuf>> {
            Ok(Some(MessageBuf::Text("form".into())))
        }
    }
    async fn shares(conn: &mut AsyncConn, _: &Former) -> Result {
        conn.subscribe("t")?;
        conn.publish("t", "plain")?;
        while conn.recv().await.is_some() {}
        Ok(())
    }
    fn blocks(conn: BlockingConn, _: &Former) -> Result {
        conn.subscribe("t")?;
        conn.publish("t", "plain")?;
        while conn.recv().is_some() {}
        Ok(())
    }

    for descriptor in [
        wsh::descriptor!(async shares, shared = Former),
        wsh::descriptor!(blocking blocks, shared = Former),
    ] {
        let mut client = wsh::test::connect(descriptor);
        assert_eq!(client.receive().unwrap(), "form");
    }
}
