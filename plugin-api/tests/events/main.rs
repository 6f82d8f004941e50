//! The events style, on the server of `wsh::test`.

mod ending;
mod generations;
mod handshakes;
mod peers;
mod signatures;

use std::{
    panic::panic_any,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

use wsh::{Refused, State, prelude::*, test::Server};

/// Does what a text message says, and reports the events of its session.
#[derive(Default)]
struct Puppet {
    /// Which callback fails, and how: `panic ping`.
    fault: String,
}

impl Puppet {
    fn maybe_fail(&self, callback: &str) -> Result {
        match self.fault.strip_suffix(callback) {
            Some("panic ") => panic!("as asked"),
            Some("bomb ") => panic_any(Bomb),
            Some("fail ") => Err(format!("{callback} fails").into()),
            _ => Ok(()),
        }
    }
}

/// The payload of a panic, which panics with another such payload when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_any(Bomb);
    }
}

impl Session for Puppet {
    fn on_open(&mut self, conn: &mut Conn) -> Result {
        conn.send("open")?;
        Ok(())
    }

    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        self.maybe_fail("message")?;
        let Some(text) = message.as_text() else {
            conn.send(message)?;
            return Ok(());
        };
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["panic" | "bomb" | "fail", _] => self.fault = text.into(),
            ["close", code] => {
                if let Err(refused) = conn.close(code.parse().unwrap(), "done") {
                    wsh::info!(error = refused, "refused");
                }
            }
            ["abort"] => conn.abort()?,
            ["ping", data] => conn.ping(data.as_bytes())?,
            ["long", "ping"] => conn.ping(&[0; 126])?,
            ["timer", token, ms] => {
                let after = Duration::from_millis(ms.parse().unwrap());
                conn.timer(token.parse().unwrap(), after)?;
            }
            ["cancel", token] => conn.cancel_timer(token.parse().unwrap())?,
            ["join", topic] => conn.subscribe(topic)?,
            ["leave", topic] => conn.unsubscribe(topic)?,
            ["publish", topic] => {
                let reached = conn.publish(topic, "news")?;
                conn.send(reached.to_string())?;
            }
            ["pause"] => {
                conn.pause()?;
                conn.timer(99, Duration::from_secs(1))?;
            }
            ["watermark"] => conn.watermark(0, 100)?,
            ["fill", bytes] => {
                let answer = conn.send(vec![0; bytes.parse().unwrap()]);
                wsh::info!(answer = ?answer, "filled");
            }
            _ => {
                conn.send(message)?;
            }
        }
        Ok(())
    }

    fn on_ping(&mut self, conn: &mut Conn, data: &[u8]) -> Result {
        self.maybe_fail("ping")?;
        conn.send(format!("ping {}", data.escape_ascii()))?;
        Ok(())
    }

    fn on_pong(&mut self, conn: &mut Conn, data: &[u8]) -> Result {
        self.maybe_fail("pong")?;
        conn.send(format!("pong {}", data.escape_ascii()))?;
        Ok(())
    }

    fn on_drain(&mut self, conn: &mut Conn) -> Result {
        self.maybe_fail("drain")?;
        conn.send("drain")?;
        Ok(())
    }

    fn on_timer(&mut self, conn: &mut Conn, token: u64) -> Result {
        self.maybe_fail("timer")?;
        conn.resume()?;
        conn.send(format!("timer {token}"))?;
        Ok(())
    }

    fn on_closing(&mut self, conn: &mut Conn, close: &Close) -> Result<Closing> {
        self.maybe_fail("closing")?;
        if close.code == 3000 {
            conn.close(3001, "other")?;
        }
        Ok(Closing::Now)
    }

    fn on_close(&mut self, _: &mut Conn, close: &Close) -> Result {
        self.maybe_fail("close")?;
        wsh::info!(code = close.code, reason = close.reason, "closed");
        Ok(())
    }
}

/// A server, and a client of it that has received its greeting.
fn puppet() -> (Server, wsh::test::Client) {
    let server = wsh::test::serve(wsh::descriptor!(Puppet));
    let mut client = server.connect();
    assert_eq!(client.receive().unwrap(), "open");
    (server, client)
}

fn logged(server: &Server, message: &str) -> Vec<wsh::test::Line> {
    let lines = server.log().into_iter();
    lines.filter(|line| line.message == message).collect()
}

fn code(client: &mut wsh::test::Client) -> Option<u32> {
    client.closed().map(|close| close.code)
}

#[test]
fn text_comes_as_text_and_binary_as_binary() {
    let (_server, mut client) = puppet();

    client.send("grüße");
    client.send(b"\0\xff");
    client.send("");

    assert_eq!(client.receive().unwrap(), MessageBuf::Text("grüße".into()));
    let binary = MessageBuf::Binary(b"\0\xff".to_vec());
    assert_eq!(client.receive().unwrap(), binary);
    assert_eq!(client.receive().unwrap(), "");
    assert_eq!(client.receive(), None);
    assert_eq!(code(&mut client), None);
}

#[test]
fn pings_are_answered_by_the_server_and_by_the_client() {
    let (server, mut client) = puppet();

    client.ping(b"a");
    client.send("ping b");

    assert_eq!(client.receive_pong().unwrap(), b"a");
    assert_eq!(client.receive().unwrap(), "ping a");
    assert_eq!(client.receive_ping().unwrap(), b"b");
    assert_eq!(client.receive().unwrap(), "pong b");
    assert_eq!(server.log(), []);
    client.send("long ping");
    assert_eq!(code(&mut client), Some(1011));
    let why = "`data` has 126 bytes, wanted at most 125";
    assert_eq!(logged(&server, why).len(), 1);
}

