//! The blocking style, on the server of `wsh::test`.

use std::{
    sync::{Condvar, Mutex, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::Duration,
};

use wsh::{Refused, prelude::*, test::Server};

/// Something else to wait for than the connection. A test's own static, so that tests do not meet.
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    const fn shut() -> Self {
        Gate(Mutex::new(false), Condvar::new())
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        let is_open = self.0.lock().unwrap();
        drop(self.1.wait_while(is_open, |is_open| !*is_open).unwrap());
    }
}

/// What a function says when it is asked to by a test, and when its session is over.
static LAST_WORDS: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());

fn say(id: u64, words: impl std::fmt::Debug) {
    LAST_WORDS.lock().unwrap().push((id, format!("{words:?}")));
}

fn last_words(id: u64) -> Vec<String> {
    let words = LAST_WORDS.lock().unwrap();
    let own = words.iter().filter(|(who, _)| *who == id);
    own.map(|(_, words)| words.clone()).collect()
}

fn received(client: &mut wsh::test::Client) -> Vec<String> {
    std::iter::from_fn(|| client.receive())
        .map(|message| message.to_string())
        .collect()
}

/// Waits until every function has ended and every session was let go.
fn let_go(server: Server) {
    drop(server);
}

#[test]
fn a_peer_is_held_back_while_the_function_is_elsewhere_and_nothing_is_lost() {
    static GATE: Gate = Gate::shut();
    fn slow(conn: BlockingConn) -> Result {
        GATE.pass();
        for message in &conn {
            // The Close came behind the messages: whoever knows of it has read nearly all of them.
            let knows = if conn.closed().is_some() { "!" } else { "" };
            conn.send(format!("{message}{knows}"))?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking slow));
    for number in 0..200 {
        client.send(number.to_string());
    }
    client.close(4001, "");

    GATE.open();

    let told = received(&mut client);
    let numbers: Vec<_> = told.iter().map(|text| text.trim_end_matches('!')).collect();
    let sent: Vec<_> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(numbers, sent);
    assert!(told[..32].iter().all(|text| !text.ends_with('!')));
    assert_eq!(client.closed().unwrap().code, 4001);
}

#[test]
fn more_than_fits_is_sent_at_the_pace_of_the_peer() {
    fn floods(conn: BlockingConn) -> Result {
        for number in 0..8192_u32 {
            let mut message = vec![0; 1024];
            message[..4].copy_from_slice(&number.to_be_bytes());
            conn.send(message)?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking floods));

    for number in 0..8192_u32 {
        let message = client.receive().unwrap();
        assert_eq!(message.as_bytes()[..4], number.to_be_bytes());
    }

    assert_eq!(client.receive(), None);
    assert_eq!(client.closed().unwrap().code, 1000);
}

#[test]
fn a_send_waits_until_its_message_fits_also_through_a_reload() {
    fn floods(conn: BlockingConn) -> Result {
        while conn.recv().is_some() {
            // Two of them are more than may wait, and one is more than that by itself.
            for bytes in [900_000, 900_000, 1024 * 1024 + 1, 10, 900_000] {
                conn.send(vec![0; bytes])?;
            }
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking floods));
    let mut client = server.connect();
    client.stall();
    client.send("go");
    assert!(!client.migrate());
    for _ in 0..10 {
        client.ping(b"");
    }
    assert_eq!(client.closed(), None);
    client.resume();

    let lengths = [900_000, 900_000, 1024 * 1024 + 1, 10, 900_000];
    for bytes in lengths {
        assert_eq!(client.receive().unwrap().len(), bytes);
    }
    assert_eq!((client.generation(), client.closed()), (Some(1), None));
}

#[test]
fn a_message_that_never_fits_is_refused_at_once_and_the_session_goes_on() {
    fn floods(conn: BlockingConn) -> Result {
        conn.send("before")?;
        let refused = conn.send(vec![0; 64 * 1024 * 1024 + 1]).unwrap_err();
        conn.send(refused.to_string())?;
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking floods));

    let refusal = "`message` has 67108865 bytes, \
                   wanted at most 64 MiB, or `outbound_bytes_max` if that is more";
    assert_eq!(received(&mut client), ["before", refusal]);
    assert_eq!(client.closed().unwrap().code, 1000);
}

