//! Messages as JSON, in every style, on the server of `wsh::test`.

use serde::{Deserialize, Serialize};
use wsh::{abi::Descriptor, prelude::*};

#[derive(Deserialize)]
struct Task {
    name: String,
    terms: Vec<i64>,
}

#[derive(Serialize)]
struct Sum<'a> {
    name: &'a str,
    sum: i64,
}

impl Task {
    fn sum(&self) -> Sum<'_> {
        Sum {
            name: &self.name,
            sum: self.terms.iter().sum(),
        }
    }
}

#[derive(Default)]
struct Adder;

impl Session for Adder {
    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        let task: Task = message.json()?;
        conn.send_json(&task.sum())?;
        Ok(())
    }
}

async fn add(conn: &mut AsyncConn) -> Result {
    while let Some(message) = conn.recv().await {
        conn.send_json(&message.json::<Task>()?.sum()).await?;
    }
    Ok(())
}

fn add_blocking(conn: BlockingConn) -> Result {
    for message in &conn {
        conn.send_json(&message.json::<Task>()?.sum())?;
    }
    Ok(())
}

fn every_style() -> [Descriptor; 3] {
    [
        wsh::descriptor!(Adder),
        wsh::descriptor!(async add),
        wsh::descriptor!(blocking add_blocking),
    ]
}

#[test]
fn json_is_read_from_text_and_binary_and_sent_as_text() {
    for handler in every_style() {
        let mut client = wsh::test::connect(handler);
        let asked = r#"{"name": "a\nb", "terms": [1, -3, 44]}"#;

        client.send(asked);
        client.send(asked.as_bytes());

        for _ in 0..2 {
            let answer = client.receive().unwrap();
            assert_eq!(answer.as_text(), Some(r#"{"name":"a\nb","sum":42}"#));
        }
    }
}

#[test]
fn what_is_no_json_or_another_value_ends_the_session_with_1011_and_says_what_was_found() {
    for handler in every_style() {
        for (message, why) in [
            (
                "hello",
                "message is not the JSON that was wanted: expected value at line 1 column 1; found `hello`",
            ),
            (
                r#"{"name": "x"}"#,
                "message is not the JSON that was wanted: missing field `terms` at line 1 column 13; \
                 found `{\"name\": \"x\"}`",
            ),
        ] {
            let server = wsh::test::serve(&handler);
            let mut client = server.connect();

            client.send(message);

            assert_eq!(client.receive(), None);
            assert_eq!(client.closed().unwrap().code, 1011);
            let lines = server.log();
            assert!(lines.iter().any(|line| line.message == why), "{lines:?}");
        }
    }
}

#[test]
fn a_value_goes_to_a_session_by_its_handle_and_to_a_topic() {
    #[derive(Default)]
    struct Teller;

    impl Session for Teller {
        fn on_open(&mut self, conn: &mut Conn) -> Result {
            conn.subscribe("news")?;
            Ok(())
        }
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            conn.handle().send_json(&("by id", conn.id()))?;
            conn.publish_json("news", &("published", 1))?;
            wsh::publish_json("news", &("published", 2))?;
            Ok(())
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Teller));

    client.send("now");

    assert_eq!(client.receive().unwrap(), r#"["by id",1]"#);
    assert_eq!(client.receive().unwrap(), r#"["published",1]"#);
    assert_eq!(client.receive().unwrap(), r#"["published",2]"#);
}

#[test]
fn a_value_that_cannot_be_json_is_refused_and_the_session_may_go_on() {
    #[derive(Default)]
    struct Odd;

    impl Session for Odd {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            let odd = std::collections::HashMap::from([((1, 2), 3)]);
            if let Err(refused) = conn.send_json(&odd) {
                conn.send(refused.to_string())?;
            }
            Ok(())
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Odd));
    let mut client = server.connect();

    client.send("x");

    let refused = client.receive().unwrap().to_string();
    assert!(
        refused.starts_with("`value` cannot be said in JSON"),
        "{refused}"
    );
    let lines = server.log();
    let why = |line: &wsh::test::Line| line.field("error") == Some("key must be a string");
    assert!(lines.iter().any(why), "{lines:?}");
}
