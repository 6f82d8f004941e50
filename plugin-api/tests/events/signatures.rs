//! The arguments and answers of callbacks, and what an error in each of them becomes.

use super::*;

/// Fails with `?` in the callback that its query names.
struct Faults;

struct Faulty {
    fault: String,
}

impl Faulty {
    fn maybe_fail(&self, callback: &str) -> Result {
        if self.fault == callback {
            return Err(format!("{callback} went wrong").into());
        }
        Ok(())
    }
}

impl Handler for Faults {
    type Session = Faulty;

    fn new(_: Config) -> Result<Self> {
        Ok(Faults)
    }

    fn handshake(&self, request: &Request, _: &mut Response) -> Result<Handshake> {
        match request.query("fault") {
            Some("handshake") => Err("handshake went wrong".into()),
            Some("later") => Ok(Handshake::later(async { Err("later went wrong".into()) })),
            _ => Ok(Handshake::accept()),
        }
    }

    fn open(&self, conn: &mut Conn, request: &Request) -> Result<Faulty> {
        let fault = request.query("fault").unwrap_or_default().to_owned();
        let session = Faulty { fault };
        session.maybe_fail("open")?;
        conn.watermark(0, 1)?;
        conn.timer(1, Duration::from_secs(1))?;
        conn.handle().notify(7)?;
        Ok(session)
    }
}

impl Session for Faulty {
    fn on_open(&mut self, _: &mut Conn) -> Result {
        self.maybe_fail("on_open")
    }
    fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
        conn.send("above the mark")?;
        self.maybe_fail("on_message")
    }
    fn on_ping(&mut self, _: &mut Conn, _: &[u8]) -> Result {
        self.maybe_fail("on_ping")
    }
    fn on_pong(&mut self, _: &mut Conn, _: &[u8]) -> Result {
        self.maybe_fail("on_pong")
    }
    fn on_drain(&mut self, conn: &mut Conn) -> Result {
        conn.ping(b"")?;
        self.maybe_fail("on_drain")
    }
    fn on_timer(&mut self, _: &mut Conn, _: u64) -> Result {
        self.maybe_fail("on_timer")
    }
    fn on_note(&mut self, _: &mut Conn, _: u64) -> Result {
        self.maybe_fail("on_note")
    }
    fn on_closing(&mut self, _: &mut Conn, _: &Close) -> Result<Closing> {
        self.maybe_fail("on_closing")?;
        Ok(Closing::Now)
    }
    fn on_close(&mut self, _: &mut Conn, _: &Close) -> Result {
        self.maybe_fail("on_close")
    }
}

#[test]
fn an_error_before_the_101_is_a_500_and_after_it_a_1011_with_a_line_each() {
    let server = wsh::test::serve(wsh::descriptor!(Faults));
    let request = |fault| server.request(&format!("/?fault={fault}"));
    let lines = |fault| {
        let why = format!("{fault} went wrong");
        let lines = server.log().into_iter();
        lines.filter(|line| line.message == why).count()
    };

    for fault in ["handshake", "later"] {
        assert_eq!(request(fault).try_connect().unwrap_err().status, 500);
        assert_eq!(lines(fault), 1, "{fault}");
    }
    let events = [
        "open",
        "on_open",
        "on_note",
        "on_message",
        "on_ping",
        "on_drain",
        "on_pong",
        "on_timer",
        "on_closing",
    ];
    for fault in events {
        let mut client = request(fault).connect();
        client.ping(b"");
        client.send("x");
        client.advance(Duration::from_secs(1));
        client.close(4000, "");
        assert_eq!(code(&mut client), Some(1011), "{fault}");
        assert_eq!(lines(fault), 1, "{fault}");
    }
    let mut client = request("on_close").connect();
    client.close(4000, "");
    assert_eq!((code(&mut client), lines("on_close")), (Some(4000), 1));
    let mut client = request("nothing").connect();
    client.close(4000, "");
    assert_eq!(code(&mut client), Some(4000));
}