#[test]
fn what_is_sent_published_and_closed_leaves_in_the_order_of_the_calls() {
    fn tells(conn: BlockingConn) -> Result {
        conn.subscribe("room")?;
        // While a message waits to be received, what is sent may wait as well.
        let _ = conn.recv();
        for number in 0..3 {
            conn.send(format!("sent {number}"))?;
            conn.publish("room", format!("published {number}"))?;
        }
        conn.ping(b"between")?;
        conn.send("last")?;
        conn.close(4000, "done")?;
        assert_eq!(conn.send("late"), Err(Refused::Gone));
        assert_eq!(conn.close(4001, ""), Err(Refused::Gone));
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking tells));
    client.send("go");
    client.send("not read");

    let expected: Vec<_> = (0..3)
        .flat_map(|number| [format!("sent {number}"), format!("published {number}")])
        .chain(["last".to_owned()])
        .collect();
    assert_eq!(received(&mut client), expected);
    assert_eq!(client.receive_ping().unwrap(), b"between");
    assert_eq!(client.closed().unwrap().code, 4000);
}

#[test]
fn two_threads_share_a_connection() {
    fn shares(conn: BlockingConn) -> Result {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..100 {
                        conn.send(format!("{number}")).unwrap();
                        conn.ping(b"").unwrap();
                        assert!(conn.buffered() < 1024 * 1024);
                    }
                });
            }
        });
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking shares));
    assert_eq!(received(&mut client).len(), 400);
    assert_eq!(client.closed().unwrap().code, 1000);
}

#[test]
fn a_peer_is_held_back_as_long_as_the_function_wants_it() {
    static GATE: Gate = Gate::shut();
    fn pauses(conn: BlockingConn) -> Result {
        assert_eq!(conn.recv().unwrap(), "first");
        conn.pause()?;
        conn.send(vec![0; 100])?;
        say(6, conn.buffered());
        GATE.pass();
        assert_eq!(conn.recv_timeout(Duration::ZERO), Err(Elapsed));
        conn.resume()?;
        for message in &conn {
            conn.send(message)?;
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking pauses));
    client.stall();
    client.send("first");
    while last_words(6).is_empty() {
        assert_eq!(client.try_receive(), None);
    }
    assert_eq!(last_words(6), ["102"]);
    client.resume();
    assert_eq!(client.receive().unwrap().len(), 100);
    client.send("second");

    GATE.open();

    assert_eq!(client.receive().unwrap(), "second");
}

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
fn a_session_that_ends_frees_who_waits_for_room_or_for_a_message() {
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
fn without_a_thread_there_is_no_session() {
    static GATE: Gate = Gate::shut();
    fn waits(_: BlockingConn) -> Result {
        GATE.pass();
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking waits));
    let taken: Vec<_> = (0..THREADS_MAX).map(|_| server.connect()).collect();

    let mut refused = server.connect();

    assert_eq!(refused.closed().unwrap().code, 1013);
    let why = "no thread for one more session: `job` is one too many, \
               wanted at most `threads_max` threads of one handler";
    assert!(server.log().iter().any(|line| line.message == why));
    GATE.open();
    drop(taken);
    let_go(server);
}

