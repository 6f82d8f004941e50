//! How a session and its function end.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use wsh::{Refused, prelude::*};

use crate::{Gate, code, texts};

#[test]
fn a_function_that_returns_at_once_closes_with_1000() {
    async fn hello(conn: &mut AsyncConn) -> Result {
        conn.send("hello").await?;
        Ok(())
    }

    let mut client = wsh::test::connect(wsh::descriptor!(async hello));

    assert_eq!(texts(&mut client), ["hello"]);
    assert_eq!(code(&mut client), Some(1000));
}

#[test]
fn a_function_that_fails_at_once_leaves_no_session() {
    async fn fails(_: &mut AsyncConn) -> Result {
        Err("no room".into())
    }

    let server = wsh::test::serve(wsh::descriptor!(async fails));
    let mut client = server.connect();

    assert_eq!(code(&mut client), Some(1011));
    assert!(server.log().iter().any(|line| line.message == "no room"));
}

#[test]
fn a_panic_ends_its_own_session_only_and_drops_the_future() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Held;
    impl Drop for Held {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Relaxed);
        }
    }
    async fn panics(conn: &mut AsyncConn) -> Result {
        let _held = Held;
        while let Some(message) = conn.recv().await {
            assert_ne!(message, "panic", "as asked");
            conn.send(message).await?;
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async panics));
    let (mut bad, mut good) = (server.connect(), server.connect());

    bad.send("panic");

    assert_eq!(code(&mut bad), Some(1011));
    assert_eq!(bad.generation(), None);
    assert_eq!(DROPPED.load(Relaxed), 1);
    good.send("still here");
    assert_eq!(texts(&mut good), ["still here"]);
}

#[test]
fn messages_before_a_close_are_answered_before_it() {
    static GATE: Gate = Gate::shut();
    async fn prepares(conn: &mut AsyncConn) -> Result {
        GATE.pass().await;
        while let Some(message) = conn.recv().await {
            conn.send(message).await?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async prepares));
    client.send("only");
    client.close(4001, "");

    GATE.open();

    assert_eq!(texts(&mut client), ["only"]);
    assert_eq!(code(&mut client), Some(4001));
}

#[test]
fn the_end_of_a_session_ends_a_wait_for_the_peer() {
    static ANSWER: Mutex<Option<Refused>> = Mutex::new(None);
    async fn floods(conn: &mut AsyncConn) -> Result {
        conn.recv().await;
        loop {
            if let Err(refused) = conn.send([0; 1024].as_slice()).await {
                *ANSWER.lock().unwrap() = Some(refused);
                return Err(refused.into());
            }
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(async floods));
    let mut client = server.connect();
    client.stall();
    client.send("go");
    assert_eq!(*ANSWER.lock().unwrap(), None);

    client.lose();

    assert_eq!(*ANSWER.lock().unwrap(), Some(Refused::Gone));
    // The end of its session is no failure of a function.
    assert_eq!(server.log(), []);
}

#[test]
fn a_peer_that_closes_first_is_answered_with_its_code_or_the_functions_own() {
    async fn ends(conn: &mut AsyncConn) -> Result {
        while let Some(message) = conn.recv().await {
            conn.send(message).await?;
        }
        let close = conn.closed().ok_or("it was told before it knew")?;
        if close.reason == "in your own words" {
            conn.close(4002, "bye")?;
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async ends));
    for (reason, expected) in [("", 4001), ("in your own words", 4002)] {
        let mut client = server.connect();
        client.close(4001, reason);
        assert_eq!(code(&mut client), Some(expected));
    }
    assert_eq!(server.log(), []);
}

#[test]
fn a_function_goes_on_after_the_end_until_it_is_done() {
    static GATE: Gate = Gate::shut();
    static DONE: AtomicU64 = AtomicU64::new(0);
    async fn cleans_up(conn: &mut AsyncConn) -> Result {
        while conn.recv().await.is_some() {}
        GATE.pass().await;
        DONE.store(conn.id(), Relaxed);
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async cleans_up));

    client.close(4001, "");

    // The peer's Close is answered before the function has ended.
    assert_eq!(code(&mut client), Some(4001));
    assert_eq!(client.generation(), Some(1));
    GATE.open();
    assert_eq!(client.closed().unwrap().code, 4001);
    assert_eq!(DONE.load(Relaxed), client.id());
    assert_eq!(client.generation(), None);
}

#[test]
fn a_close_is_answered_at_once_if_the_function_never_asks_for_messages() {
    static GATE: Gate = Gate::shut();
    async fn pushes(conn: &mut AsyncConn) -> Result {
        GATE.pass().await;
        conn.send("news").await?;
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(async pushes));
    let mut client = server.connect();

    client.close(4001, "");

    assert_eq!(code(&mut client), Some(4001));
    GATE.open();
    assert_eq!(client.try_receive(), None);
    assert_eq!(client.generation(), None);
    assert_eq!(server.log(), []);
}

#[test]
fn a_function_that_ignores_the_end_is_dropped() {
    async fn ticks(conn: &mut AsyncConn) -> Result {
        loop {
            drop(conn.send("tick"));
            conn.sleep(Duration::from_secs(1)).await;
        }
    }
    async fn listens(conn: &mut AsyncConn) -> Result {
        loop {
            if let Some(message) = conn.recv().await {
                drop(conn.send(message));
            }
        }
    }
    for handler in [
        wsh::descriptor!(async ticks),
        wsh::descriptor!(async listens),
    ] {
        let server = wsh::test::serve(handler);
        let (mut closes, mut loses) = (server.connect(), server.connect());

        closes.close(4001, "");
        loses.lose();

        assert_eq!(code(&mut closes), Some(4001));
        assert_eq!(closes.generation(), None);
        assert_eq!(loses.generation(), None);
    }
}

#[test]
fn recv_waits_for_the_end_after_an_own_close() {
    static CODE: AtomicU64 = AtomicU64::new(0);
    async fn leaves(conn: &mut AsyncConn) -> Result {
        conn.close(4000, "done")?;
        assert_eq!(conn.send("late").result(), Err(Refused::Gone));
        while conn.recv().await.is_some() {}
        CODE.store(conn.closed().map_or(0, |close| close.code.into()), Relaxed);
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(async leaves));

    assert_eq!(code(&mut client), Some(4000));
    assert_eq!(CODE.load(Relaxed), 4000);
    assert_eq!(client.try_receive(), None);
}