#[test]
fn timers_run_out_in_their_order_and_may_be_replaced_and_cancelled() {
    let (_server, mut client) = puppet();
    for order in [
        "timer 1 300",
        "timer 2 100",
        "timer 3 200",
        "timer 1 50",
        "cancel 3",
    ] {
        client.send(order);
    }

    client.advance(Duration::from_millis(49));
    assert_eq!(client.receive(), None);
    client.advance(Duration::from_millis(1));
    assert_eq!(client.receive().unwrap(), "timer 1");
    client.advance(Duration::from_secs(1));

    assert_eq!(client.receive().unwrap(), "timer 2");
    assert_eq!(client.receive(), None);
}

#[test]
fn a_topic_reaches_its_subscribers_until_they_leave() {
    let server = wsh::test::serve(wsh::descriptor!(Puppet));
    let [mut ann, mut ben, mut cat] = [(); 3].map(|()| server.connect());
    for client in [&mut ann, &mut ben, &mut cat] {
        assert_eq!(client.receive().unwrap(), "open");
        client.send("join news");
    }
    cat.send("leave news");

    ann.send("publish news");

    assert_eq!(ann.receive().unwrap(), "2");
    assert_eq!(ann.receive().unwrap(), "news");
    assert_eq!(ben.receive().unwrap(), "news");
    assert_eq!(cat.receive(), None);
    ben.close(1000, "");
    ann.send("publish news");
    assert_eq!(ann.receive().unwrap(), "1");
}

#[test]
fn a_paused_session_gets_no_message_until_it_resumes() {
    let (_server, mut client) = puppet();

    client.send("pause");
    client.send("held");
    client.close(1000, "");
    assert_eq!(client.receive(), None);
    assert_eq!(code(&mut client), None);
    client.advance(Duration::from_secs(1));

    assert_eq!(client.receive().unwrap(), "timer 99");
    assert_eq!(client.receive().unwrap(), "held");
    assert_eq!(code(&mut client), Some(1000));
}

#[test]
fn a_slow_client_is_noticed_and_closed_past_the_limit() {
    let (server, mut client) = puppet();
    client.send("watermark");
    client.stall();

    client.send("fill 200");
    client.resume();
    assert_eq!(client.receive().unwrap().as_bytes().len(), 200);
    assert_eq!(client.receive().unwrap(), "drain");
    client.stall();
    for _ in 0..3 {
        client.send("fill 500000");
    }
    client.send("not read: the queue is over half");
    client.resume();

    let filled = logged(&server, "filled");
    let answers: Vec<_> = filled
        .iter()
        .map(|line| line.field("answer").unwrap())
        .collect();
    assert_eq!(answers[..3], ["Ok(204)", "Ok(500010)", "Ok(1000020)"]);
    assert_eq!(code(&mut client), None);
    // A callback cannot wait for the client.
    client.stall();
    client.send("fill 1000000");
    client.send("x");
    client.resume();
    assert_eq!(code(&mut client), None);
}

#[test]
fn one_message_behind_half_a_queue_may_be_larger_than_the_limit_but_not_two() {
    #[derive(Default)]
    struct Flood;
    impl Session for Flood {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            assert_eq!(conn.send(vec![0; 500_000]), Ok(500_010));
            assert_eq!(conn.send(vec![0; 2_000_000]), Ok(2_500_020));
            assert_eq!(conn.buffered(), 2_500_020);
            assert!(matches!(conn.send("more"), Err(Refused::TooBig(_))));
            assert_eq!(conn.send("more"), Err(Refused::Gone));
            Ok(())
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Flood));

    client.stall();
    client.send("now");
    client.resume();

    for bytes in [500_000, 2_000_000] {
        assert_eq!(client.receive().unwrap().as_bytes().len(), bytes);
    }
    assert_eq!(code(&mut client), Some(1008));
}

#[test]
fn a_message_that_is_written_in_place_is_sent_whole_or_not_at_all() {
    #[derive(Default)]
    struct Plotter;
    impl Session for Plotter {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            use std::fmt::Write;
            let fits = conn.send_with(Kind::Text, 3, |out| write!(out, "{},{}", 1, 2));
            assert_eq!(fits, Ok(5));
            let over = conn.send_with(Kind::Text, 3, |out| write!(out, "{},{}", 1, 23));
            assert!(matches!(over, Err(Refused::TooBig(_))));
            let broken = conn.send_with(Kind::Text, 3, |out| {
                std::io::Write::write_all(out, b"\xff").map_err(|_| std::fmt::Error)
            });
            assert!(matches!(broken, Err(Refused::Invalid(_))));
            let nothing = conn.send_with(Kind::Binary, 0, |_| Ok(()));
            assert!(nothing.is_ok());
            Ok(())
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Plotter));

    client.send("now");

    assert_eq!(client.receive().unwrap(), "1,2");
    assert_eq!(client.receive().unwrap(), MessageBuf::Binary(Vec::new()));
    assert_eq!(client.receive(), None);
}

#[test]
fn a_thread_that_a_callback_lends_its_session_to_sends_by_id() {
    #[derive(Default)]
    struct Lender;
    impl Session for Lender {
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    assert!(conn.send(message).is_ok());
                    // A Ping cannot be sent by id.
                    assert_eq!(conn.ping(b"x"), Err(Refused::Misuse));
                    if message == "bye" {
                        conn.close(1000, "by id").unwrap();
                    }
                });
            });
            Ok(())
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Lender));
    let mut client = server.connect();

    client.send("hello");
    client.send("bye");

    assert_eq!(client.receive().unwrap(), "hello");
    assert_eq!(client.receive().unwrap(), "bye");
    assert_eq!(client.closed().unwrap().to_string(), "1000 by id");
    assert_eq!(client.receive_ping(), None);
}