#[test]
fn a_failure_and_a_panic_cost_their_own_session_only() {
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
fn what_only_a_callback_can_do_is_done_when_the_call_returns() {
    fn puppet(conn: BlockingConn) -> Result {
        for message in &conn {
            match message.as_text() {
                Some("join") => {
                    conn.subscribe("room")?;
                    assert_eq!(conn.publish("room", "joined"), Ok(1));
                }
                Some("leave") => {
                    conn.unsubscribe("room")?;
                    assert_eq!(conn.publish("room", "left"), Ok(0));
                }
                Some("ping") => conn.ping(b"are you there?")?,
                Some("long ping") => {
                    let refused = conn.ping(&[0; 126]).unwrap_err();
                    say(3, refused.to_string());
                }
                Some("abort") => conn.abort()?,
                _ => {}
            }
            conn.send("done")?;
        }
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking puppet));
    let mut client = server.connect();

    client.send("join");
    assert_eq!(client.receive().unwrap(), "joined");
    assert_eq!(client.receive().unwrap(), "done");
    for order in ["leave", "ping", "long ping"] {
        client.send(order);
        assert_eq!(client.receive().unwrap(), "done");
    }
    assert_eq!(client.receive_ping().unwrap(), b"are you there?");
    client.send("abort");
    assert_eq!(client.receive(), None);

    assert_eq!(client.closed().unwrap().code, 1006);
    assert_eq!(server.log(), []);
    let_go(server);
    assert_eq!(
        last_words(3),
        ["\"`data` has 126 bytes, wanted at most 125\""]
    );
}

#[test]
fn recv_timeout_waits_no_longer_than_that() {
    fn quiet(conn: BlockingConn) -> Result {
        if conn.recv_timeout(Duration::from_millis(1)) == Err(Elapsed) {
            conn.send("still there?")?;
        }
        match conn.recv_timeout(Duration::MAX) {
            Ok(Some(message)) => conn.send(message)?,
            other => say(4, other),
        }
        Ok(())
    }
    let mut client = wsh::test::connect(wsh::descriptor!(blocking quiet));

    assert_eq!(client.receive().unwrap(), "still there?");
    client.send("yes");

    assert_eq!(client.receive().unwrap(), "yes");
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
fn an_own_close_is_waited_for_by_recv() {
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
fn a_function_that_does_not_hear_the_end_is_ended() {
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
fn a_guard_that_asks_for_messages_while_its_function_is_unwound_harms_nothing() {
    struct Guard<'a>(&'a BlockingConn);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            for _ in 0..3 {
                assert_eq!(self.0.recv(), None);
            }
            say(5, self.0.send("late"));
        }
    }
    /// Does not hear the end of its session, and is unwound.
    fn listens(conn: BlockingConn) -> Result {
        let _guard = Guard(&conn);
        loop {
            let _ = conn.recv();
        }
    }
    /// Panics by itself, when its session is over.
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

#[test]
fn a_function_has_the_request_and_what_the_handshake_attached() {
    struct User(String);
    fn check(request: &Request, response: &mut Response) -> Result<Handshake> {
        let Some(token) = request.cookie("token") else {
            return Ok(Handshake::reject(403, "no token"));
        };
        request.attach(User(token.into()));
        response.choose_protocol(request, &["v1"])
    }
    fn greets(conn: BlockingConn, request: &Request<'_>) -> Result {
        let User(name) = conn.attached().ok_or("nothing attached")?;
        let (protocol, room) = (conn.protocol(), request.query("room").unwrap_or("none"));
        conn.send(format!("hello {name}, {protocol}, {room}"))?;
        Ok(())
    }
    let server = wsh::test::serve(wsh::descriptor!(blocking greets, handshake = check));
    let request = server.request("/?room=tea").protocol("v1");

    let refusal = server.request("/").try_connect().unwrap_err();
    let mut client = request.cookie("token", "ann").connect();

    assert_eq!(received(&mut client), ["hello ann, v1, tea"]);
    assert_eq!(client.closed().unwrap().code, 1000);
    assert_eq!(refusal.status, 403);
}

#[test]
fn a_blocking_session_stays_where_it_began() {
    fn echo(conn: BlockingConn) -> Result {
        for message in &conn {
            conn.send(message)?;
        }
        Ok(())
    }
    assert_eq!(wsh::descriptor!(blocking echo).flags, wsh::abi::BLOCKING);
    let mut client = wsh::test::connect(wsh::descriptor!(blocking echo));

    assert!(!client.migrate());

    client.send("old");
    assert_eq!(client.receive().unwrap(), "old");
}

/// How often a function may ask on after the end of its session.
const TOLD_MAX: usize = 16;
/// What `wsh::test` lets a handler have.
const THREADS_MAX: usize = 1024;
