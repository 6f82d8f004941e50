//! A session of the events style that asks what its peer says, and how it answers, joins, keeps values and is refused.

mod answers;
mod joining;
mod refusals;
mod values;

use std::time::Duration;

use wsh::{Answer, Position, Refused, Start, prelude::*};

use crate::texts;

/// Asks what a message says, with the token that the message begins with, and sends what was answered.
#[derive(Default)]
pub(crate) struct Asker;

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
            (Err(Refused::Conflict { version }), _) => {
                assert_eq!(version, answer.version());
                format!("conflict with {version}")
            }
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

/// What a client has received after its question.
pub(crate) fn ask(client: &mut wsh::test::Client, text: &str) -> Vec<String> {
    client.send(text);
    texts(client)
}
