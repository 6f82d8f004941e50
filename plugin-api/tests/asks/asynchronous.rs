//! Async functions that await their answers.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use wsh::{Refused, prelude::*, test::Server};

use crate::texts;

/// The answer, or the output of another future if that is there first, as in a `select!`.
async fn either<T: Send + 'static, B: Future>(
    ask: &mut wsh::Ask<T>,
    other: B,
) -> std::result::Result<Result<T, Refused>, B::Output> {
    let mut other = pin!(other);
    poll_fn(|cx| {
        if let Poll::Ready(answer) = Pin::new(&mut *ask).poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        other.as_mut().poll(cx).map(Err)
    })
    .await
}

/// A server whose answers take a second.
fn slow(handler: wsh::abi::Descriptor) -> Server {
    let server = wsh::test::serve(handler);
    server.set_answer_delay(Duration::from_secs(1));
    server
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn messages_are_received_while_an_ask_waits_and_neither_is_lost() {
    async fn both(conn: &mut AsyncConn) -> Result {
        let mut ask = conn.store().get("motto");
        let motto = loop {
            match either(&mut ask, conn.recv()).await {
                Ok(answer) => break answer?,
                Err(Some(message)) => conn.send(message).await?,
                Err(None) => return Ok(()),
            }
        };
        conn.send(format!("{}", motto.is_some())).await?;
        while let Some(message) = conn.recv().await {
            conn.send(message).await?;
        }
        Ok(())
    }
    let server = slow(wsh::descriptor!(async both, restarts));
    let mut client = server.connect();

    client.send("one");
    client.send("two");
    assert_eq!(texts(&mut client), ["one", "two"]);
    server.advance(SECOND);
    client.send("three");
    assert_eq!(texts(&mut client), ["false", "three"]);
}

#[test]
fn a_session_that_waits_for_an_answer_moves_when_it_has_come() {
    async fn ask(conn: &mut AsyncConn<u64>) -> Result {
        conn.send(format!("at {}", conn.state)).await?;
        while let Some(message) = conn.recv().await {
            conn.store().put("a", message.as_bytes()).await?;
            conn.state += 1;
            conn.send("kept").await?;
        }
        Ok(())
    }
    let server = slow(wsh::descriptor!(async ask));
    let mut client = server.connect();

    client.send("x");
    assert!(!client.migrate());
    assert_eq!(texts(&mut client), ["at 0"]);
    server.advance(SECOND);

    assert_eq!(texts(&mut client), ["kept", "at 1"]);
    assert_eq!(client.generation(), Some(2));
}

#[test]
fn a_session_that_also_waits_for_messages_does_not_move_away_from_its_answer() {
    async fn ask(conn: &mut AsyncConn<bool>) -> Result {
        let mut ask = conn.store().put("a", "x");
        let kept = either(&mut ask, conn.recv()).await;
        conn.state = true;
        conn.send(format!("{:?}", kept.ok())).await?;
        while conn.recv().await.is_some() {}
        Ok(())
    }
    let server = slow(wsh::descriptor!(async ask));
    let mut client = server.connect();

    assert!(!client.migrate());
    server.advance(SECOND);

    // The newer function asks, too.
    assert_eq!(client.generation(), Some(2));
    assert_eq!(texts(&mut client), ["Some(Ok(1))"]);
}

#[test]
fn the_answer_to_an_ask_that_was_dropped_is_dropped_even_in_newer_code() {
    async fn ask(conn: &mut AsyncConn<u64>) -> Result {
        if conn.state == 0 {
            conn.state = 1;
            drop(conn.store().put("a", "older"));
        } else {
            let answer = conn.store().get("a").await?;
            let text = answer.map(|entry| entry.text().into_owned());
            conn.send(format!("{text:?}")).await?;
        }
        while conn.recv().await.is_some() {}
        Ok(())
    }
    let server = slow(wsh::descriptor!(async ask));
    let mut client = server.connect();

    // The answer is on its way when the newer function asks something else.
    assert!(client.migrate());
    server.advance(SECOND);

    assert_eq!(texts(&mut client), [r#"Some("older")"#]);
}

#[test]
fn a_function_that_lets_go_leaves_its_ask_behind() {
    async fn ask(conn: &mut AsyncConn<u64>) -> Result {
        let _let_go = conn.let_go();
        conn.state += 1;
        let mut ask = conn.store().get("a");
        let first = either(&mut ask, conn.recv()).await;
        conn.send(format!("{} {}", conn.state, first.is_ok()))
            .await?;
        Ok(())
    }
    let server = slow(wsh::descriptor!(async ask));
    let mut client = server.connect();

    assert!(client.migrate());
    assert_eq!(texts(&mut client), [""; 0]);
    server.advance(SECOND);

    // Each function had its own answer: the one of the older function came, and was not taken for this one's.
    assert_eq!(texts(&mut client), ["2 true"]);
}

#[test]
fn a_session_that_ends_answers_what_waits_with_gone() {
    async fn ask(conn: &mut AsyncConn) -> Result {
        let answer = conn.store().get("a").await;
        wsh::info!("{answer:?}");
        let later = conn.store().get("a").await;
        wsh::info!("{later:?}");
        Ok(())
    }
    let server = slow(wsh::descriptor!(async ask));
    let mut client = server.connect();

    client.lose();

    let said: Vec<String> = server.log().into_iter().map(|line| line.message).collect();
    assert_eq!(said, ["Err(Gone)", "Err(Gone)"]);
}

#[test]
fn answers_come_to_futures_that_wait_together_under_wakers_of_their_own() {
    async fn ask(conn: &mut AsyncConn) -> Result {
        // On a task of another runtime, which polls only what was woken.
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let (first, second) = (conn.store().put("a", "1"), conn.store().put("b", "2"));
        let handle = conn.handle();
        wsh::spawn(move |_| {
            let both = runtime.block_on(async { tokio::join!(first, second) });
            let _ = handle.send(format!("{both:?}"));
        })?;
        while conn.recv().await.is_some() {}
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async ask));
    assert_eq!(client.receive().unwrap(), "(Ok(1), Ok(2))");
}

#[test]
fn a_refused_ask_is_ready_at_once() {
    async fn ask(conn: &mut AsyncConn) -> Result {
        let refused = conn.store().get("").await;
        conn.send(format!("{}", refused.unwrap_err())).await?;
        let refused = conn.subscribe_from("", Start::now()).await;
        conn.send(format!("{}", refused.unwrap_err())).await?;
        let ask = conn.enter("lobby", "x");
        conn.close(1000, "")?;
        assert_eq!(ask.await, Err(Refused::Gone));
        wsh::info!("over");
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async ask));
    let mut client = server.connect();
    assert_eq!(
        texts(&mut client),
        [
            "`key` has 0 bytes, wanted 1 to 255 bytes without NUL",
            "`topic` has 0 bytes, wanted 1 to 255 bytes without NUL"
        ]
    );
    assert_eq!(server.log()[0].message, "over");
    assert!(server.members("lobby").is_empty());
}

#[test]
fn an_opening_handshake_awaits_what_it_asks() {
    fn check(request: &Request, _: &mut Response) -> Result<Handshake> {
        let ask = wsh::store().get(request.query("token").unwrap_or("none"));
        Ok(Handshake::later(async move {
            Ok(match ask.await? {
                Some(_) => Handshake::accept(),
                None => Handshake::reject(403, "no such token"),
            })
        }))
    }
    async fn quiet(conn: &mut AsyncConn) -> Result {
        while conn.recv().await.is_some() {}
        Ok(())
    }
    let server = slow(wsh::descriptor!(async quiet, handshake = check));
    server.put("secret", "");

    let mut good = server.request("/?token=secret").begin();
    let mut bad = server.request("/?token=wrong").begin();
    assert!(good.is_pending() && bad.is_pending());
    server.advance(SECOND);

    assert!(good.finish().is_ok());
    assert_eq!(bad.finish().unwrap_err().body, b"no such token");
}

#[test]
fn what_is_asked_of_the_store_is_carried_out_in_the_order_of_the_calls() {
    async fn keep(conn: &mut AsyncConn) -> Result {
        let store = conn.store();
        let asks = (store.put("motto", "alas"), store.get("motto"));
        let then = (store.delete("motto"), store.get("motto"));
        let after = then.1.await?;
        let between = asks.1.await?;
        let (put, deleted) = (asks.0.await?, then.0.await?);
        conn.send(format!(
            "{} {} {}",
            between.is_some(),
            after.is_some(),
            put < deleted
        ))
        .await?;
        Ok(())
    }
    for server in [
        slow(wsh::descriptor!(async keep)),
        wsh::test::serve(wsh::descriptor!(async keep)),
    ] {
        let mut client = server.connect();
        server.advance(SECOND);
        assert_eq!(client.receive().unwrap(), "true false true");
    }
}
