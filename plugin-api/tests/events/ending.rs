//! How sessions of the events style end: a Close of either side, an abort, a panic.

use super::*;

#[test]
fn a_panic_in_any_callback_closes_its_own_session_with_1011() {
    for fault in ["panic", "bomb", "fail"] {
        for callback in ["message", "ping", "pong", "drain", "timer", "closing"] {
            let (server, mut client) = puppet();
            let mut other = server.connect();
            client.send(format!("{fault} {callback}"));

            match callback {
                "message" => client.send("x"),
                "ping" => client.ping(b""),
                "pong" => client.send("ping x"),
                "timer" => {
                    client.send("timer 1 10");
                    client.advance(Duration::from_millis(10));
                }
                "drain" => {
                    client.send("watermark");
                    client.stall();
                    client.send("fill 200");
                    client.resume();
                }
                _ => client.close(1000, ""),
            }

            let what = format!("{fault} in {callback}");
            assert_eq!(code(&mut client), Some(1011), "{what}");
            let told = logged(&server, "closed");
            assert_eq!(told.len(), 1, "{what}");
            let wanted = if callback == "closing" {
                "1000"
            } else {
                "1011"
            };
            assert_eq!(told[0].field("code"), Some(wanted), "{what}");
            let wanted = match fault {
                "fail" => format!("{callback} fails"),
                _ => format!("`{callback}` panicked"),
            };
            assert_eq!(logged(&server, &wanted).len(), 1, "{what}");
            other.send("still here");
            assert_eq!(other.receive().unwrap(), "open");
            assert_eq!(other.receive().unwrap(), "still here");
        }
    }
}

#[test]
fn a_panic_in_on_close_harms_no_other_session() {
    for fault in ["panic", "bomb", "fail"] {
        let (server, mut client) = puppet();
        client.send(format!("{fault} close"));

        client.close(1000, "");

        assert_eq!(code(&mut client), Some(1000));
        let mut next = server.connect();
        assert_eq!(next.receive().unwrap(), "open");
    }
}

#[test]
fn either_side_closes_and_the_handler_is_told_once() {
    let (server, mut client) = puppet();
    client.close(4000, "bye");
    let mut second = server.connect();
    second.send("close 4001");
    let mut third = server.connect();
    third.close(3000, "");
    let mut fourth = server.connect();
    fourth.close(1005, "");
    let mut fifth = server.connect();
    fifth.lose();

    let seen = |client: &mut wsh::test::Client| client.closed().unwrap().to_string();
    assert_eq!(seen(&mut client), "4000 bye");
    assert_eq!(seen(&mut second), "4001 done");
    assert_eq!(seen(&mut third), "3001 other");
    assert_eq!(seen(&mut fourth), "1005");
    assert_eq!(seen(&mut fifth), "1006");
    let told = logged(&server, "closed");
    let told: Vec<_> = told
        .iter()
        .map(|line| line.field("code").unwrap())
        .collect();
    assert_eq!(told, ["4000", "4001", "3000", "1005", "1006"]);
    assert_eq!(logged(&server, "closed")[0].field("reason"), Some("bye"));
}

#[test]
fn codes_that_may_not_be_sent_are_refused_by_the_rule_they_break() {
    let (server, mut client) = puppet();

    for code in [999, 1004, 1005, 1006, 1015, 2999, 5000] {
        client.send(format!("close {code}"));
    }
    client.send("still here");

    assert_eq!(client.receive().unwrap(), "still here");
    let refused = logged(&server, "refused");
    assert_eq!(refused.len(), 7);
    assert_eq!(
        refused[0].field("error"),
        Some(
            "`code` is 999, wanted 1000 to 1003, 1007 to 1014 or 3000 to 4999, or 0 without a reason"
        )
    );
}

#[test]
fn nothing_is_sent_behind_a_close() {
    #[derive(Default)]
    struct Talker;
    impl Session for Talker {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            assert!(conn.send("before").is_ok());
            conn.close(1000, "")?;
            assert_eq!(conn.send("after"), Err(Refused::Gone));
            assert_eq!(conn.close(1001, ""), Err(Refused::Gone));
            assert_eq!(conn.ping(b""), Err(Refused::Gone));
            assert_eq!(conn.timer(1, Duration::ZERO), Err(Refused::Gone));
            let written = conn.send_with(Kind::Text, 8, |out| {
                use std::fmt::Write;
                out.write_str("after")
            });
            assert_eq!(written, Err(Refused::Gone));
            Ok(())
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Talker));

    client.send("now");
    client.send("late");

    assert_eq!(client.receive().unwrap(), "before");
    assert_eq!(client.receive(), None);
    assert_eq!(code(&mut client), Some(1000));
}

#[test]
fn an_abort_sends_no_close() {
    let (_server, mut client) = puppet();

    client.send("abort");

    assert_eq!(code(&mut client), Some(1006));
}

#[test]
fn a_failed_open_closes_with_1011_and_leaves_no_session() {
    static LIVING: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Default for Counted {
        fn default() -> Self {
            LIVING.fetch_add(1, Relaxed);
            Counted
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            LIVING.fetch_sub(1, Relaxed);
        }
    }
    impl Session for Counted {
        fn on_open(&mut self, conn: &mut Conn) -> Result {
            conn.send("hello")?;
            Err("no room".into())
        }
        fn on_message(&mut self, _: &mut Conn, _: Message) -> Result {
            Ok(())
        }
        fn on_close(&mut self, _: &mut Conn, _: &Close) -> Result {
            unreachable!("there is no session")
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Counted));

    let mut client = server.connect();

    assert_eq!(client.receive().unwrap(), "hello");
    assert_eq!(code(&mut client), Some(1011));
    assert_eq!(LIVING.load(Relaxed), 1, "the handler itself is left");
    drop((client, server));
    assert_eq!(LIVING.load(Relaxed), 0);
}

#[test]
fn a_session_that_panics_on_drop_harms_no_other_session() {
    struct Grenade;
    struct Pin;
    impl Handler for Pin {
        type Session = Grenade;
        fn new(_: Config) -> Result<Self> {
            Ok(Pin)
        }
        fn open(&self, _: &mut Conn, _: &Request) -> Result<Grenade> {
            Ok(Grenade)
        }
    }
    impl Session for Grenade {
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            conn.send(message)?;
            Ok(())
        }
    }
    impl Drop for Grenade {
        fn drop(&mut self) {
            panic_any(Bomb);
        }
    }
    impl Drop for Pin {
        fn drop(&mut self) {
            panic_any(Bomb);
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Pin));
    let mut first = server.connect();

    first.close(1000, "");
    assert_eq!(code(&mut first), Some(1000));
    let mut second = server.connect();
    second.send("x");

    assert_eq!(second.receive().unwrap(), "x");
}