#[test]
fn gone_of_the_own_session_is_no_failure_and_gone_of_another_one_is() {
    thread_local!(static OTHER: std::cell::RefCell<Option<Handle>> = const { std::cell::RefCell::new(None) });
    #[derive(Default)]
    struct Leaver;
    impl Session for Leaver {
        fn on_open(&mut self, conn: &mut Conn) -> Result {
            OTHER.with_borrow_mut(|other| other.get_or_insert_with(|| conn.handle()).id());
            Ok(())
        }
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            if message == "other" {
                OTHER.with_borrow(|other| other.as_ref().unwrap().send("hello"))?;
                return Ok(());
            }
            conn.close(4000, "done")?;
            conn.send("late")?;
            unreachable!("the session is over");
        }
        fn on_close(&mut self, conn: &mut Conn, _: &Close) -> Result {
            conn.send("later still")?;
            unreachable!("the session is over");
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Leaver));
    let mut client = server.connect();
    let mut other = server.connect();

    client.send("leave");
    assert_eq!(code(&mut client), Some(4000));
    assert_eq!(server.log(), []);
    other.send("other");

    assert_eq!(code(&mut other), Some(1011));
    let gone = wsh::Refused::Gone.to_string();
    assert_eq!(logged(&server, &gone).len(), 1);
}

#[test]
fn a_close_is_answered_later_with_a_code_of_the_handlers_own_or_by_its_timeout() {
    #[derive(Default)]
    struct Lingers;
    impl Session for Lingers {
        fn on_message(&mut self, _: &mut Conn, _: Message) -> Result {
            Ok(())
        }
        fn on_closing(&mut self, conn: &mut Conn, close: &Close) -> Result<Closing> {
            conn.send("wait")?;
            if close.reason != "never" {
                conn.timer(1, Duration::from_secs(1))?;
            }
            Ok(Closing::Later)
        }
        fn on_timer(&mut self, conn: &mut Conn, _: u64) -> Result {
            conn.send("now")?;
            conn.close(4001, "as promised")?;
            Ok(())
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Lingers));
    let (mut client, mut forgotten) = (server.connect(), server.connect());

    client.close(4000, "");
    forgotten.close(4000, "never");

    assert_eq!(client.receive().unwrap(), "wait");
    assert_eq!(client.closed(), None);
    client.advance(Duration::from_secs(1));
    assert_eq!(client.receive().unwrap(), "now");
    assert_eq!(client.closed().unwrap().to_string(), "4001 as promised");
    assert_eq!(forgotten.closed(), None);
    forgotten.advance(Duration::from_secs(60));
    assert_eq!(code(&mut forgotten), Some(1006));
    assert_eq!(server.log(), []);
}

/// `on_close` still has the connection.
#[test]
fn on_close_has_the_connection_with_what_was_attached() {
    struct Name(String);
    struct Door;
    #[derive(Default)]
    struct Guest;
    impl Handler for Door {
        type Session = Guest;
        fn new(_: Config) -> Result<Self> {
            Ok(Door)
        }
        fn handshake(&self, request: &Request, _: &mut Response) -> Result<Handshake> {
            request.attach(Name(request.query("name").ok_or("no name")?.into()));
            Ok(Handshake::accept())
        }
        fn open(&self, _: &mut Conn, _: &Request) -> Result<Guest> {
            Ok(Guest)
        }
    }
    impl Session for Guest {
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            assert_eq!(message.len(), 5);
            assert!(!message.is_empty());
            conn.send(conn.protocol())?;
            conn.send(&conn.attached::<Name>().ok_or("nothing attached")?.0)?;
            Ok(())
        }
        fn on_close(&mut self, conn: &mut Conn, close: &Close) -> Result {
            let name = &conn.attached::<Name>().ok_or("nothing attached")?.0;
            let handle = conn.handle();
            assert_eq!(handle.send("too late"), Err(Refused::Gone));
            wsh::info!(
                id = conn.id(),
                handle = handle.id(),
                name,
                code = close.code,
                "left"
            );
            Ok(())
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Door));
    let mut client = server.request("/?name=ann").connect();

    client.send("hello");
    client.close(4000, "");

    assert_eq!(client.receive().unwrap(), "");
    assert_eq!(client.receive().unwrap(), "ann");
    let left = &logged(&server, "left")[0];
    let fields = ["id", "handle", "name", "code"].map(|name| left.field(name).unwrap());
    assert_eq!(fields, ["1", "1", "ann", "4000"]);
    // The sessions of this handler have no fields, so they move by themselves.
    let mut client = server.request("/?name=ben").connect();
    assert!(client.migrate());
    drop(client);
}

