//! How a session and its blocking function end.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use wsh::{Refused, prelude::*};

use super::*;

#[test]
fn a_close_before_the_first_recv_waits_a_moment_for_it() {
    static GATE: Gate = Gate::shut();
    fn elsewhere(_conn: BlockingConn) -> Result {
        GATE.pass();
        Ok(())
    }
    fn answers(conn: BlockingConn) -> Result {
        std::thread::sleep(Duration::from_millis(20));
        while conn.recv().is_some() {}
        conn.close(4002, "in its own words")?;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking elsewhere));
    client.close(4001, "bye");
    client.advance(Duration::from_millis(249));
    assert_eq!(client.closed(), None);
    client.advance(Duration::from_millis(1));
    let close = client.closed().unwrap();
    assert_eq!((close.code, &*close.reason), (4001, "bye"));
    GATE.open();

    let mut client = wsh::test::connect(wsh::descriptor!(blocking answers));
    client.close(4001, "bye");
    assert_eq!(client.receive(), None);
    assert_eq!(client.closed().unwrap().code, 4002);
}

#[test]
fn the_connection_is_dropped_after_the_last_message_and_after_the_peers_close() {
    fn drops(conn: BlockingConn) -> Result {
        while let Some(message) = conn.recv() {
            if message == "drop" {
                break;
            }
        }
        conn.abort()?;
        assert_eq!(conn.abort(), Err(Refused::Gone));
        assert_eq!(conn.close(4000, ""), Err(Refused::Gone));
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking drops));
    for closes in [false, true] {
        let mut client = server.connect();
        if closes {
            client.close(4001, "");
        } else {
            client.send("drop");
        }
        assert_eq!(client.receive(), None);
        assert_eq!(client.closed().unwrap().code, 1006);
    }
    let_go(server);
}

#[test]
fn the_end_of_a_session_ends_a_wait_for_the_peer_or_for_a_message() {
    fn floods(conn: BlockingConn) -> Result {
        loop {
            conn.send([0; 1024].as_slice())
                .inspect_err(|refused| say(1, refused))?;
        }
    }
    fn listens(conn: BlockingConn) -> Result {
        say(2, conn.recv());
        say(2, conn.send("late"));
        say(2, conn.closed().map(|close| close.code));
        say(2, (conn.ping(b""), conn.subscribe("topic"), conn.is_open()));
        Ok(())
    }
    for handler in [
        wsh::descriptor!(blocking floods),
        wsh::descriptor!(blocking listens),
    ] {
        let server = wsh::test::serve(handler);
        let mut client = server.connect();
        client.stall();

        client.lose();
        drop(client);

        let log = server.log();
        let_go(server);
        assert_eq!(log, []);
    }
    assert_eq!(last_words(1), ["Gone"]);
    assert_eq!(
        last_words(2),
        [
            "None",
            "Err(Gone)",
            "Some(1006)",
            "(Err(Gone), Err(Gone), false)"
        ]
    );
}

#[test]
fn a_failure_and_a_panic_end_their_own_session_only() {
    fn fails(conn: BlockingConn) -> Result {
        for message in &conn {
            match message.as_text() {
                Some("fail") => return Err("as asked".into()),
                Some("panic") => panic!("as asked"),
                _ => conn.send(message)?,
            }
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking fails));
    let mut good = server.connect();
    for fault in ["fail", "panic"] {
        let mut bad = server.connect();
        bad.send(fault);

        assert_eq!(bad.receive(), None);
        assert_eq!(bad.closed().unwrap().code, 1011);
    }

    assert!(server.log().iter().any(|line| line.message == "as asked"));
    good.send("still here");
    assert_eq!(good.receive().unwrap(), "still here");
}

#[test]
fn a_peer_that_closes_first_is_answered_with_its_code_or_the_functions_own() {
    fn ends(conn: BlockingConn) -> Result {
        for message in &conn {
            conn.send(message)?;
        }
        let close = conn.closed().ok_or("it was told before it knew")?;
        if close.reason == "in your own words" {
            conn.close(4002, "bye")?;
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking ends));
    for (reason, expected) in [("", 4001), ("in your own words", 4002)] {
        let mut client = server.connect();
        client.send("last");
        client.close(4001, reason);
        assert_eq!(client.receive().unwrap(), "last");
        assert_eq!(client.receive(), None);
        assert_eq!(client.closed().unwrap().code, expected);
    }
    assert_eq!(server.log(), []);
}

#[test]
fn recv_waits_for_the_end_after_an_own_close() {
    static CODE: AtomicU64 = AtomicU64::new(0);
    fn leaves(conn: BlockingConn) -> Result {
        conn.close(4000, "done")?;
        assert_eq!(conn.send("late"), Err(Refused::Gone));
        while conn.recv().is_some() {}
        let code = conn.closed().map_or(0, |close| close.code);
        CODE.store(code.into(), Relaxed);
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking leaves));
    let mut client = server.connect();

    assert_eq!(client.receive(), None);
    assert_eq!(client.closed().unwrap().code, 4000);
    drop(client);
    let_go(server);
    assert_eq!(CODE.load(Relaxed), 4000);
}

#[test]
fn a_function_that_ignores_the_end_is_ended() {
    fn listens(conn: BlockingConn) -> Result {
        loop {
            if let Some(message) = conn.recv() {
                conn.send(message)?;
            }
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking listens));
    let mut client = server.connect();

    client.close(4001, "");

    assert_eq!(client.receive(), None);
    assert_eq!(client.closed().unwrap().code, 4001);
    assert_eq!(server.log(), []);
    drop(client);
    let_go(server);
}

#[test]
fn a_destructor_may_ask_for_messages_while_its_function_is_unwound() {
    struct Guard<'a>(&'a BlockingConn);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            for _ in 0..3 {
                assert_eq!(self.0.recv(), None);
            }
            say(5, self.0.send("late"));
        }
    }
    /// Ignores the end of its session, and is unwound.
    fn listens(conn: BlockingConn) -> Result {
        let _guard = Guard(&conn);
        loop {
            let _ = conn.recv();
        }
    }
    /// Panics when its session is over.
    fn panics(conn: BlockingConn) -> Result {
        let _guard = Guard(&conn);
        while conn.recv().is_some() {}
        for _ in 0..TOLD_MAX {
            let _ = conn.recv();
        }
        unreachable!("it is unwound before");
    }
    for handler in [
        wsh::descriptor!(blocking listens),
        wsh::descriptor!(blocking panics),
    ] {
        let server = wsh::test::serve(handler);
        let mut client = server.connect();
        client.close(4001, "");
        assert_eq!(client.receive(), None);
        assert_eq!(client.closed().unwrap().code, 4001);
        drop(client);
        let_go(server);
    }
    assert_eq!(last_words(5), ["Err(Gone)", "Err(Gone)"]);
}
