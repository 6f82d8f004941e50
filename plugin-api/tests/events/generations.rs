//! Sessions that move from one generation of a handler to the next.

use super::{handshakes::Guest, peers::Exchange, *};

/// Counts messages across generations.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Counter {
    seen: u64,
}

impl Session for Counter {
    const SCHEMA: std::ops::RangeInclusive<u32> = 1..=2;

    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        self.seen += 1;
        if message == "timer" {
            conn.timer(7, Duration::from_secs(1))?;
        }
        let generation = if conn.is_restored() { "moved" } else { "first" };
        conn.send(format!("{} {generation}", self.seen))?;
        Ok(())
    }
    fn on_timer(&mut self, conn: &mut Conn, token: u64) -> Result {
        conn.send(format!("timer {token}"))?;
        Ok(())
    }
    fn on_close(&mut self, _: &mut Conn, close: &Close) -> Result {
        wsh::info!(code = close.code, "closed");
        Ok(())
    }
    fn snapshot(&self, _: &Conn) -> Result<Snapshot<Self>> {
        match self.seen {
            13 => Ok(Snapshot::later()),
            _ => Snapshot::json(self),
        }
    }
    fn restore(_: &mut Conn, state: &State) -> Result<Self> {
        assert_eq!(state.schema(), 2);
        let counter: Counter = state.parse()?;
        if counter.seen == 3 {
            return Err("three is not to be had".into());
        }
        Ok(counter)
    }
}

#[test]
fn a_session_moves_to_a_newer_generation_with_its_timers() {
    let server = wsh::test::serve(wsh::descriptor!(Counter));
    let mut client = server.connect();
    client.send("timer");
    assert_eq!(client.receive().unwrap(), "1 first");

    assert!(client.migrate());
    assert_eq!(client.generation(), Some(2));
    client.send("x");
    client.advance(Duration::from_secs(1));

    assert_eq!(client.receive().unwrap(), "2 moved");
    assert_eq!(client.receive().unwrap(), "timer 7");
    assert!(logged(&server, "closed").is_empty());
}

#[test]
fn a_session_that_cannot_be_restored_stays() {
    let server = wsh::test::serve(wsh::descriptor!(Counter));
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("x");
    }

    assert!(!client.migrate());
    client.send("x");

    assert_eq!(client.generation(), Some(1));
    let answers: Vec<String> =
        std::iter::from_fn(|| client.try_receive().map(|it| it.to_string())).collect();
    assert_eq!(answers, ["1 first", "2 first", "3 first", "4 first"]);
    assert_eq!(logged(&server, "three is not to be had").len(), 1);
}

#[test]
fn a_session_without_a_snapshot_for_now_moves_after_its_next_callback() {
    let server = wsh::test::serve(wsh::descriptor!(Counter));
    let mut client = server.connect();
    for _ in 0..13 {
        client.send("x");
    }

    assert!(!client.migrate());
    client.send("x");

    assert_eq!(client.generation(), Some(2));
    let last = std::iter::from_fn(|| client.try_receive()).last();
    assert_eq!(last.unwrap(), "14 first");
}

#[test]
fn a_session_without_fields_moves_and_others_stay() {
    #[derive(Default)]
    struct Empty;
    impl Session for Empty {
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            conn.send(message)?;
            Ok(())
        }
    }
    let mut empty = wsh::test::connect(wsh::descriptor!(Empty));
    let (_server, mut puppet) = puppet();

    assert!(empty.migrate());
    assert!(!puppet.migrate());

    empty.send("x");
    puppet.send("x");
    assert_eq!(empty.receive().unwrap(), "x");
    assert_eq!(puppet.receive().unwrap(), "x");
}