#[test]
fn restore_may_use_its_handler_and_may_send() {
    /// A session that counts in its handler, which each generation has anew.
    struct Counter(Arc<AtomicUsize>);
    struct Counted {
        name: String,
        all: Arc<AtomicUsize>,
    }
    impl Handler for Counter {
        type Session = Counted;
        fn new(_: Config) -> Result<Self> {
            Ok(Counter(Arc::default()))
        }
        fn open(&self, _: &mut Conn, request: &Request) -> Result<Counted> {
            let name = request.query("name").unwrap_or_default().into();
            self.0.fetch_add(1, Relaxed);
            let all = Arc::clone(&self.0);
            Ok(Counted { name, all })
        }
        fn restore(&self, conn: &mut Conn, state: &State) -> Result<Counted> {
            let name = String::from_utf8(state.as_bytes().to_vec())?;
            let number = self.0.fetch_add(1, Relaxed) + 1;
            assert!(conn.is_restored());
            assert_eq!(conn.subscribe("topic"), Err(Refused::Misuse));
            conn.send(format!("{name} is number {number} now"))?;
            let all = Arc::clone(&self.0);
            Ok(Counted { name, all })
        }
    }
    impl Session for Counted {
        const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            conn.send(format!("{} of {}", self.name, self.all.load(Relaxed)))?;
            Ok(())
        }
        fn snapshot(&self, conn: &Conn) -> Result<Snapshot<Self>> {
            if self.name == "stuck" {
                return Err(format!("session {} cannot be written down", conn.id()).into());
            }
            Ok(Snapshot::bytes(self.name.clone().into_bytes()))
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Counter));
    let mut ann = server.request("/?name=ann").connect();
    let mut stuck = server.request("/?name=stuck").connect();

    assert!(ann.migrate());

    ann.send("x");
    stuck.send("x");
    assert_eq!(ann.receive().unwrap(), "ann is number 1 now");
    assert_eq!(ann.receive().unwrap(), "ann of 1");
    assert_eq!(stuck.receive().unwrap(), "stuck of 2");
    assert_eq!(stuck.generation(), Some(1));
    assert!(!logged(&server, "session 2 cannot be written down").is_empty());
}

#[test]
fn an_invalid_topic_is_told_from_a_topic_without_subscribers() {
    #[derive(Default)]
    struct Topics;
    impl Session for Topics {
        fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
            assert_eq!(conn.publish("nobody", "x"), Ok(0));
            for topic in ["", "a\0b", &"x".repeat(256)] {
                let answers = [
                    conn.publish(topic, "x").map(drop),
                    wsh::publish(topic, "x").map(drop),
                    conn.subscribe(topic),
                    conn.unsubscribe(topic),
                ];
                for answer in answers {
                    let Err(Refused::Invalid(rule) | Refused::TooBig(rule)) = answer else {
                        panic!("{topic:?}: {answer:?}");
                    };
                    assert_eq!(rule.argument(), "topic");
                    assert_eq!(rule.wanted(), "1 to 255 bytes without NUL");
                }
            }
            conn.send("done")?;
            Ok(())
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Topics));

    client.send("go");

    assert_eq!(client.receive().unwrap(), "done");
}
