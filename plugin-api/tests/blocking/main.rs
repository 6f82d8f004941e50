//! The blocking style, on the server of `wsh::test`.

mod ending;
mod sending;

use std::{
    sync::{Condvar, Mutex},
    time::Duration,
};

use wsh::{prelude::*, test::Server};

/// A gate that a function waits for, beside its connection. Each test has its own static, so that tests do not interfere.
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

/// What functions report to their tests, by the session's number.
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

/// Waits until every function has ended and every session was destroyed.
fn let_go(server: Server) {
    drop(server);
}

#[test]
fn a_peer_is_held_back_while_the_function_is_elsewhere_and_nothing_is_lost() {
    static GATE: Gate = Gate::shut();
    fn slow(conn: BlockingConn) -> Result {
        GATE.pass();
        for message in &conn {
            // The Close came after the messages, so a session that knows of it has read nearly all of them.
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
fn a_pause_holds_the_peer_back_until_the_resume() {
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
fn a_command_for_a_callback_is_done_when_the_call_returns() {
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

/// How often a function may ask for messages after the end of its session.
const TOLD_MAX: usize = 16;
/// How many threads a handler may have in `wsh::test`.
const THREADS_MAX: usize = 1024;