#[test]
fn a_reload_tells_each_generation_when_it_serves() {
    struct Told;
    impl Handler for Told {
        type Session = Guest;
        fn new(config: Config) -> Result<Self> {
            wsh::info!(generation = config.generation(), "made");
            Ok(Told)
        }
        fn open(&self, _: &mut Conn, _: &Request) -> Result<Guest> {
            Ok(Guest)
        }
        fn serving(&self, on: bool) -> Result {
            wsh::info!("serving {on}");
            Ok(())
        }
        fn self_test(&self) -> Result {
            wsh::info!("tested");
            Ok(())
        }
    }
    impl Drop for Told {
        fn drop(&mut self) {
            wsh::info!("dropped");
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Told));
    let client = server.connect();

    server.reload(wsh::descriptor!(Told)).unwrap();
    drop(client);
    let error = server.reload(wsh::descriptor!(Exchange)).unwrap_err();

    assert_eq!(error, "made by the test");
    let told: Vec<String> = server.log().into_iter().map(|line| line.message).collect();
    let wanted = [
        "made",
        "tested",
        "serving true",
        "made",
        "tested",
        "serving true",
        "serving false",
        "dropped",
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_self_test_that_fails_keeps_the_handler_out() {
    struct Unfit;
    impl Handler for Unfit {
        type Session = Guest;
        fn new(_: Config) -> Result<Self> {
            Ok(Unfit)
        }
        fn open(&self, _: &mut Conn, _: &Request) -> Result<Guest> {
            Ok(Guest)
        }
        fn self_test(&self) -> Result {
            Err("no database".into())
        }
    }
    let error = wsh::test::load(wsh::descriptor!(Unfit), "{}").unwrap_err();
    assert_eq!(error, "no database");
}

struct User(String);

struct Guarded;

impl Handler for Guarded {
    type Session = Known;

    fn new(_: Config) -> Result<Self> {
        Ok(Guarded)
    }

    fn handshake(&self, request: &Request, _: &mut Response) -> Result<Handshake> {
        let name = request.query("name").unwrap_or_default().to_owned();
        Ok(Handshake::accept().attach(User(name)))
    }

    fn open(&self, _: &mut Conn, _: &Request) -> Result<Known> {
        Ok(Known)
    }

    fn restore(&self, conn: &mut Conn, state: &State) -> Result<Known> {
        conn.attach(User("nobody".to_owned()));
        conn.attach(7_u32);
        conn.attach(User(state.parse()?));
        Ok(Known)
    }
}

struct Known;

impl Session for Known {
    const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;

    fn on_message(&mut self, conn: &mut Conn, _: Message) -> Result {
        let User(name) = conn.attached().ok_or("no user")?;
        let number = conn.attached::<u32>();
        conn.send(format!("{name} {number:?}"))?;
        Ok(())
    }

    fn snapshot(&self, conn: &Conn) -> Result<Snapshot<Self>> {
        let User(name) = conn.attached().ok_or("no user")?;
        Snapshot::json(name)
    }
}

#[test]
fn restore_attaches_again_what_the_handshake_had_attached() {
    let server = wsh::test::serve(wsh::descriptor!(Guarded));
    let mut client = server.request("/guarded?name=ann").connect();
    client.send("who?");
    assert_eq!(client.receive().unwrap(), "ann None");

    for _ in 0..2 {
        assert!(client.migrate());
        client.send("who?");
        assert_eq!(client.receive().unwrap(), "ann Some(7)");
    }
}

#[test]
fn neither_snapshot_nor_restore_can_end_their_session() {
    #[derive(Default)]
    struct Stays;
    impl Session for Stays {
        const SCHEMA: std::ops::RangeInclusive<u32> = 1..=1;

        fn snapshot(&self, conn: &Conn) -> Result<Snapshot<Self>> {
            assert_eq!(conn.close(4005, "in `snapshot`"), Err(Refused::Misuse));
            Ok(Snapshot::bytes(Vec::new()))
        }
        fn restore(conn: &mut Conn, _: &State) -> Result<Self> {
            assert_eq!(conn.close(4006, "in `restore`"), Err(Refused::Misuse));
            assert_eq!(conn.send_part("in `restore`", true), Err(Refused::Misuse));
            Err(wsh::Error::from("not today").close_with(4007, "by its error"))
        }
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            conn.send(message)?;
            Ok(())
        }
    }
    let server = wsh::test::serve(wsh::descriptor!(Stays));
    let mut client = server.connect();

    assert!(!client.migrate());

    client.send("still here");
    assert_eq!(client.receive().unwrap(), "still here");
    assert_eq!((client.closed(), client.generation()), (None, Some(1)));
    let log = server.log();
    assert!(
        log.iter()
            .any(|line| line.to_string().contains("not today")),
        "{log:?}"
    );
    // The session can still close later, with a code of its own.
    client.close(1001, "");
    assert_eq!(client.closed().map(|close| close.code), Some(1001));
}

#[test]
fn a_pause_moves_with_its_session() {
    #[derive(Default)]
    struct Pauses;
    impl Session for Pauses {
        fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
            conn.send(message)?;
            conn.timer(1, Duration::from_secs(1))?;
            conn.pause()?;
            Ok(())
        }
        fn on_timer(&mut self, conn: &mut Conn, _: u64) -> Result {
            conn.resume()?;
            Ok(())
        }
    }
    let mut client = wsh::test::connect(wsh::descriptor!(Pauses));
    client.send("first");
    assert_eq!(client.receive().unwrap(), "first");

    assert!(client.migrate());
    client.send("second");
    assert_eq!(client.try_receive(), None);

    client.advance(Duration::from_secs(1));
    assert_eq!(client.receive().unwrap(), "second");
}
